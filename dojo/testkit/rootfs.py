"""The root file system that containers of the kata live in: busybox, as one tar file.

No network is needed where a static busybox is: it is one program that is `sh`, `ls`, `mount` and
three hundred others, by the name of the link through which it is called. The tar is the same to the
byte for the same busybox, so that whatever is cached by its hash stays valid.
"""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.testkit.busybox import Say, first_that_works
from dojo.testkit.root_tree import Entry, Tree, plain


def _on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def ensure(clone: Clone, say: Say = _on_stderr) -> Path:
    """The tar file of the root file system, made now if it is not there yet.

    It comes from $KATA_ROOTFS (a tar file or a directory), or is the one made before, or is made
    from a static busybox on this machine, from one that apt installs (as root), or from the busybox
    image of a Docker engine. Two processes may ask at once; what an interrupted one leaves is made
    anew.

    say: gets one line before anything that takes long or changes the machine.
    Raises KataError that names every way to get one.
    """
    folder = clone.state / "rootfs"
    given = os.environ.get("KATA_ROOTFS")
    if given:
        return _given(clone, Path(given).absolute(), folder / "given.tar")
    tar = folder / "busybox.tar"
    if tar.is_file():
        return tar
    with _one_at_a_time(clone, folder):
        if not tar.is_file():  # else another process made it while this one waited
            tree = first_that_works(say)
            _put(clone, tar, lambda file: _write(tree, file))
    return tar


def unpack(tar: Path, directory: Path) -> None:
    """Unpack a root file system into an existing directory, as root, with owners by number.

    Raises KataError with tar's own reason.
    """
    argv = ["tar", "--extract", "--file", str(tar), "--directory", str(directory)]
    argv += ["--numeric-owner", "--same-owner", "--preserve-permissions"]
    _tar(argv, f"unpack {tar} into {directory}")


# What $KATA_ROOTFS names ---------------------------------------------------------------------


def _given(clone: Clone, given: Path, packed: Path) -> Path:
    """The tar file that was given, or the directory that was given, packed.

    A directory is packed at every call: it may have changed since the last one.
    """
    if given.is_file():
        _check_that_it_is_a_root(given)
        return given
    if not given.is_dir():
        raise KataError(f"KATA_ROOTFS={given}: no such tar file or directory")
    if not any(os.path.lexists(given / shell) for shell in _SHELLS):
        raise KataError(f"KATA_ROOTFS={given}: not a root file system, it has no bin/sh")
    with _one_at_a_time(clone, packed.parent):
        _put(clone, packed, lambda file: _pack(given, Path(file.name)))
    return packed


_SHELLS = ("bin/sh", "usr/bin/sh")


def _check_that_it_is_a_root(tar: Path) -> None:
    try:
        with tarfile.open(tar) as archive:
            if any(plain(member.name) in _SHELLS for member in archive):
                return
    except (tarfile.TarError, EOFError, OSError) as error:
        raise KataError(f"KATA_ROOTFS={tar}: not a tar file that can be read: {error}") from error
    raise KataError(f"KATA_ROOTFS={tar}: not a root file system, it has no bin/sh")


def _pack(directory: Path, tar: Path) -> None:
    argv = ["tar", "--create", "--file", str(tar), "--directory", str(directory)]
    argv += ["--numeric-owner", "--one-file-system", "--sort=name", "."]
    _tar(argv, f"pack KATA_ROOTFS={directory}")


def _tar(argv: Sequence[str], tried: str) -> None:
    """Run GNU tar. tried: how an error names what was tried. Raises KataError."""
    environment = {name: value for name, value in os.environ.items() if name != "TAR_OPTIONS"}
    try:
        result = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise KataError(f"{tried}: no tar on this machine (Debian: apt install tar)") from error
    if result.returncode != 0:
        # Its last line only says that it ends.
        reason = result.stderr.decode(errors="replace").partition("\n")[0]
        raise KataError(f"{tried}: {reason}")


# Writing it ----------------------------------------------------------------------------------


def _write(tree: Tree, file: IO[bytes]) -> None:
    """Write a tree as a tar file: the same tree gives the same bytes, whoever writes it."""
    # GNU tar's format, fixed here because Python's default has changed before.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        # The root itself comes first, for its mode: it is unpacked into a directory made by
        # mkdtemp, which only root may enter.
        archive.addfile(_header(".", Entry(tarfile.DIRTYPE, 0o755)))
        for name in sorted(tree, key=lambda name: (tree[name].kind == tarfile.LNKTYPE, name)):
            entry = tree[name]
            archive.addfile(_header(name, entry), BytesIO(entry.content))


def _header(name: str, entry: Entry) -> tarfile.TarInfo:
    """A tar header of root's (TarInfo's uid and gid are 0, its names empty)."""
    header = tarfile.TarInfo(name)
    header.type = entry.kind
    header.mode = entry.mode
    header.size = len(entry.content)
    header.linkname = entry.target
    header.mtime = _MOMENT
    return header


_MOMENT = 1577836800  # 2020-01-01: any moment does, as long as it is always the same


def _put(clone: Clone, path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    """Make a file whole or not at all, and the clone's owner's."""
    unfinished = path.with_name(path.name + ".new")
    try:
        with unfinished.open("wb") as file:
            fill(file)
        unfinished.chmod(0o644)
        clone.give_back(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise KataError(f"write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(clone: Clone, folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock: whoever comes second waits, and finds the work done."""
    try:
        for directory in (folder.parent, folder):
            if not directory.is_dir():
                directory.mkdir(exist_ok=True)
                clone.give_back(directory)
        with (folder / "lock").open("ab") as lock:
            clone.give_back(folder / "lock")
            _wait_for(lock)
            yield
    except OSError as error:
        raise KataError(f"write into {folder}: {error.strerror}") from error


def _wait_for(lock: IO[bytes]) -> None:
    if sys.platform != "win32":  # where no tests run, so that nobody comes second
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
