"""Tar files: those that come in are looked at before anything of them is unpacked."""

import errno
import io
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Callable

from mydocker.errors import refused_threads
from mydocker.streams import WaitingReader, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

BLOCK = 512  # of a tar file; one of zeros marks its end
CHUNK = 1 << 20
SOME_FILES_DIFFER = 1  # an exit status of tar
PATH_MOST = 4095  # bytes: PATH_MAX of linux/limits.h, which counts a zero at the end
ESCAPED = re.compile(rb"\\([0-7]{3}|.)")  # how tar writes a byte that is no letter
LINKS_MOST = 40  # that one path may go through, as in path_resolution(7)

# How a compressed file begins, and the program that reads it.
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class ArchiveError(Exception):
    """Why a tar file could not be read, unpacked or written."""


def copy_plain(source: int, tar: int) -> None:
    """Copy a tar file, plain or compressed, to another descriptor, where it is plain.

    Raises ArchiveError where it cannot be read, OSError where it cannot be written.
    """
    with io.BufferedReader(WaitingReader(source, closefd=False)) as file:
        head = file.read(max(map(len, COMPRESSIONS)))  # a pipe may bring it byte by byte
        for magic, program in COMPRESSIONS.items():
            if head.startswith(magic):
                return decompress(program, head, file, tar)
        return copy(head, file, tar)


def copy(head: bytes, file: "IO[bytes]", tar: int) -> None:
    write_all(tar, head)
    while chunk := file.read(CHUNK):
        write_all(tar, chunk)


def decompress(program: str, head: bytes, file: "IO[bytes]", tar: int) -> None:
    """Have a program read the file from its stdin. head: what has been read of it already."""
    try:
        process = subprocess.Popen(
            [program, "-dc"], stdin=subprocess.PIPE, stdout=tar, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise ArchiveError(f"compressed with {program}, which is not installed") from error
    assert process.stdin
    assert process.stderr
    feeding = threading.Thread(target=feed, args=(head, file, process.stdin), daemon=True)
    try:
        with refused_threads():
            feeding.start()
    except OSError:
        process.kill()
        process.wait()
        raise
    said = process.stderr.read()
    if process.wait() != 0:
        raise failure_of(program, said, tar)
    feeding.join()


def feed(head: bytes, file: "IO[bytes]", stdin: "IO[bytes]") -> None:
    try:
        stdin.write(head)
        while chunk := file.read(CHUNK):
            stdin.write(chunk)
        stdin.close()
    except BrokenPipeError:  # it has ended, and says why
        pass


def check(tar: int) -> None:
    """Look at every member of a tar file. Raises ArchiveError where one would be written elsewhere.

    A link is followed when something is written through it, and may have come from the file itself.
    """
    links: dict[str, str] = {}
    os.lseek(tar, 0, os.SEEK_SET)
    with open(tar, "rb", closefd=False) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as archive:
                for member in archive:
                    refuse_outside(member, links)
                    if member.issym():
                        links[plain(member.name)] = member.linkname
                end = archive.offset
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise ArchiveError(f"not a tar file: {error}") from error
    if os.pread(tar, BLOCK, end) != bytes(BLOCK):
        raise ArchiveError(f"damaged or cut off at byte {end}")


def refuse_outside(member: tarfile.TarInfo, links: dict[str, str]) -> None:
    leads_to = [member.name, member.linkname] if member.islnk() else [member.name]
    for name in leads_to:
        if name.startswith("/"):
            raise ArchiveError(f"member '{member.name}': '{name}' is an absolute path")
        if ".." in name.split("/"):
            raise ArchiveError(f"member '{member.name}': '{name}' has '..' in it")
        link = link_that_leads_out(plain(name), links)
        if link is not None:
            raise ArchiveError(
                f"member '{member.name}': '{name}' lies behind the link '{link}' to"
                f" '{links[link]}', which leads out"
            )


def link_that_leads_out(name: str, links: dict[str, str]) -> str | None:
    """The first link on the way to a member that leads out of the tree, or round in a circle."""
    way: list[str] = []
    parts = name.split("/")
    followed = 0
    last = ""
    while len(parts) > 1:  # the last one is written itself, never followed
        part = parts.pop(0)
        if part == "..":
            if not way:
                return last
            way.pop()
            continue
        way.append(part)
        target = links.get("/".join(way))
        if target is None:
            continue
        last = "/".join(way)
        followed += 1
        if target.startswith("/") or followed > LINKS_MOST:
            return last
        way.pop()
        parts = [word for word in target.split("/") if word not in ("", ".")] + parts
    return None


def plain(name: str) -> str:
    """A member's name without the "./" and "//" that mean nothing."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def extract(tar: int, directory: str) -> None:
    """Unpack a tar file that was checked, with all that a file is. Raises ArchiveError."""
    os.lseek(tar, 0, os.SEEK_SET)
    options = ["--numeric-owner", "--same-owner", "--preserve-permissions"]
    options += ["--xattrs", "--xattrs-include=*", "--warning=no-timestamp"]
    done = subprocess.run(
        ["tar", "--extract", "--file=-", f"--directory={directory}", *options],
        stdin=tar,
        capture_output=True,
        env=plain_environment(),
        check=False,
    )
    not_kept = b"Cannot set" in done.stderr and b"extended attribute" in done.stderr
    if done.returncode != 0 or not_kept:
        raise failure_of("tar", done.stderr, directory)


def pack(files: int, tar: int) -> str:
    """Write all files below a directory to a plain tar file, by descriptors of both.

    Sockets are left out: they are nothing without the process that listens. Returns what tar says
    of files that changed while they were read, in one line. Raises ArchiveError.
    """
    options = ["--numeric-owner", "--sparse", "--xattrs", "--xattrs-include=*"]
    options += ["--format=posix", "--pax-option=delete=atime,delete=ctime"]
    done = subprocess.run(
        ["tar", "--create", "--file=-", f"--directory=/proc/self/fd/{files}", *options, "."],
        stdin=subprocess.DEVNULL,
        stdout=tar,
        stderr=subprocess.PIPE,
        pass_fds=[files],
        env=plain_environment(),
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.endswith(b": socket ignored")]
    if done.returncode > SOME_FILES_DIFFER or done.returncode < 0:
        raise failure_of("tar", b"\n".join(said), tar)
    refuse_too_deep(tar)
    return "; ".join(line.decode(errors="replace").removeprefix("tar: ") for line in said)


def refuse_too_deep(tar: int) -> None:
    """Raise ArchiveError where a member lies deeper than a path can lead: none could unpack it.

    Whoever makes such a tree, or packs it, goes down step by step, and needs no path.
    """
    os.lseek(tar, 0, os.SEEK_SET)
    deep = []
    with subprocess.Popen(
        ["tar", "--list", "--file=-", "--quoting-style=escape"],
        stdin=tar,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=plain_environment(),
    ) as listing:
        assert listing.stdout
        for line in listing.stdout:
            if len(line) > PATH_MOST:  # with its escapes: a look that costs next to nothing
                name = ESCAPED.sub(b"?", line).rstrip(b"/\n")
                deep += [line] if len(name) > PATH_MOST else []
    if listing.returncode != 0:
        raise ArchiveError("tar cannot read what it has written")
    if deep:
        begin = deep[0].removeprefix(b"./")[:40].decode()
        raise ArchiveError(f"{begin}…: too deep, a path has {PATH_MOST} bytes at most")


def size_of(tar: int) -> Callable[[], int]:
    """What tells how much of a tar file has been written, in bytes."""
    return lambda: os.fstat(tar).st_size


def position_in(tar: int) -> Callable[[], int]:
    """What tells how much of a tar file has been read, in bytes, also by another process."""
    return lambda: os.lseek(tar, 0, os.SEEK_CUR)


def plain_environment() -> dict[str, str]:
    """The caller's, without what would change how tar works and what it says."""
    kept = {name: value for name, value in os.environ.items() if name != "TAR_OPTIONS"}
    return {**kept, "LC_ALL": "C"}


def failure_of(program: str, said: bytes, target: str | int) -> ArchiveError:
    """What a program that failed has said, in one line. target: where it wrote to.

    A full disk is named as what it is: of a file that did not fit, tar says only how much did.
    """
    no_space = os.strerror(errno.ENOSPC)
    text = said.decode(errors="replace")
    full = os.statvfs(target).f_bfree == 0
    if no_space in text or (full and "Wrote only" in text):
        return ArchiveError(no_space)
    lines = [line.removeprefix(f"{program}: ") for line in text.splitlines() if line.strip()]
    return ArchiveError(lines[0] if lines else f"{program} failed and said nothing")
