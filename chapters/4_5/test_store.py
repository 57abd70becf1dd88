"""Chapter 4.5: images come in as tar files, and each is there whole or not at all."""

import bz2
import contextlib
import functools
import gzip
import io
import lzma
import os
import random
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dojo import clone
from dojo.scratch import CrashPoint
from dojo.testkit import rootfs
from dojo.testkit.callers import (
    CALLERS,
    few_processes,
    in_two_pieces,
    tells_what_it_cannot_print,
)
from dojo.testkit.containers import end, started
from dojo.testkit.crash_points import beside, crash_points, killed_at
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import first_words
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm
from dojo.testkit.trees import describe, differences

STRICT = ("sh", "-c", 'umask 077; exec "$@"', "sh")  # a caller who shares nothing
LONG_AGO = 1_234_567_890
FIRST = {None: "half", 1: "one byte", 2: "two bytes"}  # of a tar that comes in two pieces


def run(mydocker: Mydocker, script: str, *options: str, image: str = "busybox", **more):
    """Run a script in a container; status 99 where it finds itself among the host's files."""
    return mydocker("run", "--rm", *options, image, "sh", "-c", safe(mydocker, script), **more)


def safe(mydocker: Mydocker, script: str) -> str:
    """Until there is a root of its own, a script would change the files of this machine."""
    here = shlex.quote(str(mydocker.root))
    return f"test ! -e {here} || {{ echo these are the files of the host >&2; exit 99; }}; {script}"


# Task 1: A tar becomes an image


@task(1)
@vm
def test_an_image_is_imported_and_runs(mydocker, tmp_path):
    """A tar file of a root file system is all that an image is."""
    image = write_tar(tmp_path / "image.tar", [a_file("version", b"one\n")])
    call = expect(mydocker("import", str(image), "fresh"), status=0, err="")
    check(len(call.text.splitlines()) == 1, "one line that says what was made", call.text, call)
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="one\n")


@task(1)
@pytest.mark.parametrize("first", FIRST, ids=FIRST.values())
def test_a_tar_that_comes_in_pieces_is_waited_for(mydocker, first):
    """Stdin may be non-blocking: that there is nothing just now does not mean that it is all."""
    comes_in_pieces(mydocker, tar_of([a_file("version", b"packed\n")]), first)


def comes_in_pieces(mydocker: Mydocker, content: bytes, first: int | None) -> None:
    __tracebackhide__ = True
    call = in_two_pieces(mydocker, "import", "-", "fresh", content=content, first=first)
    expect(call, status=0, out="fresh\n", err="")
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="packed\n")


@task(1)
def test_a_relative_file_is_looked_for_where_the_person_is(mydocker, tmp_path):
    """`import image.tar` means the file in the working directory."""
    write_tar(tmp_path / "image.tar", [a_file("version", b"near\n")])
    expect(mydocker("import", "image.tar", "fresh", cwd=tmp_path), status=0, err="")
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="near\n")


@task(1)
def test_all_that_a_file_is_comes_along(mydocker, tmp_path):
    """Modes above 0777, owners by number, times, links of both kinds, fifos, devices."""
    image = write_tar(
        tmp_path / "image.tar",
        [
            a_file("program", b"x", mode=0o4755, uid=1234, gid=567, uname="root", gname="root"),
            a_file("data/file", b"", mode=0o600),
            a_member("data/again", tarfile.LNKTYPE, mode=0o600, linkname="data/file"),
            a_member("data/link", tarfile.SYMTYPE, linkname="/not/there", uid=12),
            a_member("fifo", tarfile.FIFOTYPE, mode=0o640),
            a_member("device", tarfile.CHRTYPE, mode=0o660, devmajor=1, devminor=3),
            a_member("sticky", tarfile.DIRTYPE, mode=0o1777),
        ],
    )
    expect(mydocker("import", str(image), "fresh"), status=0, err="")
    paths = "program data/file fifo device sticky"
    script = f"stat -c '%n %F %a %u:%g %Y' {paths}; stat -c '%t:%T' device; "
    script += "stat -c '%F %u' data/link; "
    script += "test data/file -ef data/again && echo the same file; readlink data/link"
    call = run(mydocker, script, image="fresh")
    wanted = (
        f"program regular file 4755 1234:567 {LONG_AGO}\n"
        f"data/file regular empty file 600 0:0 {LONG_AGO}\n"
        f"fifo fifo 640 0:0 {LONG_AGO}\n"
        f"device character special file 660 0:0 {LONG_AGO}\n"
        f"sticky directory 1777 0:0 {LONG_AGO}\n"
        "1:3\nsymbolic link 12\nthe same file\n/not/there\n"
    )
    expect(call, status=0, out=wanted)


@task(1)
@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_long_and_strange_names_come_along(mydocker, tmp_path, format):
    """A name in a tar header has room for 100 bytes; there are two ways to have longer ones."""
    formats = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
    names = ["long/" + "n" * 120, "a b\n'c'", "-rf", "größe", "\udcff\udcfe"]
    members = [a_file(name, str(number).encode()) for number, name in enumerate(names)]
    image = write_tar(tmp_path / "image.tar", members, format=formats[format])
    expect(mydocker("import", str(image), "fresh"), status=0, err="")
    quoted = [
        # What is no text is written as the shell's printf has it: a command is text to engines.
        "".join(f"\\{byte:03o}" for byte in os.fsencode(f"/{name}"))
        for name in names
    ]
    script = "cat " + " ".join(f"\"$(printf '{name}')\"" for name in quoted)
    call = mydocker("run", "--rm", "fresh", "sh", "-c", script)
    expect(call, status=0, out="01234", err="")


@task(1)
def test_the_mode_of_the_root_comes_along(mydocker, tmp_path):
    """The root directory is a member like any other: "./" in the tar file."""
    image = write_tar(tmp_path / "image.tar", root=0o751)
    expect(mydocker("import", str(image), "fresh"), status=0)
    expect(run(mydocker, "stat -c %a /", image="fresh"), status=0, out="751\n")


@task(1)
def test_a_root_without_a_mode_is_open_to_all(mydocker, tmp_path):
    """Many tar files do not have the root itself as a member: then it is 0755, whatever the umask.

    Directories that are only part of another member's name are the same case.
    """
    image = write_tar(tmp_path / "image.tar", [a_file("some/where", b"x")], root=None)
    expect(mydocker("import", str(image), "fresh", before=STRICT), status=0)
    expect(run(mydocker, "stat -c %a / /some", image="fresh"), status=0, out="755\n755\n")


@task(1)
def test_an_image_is_replaced(mydocker, tmp_path):
    """The name means the new image from now on; nothing of the old one shines through."""
    one = write_tar(tmp_path / "one.tar", [a_file("version", b"one\n"), a_file("only-in-one", b"")])
    two = write_tar(tmp_path / "two.tar", [a_file("version", b"two\n")])
    expect(mydocker("import", str(one), "fresh"), status=0)
    expect(run(mydocker, "cat /version; ls /only*", image="fresh"), out="one\n/only-in-one\n")
    expect(mydocker("import", str(two), "fresh"), status=0)
    call = run(mydocker, "cat /version; ls -d /only*; echo end", image="fresh")
    expect(call, out="two\nend\n")


@task(1)
@ours
def test_an_image_that_lay_there_is_replaced(mydocker, tmp_path):
    """`busybox` was there before anything was imported; a new one may take its place."""
    image = write_tar(tmp_path / "image.tar", [a_file("version", b"new\n")])
    expect(run(mydocker, "test -e /version || echo none"), status=0, out="none\n", err="")
    expect(mydocker("import", str(image), "busybox"), status=0)
    expect(run(mydocker, "cat /version"), status=0, out="new\n")


@task(1)
@needs("unotify")
def test_an_import_that_is_killed_leaves_an_image(mydocker, tmp_path):
    """Killed at any moment, it leaves the old image, or the new one if it had got that far.

    There must be no moment at which the name means half of an image.
    """
    number = 4
    tars = {
        version: write_tar(
            tmp_path / f"{version}.tar",
            [a_file(f"files/{each:04}", version) for each in range(number)],
        )
        for version in (b"1", b"2")
    }
    expect(mydocker("import", str(tars[b"1"]), "fresh"), status=0)
    there = b"1"
    for crash_point in crash_points(16):
        other = b"2" if there == b"1" else b"1"
        running = mydocker.start("import", str(tars[other]), "fresh", crash_point=crash_point)
        killed = killed_at(crash_point, running)
        call = run(mydocker, "cat /files/*", image="fresh")
        possible = [other] if killed.status == 0 else [there, other]
        whole = [each * number for each in possible]
        check(call.out in whole, "the old image or the new one, whole", call.out[:100], call)
        there = call.out[:1]
    expect(mydocker("import", str(tars[b"2"]), "fresh"), status=0)
    expect(run(mydocker, "cat /files/0000", image="fresh"), status=0, out="2")


@task(1)
@ours
@needs("unotify")
def test_the_name_is_there_at_each_moment(mydocker, tmp_path):
    """Others look at the name while it is replaced: they find the old image or the new one.

    A name that is taken away first, and given to the new one then, is nobody's in between.
    """
    one = write_tar(tmp_path / "one.tar", [a_file("version", b"one\n")])
    two = write_tar(tmp_path / "two.tar", [a_file("version", b"two\n")])
    expect(mydocker("import", str(one), "fresh"), status=0)
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="one\n")
    images = mydocker.root / "images"
    names = [path for path in (images / "fresh", images / "fresh.tar") if path.exists()]
    crash_point = CrashPoint(0)
    running = mydocker.start("import", str(two), "fresh", crash_point=crash_point)
    for _ in crash_point.steps():
        gone = [str(path) for path in names if not path.exists()]
        check(not gone, "what was there of the image by its name is there", f"gone: {gone}")
    expect(running.wait(), status=0)
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="two\n")


@task(1)
@ours
@needs("unotify")
def test_two_imports_of_one_name_at_once(mydocker, tmp_path):
    """Two people have the same idea. Each of their images is whole, and one of them is the last."""
    tars = {
        version: str(
            write_tar(
                tmp_path / f"{version.decode()}.tar",
                [a_file(f"files/{each}", version) for each in range(4)],
            )
        )
        for version in (b"1", b"2")
    }
    for crash_point in crash_points(12):
        running = mydocker.start("import", tars[b"1"], "fresh", crash_point=crash_point)
        second = beside(mydocker, crash_point, "import", tars[b"2"], "fresh")
        for call in (running.wait(), second):
            expect(call, status=0, out="fresh\n", err="")
        call = expect(run(mydocker, "cat /files/*", image="fresh"), status=0)
        check(call.out in (b"1111", b"2222"), "one of the two images, whole", call.out, call)


@task(1)
@ours
@needs("unotify")
def test_two_first_imports_at_once(mydocker, tmp_path):
    """Neither finds the directories there, and each makes them: one of them comes second."""
    tar = str(write_tar(tmp_path / "fresh.tar", [a_file("version", b"one")]))
    for number, crash_point in enumerate(crash_points(4)):
        empty = {"MYDOCKER_ROOT": str(tmp_path / f"root-{number}")}
        running = mydocker.start("import", tar, "first", env=empty, crash_point=crash_point)
        second = beside(mydocker, crash_point, "import", tar, "second", env=empty)
        expect(running.wait(), status=0, out="first\n", err="")
        expect(second, status=0, out="second\n", err="")
        for image in ("first", "second"):
            call = run(mydocker, "cat /version", image=image, env=empty)
            expect(call, status=0, out="one")


@task(1)
@ours
def test_a_committed_image_can_be_imported_again(mydocker):
    """An image travels as a tar: to another machine, or back to this one by another name."""
    script = safe(mydocker, "echo new > /new; rm /etc/shells; echo ready; exec sleep 1000")
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words))
    expect(mydocker("commit", "box", "copy"), status=0, err="")
    end(running)
    tar = mydocker.root / "images" / "copy.tar"
    expect(mydocker("import", str(tar), "again"), status=0)
    call = run(mydocker, "cat /new; test ! -e /etc/shells", image="again")
    expect(call, status=0, out="new\n", err="")


@task(1)
@guard  # `run` unpacks since 4.4
@ours
@needs("unotify")
def test_an_image_that_takes_long_to_unpack_is_whole(mydocker):
    """At a terminal you may say how far it is. Whoever looks must not move what `tar` reads.

    Here `tar` is held up in the middle, until a number is shown; but for two seconds at most.
    """
    files = [a_file(name, random.randbytes(100_000)) for name in ("one", "middle", "last")]
    (mydocker.root / "images" / "slow.tar").write_bytes(tar_of([*files, a_file("end", b"whole")]))
    words = ["run", "--rm", "slow", "sh", "-c", "cat /end; cat /one /middle /last | wc -c"]
    crash_point = CrashPoint(0, alone=True)
    running = mydocker.start(*words, crash_point=crash_point, terminal=True)
    is_waited_for = False
    for _ in crash_point.steps():
        if crash_point.before.endswith("middle") and not is_waited_for:
            running.wait_for_output(b"MB", 2.0)
            is_waited_for = True
    call = expect(running.wait(), status=0)
    check(call.text.endswith("whole300000\r\n"), "all of the image", call.text, call)


@task(1)
@ours
def test_an_import_that_does_not_fit_leaves_the_old_image(mydocker, tmp_path):
    """A full disk is told by its name, and what was there before is still there, whole."""
    does_not_fit(mydocker, tmp_path, "plain")


def does_not_fit(mydocker: Mydocker, tmp_path: Path, format: str) -> None:
    __tracebackhide__ = True
    one = write_tar(tmp_path / "one.tar", [a_file("version", b"one\n")])
    big = tmp_path / "big.tar"
    big.write_bytes(compressed(tar_of([a_file("filling", bytes(20 << 20))]), format))
    with a_small_disk(mydocker, tmp_path / "small", megabytes=12) as small:
        root = {"MYDOCKER_ROOT": str(tmp_path / "small")}
        expect(mydocker("import", str(one), "fresh", env=root), status=0)
        expect(run(mydocker, "cat /version", image="fresh", env=root), status=0, out="one\n")
        before = describe(small / "images")
        call = mydocker("import", str(big), "fresh", env=root)
        expect(call, status=1, out="", complaint=["No space left on device"])
        as_before(before, small / "images")
        expect(run(mydocker, "cat /version", image="fresh", env=root), status=0, out="one\n")
        expect(mydocker("import", str(one), "fresh", env=root), status=0)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda tar: b"",
    "no tar file": lambda tar: b"this is not a tar file\n" * 100,
    "cut off": lambda tar: half(tar),
    "cut off in a header": lambda tar: tar[:300],
    "a byte changed in a header": lambda tar: tar[:3] + b"?" + tar[4:],
}


@task(1)
@ours
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_tar_file_is_refused(mydocker, tmp_path, what):
    """A download that broke off must not become half of an image."""
    is_refused(mydocker, tmp_path, DAMAGED[what])


def is_refused(mydocker: Mydocker, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Expect a damaged tar file to be refused, from a file and from stdin, and no image changed."""
    __tracebackhide__ = True
    good = tar_of([])
    expect(mydocker("import", "-", "fresh", stdin=good), status=0)
    before = describe(mydocker.root / "images")
    bad = tmp_path / "bad.tar"
    bad.write_bytes(damage(good))
    call = mydocker("import", str(bad), "fresh")
    expect(call, status=1, out="", complaint=["bad.tar"])
    call = mydocker("import", "-", "another", stdin=bad.read_bytes())
    expect(call, status=1, out="", complaint=[])
    as_before(before, mydocker.root / "images")
    expect(run(mydocker, "echo started", image="fresh"), out="started\n")
    expect(mydocker("import", "-", "another", stdin=good), status=0)


@task(1)
@pytest.mark.parametrize("what", ["missing", "a directory"])
def test_a_file_that_cannot_be_read_is_named(mydocker, tmp_path, what):
    """The person has to see which file it was."""
    good = write_tar(tmp_path / "good.tar")
    expect(mydocker("import", str(good), "fresh"), status=0)
    bad = tmp_path / "bad.tar"
    if what == "a directory":
        bad.mkdir()
    call = expect(mydocker("import", str(bad), "another"), status=1, out="")
    check("bad.tar" in call.errors, "a message that names bad.tar", call.errors, call)
    expect(mydocker("run", "--rm", "another", "true"), status=125, out="")


@task(1)
@ours
@pytest.mark.parametrize("name", ["Fresh", "../fresh", "a/b", "fresh.tar", ".fresh", "-fresh", ""])
def test_a_name_that_could_be_a_path_is_refused(mydocker, tmp_path, name):
    """The name becomes a file and a directory: it must not lead elsewhere, or to another image."""
    image = write_tar(tmp_path / "image.tar")
    expect(mydocker("import", str(image), "a-good.name_1"), status=0)
    before = describe(mydocker.root / "images")
    call = mydocker("import", str(image), name)
    expect(call, status=125, out="", complaint=[name])
    as_before(before, mydocker.root / "images")


@task(1)
@ours
def test_the_wrong_number_of_arguments_is_told(mydocker, tmp_path):
    """One word too many or too few: most likely the order was wrong, so nothing is done."""
    image = str(write_tar(tmp_path / "image.tar"))
    expect(mydocker("import", image, "fresh"), status=0)
    for words in ([], [image], [image, "fresh", "more"]):
        expect(mydocker("import", *words), status=1, out="", complaint=["import"])


@task(1)
def test_an_unknown_option_is_refused(mydocker, tmp_path):
    """An option that is skipped silently was meant to do something."""
    image = str(write_tar(tmp_path / "image.tar"))
    expect(mydocker("import", image, "fresh"), status=0)
    call = expect(mydocker("import", "--no-such-option", image, "fresh"), status=125, out="")
    check("-no-such-option" in call.errors, "a message that names it", call.errors, call)


@task(1)
@ours
def test_a_name_that_cannot_be_printed(mydocker, tmp_path):
    """`… > /dev/full`: what was asked for did not reach anybody. It is told, and not of `run`."""
    image = write_tar(tmp_path / "image.tar")
    tells_what_it_cannot_print(mydocker, "import", str(image), "fresh")


# Task 2: The list of images


@task(2)
def test_images_lists_them(mydocker, tmp_path):
    """`images` is how a person finds out what can be run."""
    image = write_tar(tmp_path / "image.tar")
    expect(mydocker("import", str(image), "fresh"), status=0)
    call = expect(mydocker("images"), status=0, err="")
    check(first_words(call) == ["busybox", "fresh"], "busybox and fresh", call.text, call)


@task(2)
def test_an_image_that_was_replaced_is_listed_once(mydocker, tmp_path):
    """A name means one image: the new one."""
    image = write_tar(tmp_path / "image.tar")
    for _ in range(2):
        expect(mydocker("import", str(image), "fresh"), status=0)
        expect(run(mydocker, "true", image="fresh"), status=0)
    call = expect(mydocker("images"), status=0)
    check(first_words(call) == ["busybox", "fresh"], "fresh is there once", call.text, call)


@task(2)
def test_a_committed_image_is_listed(mydocker):
    """`images` shows it beside the others, once it is there, and once only."""
    script = safe(mydocker, "echo ready; exec sleep 1000")
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words))
    before = first_words(expect(mydocker("images"), status=0, err=""))
    expect(mydocker("commit", "box", "copy"), status=0, err="")
    after = first_words(expect(mydocker("images"), status=0, err=""))
    end(running)
    check("copy" not in before, "not there before the commit", before)
    check(after == sorted([*before, "copy"]), "`copy` beside what was there", after)


@task(2)
@ours
def test_images_is_a_table(mydocker, tmp_path):
    """A header, then a line for each image, the name first, sorted: easy to read, easy to cut."""
    image = write_tar(tmp_path / "image.tar")
    for name in ("zebra", "ant"):
        expect(mydocker("import", str(image), name), status=0, out=f"{name}\n")
    call = expect(mydocker("images"), status=0, err="")
    header, *lines = call.text.splitlines() or [""]
    check(header.split() == ["IMAGE", "CREATED", "SIZE"], "IMAGE  CREATED  SIZE", header, call)
    names = [line.partition(" ")[0] for line in lines]
    check(names == ["ant", "busybox", "zebra"], "ant, busybox, zebra", names, call)


@task(2)
@ours
def test_images_tells_how_large_they_are(mydocker, tmp_path):
    """In units that a person can read, such as `2.02MB` or `2.0M`: there are several ways."""
    image = write_tar(tmp_path / "image.tar", [a_file("filling", bytes(40 << 20))])
    expect(mydocker("import", str(image), "large"), status=0)
    call = expect(mydocker("images"), status=0, err="")
    check(first_words(call) == ["busybox", "large"], "busybox and large", call.text, call)
    for line in call.text.splitlines()[1:]:
        name = line.split()[0]
        size = size_of(mydocker.root / "images" / name)
        wanted = f"a SIZE at the end of the line of {name} that means about {size} bytes"
        shown = re.search(r"(\d+(?:\.\d+)?) ?([kKMGT]?)(?:i?B)?$", line.rstrip())
        check(shown, wanted, line, call)
        told = float(shown[1]) * 1000 ** " KMGT".index(shown[2].upper() or " ")
        check(size / 1.5 < told < size * 1.5, wanted, line, call)


def size_of(image: Path) -> int:
    """How many bytes an image has: its tar, or the files of a directory that was laid there."""
    tar = image.with_name(f"{image.name}.tar")
    files = [tar] if tar.exists() else image.resolve().rglob("*")
    return sum(file.lstat().st_size for file in files if not file.is_dir())


@task(2)
@ours
def test_images_of_a_new_root(mydocker, tmp_path):
    """On a machine where nothing was imported yet, `images` shows a header and succeeds."""
    root = {"MYDOCKER_ROOT": str(tmp_path / "new")}
    call = expect(mydocker("images", env=root), status=0, err="")
    check(len(call.text.splitlines()) == 1, "a header, and no image", call.text, call)


@task(2)
@ours
def test_an_image_that_leads_nowhere_hides_no_other(mydocker):
    """A link of somebody's, to a directory that has gone: `images` lists what there is."""
    (mydocker.root / "images" / "a-link").symlink_to("nowhere")
    call = expect(mydocker("images"), status=0)
    names = first_words(call)
    check(names == ["busybox"], "the image `busybox`", names, call)
    (mydocker.root / "images" / "a-link").unlink()


@task(2)
@ours
def test_a_list_that_cannot_be_printed(mydocker):
    """`images > /dev/full`: the list did not reach anybody, and that is told."""
    tells_what_it_cannot_print(mydocker, "images")


@task(2)
@ours
def test_the_list_takes_no_arguments(mydocker):
    """Whoever types one means something that `images` does not do."""
    expect(mydocker("images"), status=0)
    expect(mydocker("images", "more"), status=1, out="", complaint=["images"])


@task(2)
def test_an_unknown_option_of_the_list_is_refused(mydocker):
    """An option that is skipped silently was meant to do something."""
    expect(mydocker("images"), status=0)
    call = expect(mydocker("images", "--no-such-option"), status=125, out="")
    check("-no-such-option" in call.errors, "a message that names it", call.errors, call)


# Task 3: Compressed or not


@task(3)
@pytest.mark.parametrize("source", ["FILE", "-"])
@pytest.mark.parametrize("format", ["gzip", "bzip2", "xz", "zstd"])
def test_an_image_may_be_compressed(mydocker, tmp_path, format, source):
    """Images travel compressed. What a file is, its first bytes say, not its name."""
    content = compressed(tar_of([a_file("version", b"packed\n")]), format)
    image = tmp_path / "image"
    image.write_bytes(content)
    words, stdin = (["-"], content) if source == "-" else ([str(image)], b"")
    expect(mydocker("import", *words, "fresh", stdin=stdin), status=0, err="")
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="packed\n")


@task(3)
@pytest.mark.parametrize("first", FIRST, ids=FIRST.values())
def test_a_compressed_tar_that_comes_in_pieces_is_waited_for(mydocker, first):
    """The first bytes, which say what it is, need not come at once."""
    content = compressed(tar_of([a_file("version", b"packed\n")]), "gzip")
    comes_in_pieces(mydocker, content, first)


@task(3)
@ours
def test_a_compressed_import_that_does_not_fit_leaves_the_old_image(mydocker, tmp_path):
    """It may be small as it lies there, and large when it is plain: see "zip bomb"."""
    does_not_fit(mydocker, tmp_path, "gzip")


@task(3)
@ours
def test_an_import_without_processes_or_threads_makes_no_image(mydocker):
    """The caller may have few of both. What the kernel refuses is told, and no image is listed."""
    content = compressed(tar_of([a_file("version", b"packed\n")]), "gzip")
    for most in range(1, 20):
        with few_processes(mydocker, most) as before:
            call = mydocker("import", "-", "fresh", stdin=content, before=before)
        if call.status == 0:
            break
        expect(call, status=1, out="", complaint=["Resource temporarily unavailable"])
        there = first_words(expect(mydocker("images"), status=0))
        check(there == ["busybox"], "busybox alone", there, call)
    expect(call, status=0, out="fresh\n", err="")
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="packed\n")


DAMAGED_COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "no tar file": lambda tar: gzip.compress(b"this is not a tar file\n" * 100),
    "cut off": lambda tar: half(gzip.compress(tar, 1)),
    "with a wrong checksum": lambda tar: with_a_wrong_checksum(gzip.compress(tar, 1)),
    "with xz and cut off": lambda tar: half(lzma.compress(tar, preset=0)),
}


@task(3)
@ours
@pytest.mark.parametrize("what", DAMAGED_COMPRESSED)
def test_a_damaged_compressed_file_is_refused(mydocker, tmp_path, what):
    """What unpacks it says so at its end, which may come when everything has been written."""
    expect(mydocker("import", "-", "good", stdin=gzip.compress(tar_of([]), 1)), status=0)
    is_refused(mydocker, tmp_path, DAMAGED_COMPRESSED[what])


def with_a_wrong_checksum(compressed: bytes) -> bytes:
    """All of it is there; only the last eight bytes, which a reader compares, are of another."""
    return compressed[:-8] + gzip.compress(b"another")[-8:]


@task(3)
@ours
@pytest.mark.parametrize("caller", CALLERS)
def test_a_damaged_tar_file_is_refused_whatever_the_caller_does_with_signals(
    mydocker, tmp_path, caller
):
    """Whoever has another program unpack must know how that ended: it may have all but the end.

    Where SIGCHLD is ignored, the kernel tells nobody, and a library may take that for success.
    """
    good, bad = tmp_path / "good.tar.gz", tmp_path / "bad.tar.gz"
    good.write_bytes(gzip.compress(tar_of([]), 1))
    bad.write_bytes(with_a_wrong_checksum(good.read_bytes()))
    before = CALLERS[caller]
    expect(mydocker("import", str(good), "fresh", before=before), status=0)
    found = describe(mydocker.root / "images")
    call = mydocker("import", str(bad), "fresh", before=before)
    expect(call, status=1, out="", complaint=["bad.tar"])
    as_before(found, mydocker.root / "images")


# Task 4: What is refused


def linked(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


Members = list[tuple[tarfile.TarInfo, bytes]]
HOSTILE: dict[str, Callable[[str], Members]] = {
    "an absolute path": lambda out: [a_file(f"{out}/written", b"x")],
    "a way up": lambda out: [a_file(f"{'../' * 30}{out[1:]}/written", b"x")],
    "a way up in the middle": lambda out: [a_file(f"etc/{'../' * 30}{out[1:]}/written", b"x")],
    "a directory above": lambda out: [a_member("..", tarfile.DIRTYPE, mode=0o777)],
    "a file below a link": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname=out),
        a_file("door/written", b"x"),
    ],
    "a file below a link upward": lambda out: [
        a_member("etc/door", tarfile.SYMTYPE, linkname=f"{'../' * 30}{out[1:]}"),
        a_file("etc/door/written", b"x"),
    ],
    "a file below two links": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname=out),
        a_member("hall", tarfile.SYMTYPE, linkname="door"),
        a_file("hall/written", b"x"),
    ],
    "a file below links in a circle": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname="hall"),
        a_member("hall", tarfile.SYMTYPE, linkname="door"),
        a_file("door/written", b"x"),
    ],
    "a file far below a link": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname=out),
        a_file("door/far/below/written", b"x"),
    ],
    "a hard link far behind a link": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname=os.path.dirname(out)),
        a_member("stolen", tarfile.LNKTYPE, linkname=f"door/{os.path.basename(out)}/secret"),
    ],
    "a directory below a link": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname=out),
        a_member("door/written", tarfile.DIRTYPE),
    ],
    "a hard link to an absolute path": lambda out: [
        a_member("stolen", tarfile.LNKTYPE, linkname=f"{out}/secret")
    ],
    "a hard link upward": lambda out: [
        a_member("stolen", tarfile.LNKTYPE, linkname=f"{'../' * 30}{out[1:]}/secret")
    ],
    "a hard link behind a link": lambda out: [
        a_member("door", tarfile.SYMTYPE, linkname=out),
        a_member("stolen", tarfile.LNKTYPE, linkname="door/secret"),
    ],
    "a hard link to nothing": lambda out: [a_member("lost", tarfile.LNKTYPE, linkname="not/there")],
}


@task(4)
@ours
@pytest.mark.parametrize(
    "what",
    # GNU tar refuses the others, but for the first it takes away the slash.
    ["an absolute path", *(pytest.param(what, marks=guard) for what in [*HOSTILE][1:])],
)
def test_a_tar_file_that_leads_out_is_refused(mydocker, tmp_path, what):
    """Whoever made a tar file chose the names in it. They must not reach the host's files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host\n")
    good = write_tar(tmp_path / "good.tar")
    bad = write_tar(tmp_path / "bad.tar", HOSTILE[what](str(outside)))
    expect(mydocker("import", str(good), "fresh"), status=0)
    before, files = describe(mydocker.root / "images"), describe(outside)
    call = expect(mydocker("import", str(bad), "fresh"), status=1, out="", complaint=["bad.tar"])
    found = differences(files, describe(outside))
    check(not found, "the host's files are as they were", found, call)
    as_before(before, mydocker.root / "images")
    expect(run(mydocker, "echo started", image="fresh"), out="started\n")


@task(4)
@ours
@needs("unotify")
@pytest.mark.parametrize("what", [what for what in HOSTILE if not what.endswith("to nothing")])
def test_nothing_is_unpacked_before_all_is_looked_at(mydocker, tmp_path, what):
    """A tar program that refuses such a member has by then unpacked those before it.

    GNU tar refuses some of these by itself, and others not, and not every tar is GNU tar.
    """
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host\n")
    good = write_tar(tmp_path / "good.tar", [a_file("a-name-of-the-good-one", b"x")])
    bad = write_tar(
        tmp_path / "bad.tar", [a_file("a-name-of-the-bad-one", b"x"), *HOSTILE[what](str(outside))]
    )
    expect(mydocker("import", str(good), "fresh"), status=0)
    expect(run(mydocker, "true", image="fresh"), status=0)
    found = [*mydocker.root.rglob("a-name-of-the-good-one")]
    check(found, "the files of an image lie below MYDOCKER_ROOT", "not there")
    crash_point = CrashPoint(0)
    running = mydocker.start("import", str(bad), "another", crash_point=crash_point)
    for _ in crash_point.steps():
        found = [str(path) for path in mydocker.root.rglob("a-name-of-the-bad-one")]
        check(not found, f"no member of the tar is unpacked: it has {what}", found)
    expect(running.wait(), status=1, out="", complaint=["bad.tar"])


@task(4)
@guard  # until this task nothing is refused
def test_a_link_that_leads_nowhere_on_the_host_is_no_danger(mydocker, tmp_path):
    """Absolute links are common in images: as long as nothing is written through them."""
    image = write_tar(
        tmp_path / "image.tar",
        [
            a_file("real/file", b"found\n"),
            a_member("absolute", tarfile.SYMTYPE, linkname="/real"),
            a_member("upward", tarfile.SYMTYPE, linkname="../../../../real"),
            a_member("way", tarfile.SYMTYPE, linkname="real"),
            a_file("way/below", b"below\n"),
        ],
    )
    expect(mydocker("import", str(image), "fresh"), status=0, err="")
    script = "cat absolute/file upward/file real/below"
    expect(run(mydocker, script, image="fresh"), status=0, out="found\nfound\nbelow\n")


@task(4)
@guard  # until this task nothing is refused
@ours  # Docker refuses every file in which a path stands twice
def test_a_link_that_leads_out_may_be_replaced(mydocker, tmp_path):
    """A later member of the same name takes the link's place: nothing is written through it."""
    link = a_member("etc/name", tarfile.SYMTYPE, linkname="/etc/passwd")
    image = write_tar(tmp_path / "image.tar", [link, a_file("etc/name", b"a file\n")])
    expect(mydocker("import", str(image), "fresh"), status=0, err="")
    script = "test ! -L /etc/name && cat /etc/name"
    expect(run(mydocker, script, image="fresh"), status=0, out="a file\n")


@task(4)
@ours
def test_a_tar_file_without_its_end_is_refused(mydocker, tmp_path):
    """Cut off between two members: only the blocks of zeros that say "this was all" are missing."""
    is_refused(mydocker, tmp_path, lambda tar: tar[: len(padded(tar.rstrip(b"\0")))])


# Task 5: What nobody uses any more


@task(5)
@ours
def test_nothing_is_kept_of_an_image_that_was_replaced(mydocker, tmp_path):
    """Images are large: one that has no name any more is only in the way."""
    one = write_tar(tmp_path / "one.tar", [a_file("only-in-one", b"")])
    two = write_tar(tmp_path / "two.tar")
    for image in (one, two, one, two):
        expect(mydocker("import", str(image), "fresh"), status=0)
        expect(run(mydocker, "echo started", image="fresh"), out="started\n")
    left = list((mydocker.root / "images").rglob("only-in-one"))
    check(not left, "no file of the old image is left", [str(path) for path in left])


@task(5)
@ours
def test_the_last_container_takes_the_old_files_with_it(mydocker, tmp_path):
    """While it runs, they are in use. Then nobody is left who could remove them, but itself."""
    one = write_tar(tmp_path / "one.tar", [a_file("only-in-one", b"")])
    two = write_tar(tmp_path / "two.tar")
    expect(mydocker("import", str(one), "fresh"), status=0)
    script = safe(mydocker, "echo ready; read line; ls /only*")
    words = ("run", "-i", "--rm", "fresh", "sh", "-c", script)
    running = started(mydocker.start(*words, stdin=None))
    expect(mydocker("import", str(two), "fresh"), status=0)
    running.type(b"\n")
    call = expect(running.wait(), status=0, out="ready\n/only-in-one\n", err="")
    left = list((mydocker.root / "images").rglob("only-in-one"))
    check(not left, "no file of the old image is left", [str(path) for path in left], call)


@task(5)
@guard  # until this task nothing is removed
def test_a_container_of_the_old_image_goes_on(mydocker, tmp_path):
    """It has not opened all its files yet, and will look for them in the image it came from."""
    one = write_tar(tmp_path / "one.tar", [a_file("version", b"one\n"), a_file("only-in-one", b"")])
    two = write_tar(tmp_path / "two.tar", [a_file("version", b"two\n")])
    expect(mydocker("import", str(one), "fresh"), status=0)
    script = safe(mydocker, "echo ready; read line; cat /version; ls /only*")
    words = ("run", "-i", "--rm", "fresh", "sh", "-c", script)
    running = started(mydocker.start(*words, stdin=None))
    expect(mydocker("import", str(two), "fresh"), status=0)
    running.type(b"\n")
    expect(running.wait(), status=0, out="ready\none\n/only-in-one\n", err="")
    expect(run(mydocker, "cat /version", image="fresh"), status=0, out="two\n")


# Task 6: The files by their name


@task(6)
@ours
def test_the_name_leads_to_the_files(mydocker, tmp_path):
    """Who wants to look into an image finds its files by its name: those of the new one."""
    for version in ("one", "two"):
        image = write_tar(tmp_path / "image.tar", [a_file("version", version.encode())])
        expect(mydocker("import", str(image), "fresh"), status=0)
        expect(run(mydocker, "cat /version", image="fresh"), status=0, out=version)
        file = mydocker.root / "images" / "fresh" / "version"
        found = file.read_text() if file.exists() else "no such file"
        check(found == version, f"{file} with '{version}' in it", found)


@task(6)
@ours
def test_nothing_is_kept_of_a_directory_that_was_replaced(mydocker, tmp_path):
    """Nobody uses the image that lay there, either, once its name means another."""
    old = mydocker.root / "images" / "busybox" / "only-in-the-old-one"
    old.write_text("x")
    expect(run(mydocker, "ls /only*"), status=0, out=f"/{old.name}\n", err="")
    expect(mydocker("import", str(write_tar(tmp_path / "image.tar")), "busybox"), status=0)
    expect(run(mydocker, "echo started"), status=0, out="started\n")
    left = list((mydocker.root / "images").rglob(old.name))
    check(not left, "no file of the old image is left", [str(path) for path in left])


WAYS = {
    "the root itself": lambda top: top / "root",
    "a link to the root": lambda top: linked(top / "link", "root"),
    "a link to its parent": lambda top: linked(top / "link", ".") / "root",
    "a link to its images": lambda top: linked(top / "other" / "images", "../root/images").parent,
    "up from behind a link": lambda top: linked(top / "link", "root/images") / ".." / ".." / "root",
}


@task(6)
@ours
@pytest.mark.parametrize("way", WAYS)
def test_links_may_lead_to_the_root(mydocker, tmp_path, way):
    """Whoever has moved it to a larger disk leaves a link. A directory has more than one path.

    The tar may be gone, when its files are unpacked. Who compares paths to find out which of them
    somebody needs, takes these for old ones, and removes the image at the end of a container.
    """
    (tmp_path / "root" / "images").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    root = {"MYDOCKER_ROOT": str(WAYS[way](tmp_path))}
    image = write_tar(tmp_path / "image.tar", [a_file("version", b"one\n")])
    call = expect(mydocker("import", str(image), "fresh", env=root), status=0)
    images = tmp_path / "root" / "images"
    there = sorted(os.listdir(images)) if images.is_dir() else "no such directory"
    check(list(images.glob("fresh*")), f"the image is in {images}", there, call)
    expect(run(mydocker, "cat /version", image="fresh", env=root), status=0, out="one\n")
    (images / "fresh.tar").unlink(missing_ok=True)
    for _ in range(2):
        expect(run(mydocker, "cat /version", image="fresh", env=root), status=0, out="one\n")


# What the tests are made of


def as_before(before, images: Path) -> None:
    """Expect the images to be what they were; that something was tried may show in the times."""
    __tracebackhide__ = True
    found = differences(before, describe(images))
    found = [line for line in found if "time of change" not in line]
    check(not found, "the images are what they were, and nothing half made", lines(found))


def lines(found: list[str]) -> str:
    return "\n".join(found[:10])


@contextlib.contextmanager
def a_small_disk(mydocker: Mydocker, point: Path, megabytes: int) -> Iterator[Path]:
    """A file system with little room, mounted on the test host. How it is seen from here."""
    point.mkdir()
    options = f"size={megabytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(point)]
    expect(mydocker.host.run(mount, env=mydocker.env), status=0)
    try:
        yield Path(f"/proc/{mydocker.host.pid}/root{point}")
    finally:
        mydocker.host.run(["umount", str(point)], env=mydocker.env)


def write_tar(path: Path, members: Members | None = None, **more) -> Path:
    path.write_bytes(tar_of(members or [], **more))
    return path


def tar_of(members: Members, root: int | None = 0o755, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar file of a root file system with busybox in it, and then these members."""
    base = [] if root is None else [a_member("./", tarfile.DIRTYPE, mode=root)]
    base += [
        a_member(name, tarfile.DIRTYPE) for name in ["bin", "dev", "etc", "proc", "sys", "tmp"]
    ]
    base += [a_file("bin/busybox", busybox(), mode=0o755)]
    for name in ["sh", "cat", "ls", "stat", "wc", "test", "readlink", "true", "sleep"]:
        base += [a_member(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox")]
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", format=format, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member, content in [*base, *members]:
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@functools.cache
def busybox() -> bytes:
    with tarfile.open(rootfs.ensure(clone.here())) as archive:
        return archive.extractfile("bin/busybox").read()


def a_file(name: str, content: bytes, **more) -> tuple[tarfile.TarInfo, bytes]:
    return a_member(name, tarfile.REGTYPE, content, **more)


def a_member(name: str, kind: bytes, content: bytes = b"", **more) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar file. more: attributes of its header."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = len(content)
    member.mtime = LONG_AGO
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for attribute, value in more.items():
        setattr(member, attribute, value)
    return member, content


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def padded(content: bytes) -> bytes:
    """With the zeros that fill up the last block of a tar file."""
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def compressed(content: bytes, format: str) -> bytes:
    if format == "zstd":
        if shutil.which("zstd") is None:
            pytest.skip("no zstd here")
        return subprocess.run(["zstd", "-1c"], input=content, stdout=-1, check=True).stdout
    ways = {
        "plain": lambda content: content,
        "gzip": lambda content: gzip.compress(content, 1),
        "bzip2": lambda content: bz2.compress(content, 1),
        "xz": lambda content: lzma.compress(content, preset=0),
    }
    return ways[format](content)
