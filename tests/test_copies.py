"""Copies that serve again only if nobody has changed them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dojo.scratch.copies import Copies


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    original = tmp_path / "original"
    (original / "bin").mkdir(parents=True)
    (original / "bin/busybox").write_text("program\n")
    (original / "bin/sh").symlink_to("busybox")
    return Copies(original, tmp_path / "spare")


@pytest.fixture
def copy(copies: Copies, tmp_path: Path) -> Path:
    place = tmp_path / "copy"
    copies.put(place)
    # Two changes within one tick of the clock that stamps files look like one.
    while tmp_path.stat().st_ctime_ns <= (place / "bin/sh").lstat().st_ctime_ns:
        tmp_path.chmod(0o755)
    return place


def test_a_copy_has_what_the_original_has(copy: Path) -> None:
    assert (copy / "bin/busybox").read_text() == "program\n"
    assert (copy / "bin/sh").readlink() == Path("busybox")


def test_a_copy_that_was_only_read_serves_again(copies: Copies, copy: Path, tmp_path: Path) -> None:
    inode = copy.stat().st_ino
    for another in ("second", "third"):
        (copy / "bin/sh").read_text()
        assert copies.give_back(copy)
        assert not copy.exists()
        copy = tmp_path / another
        copies.put(copy)
        assert copy.stat().st_ino == inode


def _written_with_the_old_time(copy: Path) -> None:
    program = copy / "bin/busybox"
    status = program.stat()
    program.write_text("PROGRAM\n")
    os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replaced(copy: Path) -> None:
    copy.rename(copy.with_name("old"))
    shutil.copytree(copy.with_name("old"), copy, symlinks=True)


def _replaced_by_a_link(copy: Path) -> None:
    copy.rename(copy.with_name("old"))
    copy.symlink_to("old")


@pytest.mark.parametrize(
    "change",
    [
        _written_with_the_old_time,
        lambda copy: (copy / "bin/busybox").chmod(0o700),
        lambda copy: os.setxattr(copy / "bin/busybox", "user.kata", b"1"),
        lambda copy: os.link(copy / "bin/busybox", copy.parent / "outside"),
        lambda copy: os.utime(copy / "bin/sh", (1, 1), follow_symlinks=False),
        lambda copy: (copy / "bin/sh").unlink(),
        lambda copy: (copy / "bin/new").touch(),
        lambda copy: (copy / "new").touch(),
        lambda copy: copy.chmod(0o700),
        lambda copy: os.setxattr(copy, "user.kata", b"1"),
        lambda copy: os.utime(copy, (1, 1)),
        _replaced,
        _replaced_by_a_link,
        shutil.rmtree,
    ],
)
def test_one_that_was_changed_does_not(
    copies: Copies, copy: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    change(copy)
    assert not copies.give_back(copy)
    copies.put(tmp_path / "next")
    assert (tmp_path / "next/bin/busybox").read_text() == "program\n"
    assert (tmp_path / "next/bin/sh").is_symlink()
    assert not (tmp_path / "next/new").exists()


def test_one_is_kept_and_no_more(copies: Copies, copy: Path, tmp_path: Path) -> None:
    copies.put(tmp_path / "second")
    assert copies.give_back(copy)
    assert not copies.give_back(tmp_path / "second")
