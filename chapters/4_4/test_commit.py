"""Chapter 4.4: the files of a running container become an image."""

import contextlib
import dataclasses
import errno
import io
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dojo.scratch import Call, CrashPoint, Process, Running
from dojo.testkit import trees
from dojo.testkit.callers import CALLERS, in_a_chroot, tells_what_it_cannot_print
from dojo.testkit.containers import end, first_process, started
from dojo.testkit.crash_points import crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.operations import VERBS, lay_base, sequences
from dojo.testkit.testing import check, examples, expect, guard, layers, needs, ours, task, vm
from dojo.testkit.trees import describe, differences

MEBIBYTE = 1024 * 1024
STAY = "echo ready; exec sleep 1000"
MORE_THAN_FITS = "head -c 18000000 /dev/zero > /big"  # twice into the root of `a_small_root`
OF_THE_CONTAINER = {"dev", "proc", "sys"}  # mounted for each container, and no part of an image


# Task 1: A tar is an image


@task(1)
@ours
def test_a_tar_without_its_files_is_an_image(mydocker):
    """The tar is the image, and its files can be made again: `run` does that where they are not.

    So whoever copies an image to another machine need not copy what is unpacked of it.
    """
    lay_tar(mydocker, "bare", "of a tar")
    for _ in range(2):
        expect(run(mydocker, "bare", "cat /version"), status=0, out="of a tar\n", err="")


@task(1)
@ours
def test_a_new_tar_is_a_new_image(mydocker):
    """It takes the place of the old one. A container that runs keeps the files that it has."""
    lay_tar(mydocker, "copy", "old")
    words = ("run", "--rm", "-i", "copy", "sh", "-c", "echo ready; read line; cat /version")
    running = started(mydocker.start(*words, stdin=None))
    lay_tar(mydocker, "copy", "new")
    running.type(b"\n")
    expect(running.wait(), status=0, out="ready\nold\n", err="")
    expect(run(mydocker, "copy", "cat /version"), status=0, out="new\n", err="")


@task(1)
@ours
def test_a_torn_tar_is_no_image(mydocker):
    """Half of the files are no image. `run` says so each time, and leaves nothing of them."""
    images = mydocker.root / "images"
    lay_tar(mydocker, "copy", "whole")
    expect(run(mydocker, "copy", "cat /version"), status=0, out="whole\n", err="")
    with tarfile.open(images / "copy.tar") as archive:
        largest = max(archive, key=lambda member: member.size)
    os.truncate(images / "copy.tar", largest.offset_data + largest.size // 2)
    before = names_below(images)
    for _ in range(2):
        call = expect(run(mydocker, "copy", "true"), status=125, out="", complaint=["copy"])
        after = names_below(images)
        check(after == before, "nothing new in images/", sorted(after - before)[:10], call)
    lay_tar(mydocker, "copy", "mended")
    expect(run(mydocker, "copy", "cat /version"), status=0, out="mended\n", err="")


# Task 2: A container becomes an image


@task(2)
@vm
@layers
def test_what_a_container_wrote_is_in_the_image(mydocker):
    """What a container writes goes with it. Committed, it becomes an image that others run."""
    with container(mydocker, script="echo new > /new; mkdir -p /srv/made; echo >> /etc/passwd"):
        commit(mydocker)
    call = run(mydocker, "copy", "cat /new; ls /srv; tail -n 1 /etc/passwd; head -n 1 /etc/group")
    expect(call, status=0, out="new\nmade\n\nroot:x:0:\n", err="")


@task(2)
@vm
@layers
def test_what_a_container_deleted_is_not_in_the_image(mydocker):
    """A deletion is a change as any other. In a layer, it takes a mark of its own: a whiteout."""
    with container(mydocker, script="rm /etc/shells; rm -r /var/log; rm /usr/bin/awk"):
        commit(mydocker)
    call = run(mydocker, "copy", "ls /etc/shells /var/log /usr/bin/awk; ls /var; echo end")
    expect(call, out="tmp\nend\n")


@task(2)
@layers
def test_the_image_that_it_came_from_stays(mydocker):
    """`commit` makes another image. The next container of the old one sees nothing of it."""
    with container(mydocker, script="echo new > /new; rm /etc/shells; echo >> /etc/passwd"):
        commit(mydocker)
    expect(run(mydocker, "copy", "test -e /new"), status=0)
    call = run(mydocker, "busybox", "ls /new; ls /etc/shells; grep -c ^$ /etc/passwd")
    expect(call, out="/etc/shells\n0\n")


@task(2)
@ours
@layers
def test_the_directory_of_the_old_image_is_not_touched(mydocker):
    """Not a byte, not a mode, not a time: whoever else uses that image must not notice."""
    image = mydocker.root / "images" / "busybox"
    before = describe(image)
    with container(mydocker, script="echo >> /etc/passwd; rm -r /etc/shells /var; chmod 700 /tmp"):
        commit(mydocker)
    call = expect(run(mydocker, "copy", "true"), status=0)
    changed = differences(before, describe(image))
    check(not changed, "images/busybox as it was", changed, call)


@task(2)
def test_the_tar_of_the_container_is_not_run(mydocker):
    """Its `tar` is what somebody has put there. Called by `commit`, it would run as root."""
    script = """tar=$(which tar); rm $tar; chmod 755 $(dirname $tar)
        printf '#!/bin/sh\\necho it was run > /proof\\n' > $tar; chmod 755 $tar"""
    with container(mydocker, script=script) as root:
        call = commit(mydocker)
        check(not (root / "proof").exists(), "nothing of the container is run", "it was", call)
    expect(run(mydocker, "copy", "test -e /proof || echo none"), status=0, out="none\n", err="")


@task(2)
def test_commit_says_which_image_it_made(mydocker):
    """One line on stdout, and nothing else: a script can read it."""
    with container(mydocker):
        call = commit(mydocker, "a-good.image_1")
    check(len(call.text.splitlines()) == 1, "one line", call.text, call)


@task(2)
@ours
def test_the_line_names_the_image(mydocker):
    """There are no IDs of images here: what names an image is its name."""
    with container(mydocker):
        expect(commit(mydocker, "a-good.image_1"), out="a-good.image_1\n")


@task(2)
@ours
def test_a_name_that_cannot_be_printed(mydocker):
    """`… > /dev/full`: what was asked for did not reach anybody. It is told, and not of `run`."""
    running = started(mydocker.start("run", "--name", "box", "busybox", "sh", "-c", STAY))
    tells_what_it_cannot_print(mydocker, "commit", "box", "copy")
    end(running)


@task(2)
@layers
def test_the_container_goes_on(mydocker):
    """Committing is like taking a photograph: who is in the picture goes on with his work."""
    script = """exec 3> /open; echo one >&3; sleep 1000 & echo ready
        while read line && test "$line" != end; do
            echo $line >&3; kill -0 $! && echo alive; cat /open
        done; echo end"""
    words = ("run", "--rm", "-i", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words, stdin=None))
    for line in ("two", "three"):
        commit(mydocker)
        running.type(f"{line}\n".encode())
        started(running, line.encode())
    running.type(b"end\n")
    expect(running.wait(), out="ready\nalive\none\ntwo\nalive\none\ntwo\nthree\nend\n")
    expect(run(mydocker, "copy", "cat /open"), status=0, out="one\ntwo\n")


@task(2)
@layers
def test_a_container_that_is_busy_can_be_committed(mydocker):
    """It is not asked to stop for it: files come and go, and grow, while they are being read.

    That is no failure, though it may be said. A file that others write to is in the image as far as
    it was read.
    """
    script = """mkdir /srv; head -c 20000000 /dev/zero > /srv/large
        (while :; do echo more >> /srv/large; done) &
        for n in 1 2 3; do (while :; do
            echo more >> /srv/log-$n; echo x > /srv/$n; mv /srv/$n /srv/-$n; rm /srv/-$n
        done) & done; while ! test -s /srv/log-3; do :; done"""
    with container(mydocker, script=script):
        for _ in range(4):
            expect(mydocker("commit", "box", "copy"), status=0)
    expect(run(mydocker, "copy", "grep -c more /srv/log-1 > /dev/null"), status=0, err="")


@task(2)
@layers
def test_an_image_can_come_from_a_committed_one(mydocker):
    """Images are made of images: each holds what the ones before it had, and what they lost."""
    with container(mydocker, script="echo 1 > /one; echo 1 > /both; rm /etc/shells"):
        commit(mydocker, "first")
    with container(mydocker, "first", "echo 2 > /two; echo 2 >> /both; rm /one /etc/group"):
        commit(mydocker, "second")
    call = run(mydocker, "second", "cat /two /both; ls /one /etc/shells /etc/group; echo end")
    expect(call, out="2\n1\n2\nend\n")
    call = run(mydocker, "first", "cat /one /both; ls /two /etc/shells /etc/group; echo end")
    expect(call, out="1\n1\n/etc/group\nend\n")


@task(2)
@layers
def test_a_committed_image_is_not_written_to_either(mydocker):
    """It is an image as any other: read-only, with a layer above it for each container."""
    with container(mydocker, script="echo 1 > /one"):
        commit(mydocker)
    for _ in range(2):
        call = run(
            mydocker, "copy", "cat /one; ls /two; echo 2 > /one; echo 2 > /two; rm /etc/shells"
        )
        expect(call, status=0, out="1\n")


@task(2)
@layers
def test_a_second_commit_replaces_the_first(mydocker):
    """The image is what the container has now. What only the first commit had is not in it."""
    with container(mydocker, script="mkdir /srv; echo 1 > /srv/one; echo 1 > /both"):
        commit(mydocker)
    expect(run(mydocker, "copy", "cat /srv/one"), status=0, out="1\n")
    with container(mydocker, script="echo 2 > /two; echo 2 > /both"):
        commit(mydocker)
    call = run(mydocker, "copy", "cat /two /both; ls -d /srv; echo end")
    expect(call, out="2\n2\nend\n")


@task(2)
@vm
@ours
def test_the_image_is_a_plain_tar(mydocker):
    """images/IMAGE.tar can be read with what everybody has: GNU tar, Python, `docker import`."""
    script = "echo new > /srv-file; chown 12:34 /srv-file; chmod 640 /srv-file"
    with container(mydocker, script=script):
        commit(mydocker)
    path = mydocker.root / "images" / "copy.tar"
    check(path.is_file(), f"a file {path}", sorted(os.listdir(path.parent)))
    listed = subprocess.run(["tar", "-tvf", path], capture_output=True, text=True, check=False)
    is_listed = listed.returncode == 0 and not listed.stderr and "srv-file" in listed.stdout
    check(is_listed, "GNU tar lists it without a complaint", listed.stderr or listed.stdout)
    with tarfile.open(path, "r:") as archive:
        members = {member.name.removeprefix("./"): member for member in archive}
        outside = [name for name in members if name.startswith("/") or ".." in name.split("/")]
        content = read_member(archive, members["srv-file"])
    check(not outside, "no absolute path and no `..`", outside)
    member = members["srv-file"]
    found = (member.uid, member.gid, oct(member.mode & 0o7777), content)
    check(found == (12, 34, "0o640", b"new\n"), "owner 12:34, mode 640, and the content", found)
    check("bin/busybox" in members, "all files of the image, not the changes only", len(members))


@task(2)
def test_a_container_that_has_ended_is_told(mydocker):
    """Its files went with it: there is nothing left to make an image of."""
    with container(mydocker):
        commit(mydocker)
    expect(mydocker("commit", "box", "fresh"), status=1, out="", complaint=["box"])
    expect(run(mydocker, "copy", "true"), status=0)
    expect(run(mydocker, "fresh", "true"), status=125, out="")


@task(2)
@pytest.mark.parametrize("words", [(), ("box", "copy", "more")], ids=["none", "three"])
def test_a_wrong_number_of_arguments_is_told(mydocker, words):
    """Whoever forgets a word, or has one too many, means something else than he typed."""
    with container(mydocker):
        commit(mydocker)
        expect(mydocker("commit", *words), status=1, out="", complaint=["commit"])


# Task 3: What is refused


@task(3)
def test_an_unknown_container_is_told(mydocker):
    """A name that was mistyped must not make an image of nothing, or replace one by it."""
    with container(mydocker, script="echo good > /good"):
        commit(mydocker)
        for image in ("copy", "fresh"):
            call = mydocker("commit", "no-such-box", image)
            expect(call, status=1, out="", complaint=["no-such-box"])
    expect(run(mydocker, "copy", "cat /good"), status=0, out="good\n")
    expect(run(mydocker, "fresh", "true"), status=125, out="")


@task(3)
def test_a_path_is_not_a_container(mydocker):
    """`../box` is not the name of any container, however many directories are looked through."""
    with container(mydocker):
        commit(mydocker)
        before = names_below(mydocker.root.parent)
        for name in ("../box", "containers/box", "box/", "/", ""):
            call = mydocker("commit", name, "fresh")
            expect(call, out="", complaint=[name])
            check(call.status in (1, 125), "status 1 or 125", call.status, call)
        after = names_below(mydocker.root.parent)
    check(after == before, "nothing is written", sorted(after ^ before))


BAD_NAMES = ["../x", "../../x", "/x", "Copy", "A/B", "copy.TAR", "..", ".", "a b", "", "-x"]


@task(3)
def test_a_bad_name_is_refused(mydocker):
    """An image's name becomes a file and a directory. One that leads elsewhere is refused."""
    refuses_names(mydocker, BAD_NAMES)


@task(3)
@ours
def test_a_name_that_would_be_another_file_is_refused(mydocker):
    """`copy.tar` and `a/b` are files to us; a file that begins with a dot nobody sees."""
    refuses_names(mydocker, ["copy.tar", "a/b", ".hidden"])


def refuses_names(mydocker: Mydocker, images: list[str]) -> None:
    __tracebackhide__ = True
    with container(mydocker):
        commit(mydocker)
        before = names_below(mydocker.root.parent)
        for image in images:
            call = mydocker("commit", "box", image)
            expect(call, status=125, out="", complaint=[image])
            after = names_below(mydocker.root.parent)
            check(after == before, "nothing is written", sorted(after ^ before), call)


@task(3)
def test_an_unknown_option_is_refused(mydocker):
    """An option that is not understood may be what the user's trust rests on."""
    with container(mydocker):
        commit(mydocker)
        call = mydocker("commit", "--no-such-option", "box", "fresh")
        expect(call, status=125, out="", complaint=["--no-such-option"])


# Task 4: A PID is not enough


@task(4)
@ours
def test_a_process_with_the_same_pid_is_not_the_container(mydocker, tmp_path):
    """`run` is killed, and what it has left for `commit` stays. The PID in there is free again.

    The next process that gets it is the host's. An image of its root would hold the host's files.
    """
    running = started(mydocker.start("run", "--rm", "--name", "box", "busybox", "sh", "-c", STAY))
    commit(mydocker)
    pid = first_process(running).inner
    running.kill()
    mydocker.host.until(lambda: not mydocker.host.processes())
    mydocker.may_leave("cgroup", "file")  # of the `run` that was killed; 5.6 removes that
    script = f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid; sleep 1000 & echo ready; wait"
    words = [*in_a_chroot(mydocker, tmp_path / "top"), "sh", "-c", script]  # so its root is small
    another = started(mydocker.host.start(words, env=mydocker.env))
    there = [process for process in another.descendants() if process.inner == pid]
    check(there, f"a process of the host's with the PID {pid}", another.descendants())
    call = mydocker("commit", "box", "fresh")
    os.kill(there[0].pid, signal.SIGKILL)
    another.wait()
    if call.status == 0:  # 5.7 keeps the files of a container that has ended
        expect(run(mydocker, "fresh", "ls /of-the-host; ls -d /etc/passwd"), out="/etc/passwd\n")
    else:
        expect(call, status=1, out="", complaint=["box"])


# Task 5: Before the command runs


@task(5)
@ours
@needs("unotify")
def test_a_container_that_says_something_can_be_committed(mydocker):
    """Whoever reads "ready" types `commit`. So `commit` must find it, however slow `run` is.

    Here `run` is held up before each change that it makes, and the container goes on meanwhile.
    """
    crash_point = CrashPoint(0, alone=True)
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", STAY)
    running = mydocker.start(*words, crash_point=crash_point)
    for _ in crash_point.steps():
        if any(process.command.endswith("sleep 1000") for process in running.descendants()):
            crash_point.let_others_go_on()
            if b"ready" in running.out:
                commit(mydocker)
    started(running)
    commit(mydocker)
    end(running)


# Task 6: All that a file is


@task(6)
@ours
@layers
def test_extended_attributes_come_back(mydocker):
    """Capabilities of a program are one: without it `ping` cannot do what it is there for."""
    attributes = {
        "user.text": b"a value",
        "user.bytes": bytes(range(256)),
        "trusted.of-root": b"x",
        "security.capability": struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0),  # cap_net_raw+ep
    }
    with container(mydocker) as root:
        program = made(root / "srv/program")
        os.chown(program, 12, 34)
        program.chmod(0o755)
        made(root / "srv/directory", directory=True)
        for name, value in attributes.items():
            try:
                os.setxattr(program, name, value)
                os.setxattr(root / "srv/directory", name, value)
            except OSError as error:  # a tmpfs has had attributes of users since Linux 6.6 only
                if error.errno != errno.ENOTSUP:
                    raise
        before = parts(root / "srv", "xattrs")
        if not any(before["'program'"]):
            pytest.skip("no extended attributes on this machine's disk")
        commit(mydocker)
    with container(mydocker, "copy") as root:
        after = parts(root / "srv", "xattrs")
    check(after == before, f"{before}", after)


@task(6)
@ours
@layers
def test_holes_stay_holes(mydocker):
    """A file of a gibibyte can take a few blocks on the disk, and in the image, too."""
    size, place = 1024 * MEBIBYTE, 512 * MEBIBYTE
    with container(mydocker) as root:
        with made(root / "srv/sparse").open("r+b") as file:
            file.seek(place)
            file.write(b"in the middle")
            file.truncate(size)
        commit(mydocker)
    packed = (mydocker.root / "images" / "copy.tar").stat().st_size
    check(packed < 64 * MEBIBYTE, "a tar of less than 64 MiB", f"{packed} bytes")
    with container(mydocker, "copy") as root:
        found = (root / "srv/sparse").stat()
        with (root / "srv/sparse").open("rb") as file:
            file.seek(place - 5)
            middle = file.read(20)
    check(found.st_size == size, f"{size} bytes", found.st_size)
    check(found.st_blocks * 512 < 16 * MEBIBYTE, "a few blocks", f"{found.st_blocks} blocks")
    check(middle == bytes(5) + b"in the middle" + bytes(2), "the bytes at their place", middle)


@task(6)
@ours
def test_what_the_caller_tells_tar_does_not_count(mydocker):
    """tar reads TAR_OPTIONS. What one person likes would be missing from everybody's image."""
    env = {"TAR_OPTIONS": "--exclude=passwd"}
    with container(mydocker):
        expect(mydocker("commit", "box", "copy", env=env), status=0, err="")
    call = mydocker("run", "--rm", "copy", "ls", "/etc/passwd", env=env)
    expect(call, status=0, out="/etc/passwd\n", err="")


@task(6)
@guard  # tar does this by itself
@layers
def test_contents_come_back(mydocker):
    """Any bytes, none at all, and more than one buffer of them."""
    contents = {
        "random": random.randbytes(3_000_001),
        "empty": b"",
        "zeros": bytes(100_000),
        "one": b"\n",
    }
    with container(mydocker) as root:
        for name, content in contents.items():
            (root / "srv").mkdir(exist_ok=True)
            (root / "srv" / name).write_bytes(content)
        commit(mydocker)
    with container(mydocker, "copy") as root:
        found = {path.name: path.read_bytes() for path in (root / "srv").iterdir()}
    wrong = [name for name in {*contents, *found} if found.get(name) != contents.get(name)]
    check(not wrong, f"{', '.join(contents)} with all their bytes", f"others in {wrong}")


@task(6)
@guard  # tar does this by itself
@layers
def test_modes_come_back(mydocker):
    """A program without its setuid bit, or a /tmp without its sticky bit, does not work."""
    modes = (0o4755, 0o2755, 0o1777, 0o6711, 0o640, 0o000, 0o777)
    with container(mydocker) as root:
        for mode in modes:
            made(root / f"srv/file-{mode:04o}").chmod(mode)
            made(root / f"srv/directory-{mode:04o}", directory=True).chmod(mode)
        before = modes_of(root / "srv")
        commit(mydocker)
    with container(mydocker, "copy") as root:
        after = modes_of(root / "srv")
    check(len(before) == 2 * len(modes) and after == before, f"{before}", after)


@task(6)
@guard  # tar does this by itself
@ours
@layers
def test_the_root_directory_has_its_mode_too(mydocker):
    """With 0700, which a temporary directory has, nobody but root could do anything in there."""
    for image, mode in (("busybox", "751"), ("copy", "755")):
        with container(mydocker, image, f"chmod {mode} /"):
            commit(mydocker)
        expect(run(mydocker, "copy", "stat -c %a /"), status=0, out=f"{mode}\n")


@task(6)
@guard  # tar does this by itself
@layers
def test_owners_come_back_by_their_numbers(mydocker):
    """Names mean one thing on the host and another in the container. Only numbers are kept.

    They have 32 bits; the field that tar was invented with has room for 21.
    """
    owners = ((1, 2), (12345, 54321), (65534, 65534), (3_000_000_000, 4_000_000_000))
    with container(mydocker) as root:
        for uid, gid in owners:
            os.chown(made(root / f"srv/file-{uid}-{gid}"), uid, gid)
            os.chown(made(root / f"srv/directory-{uid}-{gid}", directory=True), uid, gid)
        (root / "srv" / "link").symlink_to("nowhere")
        os.lchown(root / "srv" / "link", 77, 88)
        before = parts(root / "srv", "owner")
        commit(mydocker)
    with container(mydocker, "copy") as root:
        after = parts(root / "srv", "owner")
    check(len(before) == 9 and after == before, f"{before}", after)


@task(6)
@guard  # tar does this by itself
@layers
def test_times_come_back_to_the_second(mydocker):
    """Programs such as `make` go by when a file was written, not by when it was unpacked."""
    times = (0, 1, 999_999_999, 1_600_000_000, 2**31 + 5, 2**33)
    with container(mydocker) as root:
        for seconds in times:
            folder = made(root / f"srv/directory-{seconds}", directory=True)
            for path in (made(folder / "file"), folder):
                os.utime(path, ns=(0, seconds * 1_000_000_000 + 250_000_000))
            (root / f"srv/link-{seconds}").symlink_to("nowhere")
            os.utime(root / f"srv/link-{seconds}", (0, seconds), follow_symlinks=False)
        before = times_of(root / "srv")
        commit(mydocker)
    with container(mydocker, "copy") as root:
        after = times_of(root / "srv")
    check(len(before) == 3 * len(times) and after == before, f"{before}", after)


@task(6)
@guard  # tar does this by itself
@layers
def test_links_come_back(mydocker):
    """A symbolic link is a path and stays one, to the byte, wherever it leads or does not."""
    targets = {
        b"absolute": b"/etc/passwd",
        b"relative": b"../etc/passwd",
        b"dangling": b"not/there",
        b"upwards": b"../../../../../etc",
        b"loop": b"loop",
        b"long": b"/".join([b"a-long-target"] * 30),
        b"bytes": b"two\nlines \xff",
        b"blanks": b"a -> b ",
    }
    with container(mydocker) as root:
        folder = os.fsencode(made(root / "srv", directory=True))
        for name, target in targets.items():
            os.symlink(target, folder + b"/" + name)
        commit(mydocker)
    with container(mydocker, "copy") as root:
        folder = os.fsencode(root / "srv")
        after = {name: os.readlink(folder + b"/" + name) for name in os.listdir(folder)}
    check(after == targets, f"{targets}", after)


@task(6)
@guard  # tar does this by itself
@layers
def test_hard_links_stay_links(mydocker):
    """Two names of one file: what is written through one is read through the other."""
    script = """mkdir -p /srv/a /srv/b; echo one > /srv/a/first
        ln /srv/a/first /srv/b/second; ln /srv/a/first '/srv/b/third name'"""
    with container(mydocker, script=script):
        commit(mydocker)
    script = """stat -c %h /srv/a/first; cat /srv/b/second
        test /srv/a/first -ef /srv/b/second && test /srv/a/first -ef '/srv/b/third name' &&
            echo one file
        rm /srv/a/first; cat '/srv/b/third name'"""
    expect(run(mydocker, "copy", script), status=0, out="3\none\none file\none\n", err="")


@task(6)
@guard  # tar does this by itself
@layers
def test_fifos_and_devices_come_back(mydocker):
    """They have no content that could be read: whoever opens a fifo to copy it waits for ever."""
    with container(mydocker) as root:
        folder = made(root / "srv", directory=True)
        os.mkfifo(folder / "fifo", 0o640)
        os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(folder / "loop", 0o660 | stat.S_IFBLK, os.makedev(7, 200))
        os.chown(folder / "loop", 0, 6)
        before = parts(folder, "kind", "mode", "owner", "content")
        commit(mydocker)
    with container(mydocker, "copy") as root:
        after = parts(root / "srv", "kind", "mode", "owner", "content")
    check(len(before) == 3 and after == before, f"{before}", after)


@task(6)
@guard  # tar does this by itself
@layers
def test_names_may_have_any_bytes(mydocker):
    """A name is bytes without `/` and 0. A tool takes `-x` or `@x` for something of its own."""
    names = {
        b"two\nlines",
        b"-rf",
        b"--checkpoint=1",
        b"@list",
        b" blanks  around ",
        b"back\\slash\\n",
        b"quo\"te's",
        b"tab\tand\rreturn",
        b"*?[a]",
        b"$HOME",
        b"%s%n",
        b"#hash",
        b"not \xff\xfe utf-8",
        "grün".encode(),
        b"...",
        b".hidden",
        b"\x01\x7f",
    }
    deep = b"/".join([b"a-directory-in-a-directory"] * 30)
    with container(mydocker) as root:
        top = os.fsencode(made(root / "srv", directory=True))
        names.add(b"n" * os.statvfs(top).f_namemax)  # 255, but 242 on AUFS
        for name in names:
            os.mkdir(top + b"/" + name)
            with open(top + b"/" + name + b"/" + name, "wb") as file:
                file.write(name)
        os.makedirs(top + b"/deep/" + deep)
        commit(mydocker)
    with container(mydocker, "copy") as root:
        top = os.fsencode(root / "srv")
        found = set(os.listdir(top))
        wrong = [name for name in names & found if content(top, name) != name]
        is_deep = os.path.isdir(top + b"/deep/" + deep)
    lost, strange = sorted(names - found), sorted(found - names - {b"deep"})
    check(not lost and not strange, "the same names", f"lost: {lost}, new: {strange}")
    check(not wrong, "each has its content", f"others in {wrong}")
    check(is_deep, f"a path of {len(deep)} bytes", "it is not there")


@task(6)
@guard  # tar does this by itself
@layers
def test_what_takes_the_place_of_another(mydocker):
    """Removed and made again, as the same or as something else: nothing of the old one shines up.

    A directory that was made again is a new one, however much the image has in the old one.
    """
    script = """rm -r /usr/sbin; mkdir /usr/sbin; chmod 711 /usr/sbin
        rm -r /var/log; echo a file > /var/log
        rm /usr/bin/awk; mkdir /usr/bin/awk; echo in there > /usr/bin/awk/file
        rm -r /home; ln -s /usr /home
        rm -r /usr/lib; mkdir /usr/lib; echo new > /usr/lib/new"""
    with container(mydocker, script=script):
        commit(mydocker)
    script = """ls -A /usr/sbin; stat -c %a /usr/sbin; cat /var/log /usr/bin/awk/file
        readlink /home; ls -A /usr/lib"""
    call = run(mydocker, "copy", script)
    expect(call, status=0, out="711\na file\nin there\n/usr\nnew\n", err="")


@task(6)
@guard  # tar does this by itself
@ours
@layers
def test_everything_else_is_as_it_was(mydocker):
    """What nobody changed comes back as it was: no file more, no mode and no time another."""
    with container(mydocker) as root:
        before = describe(root, without=OF_THE_CONTAINER)
        commit(mydocker)
    with container(mydocker, "copy") as root:
        after = describe(root, without=OF_THE_CONTAINER)
    del before[b"."], after[b"."]
    changed = differences(before, after, whole_seconds=True)
    check(len(before) > 100 and not changed, "the same files", "; ".join(changed[:10]))


@task(6)
@guard  # tar does this by itself, but for attributes, which few examples have
@ours
@layers
@settings(
    max_examples=examples(usual=11, least=4),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(operations=sequences())
def test_whatever_was_done_comes_back(mydocker, operations):
    """Somebody does this and that to files of every kind, in any order. Then it is committed.

    The next container finds exactly what the first one had.
    """
    if run(mydocker, "tree", "true").status != 0:
        with container(mydocker) as root:
            lay_base(root / "tree")
            commit(mydocker, "tree")
    with container(mydocker, "tree") as root:
        for operation in (each for each in operations if each.verb in VERBS):
            with contextlib.suppress(OSError):  # many are refused, in a plain directory, too
                operation.do(root / "tree")
        before = describe(root / "tree")
        call = commit(mydocker)
    with container(mydocker, "copy") as root:
        after = describe(root / "tree")
    wanted = {path: entry for path, entry in before.items() if entry.kind != "socket"}
    for path, entry in wanted.items():
        if entry.kind not in ("file", "symbolic link"):  # tar knows hard links of these only
            wanted[path] = dataclasses.replace(entry, same_as=())
    changed = differences(wanted, after, whole_seconds=True)
    done = "; ".join(str(operation) for operation in operations)
    check(not changed, f"the same tree after {done}", "; ".join(changed[:10]), call)


# Task 7: What does not come along


@task(7)
@layers
def test_the_content_of_a_volume_does_not_come_along(mydocker, tmp_path):
    """It belongs to the host. The mount point is made for it, and stays, empty."""
    (tmp_path / "inner").mkdir()
    for name in ("secret", "inner/secret"):
        (tmp_path / name).write_text("of the host\n")
    volumes = [
        *("-v", f"{tmp_path}:/data"),
        *("-v", f"{tmp_path}/inner:/srv/a b\\c:ro"),
        *("-v", f"{tmp_path}/secret:/srv/settings"),
    ]
    script = "cat /data/secret '/srv/a b\\c/secret' /srv/settings; echo beside > /srv/beside"
    with container(mydocker, "busybox", script, *volumes):
        commit(mydocker)
    with container(mydocker, "copy") as root:
        found = {name: kind for name, (kind,) in parts(root / "srv", "kind").items()}
        inside = [*(root / "data").iterdir(), *(root / "srv/a b\\c").iterdir()]
        content = (root / "srv/settings").read_bytes()
    wanted = {trees.show(b"a b\\c"): "directory", "'settings'": "file", "'beside'": "file"}
    check(found == wanted, f"the mount points, and what lies beside them: {wanted}", found)
    check(not inside, "empty directories where the directories were", inside)
    check(content == b"", "an empty file where the file was", content)
    check(
        (tmp_path / "secret").read_text() == "of the host\n", "the host's file as it was", "another"
    )


@task(7)
@ours
@layers
def test_the_tar_has_nothing_of_proc_sys_and_dev(mydocker, tmp_path):
    """They are in it as empty directories: the places to mount on."""
    (tmp_path / "secret").write_text("of the host\n")
    volumes = ("-v", f"{tmp_path}:/data", "-v", f"{tmp_path}/secret:/settings")
    with container(mydocker, "busybox", "mknod /dev/secret p", *volumes):
        commit(mydocker)
    names, settings = {}, b"not there"
    with tarfile.open(mydocker.root / "images" / "copy.tar", "r:") as archive:
        for member in archive:
            names[member.name.removeprefix("./")] = member
            if member.name.removeprefix("./") == "settings":
                settings = read_member(archive, member)
    for place in ("proc", "sys", "dev", "data"):
        there = place in names and names[place].isdir()
        check(there, f"{place} is a directory", f"{sorted(names)[:20]}")
        inside = [name for name in names if name.startswith(f"{place}/")]
        check(not inside, f"nothing below {place}", inside[:20])
    check(settings == b"", "an empty file where a file was mounted", settings)


@task(7)
@layers
def test_a_command_that_has_changed_its_root_hides_nothing(mydocker):
    """chroot(2) is a process's own matter. The container's root is that of its mount namespace."""
    script = f"""mkdir /inner; echo outer > /outer
        for each in bin lib lib64 usr; do if test -e /$each; then cp -a /$each /inner; fi; done
        exec chroot /inner /bin/sh -c '{STAY}'"""
    with container(mydocker, script=script):
        commit(mydocker)
    call = run(mydocker, "copy", "cat /outer; ls -d /etc/passwd /inner/bin")
    expect(call, out="outer\n/etc/passwd\n/inner/bin\n", err="")


@task(7)
@guard  # what tar says of sockets is not shown so far
def test_sockets_are_left_out(mydocker):
    """A socket is the door of a process. Without that process it is nothing, so tar skips it."""
    with container(mydocker) as root:
        made(root / "srv/beside").write_text("beside\n")
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(root / "srv/door"))
        made(root / "srv/last").write_text("last\n")
        commit(mydocker)
    call = run(mydocker, "copy", "ls /srv")
    expect(call, status=0, out="beside\nlast\n", err="")


@task(7)
@guard  # tar stays on one file system, where it looks at directories
@layers
def test_what_is_mounted_for_every_container_does_not_come_along(mydocker):
    """/proc is not a file system to be stored: the next container mounts one of its own."""
    script = """echo secret > /dev/shm/secret; echo secret > /dev/secret
        mkdir -p /srv/mnt; mount -t tmpfs of-its-own /srv/mnt; echo secret > /srv/mnt/secret"""
    with container(mydocker, script=script):
        commit(mydocker)
    script = """ls -A /srv/mnt; ls /dev/shm/secret /dev/secret; test -c /dev/null || echo no null
        cat /proc/1/comm; grep -c ' /srv/mnt ' /proc/self/mountinfo; echo end"""
    expect(run(mydocker, "copy", script), out="sh\n0\nend\n")


@task(7)
@guard  # nothing has been left out by its name so far
@layers
def test_directories_that_are_only_called_so_come_along(mydocker):
    """/srv/proc has nothing to do with /proc. Whoever leaves out by name leaves out too much."""
    names = ("proc", "sys", "dev", "data", "dev/shm", "proc/self")
    with container(mydocker) as root:
        for name in names:
            made(root / "srv" / name / "file").write_text(f"{name}\n")
            made(root / "srv/below" / name / "file").write_text(f"{name}\n")
        commit(mydocker)
    with container(mydocker, "copy") as root:
        tops = [root / "srv" / name for name in names]
        tops += [root / "srv/below" / name for name in names]
        lost = [str(top.relative_to(root)) for top in tops if not (top / "file").is_file()]
    check(not lost, "the file in each of them", f"lost: {lost}")


@task(7)
@guard  # what the container sees has none
@ours
@layers
def test_marks_of_the_layers_are_not_in_the_image(mydocker):
    """How a driver notes a deletion is its own business: `.wh.x`, a device 0:0, an attribute."""
    script = """rm /etc/shells; rm -r /var/log; rm -r /usr/lib; mkdir /usr/lib; echo >> /etc/hosts
        mv /etc/passwd /etc/moved; mv /usr/bin/awk /bin; ln /etc/group /etc/linked"""
    with container(mydocker, script=script):
        commit(mydocker)
    with tarfile.open(mydocker.root / "images" / "copy.tar", "r:") as archive:
        for member in archive:
            device = member.ischr() and (member.devmajor, member.devminor) == (0, 0)
            check(not device, "no device 0:0", member.name)
            check("/.wh." not in f"/{member.name}", "no name with .wh.", member.name)
            attributes = [name for name in member.pax_headers if ".overlay." in name]
            check(not attributes, "no attribute of the layers", f"{member.name}: {attributes}")
    expect(run(mydocker, "copy", "ls /etc/shells /etc/moved"), out="/etc/moved\n")


@task(7)
@guard  # nobody has entered the mount namespace so far
@ours
@pytest.mark.parametrize("whose", ["the container's", "the caller's"])
def test_a_chroot_is_not_the_root_of_a_mount_namespace(mydocker, tmp_path, whose):
    """Whoever enters a mount namespace finds the namespace's root, not that of a process in there.

    A container that was started in a chroot must not have left the host's files there. And when you
    come back, the root is not the one that you had, if that was one of chroot.
    """
    chroot = in_a_chroot(mydocker, tmp_path / "top")
    of_run, of_commit = (chroot, ()) if whose == "the container's" else ((), chroot)
    script = f"echo inside > /mine; {STAY}"
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words, before=of_run))
    call = expect(mydocker("commit", "box", "copy", before=of_commit), status=0, err="")
    end(running)
    there = names_of_images(mydocker)
    check(there == {"busybox", "copy"}, "the images busybox and copy", there, call)
    expect(run(mydocker, "copy", "cat /mine; ls /of-the-host"), out="inside\n")


# Task 8: Whole or not at all


SIZE = MEBIBYTE
CRASH_POINTS = 16  # at most, at which `commit` is killed
IDLE = ("commit", "nobody", "copy")  # a commit that finds nothing to do


@task(8)
@layers
@pytest.mark.parametrize("whom", ["commit", "commit and its children"])
@needs("unotify")
def test_killed_half_way(mydocker, whom):
    """A commit that is killed leaves the image of that name as it was, whatever the crash point.

    Only where everything was done already may it be the new one: never a mixture of both, and
    never half of one.
    """
    for number, crash_point in enumerate(crash_points(CRASH_POINTS if "children" in whom else 6)):
        old, new = 2 * number, 2 * number + 1
        with container(mydocker) as root:
            write_version(root, old)
            commit(mydocker)  # and nobody runs it, which might keep its files somewhere else
            write_version(root, new)
            running = mydocker.start("commit", "box", "copy", crash_point=crash_point)
            with crash_point:
                kill(running, children="children" in whom)
            running.wait()
            names = names_of_images(mydocker)
            check(names <= {"busybox", "copy"}, "busybox and copy, and nothing half made", names)
        with container(mydocker, "copy") as root:
            found = read_version(root)
        check(found in (old, new), f"the version {old} or {new} of the image, whole", found)
    with container(mydocker) as root:
        write_version(root, 99)
        commit(mydocker)
    with container(mydocker, "copy") as root:
        found = read_version(root)
    check(found == 99, "the next commit works", found)


@task(8)
@guard  # half of a tar is no image since task 1
@layers
@needs("unotify")
def test_killed_when_there_was_no_such_image(mydocker):
    """Then there is none afterwards: half an image is worse than none."""
    with container(mydocker) as root:
        write_version(root, 1)
        commit(mydocker, "good")
        tried = []
        for crash_point in crash_points(6):
            tried.append(f"copy-{len(tried)}")
            running = mydocker.start("commit", "box", tried[-1], crash_point=crash_point)
            with crash_point:
                kill(running, children=True)
            running.wait()
    for image in tried:
        call = run(mydocker, image, "true")
        if call.status == 0:
            with container(mydocker, image) as root:
                check(read_version(root) == 1, f"{image} is whole", read_version(root))
        else:
            expect(call, status=125, out="", complaint=[image])


@task(8)
@ours
@layers
def test_a_child_that_is_killed_makes_the_commit_fail(mydocker):
    """Whoever has tar do the work must look at how it ended: what it leaves may be half a tar."""
    with container(mydocker) as root:
        write_version(root, 0)
        commit(mydocker)
    for version in range(1, 10):  # until one is caught in time, if there are any
        with container(mydocker) as root:
            write_version(root, version)
            running = mydocker.start("commit", "box", "copy")
            mydocker.host.until(lambda r=running: ended(r) or below(r))
            killed = []
            for child in below(running):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child)
            call = running.wait()
        if killed and call.status != 0:
            expect(call, status=1, out="", complaint=[])
        else:
            expect(call, status=0, err="")
        whole = version if call.status == 0 else version - 1
        with container(mydocker, "copy") as root:
            found = read_version(root)
        check(found == whole, f"version {whole} of the image, whole", found, call)
        if call.status != 0:
            break


@task(8)
@guard  # two that write the same bytes to the same places do no harm
@layers
def test_two_commits_at_once(mydocker):
    """Each makes a whole image. Under one name, the last one stays."""
    with container(mydocker, script="echo new > /new; head -c 20000000 /dev/zero > /large"):
        both = [mydocker.start("commit", "box", "copy") for _ in range(2)]
        other = mydocker.start("commit", "box", "other")
        for running in (*both, other):
            expect(running.wait(), status=0, err="")
    for image in ("copy", "other"):
        expect(run(mydocker, image, "cat /new"), status=0, out="new\n")


@task(8)
@guard  # each tar has a directory of its own since task 1
@layers
def test_a_container_of_the_old_image_goes_on(mydocker):
    """It has not opened all its files yet, and will look for them in the image that it came from.

    The next container is one of the new image.
    """
    group = (mydocker.root / "images/busybox/etc/group").read_text()
    script = """echo 1 > /version; rm /etc/shells; echo ready; read line
        cat /etc/group /version; echo 2 > /version; rm /etc/group; echo done; read line
        ls /etc/passwd /usr/bin/awk; cat /version; echo end"""
    words = ("run", "--rm", "-i", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words, stdin=None))
    commit(mydocker, "busybox")
    running.type(b"\n")
    started(running, b"done")
    commit(mydocker, "busybox")
    running.type(b"\n")
    wanted = f"ready\n{group}1\ndone\n/etc/passwd\n/usr/bin/awk\n2\nend\n"
    expect(running.wait(), out=wanted, err="")
    call = run(mydocker, "busybox", "cat /version; ls /etc/shells /etc/group /etc/passwd; echo end")
    expect(call, out="2\n/etc/passwd\nend\n")


@task(8)
@guard  # as above
@layers
def test_a_container_of_a_committed_image_goes_on(mydocker):
    """The same for an image that `commit` made: it can be replaced as often as one wants."""
    with container(mydocker, script="echo 0 > /version; mkdir /srv; echo kept > /srv/kept"):
        commit(mydocker)
    script = """echo ready; while read number; do
        ls /srv; cat /srv/kept; rm -f /etc/shells; echo $number > /version; echo $number done
        done"""
    words = ("run", "--rm", "-i", "--name", "box", "copy", "sh", "-c", script)
    running = started(mydocker.start(*words, stdin=None))
    for number in (1, 2, 3):
        running.type(f"{number}\n".encode())
        started(running, f"{number} done".encode())
        commit(mydocker)
    call = end(running)
    check(call.text.count("kept\nkept\n") == 3, "it finds its file three times", call.text, call)
    script = "cat /version /srv/kept; test ! -e /etc/shells"
    expect(run(mydocker, "copy", script), status=0, out="3\nkept\n")


@task(8)
@guard  # tar copies piece by piece
@ours
def test_a_large_file_needs_no_large_memory(mydocker):
    """A file is copied piece by piece. Whoever reads it whole needs as much memory as it has."""
    with container(mydocker, script="head -c 120000000 /dev/zero > /large"):
        running = mydocker.start("commit", "box", "copy")
        peaks: dict[int, int] = {}
        mydocker.host.until(lambda: ended(running) or note_memory(running, peaks))
        call = expect(running.wait(), status=0, err="")
    together = sum(peaks.values()) // 1024
    check(together < 100, "less than 100 MiB of memory", f"{together} MiB", call)


# Task 9: How tar has ended


@task(9)
@ours
@layers
def test_no_space_left(mydocker, tmp_path):
    """A full disk is told, the old image stays, and nothing half made takes up the space."""
    with a_small_root(mydocker, tmp_path / "small") as outside:
        with container(mydocker, script="echo old > /version"):
            commit(mydocker)
        with container(mydocker, "copy", f"{MORE_THAN_FITS}; echo new > /version"):
            before = names_below(outside / "images")
            for image in ("copy", "another"):
                call = mydocker("commit", "box", image)
                expect(call, status=1, out="", complaint=["No space left on device"])
                after = names_below(outside / "images")
                check(after == before, "nothing new in images/", sorted(after - before), call)
        expect(run(mydocker, "copy", "cat /version"), status=0, out="old\n")
        with container(mydocker, "copy", "echo new > /version"):
            commit(mydocker)
        expect(run(mydocker, "copy", "cat /version"), status=0, out="new\n")


@task(9)
@ours
@pytest.mark.parametrize("caller", CALLERS)
def test_no_space_left_whatever_the_caller_does_with_signals(mydocker, tmp_path, caller):
    """Where SIGCHLD is ignored, how tar ended is known to nobody, and a library may say: well.

    Then half an image takes the place of a good one, with status 0.
    """
    before = CALLERS[caller]
    with a_small_root(mydocker, tmp_path / "small"):
        with container(mydocker, script="echo old > /version"):
            expect(mydocker("commit", "box", "copy", before=before), status=0, err="")
        with container(mydocker, "copy", f"{MORE_THAN_FITS}; echo new > /version"):
            call = mydocker("commit", "box", "copy", before=before)
            expect(call, status=1, out="", complaint=["No space left on device"])
        expect(run(mydocker, "copy", "cat /version"), status=0, out="old\n")


@task(9)
@ours
def test_a_tree_too_deep_for_a_path_takes_no_images_place(mydocker):
    """With `mkdir` and `cd`, step by step, a tree gets deeper than a path can be long. tar packs it
    in the same way, but whoever unpacks it has to name a path, and cannot: no such image starts.
    """
    with container(mydocker, script="mkdir /deep; echo old > /version") as root:
        make_deep(root / "deep", 10)
        commit(mydocker)
    with container(mydocker, "copy", "echo new > /version") as root:
        make_deep(root / "deep", 30)
        call = mydocker("commit", "box", "copy")
    if call.status != 0:
        expect(call, status=1, out="", complaint=["deep"])
    version = "old\n" if call.status else "new\n"
    expect(run(mydocker, "copy", "cat /version"), status=0, out=version, err="")


# Task 10: How far it is


@task(10)
@ours
@needs("unotify")
def test_a_long_commit_says_how_far_it_is(mydocker):
    """Who waits at a terminal wants to see that it goes on. Elsewhere nothing is shown.

    Here `tar` is held up until there is a number.
    """
    with container(mydocker):
        crash_point = CrashPoint(0, alone=True)
        words = ("commit", "box", "copy")
        running = mydocker.start(*words, crash_point=crash_point, terminal=True)
        is_shown = None
        for _ in crash_point.steps():
            if crash_point.before.startswith("write") and is_shown is None:
                is_shown = running.wait_for_output(b"MB", 5.0)
        call = expect(running.wait(), status=0)
    check(is_shown, "MB on the terminal, while a tar file is written", call.text, call)
    check(call.text.endswith("copy\r\n"), "the image's name at the end", call.text, call)


# Helpers


@contextlib.contextmanager
def container(
    mydocker: Mydocker, image: str = "busybox", script: str = ":", *options: str
) -> Iterator[Path]:
    """A container called `box` that has run a script and goes on running, and ends with the block.

    Gives its root directory, as seen from here: there, its files can be handled directly.
    """
    script = f"set -e\n{script}\n{STAY}"
    words = ("run", "--rm", "--name", "box", *options, image, "sh", "-c", script)
    running = started(mydocker.start(*words))
    try:
        root = Path(f"/proc/{first_process(running).pid}/root")
        its_own = not root.samefile("/") and not (root / str(mydocker.root).lstrip("/")).exists()
        check(its_own, "a container with a root of its own (chapter 4.1)", "the host's root")
        yield root
    except BaseException:
        running.stop()
        raise
    end(running)


@contextlib.contextmanager
def a_small_root(mydocker: Mydocker, small: Path) -> Iterator[Path]:
    """A MYDOCKER_ROOT with the image, on a disk of its own: 36 MB. Gives it as seen from here."""
    host = mydocker.host
    small.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=36m", "small", str(small)]
    expect(host.run(mounting, env=mydocker.env), status=0)
    try:
        copying = ["cp", "-a", str(mydocker.root / "images"), str(small)]
        expect(host.run(copying, env=mydocker.env), status=0)
        mydocker.env["MYDOCKER_ROOT"] = str(small)
        yield Path(f"/proc/{host.pid}/root{small}")
    finally:
        host.run(["umount", str(small)], env=mydocker.env)


def commit(mydocker: Mydocker, image: str = "copy") -> Call:
    return expect(mydocker("commit", "box", image), status=0, err="")


def run(mydocker: Mydocker, image: str, script: str) -> Call:
    return mydocker("run", "--rm", image, "sh", "-c", script)


def lay_tar(mydocker: Mydocker, image: str, version: str) -> None:
    """Put a tar in the place of an image: busybox's files, and one that tells the version."""
    images = mydocker.root / "images"
    new = images / ".laid.tar"
    packing = ["tar", "--create", f"--file={new}", f"--directory={images / 'busybox'}", "."]
    subprocess.run(packing, check=True)
    content = f"{version}\n".encode()
    member = tarfile.TarInfo("./version")
    member.size = len(content)
    with tarfile.open(new, "a") as archive:
        archive.addfile(member, io.BytesIO(content))
    new.rename(images / f"{image}.tar")


def names_of_images(mydocker: Mydocker) -> set[str]:
    """The names of what lies in images/: without ".tar", and without what begins with a dot."""
    there = os.listdir(mydocker.root / "images")
    return {name.removesuffix(".tar") for name in there if not name.startswith(".")}


def made(path: Path, directory: bool = False) -> Path:
    """A new empty file or directory, with its parents."""
    (path if directory else path.parent).mkdir(parents=True, exist_ok=True)
    if not directory:
        path.touch()
    return path


def modes_of(top: Path) -> dict[str, str]:
    return {path.name: f"{path.lstat().st_mode & 0o7777:04o}" for path in sorted(top.iterdir())}


def parts(top: Path, *fields: str) -> dict[str, tuple]:
    """These parts of the descriptions of all files below a directory, by path."""
    return {
        trees.show(path): tuple(part(entry, field) for field in fields)
        for path, entry in describe(top).items()
        if path != b"."
    }


def part(entry: trees.Entry, field: str) -> object:
    return f"{entry.mode:04o}" if field == "mode" else getattr(entry, field)


def times_of(top: Path) -> dict[str, int]:
    return {path: time // 10**9 for path, (time,) in parts(top, "mtime_ns").items()}


def content(top: bytes, name: bytes) -> bytes:
    with open(b"/".join([top, name, name]), "rb") as file:
        return file.read()


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of a file in a tar; nothing for what is no file."""
    return (archive.extractfile(member) or io.BytesIO()).read()


def make_deep(top: Path, depth: int) -> None:
    """Directories with a name of 200 bytes, each in the one before. The first may be there."""
    name = "d" * 200
    directory = os.open(top, os.O_PATH)
    for _ in range(depth):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=directory)
        below = os.open(name, os.O_PATH, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)


def names_below(top: Path) -> set[str]:
    """All paths below a directory, but for what a running container has there."""
    found = set()
    for folder, directories, files in os.walk(top):
        directories[:] = [name for name in directories if name not in ("mnt", "writeLayer", "work")]
        found.update(str(Path(folder, name).relative_to(top)) for name in [*directories, *files])
    return found


def write_version(root: Path, version: int) -> None:
    """Give the files in a container a version: two of them, one at each end of the tree."""
    for name in ("bin/a-version", "usr/version"):
        (root / name).write_bytes(bytes([version]) * SIZE)


def read_version(root: Path) -> int | str:
    """The version, if it is a whole one; a text that says what is wrong if it is not."""
    contents = [(root / name).read_bytes() for name in ("bin/a-version", "usr/version")]
    if contents[0] != contents[1] or contents[0] != contents[0][:1] * SIZE:
        found = [f"{len(content)} bytes of {sorted(set(content))}" for content in contents]
        return f"a mixture: {' and '.join(found)}"
    return contents[0][0]


def ended(running: Running) -> bool:
    try:
        return not Path(f"/proc/{running.pid}").exists()
    except ProcessLookupError:
        return True


def below(running: Running) -> list[Process]:
    """What a program has started, if it still runs."""
    try:
        return running.descendants()
    except ProcessLookupError:
        return []


def kill(running: Running, children: bool) -> Call:
    """Kill a program, with or without what it has started."""
    with contextlib.suppress(ProcessLookupError):
        running.send(signal.SIGSTOP)  # it starts no other ones from here on
    started_by_it = below(running) if children else []
    call = running.stop()
    for process in started_by_it:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return call


def note_memory(running: Running, peaks: dict[int, int]) -> None:
    """Note the most memory that each process of a program has had so far, in KiB."""
    with contextlib.suppress(ProcessLookupError):
        for pid in (running.pid, *(process.pid for process in below(running))):
            with contextlib.suppress(OSError):
                rows = Path(f"/proc/{pid}/status").read_text().splitlines()
                for row in rows:
                    if row.startswith("VmHWM:"):
                        peaks[pid] = int(row.split()[1])
