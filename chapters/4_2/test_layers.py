"""Chapter 4.2: an image is read-only, and a container writes to a layer above it."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dojo.scratch import CrashPoint, Running
from dojo.testkit import machine
from dojo.testkit.containers import end, first_process, started
from dojo.testkit.crash_points import crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import mounts_in, same_mounts
from dojo.testkit.testing import check, expect, guard, layers, needs, ours, task, vm
from dojo.testkit.trees import describe, differences

# Where a container's files are while it runs, below MYDOCKER_ROOT.
WHILE_IT_RUNS = ("writeLayer", "mnt", "work")
CHANGES = """
set -e
echo new > /etc/new; echo more:x:7:7::/:/bin/sh >> /etc/passwd; echo other > /etc/group
rm /etc/shells; mv /etc/hosts /etc/moved; chmod 600 /etc/moved; chown 12:34 /etc/passwd
ln /etc/group /etc/again; ln -s nowhere /etc/link; mkfifo /etc/fifo; mkdir -p /home/a/b
rm -rf /var; mkdir /var; rm -r /usr/lib; echo a file > /usr/lib; rm -r /mnt
chmod 700 /home; chown 1:1 /usr; touch -d '2001-02-03 04:05' /root; chmod 711 /; touch /top
"""


def run(mydocker: Mydocker, script: str, *options: str, **more):
    """Run a script in a container; status 99 where it finds itself among the host's files."""
    return mydocker("run", "--rm", *options, "busybox", "sh", "-c", safe(mydocker, script), **more)


def safe(mydocker: Mydocker, script: str) -> str:
    """Without a root of its own, a script would change the files of this machine."""
    here = shlex.quote(str(mydocker.root))
    return f"test ! -e {here} || {{ echo these are the files of the host >&2; exit 99; }}; {script}"


# Task 1: A layer above the image


@task(1)
@layers
def test_a_container_can_write(mydocker):
    """Its root looks as if it were its own: files can be made anywhere."""
    mydocker.may_leave("file")  # a layer stays until task 2, which would be told here
    expect(run(mydocker, "echo x > /new && cat /new"), status=0, out="x\n", err="")


@task(1)
@layers
def test_a_file_of_the_image_can_be_changed(mydocker):
    """It is copied up into the container's layer first; who writes does not notice."""
    script = "echo 'last:x:99:' >> /etc/group && head -n 1 /etc/group && tail -n 1 /etc/group"
    expect(run(mydocker, script), status=0, out="root:x:0:\nlast:x:99:\n", err="")


@task(1)
@layers
def test_a_file_of_the_image_can_be_deleted(mydocker):
    """The image still has it. The layer holds a mark that hides it: a whiteout."""
    script = "rm /etc/shells && ls /etc/shells; ls /etc | grep -c shells; echo end"
    call = expect(run(mydocker, script), out="0\nend\n")
    check("No such file" in call.errors, "ls does not find it any more", call.errors, call)


@task(1)
@vm
@layers
@ours
def test_the_image_is_not_touched(mydocker):
    """Whatever a container does: to the byte, the mode and the time the image is what it was."""
    image = mydocker.root / "images/busybox"
    before = describe(image)
    expect(run(mydocker, f"{CHANGES}\necho done"), status=0, out="done\n", err="")
    unchanged(before, image)


@task(1)
@layers
@ours
def test_the_root_directory_is_that_of_the_image(mydocker):
    """The top of the union shows the mode and owner of the upper layer's top directory.

    One made with 0700 would keep everybody but root out of the container's files.
    """
    image = mydocker.root / "images/busybox"
    os.chown(image, 12, 34)
    image.chmod(0o1751)
    caller = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    call = run(mydocker, "stat -c '%a %u:%g' / && touch /new", before=caller)
    expect(call, status=0, out="1751 12:34\n", err="")


@task(1)
@layers
def test_somebody_else_than_root_can_use_it(mydocker):
    """Not every process of a container stays root: a server gives that up as soon as it can."""
    script = (
        "chmod 1777 /tmp; su -s /bin/sh nobody -c "
        "'cat /etc/shells && echo mine > /tmp/mine && stat -c %U /tmp/mine'"
    )
    expect(run(mydocker, script), status=0, out="/bin/sh\n/bin/ash\nnobody\n", err="")


@task(1)
@layers
def test_the_mode_of_new_files_is_as_asked_for(mydocker):
    """The umask is 0022 in a container; the storage below must not take more away."""
    script = (
        "touch /file && mkdir /directory && umask 0 && mkdir /open && stat -c %a /file /dir* /open"
    )
    expect(run(mydocker, script), status=0, out="644\n755\n777\n")


@task(1)
@layers
@ours
def test_an_image_may_lack_the_directories_of_the_kernel(mydocker):
    """Not each image has a /proc to mount on. It can be made now, in the layer of the container."""
    images = mydocker.root / "images"
    bare = images / "bare"
    subprocess.run(["cp", "-a", str(images / "busybox"), str(bare)], check=True)
    for name in ("proc", "sys", "dev"):
        shutil.rmtree(bare / name)
    before = describe(bare)
    script = "echo x > /dev/null; cat /proc/self/comm; ls -d /sys/class/net/lo"
    call = mydocker("run", "--rm", "bare", "sh", "-c", safe(mydocker, script))
    expect(call, status=0, out="cat\n/sys/class/net/lo\n", err="")
    unchanged(before, bare)


@task(1)
@layers
@ours
@pytest.mark.parametrize("place", ["/", "MYDOCKER_ROOT", "the image"])
def test_it_does_not_matter_where_run_is_called(mydocker, place):
    """Paths of layers are not taken from the working directory: the root is where it is."""
    image = mydocker.root / "images/busybox"
    cwd = {"/": Path("/"), "MYDOCKER_ROOT": mydocker.root}.get(place, image)
    before = describe(image)
    script = "echo x > /new; rm /etc/shells; cat /new; ls /etc/shells"
    expect(run(mydocker, f"{script}; echo end", cwd=cwd), out="x\nend\n")
    unchanged(before, image)


@task(1)
@layers
@ours
def test_a_relative_root_is_taken_from_the_working_directory(mydocker):
    """MYDOCKER_ROOT=root means what it means for any other program: a path from here."""
    here = {"MYDOCKER_ROOT": mydocker.root.name}
    call = run(mydocker, "echo x > /new; cat /new", cwd=mydocker.root.parent, env=here)
    expect(call, status=0, out="x\n", err="")


# And all that can be done to a file

SCRIPTS = {
    "overwrite": ("echo new > /etc/group; cat /etc/group", "new\n"),
    "truncate": (
        "truncate -s 5 /etc/group; cat /etc/group; : > /etc/group; wc -c < /etc/group",
        "root:0\n",
    ),
    "write in the middle": (
        "printf ROOT | dd of=/etc/group conv=notrunc 2>/dev/null; head -n 2 /etc/group",
        "ROOT:x:0:\ndaemon:x:1:\n",
    ),
    "edit": ("sed -i s/ash/bash/ /etc/shells; cat /etc/shells", "/bin/sh\n/bin/bash\n"),
    "rename": ("mv /etc/shells /home/s; cat /home/s; ls /etc/shells", "/bin/sh\n/bin/ash\n"),
    "rename over a file": ("mv /etc/shells /etc/group; cat /etc/group", "/bin/sh\n/bin/ash\n"),
    "rename over a link": (
        "ln -s group /etc/l; mv -T /etc/shells /etc/l; cat /etc/l; wc -l < /etc/group",
        "/bin/sh\n/bin/ash\n12\n",
    ),
    "rename a directory": ("mv /var /v; find /v /var 2>&1 | sort | head -n 2", "/v\n/v/log\n"),
    "delete and make anew": ("rm /etc/shells; echo x > /etc/shells; cat /etc/shells", "x\n"),
    "chmod": ("chmod 4711 /etc/shells; stat -c '%a %s' /etc/shells", "4711 17\n"),
    "chmod a directory": ("chmod 2700 /etc; stat -c %a /etc; wc -l < /etc/shells", "2700\n2\n"),
    "chown": ("chown 12:34 /etc/shells; stat -c %u:%g /etc/shells /etc/group", "12:34\n0:0\n"),
    "chown a link": ("ln -s x /l; chown -h 5:6 /l; stat -c %u:%g /l", "5:6\n"),
    "times": (
        "chmod 600 /etc/shells; stat -c %Y /etc/shells; touch -d @1234567890 /etc/shells; "
        "chown 1 /etc/shells; stat -c %Y /etc/shells",
        "1577836800\n1234567890\n",
    ),
    "times of a directory": ("chmod 711 /bin/busybox; stat -c %Y /bin", "1577836800\n"),
    "a symbolic link": (
        "ln -s ../etc/shells /home/l; cat /home/l; readlink /home/l",
        "/bin/sh\n/bin/ash\n../etc/shells\n",
    ),
    "write through a link": ("ln -s shells /etc/l; echo x > /etc/l; cat /etc/shells", "x\n"),
    "a hard link": (
        "ln /etc/shells /etc/s; echo x >> /etc/shells; tail -n 1 /etc/s; stat -c %h /etc/s; "
        "rm /etc/shells; tail -n 1 /etc/s",
        "x\n2\nx\n",
    ),
    "a fifo": ("mkfifo /f; echo through > /f & cat /f; rm /f; ls /f", "through\n"),
    "a device": ("mknod -m 600 /n c 1 3; echo x > /n; stat -c '%t:%T %s' /n", "1:3 0\n"),
    "a file with a hole": ("truncate -s 1G /s; stat -c %s /s; du -m /s | cut -f1", None),
    "a large file": ("head -c 9000000 /dev/zero > /l; cat /l /l > /m; wc -c < /m", "18000000\n"),
    "a directory of the image, deleted": ("rm -r /var; ls -d /var; mkdir /home/x; ls /home", "x\n"),
    "a directory of the image, made anew": (
        "rm -r /usr/sbin; mkdir /usr/sbin; cd /usr/sbin; ls -A; touch a; ls -A",
        "a\n",
    ),
    "below one that was made anew": (
        "rm -r /var; mkdir -p /var/log/x; find /var | sort",
        "/var\n/var/log\n/var/log/x\n",
    ),
    "a file in place of a directory": (
        "rm -r /var; echo x > /var; cat /var; rm /var; mkdir /var; ls -A /var; rmdir /var; ls /var",
        "x\n",
    ),
    "a directory in place of a file": (
        "rm /etc/shells; mkdir /etc/shells; touch /etc/shells/a; ls /etc/shells; "
        "rm -r /etc/shells; echo y > /etc/shells; cat /etc/shells",
        "a\ny\n",
    ),
    "a link in place of a directory": (
        "rm -r /var; ln -s etc /var; cat /var/shells",
        "/bin/sh\n/bin/ash\n",
    ),
    "everything in a directory": (
        "rm /usr/bin/*; ls -A /usr/bin; rmdir /usr/bin; ls -d /usr/bin",
        "",
    ),
    "a directory that is not empty": ("rmdir /var; ls /var", "log\ntmp\n"),
    "strange names": (
        "cd /home; touch -- ' ' -n 'a\nb' \"$(printf '\\377')\"; set -- *; echo $#; "
        "rm -- ' ' -n; set -- *; echo $#; rm *; ls",
        "4\n2\n",
    ),
    "deep down": (
        "d=/home; for i in $(seq 50); do d=$d/a-name-that-is-not-short; done; mkdir -p $d; "
        "echo x > $d/f; cat $d/f; rm -r /home/*; ls /home",
        "x\n",
    ),
    "many files": ("mkdir /d; cd /d; touch $(seq 2000); rm *7; ls | wc -l", "1800\n"),
    "a program": (
        "rm /bin/echo; cp /bin/busybox /bin/echo; /bin/echo x; rm /bin/echo; "
        "echo 'cat /etc/shells' > /bin/echo; chmod 755 /bin/echo; /bin/echo y",
        "x\n/bin/sh\n/bin/ash\n",
    ),
}


@task(1)
@layers
@pytest.mark.parametrize("what", SCRIPTS)
def test_it_is_as_in_a_plain_directory(mydocker, what):
    """A program cannot tell that there are layers: all that it does to files works as usual."""
    script, out = SCRIPTS[what]
    call = run(mydocker, f"touch /new || exit 98; {script}; echo end")
    expect(call, out=None if out is None else f"{out}end\n")
    if what == "a file with a hole":
        size, used, last = [*call.text.splitlines(), "", "", ""][:3]
        check(last == "end", "the script runs to its end", call.text, call)
        check(size == "1073741824", "a size of 1 GiB", call.text, call)
        is_small = used.isdigit() and int(used) < 100
        check(is_small, "less than 100 MB on the disk", call.text, call)


@task(1)
@vm
@layers
@ours
def test_a_deleted_directory_of_the_image_comes_back_empty(mydocker):
    """What the image has in it must not shine through: the new directory is marked as opaque."""
    inner = mydocker.root / "images/busybox/data/inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("of the image\n")
    before = describe(mydocker.root / "images/busybox")
    script = (
        "cat /data/inner/file; rm -r /data; mkdir -p /data/inner; find /data | sort; "
        "touch /data/inner/new; find /data | sort"
    )
    out = "of the image\n/data\n/data/inner\n/data\n/data/inner\n/data/inner/new\n"
    expect(run(mydocker, script), status=0, out=out)
    unchanged(before, mydocker.root / "images/busybox")


@task(1)
@layers
@ours
def test_xattrs_are_seen_and_can_be_changed(mydocker):
    """Capabilities of programs and the lists of who may do what are kept in them."""
    image = mydocker.root / "images/busybox"
    os.setxattr(image / "etc/group", "trusted.kata", b"of the image")
    before = describe(image)
    script = safe(mydocker, "touch /new && echo ready && exec sleep 1000")
    running = started(mydocker.start("run", "busybox", "sh", "-c", script))
    file = Path(f"/proc/{first_process(running).pid}/root/etc/group")
    found = [attributes(file).get("trusted.kata")]
    file.chmod(0o600)  # copied up
    found.append(attributes(file).get("trusted.kata"))
    os.setxattr(file, "trusted.kata", b"changed")
    found.append(attributes(file).get("trusted.kata"))
    end(running)
    wanted = [b"of the image", b"of the image", b"changed"]
    check(found == wanted, f"trusted.kata, then after a copy-up, then changed: {wanted}", found)
    unchanged(before, image)


# Task 2: What a container wrote goes with it


@task(2)
@vm
@layers
def test_what_was_written_is_gone(mydocker):
    """Each container starts from the image, as if there had never been one before."""
    expect(run(mydocker, "echo x > /new; rm /etc/shells; echo y >> /etc/group"), status=0)
    call = run(mydocker, "ls /new; cat /etc/shells; grep -c y$ /etc/group; touch /again")
    expect(call, status=0, out="/bin/sh\n/bin/ash\n0\n")


@task(2)
@layers
@ours
def test_nothing_is_left(mydocker):
    """`writeLayer/`, `mnt/` and what the driver needs are there while it runs, and no longer."""
    before = sorted(os.listdir(mydocker.root))
    mounts = mydocker.host.mountinfo()
    script = "echo x > /new; mkdir -p /a/b/c; rm -r /usr; cat /new"
    call = expect(run(mydocker, script), status=0, out="x\n")
    gone(mydocker, before, mounts, call)


@task(2)
@layers
@ours
@pytest.mark.parametrize("command", ["no-such-command", "/etc/passwd"])
def test_nothing_is_left_of_a_start_that_failed(mydocker, command):
    """The layers had been mounted by the time the command turned out to be none."""
    expect(run(mydocker, "touch /new"), status=0)
    before = sorted(os.listdir(mydocker.root))
    mounts = mydocker.host.mountinfo()
    call = mydocker("run", "--rm", "busybox", command)
    status = 127 if command == "no-such-command" else 126
    gone(mydocker, before, mounts, expect(call, status=status, out="", complaint=[command]))
    expect(run(mydocker, "echo x > /new; cat /new"), status=0, out="x\n")


@task(2)
@layers
@ours
def test_nothing_is_left_of_a_start_that_was_refused(mydocker):
    """No such image, a wrong option: that is told in one line, before anything is made."""
    expect(run(mydocker, "touch /new"), status=0)
    before = sorted(os.listdir(mydocker.root))
    mounts = mydocker.host.mountinfo()
    for words in (["no-such-image"], ["-m", "much", "busybox"], ["--no-such-option", "busybox"]):
        call = mydocker("run", *words, "true")
        gone(mydocker, before, mounts, expect(call, status=125, out="", complaint=words[:1]))


@task(2)
@layers
@ours
def test_a_busy_mount_point_does_no_harm(mydocker):
    """A process in `mnt/` keeps the union from being unmounted where the host has that mount.

    To go on and remove the directory then would delete files through the mount.
    """
    image = mydocker.root / "images/busybox"
    before = describe(image)
    script = safe(mydocker, "echo x > /new; echo ready; exec sleep 1000")
    running = started(mydocker.start("run", "busybox", "sh", "-c", script))
    point = mydocker.root / "mnt"
    check(point.is_dir(), f"{point}, where the layers are put together", "there is none")
    busy = mydocker.host.start(["sleep", "1000"], cwd=point, env=mydocker.env)
    try:
        end(running)
        unchanged(before, image)
        script = "ls /new; cat /etc/shells; echo x > /again; cat /again"
        expect(run(mydocker, script), status=0, out="/bin/sh\n/bin/ash\nx\n")
    finally:
        busy.stop()
    expect(run(mydocker, script), status=0, out="/bin/sh\n/bin/ash\nx\n")
    unchanged(before, image)


# Task 3: What a crash has left


@task(3)
@layers
@ours
def test_a_container_that_was_killed_is_not_in_the_way(mydocker):
    """SIGKILL gives `run` no time to remove the layer. The next one finds it, and starts clean."""
    mydocker.may_leave("cgroup")  # until 5.6, nothing clears these away after a crash
    image = mydocker.root / "images/busybox"
    before = describe(image)
    script = safe(mydocker, f"{CHANGES}\necho ready; exec sleep 1000")
    running = started(mydocker.start("run", "busybox", "sh", "-c", script))
    first_process(running)
    running.stop()
    mydocker.host.until(lambda: not mydocker.host.processes())
    script = "test ! -e /etc/new && cat /etc/shells && echo x > /new && cat /new"
    expect(run(mydocker, script), status=0, out="/bin/sh\n/bin/ash\nx\n", err="")
    unchanged(before, image)


@task(3)
@layers
@ours
def test_a_layer_that_lies_around_is_not_used(mydocker):
    """Whoever left it, what is in it is of another container."""
    mydocker.may_leave("file")  # from 5.7 on it is in nobody's way, and nobody looks at it
    expect(run(mydocker, "touch /new"), status=0)
    for path in ("writeLayer/etc/left", "work/work/left", "work/left"):
        (mydocker.root / path).parent.mkdir(parents=True, exist_ok=True)
        (mydocker.root / path).touch()
    (mydocker.root / "mnt").mkdir(exist_ok=True)
    call = run(mydocker, "echo x > /etc/new; ls /etc/left; cat /etc/new; touch /etc/shells")
    expect(call, status=0, out="x\n")


# Task 4: A crash at any point


@task(4)
@layers
@ours
@needs("unotify")
@pytest.mark.parametrize("number", [20, 45])
def test_a_crash_while_a_layer_is_removed_is_not_in_the_way(mydocker, number):
    """Half of the layer is gone by then, and the other half may lie at another place."""
    mydocker.may_leave("cgroup")
    script = safe(mydocker, "mkdir $(seq 40); echo ready; exec sleep 1000")
    crash_point = CrashPoint(None)
    words = ("run", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words, crash_point=crash_point))
    first = first_process(running).pid
    crash_point.number = len(crash_point.seen) + number
    os.kill(first, signal.SIGKILL)
    killed_at(crash_point, running, child=False)
    for _ in range(2):
        call = run(mydocker, "test ! -e /1 && mkdir /1 && cat /etc/shells")
        expect(call, status=0, out="/bin/sh\n/bin/ash\n", err="")


@task(4)
@guard  # a few crash points may all lie where task 3 has seen to it
@layers
@ours
@pytest.mark.parametrize("who", ["run", "what it started"])
@needs("unotify")
def test_a_crash_at_any_moment_is_not_in_the_way(mydocker, who):
    """Half a layer, a mount point without a mount, a directory that is half removed."""
    mydocker.may_leave("cgroup")
    image = mydocker.root / "images/busybox"
    before = describe(image)
    script = safe(mydocker, f"{CHANGES}\nexit 0")
    for crash_point in crash_points(7):
        running = mydocker.start("run", "busybox", "sh", "-c", script, crash_point=crash_point)
        killed_at(crash_point, running, child=who != "run")
        call = run(mydocker, "test ! -e /etc/new && touch /new && cat /etc/shells")
        expect(call, status=0, out="/bin/sh\n/bin/ash\n", err="")
    unchanged(before, image)


# Task 5: A root of any name

STRANGE = {
    "a blank": "a b",
    "a colon": "a:b",
    "a comma": "a,b",
    "a backslash": "a\\b",
    "quotes": "a'b\"c",
    "an equals sign": "a=b,upperdir=c",
    "a backslash at its end": "a\\",
    "a newline": "a\nb",
    "a percent sign": "a%b",
    "no ASCII": "größe-\udcff",
}
PLAIN = ("a blank", "quotes", "a newline", "a percent sign", "no ASCII")  # in options of mount(2)


@task(5)
@needs("overlay")
@ours
@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=guard) if what in PLAIN else what for what in STRANGE],
)
def test_a_root_with_a_strange_name(mydocker, tmp_path, what):
    """Options of mount(2) are one text, with commas and colons between them, yet paths have both.

    The kernel reads a backslash before such a character; or it is given no such path at all.
    """
    root = tmp_path / STRANGE[what] / "root"
    expect(run(mydocker, "touch /new"), status=0)
    works_in(mydocker, root)


@task(5)
@needs("overlay")
@ours
@pytest.mark.parametrize("depth", [pytest.param(5, marks=guard), 9, 16])  # 5 fit in
def test_a_root_with_a_long_name(mydocker, tmp_path, depth):
    """The kernel takes 4095 bytes of options, and there are three paths in them."""
    root = tmp_path.joinpath(*["d" * 200] * depth)
    expect(run(mydocker, "touch /new"), status=0)
    works_in(mydocker, root)


# Task 6: A root on which an overlay cannot work


@task(6)
@needs("overlay")
@ours
def test_a_root_on_an_overlay(mydocker, tmp_path):
    """In a container of a CI system, `/` is an overlay, and no upper layer can lie on another one.

    The kernel says "invalid argument", which helps nobody: say what is the matter, and what to do.
    """
    expect(run(mydocker, "touch /new"), status=0)
    with an_overlay(mydocker, tmp_path) as (point, it_works):
        subprocess.run(["cp", "-a", str(mydocker.root / "images"), str(seen(mydocker, point))])
        before = there(seen(mydocker, point))
        mounts = mydocker.host.mountinfo()
        env = {"MYDOCKER_ROOT": str(point), "MYDOCKER_STORAGE_DRIVER": "overlay"}
        call = run(mydocker, "touch /new && echo it works", env=env)
        if call.status == 0 and it_works:
            expect(call, out="it works\n")
        else:
            expect(call, status=125, out="", complaint=["overlay"])
            named = str(point) in call.errors or "MYDOCKER_ROOT" in call.errors
            check(named, f"a message that names {point}, or MYDOCKER_ROOT", call.errors, call)
        after = there(seen(mydocker, point))
        check(after == before, f"in MYDOCKER_ROOT: {before}, as before", after, call)
        same_mounts(mydocker, mounts, call)


# Task 7: Storage drivers


@task(7)
@guard  # until this task it is an overlay, whatever was asked for
@layers
@ours
def test_the_root_is_mounted_by_the_driver_that_was_asked_for(mydocker):
    """MYDOCKER_STORAGE_DRIVER says which file system puts the layers together."""
    driver = mydocker.env["MYDOCKER_STORAGE_DRIVER"]
    call = expect(run(mydocker, "touch /new; cat /proc/self/mountinfo"), status=0)
    kinds = [mount.kind for mount in mounts_in(call) if mount.point == "/"]
    check(kinds == [driver], f"{driver} on /", kinds, call)


@task(7)
@guard  # until this task it is an overlay, which comes first
@ours
@pytest.mark.parametrize("driver", ["auto", None])
def test_a_driver_is_chosen(mydocker, driver):
    """`auto` is the default: overlay where the kernel has it, else AUFS."""
    if not drivers():
        pytest.skip("this kernel has neither overlay nor AUFS")
    env = {} if driver is None else {"MYDOCKER_STORAGE_DRIVER": driver}
    call = expect(run(mydocker, "touch /new; cat /proc/self/mountinfo", env=env), status=0)
    kinds = [mount.kind for mount in mounts_in(call) if mount.point == "/"]
    check(kinds == drivers()[:1], f"{drivers()[0]} on /", kinds, call)


@task(7)
@ours
@pytest.mark.parametrize("name", ["zfs", "Overlay", "overlay,aufs", "../overlay"])
def test_an_unknown_driver_is_refused(mydocker, name):
    """The message names it, and what there is to choose from."""
    good = {"MYDOCKER_STORAGE_DRIVER": "auto"}
    expect(run(mydocker, "touch /new", env=good), status=0)
    call = mydocker("run", "busybox", "true", env={"MYDOCKER_STORAGE_DRIVER": name})
    expect(call, status=125, out="", complaint=[name, *drivers()])


@task(7)
@ours
def test_a_driver_that_the_kernel_lacks_is_refused(mydocker):
    """Few kernels have AUFS. Who asks for it there reads what else can be had."""
    lacking = [driver for driver in ("overlay", "aufs") if driver not in drivers()]
    if len(lacking) != 1:
        pytest.skip("this kernel has both overlay and AUFS, or none of them")
    good = {"MYDOCKER_STORAGE_DRIVER": drivers()[0]}
    expect(run(mydocker, "touch /new", env=good), status=0)
    call = mydocker("run", "busybox", "true", env={"MYDOCKER_STORAGE_DRIVER": lacking[0]})
    expect(call, status=125, out="", complaint=[lacking[0], drivers()[0]])


# What the tests are made of


def attributes(file: Path) -> dict[str, bytes]:
    return {name: os.getxattr(file, name) for name in os.listxattr(file)}


def drivers() -> list[str]:
    """The storage drivers that this kernel has, the one first that is taken by default."""
    return [
        ability.name
        for ability in machine.abilities()
        if ability.name in ("overlay", "aufs") and ability.present
    ]


def works_in(mydocker: Mydocker, root: Path) -> None:
    """Expect layers to work with this MYDOCKER_ROOT, and nothing to be left in it."""
    __tracebackhide__ = True
    root.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(mydocker.root / "images"), str(root)], check=True)
    before = describe(root)
    env = {"MYDOCKER_ROOT": str(root), "MYDOCKER_STORAGE_DRIVER": "overlay"}
    script = "echo x > /new; rm /etc/shells; cat /new; ls /etc/shells; echo end"
    for _ in range(2):
        expect(run(mydocker, script, env=env), out="x\nend\n")
    for name in {*os.listdir(root)} - {*there(root)}:
        (root / name).rmdir()
    found = [line for line in differences(before, describe(root)) if not line.startswith("'.': ")]
    check(not found, "the image is what it was, and nothing is left", "\n".join(found[:10]))


def seen(mydocker: Mydocker, path: Path) -> Path:
    """How a path of the test host is seen from here."""
    return Path(f"/proc/{mydocker.host.pid}/root{path}")


@contextlib.contextmanager
def an_overlay(mydocker: Mydocker, directory: Path) -> Iterator[tuple[Path, bool]]:
    """Mount an overlay on the test host. Where, and whether an upper layer may lie on it."""

    def shell(script: str):
        return mydocker.host.run(["sh", "-c", script], env=mydocker.env, cwd=directory)

    script = (
        "mkdir lower upper work point && "
        "mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work point"
    )
    expect(shell(script), status=0)
    try:
        probe = (
            "mkdir -p point/a point/b point/c && mount -t overlay none "
            "-o lowerdir=lower,upperdir=point/a,workdir=point/b point/c && umount point/c"
        )
        it_works = shell(probe).status == 0
        expect(shell("rm -r point/*"), status=0)
        yield directory / "point", it_works
    finally:
        shell("umount point")


def unchanged(before, image: Path) -> None:
    """Expect the image to be what it was, to the byte, the mode, the time."""
    __tracebackhide__ = True
    found = differences(before, describe(image))
    wanted = "the image is what it was, to the byte, the mode, the time"
    check(not found, wanted, "\n".join(found[:10]))


def there(root: Path) -> list[str]:
    """What is in MYDOCKER_ROOT.

    From 5.2 on containers have records, and later layers of their own. The directories that hold
    those of all of them are nothing of a container that is gone, if they are empty.
    """
    shared = ("containers", *WHILE_IT_RUNS) if (root / "containers").is_dir() else ()
    names = sorted(os.listdir(root))
    return [name for name in names if name not in shared or any((root / name).iterdir())]


def gone(mydocker: Mydocker, before: list[str], mounts: list[str], call) -> None:
    """Expect nothing of a container to be left in MYDOCKER_ROOT, and no mount."""
    __tracebackhide__ = True
    after = there(mydocker.root)
    left = [name for name in after if name in WHILE_IT_RUNS or name not in before]
    check(not left, "nothing more in MYDOCKER_ROOT when the container has ended", left, call)
    now = mydocker.host.mountinfo()
    check(now == mounts, "the host's mounts as they were", set(now) ^ set(mounts), call)


def killed_at(crash_point: CrashPoint, running: Running, child: bool) -> None:
    """Kill `run`, and what it started, at a crash point; or only its child.

    Then `run` still lives, and has to end by itself.
    """
    host = running.host
    with crash_point:
        if child:
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(running.descendants()[0].pid, signal.SIGKILL)
        else:
            running.kill()
    call = running.wait()
    left = host.until(lambda: not host.processes()) or host.processes()
    check(left is True, "no process is left", left, call)
