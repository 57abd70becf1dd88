"""Trees of files: described, compared, and changed in a container and beside it in the same way.

`describe` says all that the files of a tree are, `differences` says what sets two trees apart.
`lay_base` makes a tree that has one of everything, `sequences` draws operations on it, and `Twins`
does each of them in two places: where there are layers, and in a plain directory that shows what
should come out.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
XATTRS = ("user.", "trusted.", "security.capability", "system.posix_acl_")
BLOCK = 1 << 16  # bytes of a file that are read at a time
SHOWN_BYTES = 40  # a file that is not longer is shown as it is
SECOND = 1_000_000_000  # in nanoseconds
SLACK_SECONDS = 2  # between doing a thing in one place and doing it in the other


@dataclass(frozen=True)
class Entry:
    """One file of a tree, of whatever kind.

    mode: permissions, and the bits above them. content: of a file, what is in it; of a symbolic
    link, where it leads; of a device, its numbers. same_as: all names of this file in the tree,
    where it has several (hard links).
    """

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    content: str
    same_as: tuple[bytes, ...]
    xattrs: Mapping[str, bytes]


Tree = dict[bytes, Entry]


def describe(top: Path, without: Collection[str] = ()) -> Tree:
    """All files of a tree by their paths below it; b"." is the top itself.

    without: paths below the top that are left out, with all that is below them. A mount point is
    described, what is mounted there is not looked into. Symbolic links are never followed.
    """
    left_out = {os.fsencode(path) for path in without}
    base = os.fsencode(top)
    found = {b".": os.lstat(os.path.join(base, b"."))}  # the top may be a link: /proc/PID/root
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        for name in os.listdir(os.path.join(base, folder)):
            path = os.path.join(folder, name)
            if path in left_out:
                continue
            found[path] = os.lstat(os.path.join(base, path))
            if stat.S_ISDIR(found[path].st_mode) and found[path].st_dev == found[b"."].st_dev:
                waiting.append(path)
    links = _hard_links(found)
    return {
        path: _entry(os.path.join(base, path), found[path], links.get(identity_of(found[path]), ()))
        for path in sorted(found)
    }


def differences(
    wanted: Tree, found: Tree, *, since: float | None = None, whole_seconds: bool = False
) -> list[str]:
    """What sets the second tree apart from the first, a sentence for each thing.

    whole_seconds: fractions of them do not matter in times of change. since: a moment, in seconds
    since the epoch; two times of change that both lie after it may be two seconds apart.
    """
    sentences = []
    for path in sorted({*wanted, *found}):
        if path not in found:
            sentences.append(f"{show(path)} is missing: it should be a {wanted[path].kind}")
        elif path not in wanted:
            sentences.append(f"{show(path)} should not be there: it is a {found[path].kind}")
        else:
            pairs = _unlike(wanted[path], found[path], since, whole_seconds)
            sentences += [
                f"{show(path)}: its {what} is {is_}, it should be {ought}"
                for what, ought, is_ in pairs
            ]
    return sentences


def show(path: bytes) -> str:
    """A path as a person can read it, whatever its bytes are."""
    return repr(path)[1:]


def _hard_links(found: Mapping[bytes, os.stat_result]) -> dict[tuple[int, int], tuple[bytes, ...]]:
    names: dict[tuple[int, int], list[bytes]] = {}
    for path, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault(identity_of(status), []).append(path)
    return {identity: tuple(sorted(paths)) for identity, paths in names.items() if len(paths) > 1}


def identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _entry(path: bytes, status: os.stat_result, same_as: tuple[bytes, ...]) -> Entry:
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    content = ""
    if kind == "file":
        content = _content(path, status.st_size)
    elif kind == "symbolic link":
        content = show(os.readlink(path))
    elif kind.endswith("device"):
        content = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        mtime_ns=status.st_mtime_ns,
        content=content,
        same_as=same_as,
        xattrs=xattrs(path),
    )


def _content(path: bytes, size: int) -> str:
    """A short file as it is, a long one as its size and a hash that holes do not change."""
    digest = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if size <= SHOWN_BYTES:
            return show(os.pread(handle, SHOWN_BYTES, 0))
        for offset in _blocks_with_data(handle):
            block = os.pread(handle, BLOCK, offset)
            if block.count(0) < len(block):
                digest.update(offset.to_bytes(8, "big") + block)
    finally:
        os.close(handle)
    return f"{size} bytes with the sha256 {digest.hexdigest()[:16]}…"


def _blocks_with_data(handle: int) -> Iterator[int]:
    position = 0
    while True:
        try:
            data = os.lseek(handle, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left, or nothing
                return
            raise
        start = data - data % BLOCK
        yield start
        position = start + BLOCK


def xattrs(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(names)
            if name.startswith(XATTRS)
        }
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # a file system that has none
            return {}
        raise


def _unlike(
    wanted: Entry, found: Entry, since: float | None, whole_seconds: bool
) -> Iterator[tuple[str, str, str]]:
    """The words for what is unlike, with what it should be and what it is."""
    if wanted.kind != found.kind:
        yield "kind", wanted.kind, found.kind
        return
    if wanted.mode != found.mode:
        yield "mode", f"{wanted.mode:04o}", f"{found.mode:04o}"
    if wanted.owner != found.owner:
        yield "owner", "{}:{}".format(*wanted.owner), "{}:{}".format(*found.owner)
    if wanted.content != found.content:
        what = {"file": "content", "symbolic link": "target"}.get(wanted.kind, "number")
        yield what, wanted.content, found.content
    if wanted.same_as != found.same_as:
        yield "set of hard links", _show_all(wanted.same_as), _show_all(found.same_as)
    for name in sorted({*wanted.xattrs, *found.xattrs}):
        ought, is_ = wanted.xattrs.get(name), found.xattrs.get(name)
        if ought != is_:
            yield f"xattr {name}", _show_xattr(ought), _show_xattr(is_)
    if not _same_time(wanted.mtime_ns, found.mtime_ns, since, whole_seconds):
        yield "time of change", _show_time(wanted.mtime_ns), _show_time(found.mtime_ns)


def _same_time(wanted: int, found: int, since: float | None, whole_seconds: bool) -> bool:
    if since is not None and min(wanted, found) >= since * SECOND:
        return abs(wanted - found) <= SLACK_SECONDS * SECOND
    return wanted // SECOND == found // SECOND if whole_seconds else wanted == found


def _show_all(paths: tuple[bytes, ...]) -> str:
    return " = ".join(map(show, paths)) or "none"


def _show_time(nanoseconds: int) -> str:
    return f"{nanoseconds // SECOND}.{nanoseconds % SECOND:09}"


def _show_xattr(value: bytes | None) -> str:
    return "absent" if value is None else show(value)
