"""Chapter 4.3: files that the host and a container both have, and that outlive it."""

import contextlib
import os
import shutil
import signal
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dojo.scratch import Call, CrashPoint, Running
from dojo.testkit.callers import ASCII_ONLY
from dojo.testkit.containers import end, first_process, started
from dojo.testkit.crash_points import beside, crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import check, expect, guard, layers, needs, ours, task, vm

READ_ONLY = "Read-only file system"
STAY = "echo ready; exec sleep 1000"
CRASH_POINTS = 7  # at which `run` is killed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of the host's, with something in it that nobody must lose."""
    path = tmp_path / "folder"
    (path / "below").mkdir(parents=True)
    (path / "file").write_text("of the host\n")
    (path / "below" / "kept").write_text("kept\n")
    return path


# Task 1: Both sides see the same files


@task(1)
def test_a_file_of_the_host_is_there_in_the_container(mydocker, folder):
    """`-v HOST:CONTAINER` shows a directory of the host's at a place in the container."""
    call = run(mydocker, "cat /data/file /data/below/kept", f"{folder}:/data")
    expect(call, status=0, out="of the host\nkept\n", err="")


@task(1)
@vm
def test_a_file_that_the_container_makes_is_on_the_host_afterwards(mydocker, folder):
    """What a container writes goes with it, but for what it writes into a volume: that is kept."""
    call = run(mydocker, "echo new > /data/new; mkdir /data/made", f"{folder}:/data")
    expect(call, status=0, out="", err="")
    check(text(folder / "new") == "new\n", "the file is on the host", listing(folder), call)
    check((folder / "made").is_dir(), "the directory is on the host", listing(folder), call)


@task(1)
def test_a_file_that_the_container_deletes_is_gone_on_the_host(mydocker, folder):
    """It is the same directory, not a copy that is brought up to date: deleting counts, too."""
    call = run(mydocker, "rm /data/file; mv /data/below/kept /data/moved", f"{folder}:/data")
    expect(call, status=0, out="", err="")
    wanted = {"below": None, "moved": "kept\n"}
    check(listing(folder) == wanted, f"on the host, {wanted}", listing(folder), call)


@task(1)
def test_both_sides_see_a_change_at_once(mydocker, folder):
    """A copy would do for what is there at the start. But both sides work at the same time."""
    script = "echo ready; read line; cat /data/new; echo inside > /data/answer; echo done; read end"
    words = (
        "run",
        "--rm",
        "-i",
        "-v",
        f"{folder}:/data",
        "busybox",
        "sh",
        "-c",
        script,
    )
    running = started(mydocker.start(*words, stdin=None))
    (folder / "new").write_text("outside\n")
    running.type(b"\n")
    started(running, b"done")
    answer = text(folder / "answer")
    running.type(b"\n")
    call = expect(running.wait(), status=0, out="ready\noutside\ndone\n")
    check(answer == "inside\n", "the host sees it while the container runs", answer, call)


@task(1)
def test_there_can_be_many_volumes(mydocker, tmp_path):
    """`-v` can be given as often as wanted; each time it is a volume of its own."""
    folders = [tmp_path / f"folder-{number}" for number in range(12)]
    for number, path in enumerate(folders):
        path.mkdir()
        (path / "file").write_text(f"{number}\n")
    volumes = [f"{path}:/data/{number}" for number, path in enumerate(folders)]
    script = (
        "for n in 0 1 2 3 4 5 6 7 8 9 10 11; do cat /data/$n/file; echo $n > /data/$n/new; done"
    )
    call = run(mydocker, script, *volumes)
    expect(call, status=0, out="".join(f"{number}\n" for number in range(12)), err="")
    written = [text(path / "new") for path in folders]
    wanted = [f"{number}\n" for number in range(12)]
    check(written == wanted, "each file in the volume that it was written to", written, call)


@task(1)
@pytest.mark.parametrize("form", ["--volume VOLUME", "--volume=VOLUME", "-vVOLUME", "-v=VOLUME"])
def test_the_option_has_two_names(mydocker, folder, form):
    """`--volume` is the long name of `-v`; a value may be attached, as that of any option."""
    options = [word.replace("VOLUME", f"{folder}:/data") for word in form.split()]
    call = mydocker("run", "--rm", *options, "busybox", "cat", "/data/file")
    expect(call, status=0, out="of the host\n", err="")


@task(1)
def test_owners_and_modes_are_the_same_on_both_sides(mydocker, folder):
    """A file has an owner's number, not a name: both sides see the same, whoever that is there."""
    os.chown(folder / "file", 12345, 54321)
    (folder / "file").chmod(0o640)
    script = "stat -c '%u %g %a' /data/file; chown 7:8 /data/below; chmod 2751 /data/below"
    call = run(mydocker, script, f"{folder}:/data")
    expect(call, status=0, out="12345 54321 640\n", err="")
    found = (folder / "below").stat()
    changed = (found.st_uid, found.st_gid, oct(found.st_mode & 0o7777))
    check(changed == (7, 8, "0o2751"), "owner 7, group 8 and mode 2751 on the host", changed, call)


@task(1)
@pytest.mark.parametrize(
    "name",
    ["with  blanks", "a,b=c", 'it\'s "quoted"', "back\\slash", "grün", "*?[a]", "$HOME"],
)
def test_a_path_may_have_any_characters(mydocker, tmp_path, name):
    """Only the colon has a meaning in `-v`. Blanks, commas and quotes are parts of names."""
    host, inside = tmp_path / name, f"/{name}"
    host.mkdir()
    (host / "file").write_text("found\n")
    options = ("--rm", "-v", f"{host}:{inside}")
    call = mydocker("run", *options, "busybox", "cat", f"{inside}/file")
    expect(call, status=0, out="found\n", err="")


@task(1)
@ours
@pytest.mark.parametrize("name", [b"two\nlines", b"not \xff utf-8"], ids=["newline", "bytes"])
def test_a_path_may_have_any_bytes(mydocker, tmp_path, name):
    """A path is bytes, and only 0 and the slash are special in it: so the kernel has it."""
    host = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    host.mkdir()
    (host / "file").write_text("found\n")
    options = (b"--rm", b"-v", os.fsencode(host) + b":/" + name)
    call = mydocker("run", *options, "busybox", "cat", b"/" + name + b"/file")
    expect(call, status=0, out="found\n", err="")


@task(1)
def test_a_link_on_the_host_leads_where_it_points_to(mydocker, folder):
    """HOST is the caller's path, so links in it are followed on the host, as for any program."""
    link = folder.with_name("link")
    link.symlink_to(folder)
    call = run(mydocker, "cat /data/file /below/kept", f"{link}:/data", f"{link}/below/:/below")
    expect(call, status=0, out="of the host\nkept\n", err="")


@task(1)
@ours
def test_what_is_mounted_below_the_directory_comes_along(mydocker, folder):
    """A disk that is mounted below HOST is a part of what one sees there; it is bound, too.

    When the container ends, it is unmounted in the container: the host's mount stays.
    """
    with tmpfs_below(mydocker, folder) as inner:
        call = run(mydocker, "cat /data/inner/file; echo new > /data/inner/new", f"{folder}:/data")
        expect(call, status=0, out="in the tmpfs\n", err="")
        left = mydocker.host.run(["cat", f"{inner}/new"], env=mydocker.env)
        check(left.text == "new\n", "the host's file system has the new file", left, call)


@task(1)
def test_a_mount_made_in_a_volume_is_not_seen_on_the_host(mydocker, folder):
    """Files are shared, mounts are not: a container's mount must not cover files of the host's."""
    script = "mount -t tmpfs of-the-container /data/below; ls /data/below; echo ready; read line"
    words = (
        "run",
        "--rm",
        "-i",
        "-v",
        f"{folder}:/data",
        "busybox",
        "sh",
        "-c",
        script,
    )
    running = started(mydocker.start(*words, stdin=None))
    seen = [line for line in mydocker.host.mountinfo() if "of-the-container" in line]
    on_the_host = mydocker.host.run(["cat", str(folder / "below/kept")], env=mydocker.env)
    running.type(b"\n")
    call = expect(running.wait(), status=0, out="ready\n")
    check(not seen, "the host does not see the mount", seen, call)
    check(on_the_host.text == "kept\n", "the host sees its own file there", on_the_host, call)


@task(1)
@pytest.mark.parametrize("place", ["/a/b/", "//a//b", "/./a/./b/.", "/a/x/../b"])
def test_a_place_can_be_spelled_in_many_ways(mydocker, folder, place):
    """Slashes at the end, double ones and dots change nothing: it is the same place."""
    call = run(mydocker, "cat /a/b/file", f"{folder}/:{place}")
    expect(call, status=0, out="of the host\n", err="")


@task(1)
def test_no_path_leads_out_of_the_container(mydocker, folder):
    """`/../../x` is /x: above the root there is only the root. It must be the container's root."""
    name = f"mydocker-{uuid.uuid4().hex}"
    on_the_host = Path("/", name)
    try:
        call = run(mydocker, f"cat /{name}/file", f"{folder}:/../../{name}")
        expect(call, status=0, out="of the host\n", err="")
        check(not on_the_host.exists(), f"no {on_the_host} on the host", "it was made", call)
    finally:
        if on_the_host.is_dir():
            on_the_host.rmdir()


@task(1)
@pytest.mark.parametrize("place", ["/dev/shm", "/dev/folder", "/tmp/folder", "/root"])
def test_volumes_come_after_the_mounts_of_every_container(mydocker, folder, place):
    """A volume in /dev has to be mounted after /dev is, or it would be covered by it."""
    call = run(mydocker, f"cat {place}/file; test -c /dev/null", f"{folder}:{place}")
    expect(call, status=0, out="of the host\n", err="")


# Task 2: What is missing is made


@task(2)
def test_a_missing_directory_of_the_host_is_made(mydocker, tmp_path):
    """HOST need not be there: it is made with its parents, for everybody to enter and look at.

    That is 0755, and it stays so for a caller whose umask keeps everything to himself. A name that
    looks like that of a file makes no difference: nobody can know what was meant.
    """
    missing = tmp_path / "not" / "there" / "yet.conf"
    caller = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    call = run(mydocker, "echo new > /data/new", f"{missing}:/data", before=caller)
    expect(call, status=0, out="", err="")
    check(text(missing / "new") == "new\n", "the file is on the host", listing(tmp_path), call)
    for path in (missing, *missing.parents[:2]):
        mode = path.stat().st_mode & 0o7777
        check(mode == 0o755, f"{path.name} has the mode 0755", oct(mode), call)


@task(2)
@ours
@needs("unotify")
def test_two_that_find_the_same_directory_missing(mydocker, tmp_path):
    """Between looking and making another one is faster. It is there: that is what was wanted.

    Here a second `run` gets as far as it can while the first is about to make a directory.
    """
    another = mydocker.another_root()
    whole = CrashPoint(None)
    volume = f"{tmp_path}/whole/missing:/data"
    first = begin(mydocker, "echo first > /data/first", volume, crash_point=whole)
    with whole:
        call = expect(first.wait(), status=0, out="", err="")
    found = listing(tmp_path / "whole/missing")
    check(found == {"first": "first\n"}, "the file of the container", found, call)
    making = [number for number, change in enumerate(whole.seen) if "mkdir" in change]
    for number in making[:12]:
        crash_point = CrashPoint(number)
        volume = f"{tmp_path}/{number}/missing:/data"
        first = begin(mydocker, "echo first > /data/first", volume, crash_point=crash_point)
        words = ("run", "--rm", "-v", volume, "busybox", "sh", "-c", "echo second > /data/second")
        second = beside(mydocker, crash_point, *words, env=another)
        for call in (first.wait(), second):
            expect(call, status=0, out="", err="")
        found = listing(tmp_path / f"{number}/missing")
        wanted = {"first": "first\n", "second": "second\n"}
        check(found == wanted, f"the files of both: {wanted}", found, second)


@task(2)
def test_a_single_file_can_be_a_volume(mydocker, folder):
    """A program often needs one file of the host's, such as its settings, and no directory."""
    file = folder / "file"
    script = (
        "cat /settings; echo of the container >> /settings; grep ' /settings ' /proc/1/mountinfo"
    )
    call = expect(run(mydocker, script, f"{file}:/settings"), status=0, err="")
    check(call.text.startswith("of the host\n"), "the content of the host's file", call.text, call)
    written = text(file)
    wanted = "of the host\nof the container\n"
    check(written == wanted, "what the container wrote is in the host's file", written, call)
    fields = [line.split() for line in call.text.splitlines()[1:]]
    is_it = len(fields) == 1 and "".join(fields[0][3:4]).endswith("/file")
    check(is_it, "a mount of that file at /settings", call.text, call)


@task(2)
@layers
def test_a_missing_place_in_the_container_is_made(mydocker, folder):
    """CONTAINER need not be in the image. It is made for this container, and for no other."""
    volumes = (f"{folder}:/not/there/yet", f"{folder}/file:/nor/this/file")
    call = run(mydocker, "cat /not/there/yet/file /nor/this/file", *volumes)
    expect(call, status=0, out="of the host\nof the host\n", err="")
    call = run(mydocker, "ls -d /not /nor; echo end")
    expect(call, out="end\n")


@task(2)
@layers
def test_a_volume_covers_what_the_image_has_there(mydocker, folder):
    """Where something is mounted, one sees that and not what lies below; that stays as it was."""
    volumes = (f"{folder}:/usr", f"{folder}/below/kept:/etc/passwd")
    call = run(mydocker, "ls /usr; cat /etc/passwd; rm /usr/file", *volumes)
    expect(call, status=0, out="below\nfile\nkept\n", err="")
    call = run(mydocker, "ls -d /usr/bin /usr/file; grep -o ^root /etc/passwd")
    expect(call, status=0, out="/usr/bin\nroot\n")


# Task 3: Read-only


@task(3)
@vm
def test_a_read_only_volume_refuses_writes(mydocker, folder):
    """`:ro` lets a container read what it must not change: whoever is root in there, too."""
    before = listing(folder)
    script = """cat /data/file
        echo x > /data/new; echo x >> /data/file; rm /data/file; mkdir /data/made
        chmod 777 /data/below; mv /data/below /data/moved; echo end"""
    call = run(mydocker, script, f"{folder}:/data:ro")
    expect(call, out="of the host\nend\n")
    refused = call.errors.count(READ_ONLY)
    check(refused == 6, f"each of the six is refused with `{READ_ONLY}`", refused, call)
    check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)


@task(3)
def test_a_volume_can_be_written_to_unless_it_says_ro(mydocker, folder):
    """`rw` is what a volume is anyway; it can be said, too."""
    call = run(mydocker, "echo rw > /a/rw; echo x > /b/x", f"{folder}:/a:rw", f"{folder}:/b:ro")
    expect(call)
    check(READ_ONLY in call.errors, f"`{READ_ONLY}` for /b", call.errors, call)
    check(text(folder / "rw") == "rw\n", "what was written to /a is there", listing(folder), call)
    check(not (folder / "x").exists(), "what was written to /b is not", listing(folder), call)


@task(3)
def test_a_read_only_volume_with_a_name_that_is_not_ascii(mydocker, folder):
    """Names are bytes. Who calls, and in which language, must not decide what is read-only."""
    volume = f"{folder}:/dätä:ro"
    script = "cat /dätä/file; echo x > /dätä/new"
    for language in ({}, ASCII_ONLY):
        words = ("run", "--rm", "-v", volume, "busybox", "sh", "-c", script)
        call = expect(mydocker(*words, env=language), out="of the host\n")
        check(READ_ONLY in call.errors, f"`{READ_ONLY}`", call.errors, call)


@task(3)
@pytest.mark.parametrize("name", ["a b", "a\tb", "a\nb", "a\\b", "a\\040b"])
def test_a_read_only_volume_whose_name_is_escaped_in_mountinfo(mydocker, folder, name):
    """What stands between fields or ends a line is written in octal in /proc/self/mountinfo."""
    script = 'cat "/$0/file"; echo x > "/$0/new"'
    volume = f"{folder}:/{name}:ro"
    call = mydocker("run", "--rm", "-v", volume, "busybox", "sh", "-c", script, name)
    expect(call, out="of the host\n")
    check(READ_ONLY in call.errors, f"`{READ_ONLY}`", call.errors, call)


@task(3)
@pytest.mark.parametrize(
    "name", ["a\x0bb", "a\x1cb", "a\u00a0b", "a\u2028b"], ids=["VT", "FS", "NBSP", "LS"]
)
def test_a_read_only_volume_whose_name_python_would_split(mydocker, folder, name):
    """`split` and `splitlines` know more blanks and ends of lines than the kernel does."""
    script = 'cat "/$0/file"; echo x > "/$0/new"'
    words = ("run", "--rm", "-v", f"{folder}:/{name}:ro", "busybox", "sh", "-c", script, name)
    call = expect(mydocker(*words), out="of the host\n")
    check(READ_ONLY in call.errors, f"`{READ_ONLY}`", call.errors, call)


@task(3)
def test_a_read_only_file(mydocker, folder):
    """One file can be read-only, and what lies around it can be written to all the same."""
    script = "cat /etc/settings; echo x > /etc/beside; echo x >> /etc/settings"
    call = run(mydocker, script, f"{folder}/file:/etc/settings:ro")
    expect(call, out="of the host\n")
    check(READ_ONLY in call.errors, f"`{READ_ONLY}` for the file", call.errors, call)
    written = text(folder / "file")
    check(written == "of the host\n", "the host's file as it was", written, call)


@task(3)
def test_read_only_is_for_the_container_only(mydocker, folder):
    """The host goes on writing, and the container sees it: the mount is read-only, not the disk."""
    script = "echo ready; read line; cat /data/new; echo x > /data/x"
    words = (
        "run",
        "--rm",
        "-i",
        "-v",
        f"{folder}:/data:ro",
        "busybox",
        "sh",
        "-c",
        script,
    )
    running = started(mydocker.start(*words, stdin=None))
    written = mydocker.host.run(
        ["sh", "-c", 'echo outside > "$1/new"', "sh", str(folder)], env=mydocker.env
    )
    expect(written, status=0)
    running.type(b"\n")
    call = expect(running.wait(), out="ready\noutside\n")
    check(READ_ONLY in call.errors, f"`{READ_ONLY}` in the container", call.errors, call)


@task(3)
@ours
def test_read_only_is_not_for_the_whole_file_system(mydocker, folder):
    """A remount without MS_BIND is one of the disk: nobody could write to it, the host neither."""
    with tmpfs_below(mydocker, folder) as inner:
        call = run(mydocker, "cat /data/file; echo x > /data/x", f"{inner}:/data:ro")
        expect(call, out="in the tmpfs\n")
        check(READ_ONLY in call.errors, f"`{READ_ONLY}` in the container", call.errors, call)
        writing = ["sh", "-c", 'echo outside > "$1/new" && cat "$1/new"', "sh", str(inner)]
        expect(mydocker.host.run(writing, env=mydocker.env), status=0, out="outside\n")


@task(3)
@ours
def test_a_read_only_volume_keeps_its_other_flags(mydocker, folder):
    """A remount sets all flags anew. Without `nosuid`, a program in there could make one root."""
    with tmpfs_below(mydocker, folder, "nosuid,nodev,noexec") as inner:
        call = run(mydocker, "grep ' /data ' /proc/self/mountinfo", f"{inner}:/data:ro")
    options = set("".join(expect(call, status=0).text.split()[5:6]).split(","))
    wanted = {"ro", "nosuid", "nodev", "noexec"}
    check(wanted <= options, f"{', '.join(sorted(wanted))} among its options", options, call)


@task(3)
@ours
def test_what_is_mounted_below_is_read_only_too(mydocker, folder):
    """The flag belongs to one mount. A disk that is mounted below HOST is another one."""
    with tmpfs_below(mydocker, folder) as inner:
        expect(run(mydocker, "echo new > /data/inner/new", f"{folder}:/data"), status=0)
        script = "cat /data/inner/file; echo x > /data/inner/x"
        call = run(mydocker, script, f"{folder}:/data:ro")
        expect(call, out="in the tmpfs\n")
        check(READ_ONLY in call.errors, f"`{READ_ONLY}` below as well", call.errors, call)
        writing = ["sh", "-c", 'echo x > "$1/of-the-host"', "sh", str(inner)]
        expect(mydocker.host.run(writing, env=mydocker.env), status=0, err="")


# Task 4: Where a volume is mounted


@task(4)
@layers
@pytest.mark.parametrize(
    "order",
    [
        pytest.param("012", marks=guard),
        "021",
        "102",
        "120",
        "201",
        "210",
    ],  # as typed: the outer first
)
def test_parents_are_mounted_before_what_lies_in_them(mydocker, tmp_path, order):
    """A mount covers what was mounted below it earlier: so the outer one has to come first.

    The order of the options is the user's, and must not matter.
    """
    outer, middle, inner = (tmp_path / name for name in ("outer", "middle", "inner"))
    (outer / "middle").mkdir(parents=True)
    middle.mkdir()
    (middle / "inner").write_text("covered\n")
    for path in (outer / "file", middle / "file", inner):
        path.write_text(f"{path.relative_to(tmp_path)}\n")
    volumes = [f"{outer}:/data", f"{middle}:/data/middle", f"{inner}:/data/middle/inner"]
    script = "cat /data/file /data/middle/file /data/middle/inner"
    call = run(mydocker, script, *(volumes[int(number)] for number in order))
    expect(call, status=0, out="outer/file\nmiddle/file\ninner\n", err="")
    covered = (listing(outer / "middle"), text(middle / "inner"))
    check(covered == ({}, "covered\n"), "what was covered is as it was", covered, call)


@task(4)
@layers
@pytest.mark.parametrize(
    ("place", "there"),
    [
        ("/absolute", "/real/place"),
        ("/relative", "/real/place"),
        ("/upwards", "/real/place"),
        ("/chain", "/real/place"),
        # The kernel follows a link in the middle of a path anyway.
        pytest.param("/parent/place", "/real/place", marks=guard),
        pytest.param("/parent/new/one", "/real/new/one", marks=guard),
        ("/dangling", "/not/there/yet"),
    ],
)
def test_a_link_in_the_image_is_followed_in_the_container(mydocker, tmp_path, folder, place, there):
    """A link is a path, and a path begins at somebody's root: here it is the container's."""
    links = {
        "absolute": "/real/place",
        "relative": "real/place",
        "upwards": "../../../../real/place",
        "chain": "absolute",
        "parent": "/real",
        "dangling": "/not/there/yet",
    }
    lay_image(mydocker, tmp_path, "linked", links)
    call = run(mydocker, f"cat {there}/file", f"{folder}:{place}", image="linked")
    expect(call, status=0, out="of the host\n", err="")


@task(4)
@layers
def test_a_link_in_the_image_is_not_followed_on_the_host(mydocker, tmp_path, folder):
    """An image comes from strangers. A link in it must not say where on the host we mount."""
    private, other = tmp_path / "private", tmp_path / "other"
    private.mkdir()
    other.mkdir()
    (private / "secret").write_text("secret\n")
    before = mydocker.host.mountinfo()
    links = {"out": str(private), "up": f"../../../../../..{other}", "config": "/etc"}
    lay_image(mydocker, tmp_path, "linked", links)
    volumes = (f"{folder}:/out", f"{folder}:/up/made", f"{folder}:/config")
    script = f"""cat {private}/file {other}/made/file /etc/file
        test -e {private}/secret || echo hidden; {STAY}"""
    running = start(mydocker, script, *volumes, image="linked")
    on_the_host = mydocker.host.run(["ls", str(private), str(other)], env=mydocker.env)
    mounted = [line for line in mydocker.host.mountinfo() if line not in before]
    call = end(running)
    wanted = f"{private}:\nsecret\n\n{other}:\n"
    as_it_was = sorted(on_the_host.text.split()) == sorted(wanted.split())
    check(as_it_was, f"on the host, nothing more in these two: {wanted}", on_the_host.text, call)
    check(not mounted, "nothing is mounted on the host", mounted, call)
    wanted = "of the host\n" * 3 + "hidden\nready\n"
    check(call.text == wanted, f"inside, the volume in all three places: {wanted}", call.text, call)


@task(4)
@layers
def test_a_link_in_a_volume_is_followed_in_the_container(mydocker, tmp_path, folder):
    """What lies in a volume can be a link, too, and the container can have made it."""
    outer, private = tmp_path / "outer", tmp_path / "private"
    outer.mkdir()
    private.mkdir()
    (outer / "in").symlink_to(private)
    volumes = (f"{outer}:/data", f"{folder}:/data/in")
    running = start(mydocker, f"cat {private}/file; {STAY}", *volumes)
    on_the_host = mydocker.host.run(["ls", str(private)], env=mydocker.env)
    call = end(running)
    read = call.text.splitlines()
    check("of the host" in read, "the volume where the link leads, inside", call.text, call)
    check(on_the_host.out == b"", "nothing in the host's directory", on_the_host, call)


@task(4)
@ours
@layers
def test_the_order_is_that_of_the_real_places(mydocker, tmp_path, folder):
    """/a-link lies in /a/b, by way of a link. What counts is where a volume really comes to lie."""
    outer = tmp_path / "outer"
    (outer / "in").mkdir(parents=True)
    lay_image(mydocker, tmp_path, "linked", {"a-link": "/a/b/in"})
    for volumes in ((f"{folder}:/a-link", f"{outer}:/a/b"), (f"{outer}:/a/b", f"{folder}:/a-link")):
        call = run(mydocker, "cat /a/b/in/file", *volumes, image="linked")
        expect(call, status=0, out="of the host\n", err="")


# Task 5: Nothing deletes a volume
#
# The guards are tests of what 4.2 has done already: the mounts go with the container.


@task(5)
@guard
@layers
def test_the_files_of_a_volume_stay_when_the_container_ends(mydocker, tmp_path, folder):
    """Cleaning up means to unmount a volume. Whoever deletes instead deletes the host's files."""
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    (outer / "file").write_text("outer\n")
    before = listing(outer), listing(folder)
    for _ in range(2):
        script = "cat /data/file /data/inner/file"
        call = run(mydocker, script, f"{outer}:/data", f"{folder}:/data/inner")
        expect(call, status=0, out="outer\nof the host\n")
        after = listing(outer), listing(folder)
        check(after == before, f"on the host, still {before}", after, call)


@task(5)
@guard
@vm
@layers
def test_a_volume_that_is_busy_keeps_its_files(mydocker, folder):
    """A process that stands in a mount keeps it from being unmounted (EBUSY, "busy").

    Whoever goes on as if it had worked, and removes the directory, removes the host's files.
    """
    before = listing(folder)
    running = start(mydocker, STAY, f"{folder}:/data")
    inside = Path(f"/proc/{first_process(running).inner}/root/data")
    with standing_in(mydocker, folder, inside, mydocker.root / "mnt/data"):
        call = end(running)
        check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)
        call = expect(run(mydocker, "true"), status=0)
        check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)


@task(5)
@guard
@layers
def test_a_process_that_still_writes_loses_nothing(mydocker, folder):
    """When PID 1 ends, others of the container may be busy in the volume for a moment."""
    before = listing(folder)
    script = """cd /data/below
        for n in 1 2 3 4; do (while :; do echo more >> written; done) & done
        (cd /data && sleep 1000) &
        exec 9< /data/file
        while ! test -s written; do :; done"""
    for _ in range(3):
        call = run(mydocker, script, f"{folder}:/data")
        expect(call, status=0, out="", err="")
        written = folder / "below" / "written"
        check(written.exists(), "what they wrote is in the volume", listing(folder), call)
        written.unlink()
        check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)


@task(5)
@guard
@layers
@ours
@needs("unotify")
def test_killed_while_it_starts(mydocker, folder):
    """SIGKILL lets nobody clean up. Whoever starts next finds what is left, a volume perhaps.

    At every moment of a start, the host's files stay, and the next container starts.
    """
    mydocker.may_leave("cgroup")  # until 5.6, nothing clears these away after a crash
    before = listing(folder)
    volumes = (f"{folder}:/data", f"{folder}/below:/data/below")
    expect(run(mydocker, "true", *volumes), status=0)
    for crash_point in crash_points(CRASH_POINTS):
        running = begin(mydocker, "exec sleep 1000", *volumes, crash_point=crash_point)
        with crash_point:
            running.kill()
        running.wait()
        next_one_starts(mydocker, folder, before)


@task(5)
@guard
@layers
@ours
def test_killed_while_it_runs(mydocker, folder):
    """A `run` that is killed takes its container along, and leaves the rest to the next one."""
    mydocker.may_leave("cgroup")
    before = listing(folder)
    for volumes in ([f"{folder}:/data"], [f"{folder}:/data", f"{folder}/below:/data/below:ro"]):
        running = start(mydocker, STAY, *volumes)
        running.stop()
        next_one_starts(mydocker, folder, before)


@task(5)
@guard
@layers
@needs("unotify")
def test_killed_while_it_cleans_up(mydocker, folder):
    """Cleaning up has a middle, too: unmounted in part, removed in part."""
    mydocker.may_leave("cgroup")
    before = listing(folder)
    volumes = (f"{folder}:/data", f"{folder}/below:/data/below")
    for number in range(CRASH_POINTS):
        crash_point = CrashPoint(None)
        running = started(begin(mydocker, STAY, *volumes, crash_point=crash_point))
        first = first_process(running).pid
        crash_point.number = len(crash_point.seen) + number
        os.kill(first, signal.SIGKILL)
        with crash_point:
            running.kill()
        running.wait()
        next_one_starts(mydocker, folder, before)


@task(5)
@guard
def test_a_start_that_failed_keeps_the_files(mydocker, folder):
    """The volume is mounted when it turns out that there is no such command."""
    before = listing(folder)
    expect(run(mydocker, "true", f"{folder}:/data"), status=0)
    options = ("--rm", "-v", f"{folder}:/data", "-v", f"{folder}/file:/file")
    call = mydocker("run", *options, "busybox", "no-such-command")
    expect(call, status=127, out="", complaint=["no-such-command"])
    check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)


@task(5)
@guard
def test_the_directory_is_taken_away_meanwhile(mydocker, folder):
    """Another one of the same name is another directory: nothing in it is the container's."""
    running = start(mydocker, STAY, f"{folder}:/data")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "other").write_text("of another\n")
    call = end(running)
    found = listing(folder)
    check(found == {"other": "of another\n"}, "the other directory as it was", found, call)
    expect(run(mydocker, "ls /data", f"{folder}:/data"), status=0, out="other\n")


@task(5)
@guard
@ours
@pytest.mark.parametrize("place", ["volumes", "images/other"])
def test_a_volume_among_the_files_of_mydocker(mydocker, place):
    """It may lie below MYDOCKER_ROOT, or be the directory of an image: it is the user's choice."""
    path = mydocker.root / place
    path.mkdir()
    (path / "file").write_text("of the host\n")
    try:
        call = run(mydocker, "cat /data/file; echo new > /data/new", f"{path}:/data")
        expect(call, status=0, out="of the host\n", err="")
        call = expect(run(mydocker, "true"), status=0)
        wanted = {"file": "of the host\n", "new": "new\n"}
        check(listing(path) == wanted, f"on the host, {wanted}", listing(path), call)
    finally:
        shutil.rmtree(path)


@task(5)
@ours
@pytest.mark.parametrize(
    ("words", "status", "named"),
    [
        # These two fail before HOST is made.
        pytest.param(["no-such-image", "true"], 125, "no-such-image", marks=guard),
        pytest.param(["-m", "1k", "busybox", "true"], 125, "1k", marks=guard),
        (["-v", "/etc/passwd:/etc", "busybox", "true"], 125, "/etc"),
        (["busybox", "no-such-command"], 127, "no-such-command"),
        (["busybox", "/etc"], 126, "/etc"),
    ],
    ids=["no image", "a bad option", "another volume", "no command", "a directory"],
)
def test_a_start_that_failed_leaves_no_directory(mydocker, tmp_path, words, status, named):
    """HOST was made for a container that never was. It goes again, as all of a failed start."""
    made = tmp_path / "made"
    good = run(mydocker, "true", f"{made}/for/it:/data")
    expect(good, status=0)
    check((made / "for" / "it").is_dir(), "HOST is made where the start succeeds", "it is not")
    shutil.rmtree(made)
    call = mydocker("run", "--rm", "-v", f"{made}/for/it:/data", *words)
    expect(call, status=status, out="", complaint=[named])
    check(not made.exists(), "HOST and its parents are not there", listing(tmp_path), call)


@task(5)
@guard  # until this task nothing is taken back
@ours
@needs("unotify")
def test_a_start_that_failed_takes_no_file_of_somebody_else(mydocker, tmp_path):
    """HOST was made a moment ago, and somebody has put a file there: now it is his directory."""
    made = tmp_path / "made"
    for crash_point in crash_points(6):
        words = ("run", "--rm", "-v", f"{made}:/data", "busybox", "no-such-command")
        running = mydocker.start(*words, crash_point=crash_point)
        with crash_point:
            is_there = made.is_dir()
            if is_there:
                (made / "file").write_text("of somebody else\n")
        call = expect(running.wait(), status=127, out="", complaint=["no-such-command"])
        if is_there:
            there = text(made / "file") == "of somebody else\n"
            check(there, "the file is still there", listing(tmp_path), call)
            shutil.rmtree(made)


# Task 6: What is refused

MISSING = "MISSING"  # stands for the path of a directory that is not there, and must not be made


@task(6)
@pytest.mark.parametrize(
    ("volume", "named"),
    [
        pytest.param("/alone", "/alone", marks=[ours, guard]),  # no test may make that on the host
        pytest.param("name:/data", "name:/data", marks=ours),
        pytest.param("./here:/data", "./here:/data", marks=ours),
        pytest.param("../here:/data", "../here:/data", marks=ours),
        (":/data", ":/data"),
        ("MISSING:", "MISSING:"),
        ("MISSING::ro", "MISSING::ro"),
        pytest.param("MISSING:/data:", "MISSING:/data:", marks=ours),
        pytest.param(":", ":", marks=guard),  # any message has a colon
        ("::", "::"),
        pytest.param("", "-v", marks=ours),
        ("MISSING:relative", "relative"),
        ("MISSING:./relative:ro", "./relative"),
        ("MISSING:/data:ro:more", "MISSING:/data:ro:more"),
        ("MISSING:/data:writable", "writable"),
        ("MISSING:/data:RO", "RO"),
        ("MISSING:/", "/"),
        ("MISSING://", "//"),
        ("MISSING:/.", "/."),
        ("MISSING:/x/..:ro", "/x/.."),
        ("MISSING:/..", "/.."),
    ],
)
def test_a_volume_that_makes_no_sense_is_refused(mydocker, tmp_path, folder, volume, named):
    """What was meant is not clear. Guessing could mount, or make, something at a wrong place."""
    expect(run(mydocker, "cat /data/file", f"{folder}:/data:ro"), status=0, out="of the host\n")
    missing = tmp_path / "missing" / "place"
    here = listing(mydocker.directory)
    call = run(mydocker, "echo started", volume.replace(MISSING, str(missing)))
    expect(call, status=125, out="", complaint=[named.replace(MISSING, str(missing))])
    check(not missing.parent.exists(), "HOST is not made", listing(tmp_path), call)
    left = listing(mydocker.directory)
    check(left == here, "nothing made where it was called", left, call)


@task(6)
@pytest.mark.parametrize(
    ("first", "second"),
    [("/data", "/data"), ("/data", "/data/"), ("/a/b", "//a/./b"), ("/data", "/x/../data:ro")],
)
def test_two_volumes_at_one_place_are_refused(mydocker, tmp_path, folder, first, second):
    """One would cover the other, and nobody would know why his files are not there."""
    good = run(mydocker, "cat /data/file /other/file", f"{folder}:/data", f"{folder}:/other")
    expect(good, status=0, out="of the host\nof the host\n")
    missing = tmp_path / "missing"
    call = run(mydocker, "echo started", f"{missing}:{first}", f"{folder}:{second}")
    expect(call, status=125, out="", complaint=[first])
    check(not missing.exists(), "HOST is not made", listing(tmp_path), call)


@task(6)
@pytest.mark.parametrize(
    "place",
    [
        # Where init reads its own /proc before the exec, these three keep it from starting.
        pytest.param("/proc", marks=guard),
        pytest.param("/proc/", marks=guard),
        "/proc/sys/kernel",
        pytest.param("/x/../proc/1", marks=guard),
    ],
)
def test_a_volume_in_proc_is_refused(mydocker, tmp_path, folder, place):
    """Programs believe what /proc says; a volume there could tell them anything."""
    good = run(mydocker, "cat /process/file", f"{folder}:/process")
    expect(good, status=0, out="of the host\n")
    missing = tmp_path / "missing"
    call = run(mydocker, "echo started", f"{missing}:{place}")
    expect(call, status=125, out="", complaint=["/proc"])
    check(not missing.exists(), "HOST is not made", listing(tmp_path), call)


@task(6)
@ours
@pytest.mark.parametrize("name", ["to-proc", "to-root"])
def test_a_link_to_what_is_refused_is_refused(mydocker, tmp_path, folder, name):
    """Where a volume comes to lie is what counts, and not how it is spelled."""
    links = {"to-proc": "/proc", "to-root": "usr/..", "good": "/usr"}
    lay_image(mydocker, tmp_path, "linked", links)
    good = run(mydocker, "cat /usr/file", f"{folder}:/good", image="linked")
    expect(good, status=0, out="of the host\n")
    missing = tmp_path / "missing"
    volumes = (f"{missing}:/other", f"{folder}:/{name}")
    call = run(mydocker, "echo started", *volumes, image="linked")
    expect(call, status=125, out="", complaint=[f"/{name}"])
    check(not missing.exists(), "HOST is not made", listing(tmp_path), call)


@task(6)
def test_a_loop_of_links_is_refused(mydocker, tmp_path, folder):
    """/loop leads to /round, and that to /loop. Whoever follows them never ends."""
    links = {"loop": "/round", "round": "loop", "self": "self/x", "good": "/place"}
    lay_image(mydocker, tmp_path, "linked", links)
    good = run(mydocker, "cat /place/file", f"{folder}:/good", image="linked")
    expect(good, status=0, out="of the host\n")
    for place in ("/loop", "/round/below", "/self"):
        call = run(mydocker, "echo started", f"{folder}:{place}", image="linked")
        expect(call, status=125, out="", complaint=[place])


@task(6)
@ours
def test_a_file_on_a_directory_is_refused(mydocker, tmp_path, folder):
    """A mount point is of the kind of what is mounted there: a directory, or a file."""
    good = run(mydocker, "cat /etc/passwd", f"{folder}/file:/etc/passwd", f"{folder}:/mnt")
    expect(good, status=0, out="of the host\n")
    missing = tmp_path / "missing"
    for volume, named in (
        (f"{folder}/file:/etc", "/etc"),
        (f"{folder}:/etc/passwd", "/etc/passwd"),
        (f"{missing}:/etc/passwd", "/etc/passwd"),
        (f"{folder}:/etc/passwd/below", "/etc/passwd/below"),
    ):
        call = run(mydocker, "echo started", f"{missing}:/other", volume)
        expect(call, status=125, out="", complaint=[named])
        check(not missing.exists(), "HOST is not made", listing(tmp_path), call)


@task(6)
@guard  # mkdir(2) refuses that, and says where
def test_a_directory_that_cannot_be_made_is_refused(mydocker, folder):
    """There is a file where HOST should have a parent. That is told, and the file stays."""
    before = listing(folder)
    expect(run(mydocker, "test -d /data", f"{folder}/below:/data"), status=0)
    call = run(mydocker, "echo started", f"{folder}/file/below:/data")
    expect(call, status=125, out="", complaint=[f"{folder}/file"])
    check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)


# Helpers


def run(
    mydocker: Mydocker, script: str, *volumes: str, image: str = "busybox", before: tuple = ()
) -> Call:
    """Run a shell script in a container with volumes."""
    options = [word for volume in volumes for word in ("-v", volume)]
    return mydocker("run", "--rm", *options, image, "sh", "-c", script, before=before)


def begin(
    mydocker: Mydocker,
    script: str,
    *volumes: str,
    image: str = "busybox",
    crash_point: CrashPoint | None = None,
) -> Running:
    """The same, left running."""
    options = [word for volume in volumes for word in ("-v", volume)]
    words = ["run", "--rm", *options, image, "sh", "-c", script]
    return mydocker.start(*words, crash_point=crash_point)


def start(mydocker: Mydocker, script: str, *volumes: str, image: str = "busybox") -> Running:
    """The same, left running when it has said that it is ready."""
    return started(begin(mydocker, script, *volumes, image=image))


def text(path: Path) -> str | None:
    """The content of a file; None if there is none."""
    return path.read_text(errors="replace") if path.is_file() else None


def listing(top: Path) -> dict[str, str | None]:
    """What lies below a directory, by path: the content of each file, None for all else."""
    found = {}
    for path in sorted(top.rglob("*")):
        found[str(path.relative_to(top))] = None if path.is_symlink() else text(path)
    return found


def lay_image(mydocker: Mydocker, directory: Path, name: str, links: dict[str, str]) -> None:
    """Make an image: busybox, a directory /real/place, and symbolic links."""
    tar = directory / f"{name}.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(mydocker.root / "images" / "busybox", ".")
        for path in ("real", "real/place"):
            member = tarfile.TarInfo(path)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    mydocker.lay_image(tar, name)


@contextlib.contextmanager
def tmpfs_below(mydocker: Mydocker, folder: Path, options: str = "rw") -> Iterator[Path]:
    """A file system that the host has mounted at `inner`, with a file in it."""
    host, inner = mydocker.host, folder / "inner"
    inner.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", options, "of-the-host", str(inner)]
    expect(host.run(mounting, env=mydocker.env), status=0)
    try:
        writing = ["sh", "-c", 'echo in the tmpfs > "$1/file"', "sh", str(inner)]
        expect(host.run(writing, env=mydocker.env), status=0)
        yield inner
        left = [line for line in host.mountinfo() if f" {inner} " in line]
        check(len(left) == 1, "the host's mount is still there", left)
    finally:
        host.run(["umount", str(inner)], env=mydocker.env)


@contextlib.contextmanager
def standing_in(mydocker: Mydocker, *places: Path) -> Iterator[None]:
    """Processes of the host, each with one of these directories as its own, if it is there."""
    host = mydocker.host
    there = [p for p in places if host.run(["test", "-d", str(p)], env=mydocker.env).status == 0]
    sleepers = [host.start(["sleep", "1000"], env=mydocker.env, cwd=place) for place in there]
    try:
        yield
    finally:
        for sleeper in sleepers:
            sleeper.stop()


def next_one_starts(mydocker: Mydocker, folder: Path, before: dict[str, str | None]) -> None:
    """After a crash: the container is gone, the files are there, and `run` works."""
    host = mydocker.host
    left = host.until(lambda: not host.processes()) or host.processes()
    check(left is True, "no process of the container is left", left)
    check(listing(folder) == before, f"on the host, still {before}", listing(folder))
    call = run(mydocker, "cat /data/file", f"{folder}:/data")
    check(listing(folder) == before, f"on the host, still {before}", listing(folder), call)
    expect(call, status=0, out="of the host\n")
