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
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

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


# What a tree is ------------------------------------------------------------------------------


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
        path: _entry(os.path.join(base, path), found[path], links.get(_identity(found[path]), ()))
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
            names.setdefault(_identity(status), []).append(path)
    return {identity: tuple(sorted(paths)) for identity, paths in names.items() if len(paths) > 1}


def _identity(status: os.stat_result) -> tuple[int, int]:
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
        xattrs=_xattrs(path),
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


def _xattrs(path: bytes) -> dict[str, bytes]:
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


# A tree that has one of everything -----------------------------------------------------------

LONG_AGO = 1_000_000_000  # 2001: times of change before the test are in those years
LINKED = (b"linked-1", b"sub/linked-2", b"sub/linked-3")

_FILES = {
    b"file": b"of the image\n",
    b"empty": b"",
    b"big": bytes(range(256)) * 800,
    b"program": b"#!/bin/sh\n",
    b"sub/inner": b"inner\n",
    b"sub/deep/leaf": b"leaf\n",
    b"full/x": b"x",
    b"full/y": b"y",
    b"new\nline": b"a newline in its name",
    b"-rf": b"a leading dash",
    b"\xff\xfe": b"no UTF-8",
    b"full/ ": b"a blank",
    LINKED[0]: b"one file with three names\n",
}
_DIRECTORIES = (b"sub", b"sub/deep", b"full", b"void")
_LINKS = {b"link": b"file", b"dangling": b"not/there", b"way": b"sub"}
_NODES = {
    b"fifo": (stat.S_IFIFO, 0),
    b"socket": (stat.S_IFSOCK, 0),
    b"null": (stat.S_IFCHR, os.makedev(1, 3)),
    b"disk": (stat.S_IFBLK, os.makedev(7, 200)),
}
_MODES = {b"program": 0o4755, b"sub": 0o2750, b"full": 0o1777, b"empty": 0o000, b"null": 0o666}
_OWNERS = {b"program": (1000, 1000), b"sub": (0, 33), b"sub/inner": (33, 33), b"link": (12, 34)}
_SPARSE = b"sparse"
_XATTRS = {b"file": ("user.kata", "trusted.kata"), b"sub": ("trusted.kata",)}

NEW = (b"new", b"new/new", b"sub/new", b"sub/deep/new", b"void/new", b"full/new", b"n\xe9w\n -")
PATHS = (*_FILES, *LINKED[1:], *_DIRECTORIES, *_LINKS, *_NODES, _SPARSE, b"way/inner", *NEW)


def lay_base(top: Path) -> None:
    """Make a tree that has one of everything. It is the same one every time. Needs root."""
    base = os.fsencode(top)

    def at(path: bytes) -> bytes:
        return os.path.join(base, path)

    os.mkdir(base)
    for path in _DIRECTORIES:
        os.mkdir(at(path))
    for path, content in _FILES.items():
        _write(at(path), content)
    _write(at(_SPARSE), b"")
    _patch(at(_SPARSE), 5 << 20, b"an island")
    os.truncate(at(_SPARSE), 8 << 20)
    for other in LINKED[1:]:
        os.link(at(LINKED[0]), at(other))
    for path, target in _LINKS.items():
        os.symlink(target, at(path))
    for path, (kind, device) in _NODES.items():
        os.mknod(at(path), kind | 0o600, device)
    below = sorted({*_FILES, *LINKED, *_DIRECTORIES, *_LINKS, *_NODES, _SPARSE}, reverse=True)
    for path in below:
        os.chown(at(path), *_OWNERS.get(path, (0, 0)), follow_symlinks=False)
        if path not in _LINKS:
            usual = 0o755 if path in _DIRECTORIES else 0o644
            os.chmod(at(path), _MODES.get(path, usual))
    for path, names in _XATTRS.items():
        for name in names:
            if has_xattrs(top, name):
                os.setxattr(at(path), name, b"of the image")
    for number, path in enumerate([*below, b"."]):  # a directory comes after what is in it
        moment = (LONG_AGO + number * 1000) * SECOND + 123_456_789
        os.utime(at(path), ns=(moment, moment), follow_symlinks=False)


def has_xattrs(directory: Path, name: str) -> bool:
    """Whether files there can have an extended attribute of that name: some have no user.*."""
    try:
        os.getxattr(directory, name)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


# Operations ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """Something that can be done to a tree. Paths lie below its top."""

    verb: str
    paths: tuple[bytes, ...]
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        values = (f"0o{v:o}" if self.verb in MODE_VERBS else _short(v) for v in self.values)
        return " ".join([self.verb, *map(show, self.paths), *values])

    def do(self, top: Path) -> None:
        """Raises OSError, as the system calls do."""
        places = (os.path.join(os.fsencode(top), path) for path in self.paths)
        VERBS[self.verb](*places, *self.values)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:20]}…"


def _write(path: bytes, content: bytes, flags: int = os.O_CREAT | os.O_EXCL) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o666)
    try:
        while content:
            content = content[os.write(handle, content) :]
    finally:
        os.close(handle)


def _overwrite(path: bytes, content: bytes) -> None:
    _write(_a_file(path), content, os.O_TRUNC)


def _append(path: bytes, content: bytes) -> None:
    _write(_a_file(path), content, os.O_APPEND)


def _patch(path: bytes, offset: int, content: bytes) -> None:
    handle = os.open(_a_file(path), os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.pwrite(handle, content, offset)
    finally:
        os.close(handle)


def _truncate(path: bytes, size: int) -> None:
    os.truncate(_a_file(path), size)


def _a_file(path: bytes) -> bytes:
    """Devices and fifos are not written to, links are not followed: it may be the host's."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return path


def _chmod(path: bytes, mode: int) -> None:
    if stat.S_ISLNK(os.lstat(path).st_mode):
        raise OSError(errno.EINVAL, "a symbolic link has no mode", path)
    os.chmod(path, mode)


def _chown(path: bytes, owner: int, group: int) -> None:
    os.chown(path, owner, group, follow_symlinks=False)


def _set_time(path: bytes, seconds: int) -> None:
    os.utime(path, (seconds, seconds), follow_symlinks=False)


def _mknod(path: bytes, mode: int, device: int) -> None:
    os.mknod(path, mode, device)  # Windows has none, and only collects tests


def _set_xattr(path: bytes, name: str, value: bytes) -> None:
    os.setxattr(path, name, value, follow_symlinks=False)


def _remove_xattr(path: bytes, name: str) -> None:
    os.removexattr(path, name, follow_symlinks=False)


def _link(path: bytes, other: bytes) -> None:
    os.link(path, other, follow_symlinks=False)


def _symlink(path: bytes, target: bytes) -> None:
    os.symlink(target, path)


def _remove_tree(path: bytes) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in os.listdir(path):
            _remove_tree(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


def _make_anew(path: bytes) -> None:
    """Delete a directory and make it again: what was in it must not come back."""
    os.listdir(path)  # only a directory
    _remove_tree(path)
    os.mkdir(path, 0o755)


VERBS: dict[str, Callable[..., None]] = {
    "create": _write,
    "overwrite": _overwrite,
    "append": _append,
    "patch": _patch,
    "truncate": _truncate,
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "remove-tree": _remove_tree,
    "make-anew": _make_anew,
    "rename": os.rename,
    "link": _link,
    "symlink": _symlink,
    "mknod": _mknod,
    "chmod": _chmod,
    "chown": _chown,
    "set-time": _set_time,
    "set-xattr": _set_xattr,
    "remove-xattr": _remove_xattr,
}
MODE_VERBS = ("mkdir", "chmod")
HOLD = "hold"  # open for reading and stay so: done by Twins, it has no end of its own
# What changes the file of its first path itself, not only the directory that this path lies in.
CHANGES = {"overwrite", "append", "patch", "truncate", "rename", "link"} | {
    *("chmod", "chown", "set-time", "set-xattr", "remove-xattr"),
}


PARTS = 6  # lists that a sequence is made of


def sequences() -> st.SearchStrategy[list[Operation]]:
    """Draw operations on the tree that `lay_base` makes. Many fail, which is to be the same too.

    Hypothesis likes short lists: a sequence is made of some.
    """
    contents = st.sampled_from([b"", b"changed\n", b"long " * 20_000])
    modes = st.sampled_from([0o700, 0o644, 0o1777, 0o4755, 0o2750, 0o000])
    owners = st.sampled_from([0, 1000, 65534])
    times = st.integers(LONG_AGO - 100_000_000, LONG_AGO + 300_000_000)
    xattrs = st.sampled_from(["user.kata", "trusted.kata", "user.other"])
    nodes = st.sampled_from([*_NODES.values(), (stat.S_IFCHR, os.makedev(5, 0))])
    targets = st.sampled_from([b"file", b"sub", b"sub/deep", b"not/there", b"\xff"])
    any_path = st.sampled_from(PATHS)
    new_path = st.one_of(st.sampled_from(NEW), any_path)
    folder = st.sampled_from([*_DIRECTORIES, b"new", b"sub/new"])
    linked = st.sampled_from(LINKED)
    one = {
        "create": st.tuples(contents),
        "overwrite": st.tuples(contents),
        "append": st.tuples(contents),
        "patch": st.tuples(st.sampled_from([0, 5, 3_000_000]), contents),
        "truncate": st.tuples(st.sampled_from([0, 3, 3_000_000])),
        "mkdir": st.tuples(modes),
        "rmdir": st.just(()),
        "unlink": st.just(()),
        "remove-tree": st.just(()),
        "make-anew": st.just(()),
        "symlink": st.tuples(targets),
        "mknod": nodes.map(lambda node: (node[0] | 0o640, node[1])),
        "chmod": st.tuples(modes),
        "chown": st.tuples(owners, owners),
        "set-time": st.tuples(times),
        "set-xattr": st.tuples(xattrs, st.sampled_from([b"", b"value", b"v" * 200])),
        "remove-xattr": st.tuples(xattrs),
        HOLD: st.just(()),
    }
    where = {
        **dict.fromkeys(one, any_path),
        **dict.fromkeys(("create", "mkdir", "symlink", "mknod"), new_path),
        **dict.fromkeys(("rmdir", "remove-tree", "make-anew"), folder),
    }
    drawn: list[st.SearchStrategy[Operation]] = [
        st.builds(Operation, st.just(verb), st.tuples(where[verb]), values)
        for verb, values in one.items()
    ]
    for verb in ("rename", "link"):
        pairs = st.one_of(st.tuples(any_path, new_path), st.tuples(folder, folder))
        drawn.append(st.builds(Operation, st.just(verb), pairs))
    for verb in ("append", "chmod", "link"):  # hard links are few, and where layers go wrong
        paths = st.tuples(linked, new_path) if verb == "link" else st.tuples(linked)
        drawn.append(st.builds(Operation, st.just(verb), paths, one.get(verb, st.just(()))))
    part = st.lists(st.one_of(drawn), max_size=12)
    return st.tuples(*[part] * PARTS).map(lambda lists: [op for part in lists for op in part])


# In two places at once -----------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """A file that is held open in both places.

    name: the path without symbolic links on the way. before: what was in it when it was opened.
    untouched: it was the image's own file then.
    """

    path: bytes
    name: bytes
    layered: int
    plain: int
    before: bytes
    untouched: bool


class Twins:
    """A tree where there are layers, and a plain one that is to be the same after each operation.

    Use it in a `with`. The kernel's documents name three things in which layers differ from a plain
    directory. Each is allowed where it happens, and nothing else is:

    1. Hard links of the image: the first change to one of the names may make it a file of its own.
       What was opened by this name may follow it there.
    2. Directories of the image: rename(2) may refuse them with EXDEV. `mv` copies them then.
    3. Old descriptors: a file of the image that was opened for reading before its first change may
       go on showing what was in it then.

    layered, plain: the tops of the two, which are the same in the beginning. done: what was done so
    far. unlike: in which operations the two have differed.
    """

    def __init__(self, layered: Path, plain: Path) -> None:
        self.layered = layered
        self.plain = plain
        self.done: list[Operation] = []
        self.unlike: list[str] = []
        self.held: list[Held] = []
        self.changed: set[tuple[int, int]] = set()
        # What the image has, by its inode in the plain tree. The descriptors keep the numbers of
        # these inodes from being given to new files.
        self.of_the_image: dict[tuple[int, int], int] = {}
        self.linked: set[tuple[int, int]] = set()
        for path in [b".", *_below(os.fsencode(plain))]:
            handle = os.open(self._in(plain, path), os.O_PATH | os.O_NOFOLLOW)
            status = os.fstat(handle)
            if _identity(status) in self.of_the_image:
                self.linked.add(_identity(status))
                os.close(handle)
            else:
                self.of_the_image[_identity(status)] = handle

    def __enter__(self) -> "Twins":
        return self

    def __exit__(self, *_: object) -> None:
        for held in self.held:
            os.close(held.layered)
            os.close(held.plain)
        for handle in self.of_the_image.values():
            os.close(handle)

    def do(self, operation: Operation) -> None:
        """Do it in both places; that one fails and the other does not is noted in `unlike`."""
        self.done.append(operation)
        if operation.verb == HOLD:
            self._hold(operation.paths[0])
            return
        got = _error_of(operation, self.layered)
        if got == errno.EXDEV and self._renames_a_directory_of_the_image(operation):
            return
        if got is None and operation.verb in CHANGES:
            self._split_where_the_layers_did(operation)
            self._note_change(operation.paths[0])
        wanted = _error_of(operation, self.plain)
        if got != wanted:
            self.unlike.append(f"{operation}: it {_how(got)}, it should have {_how(wanted, True)}")

    def differences(self, since: float) -> list[str]:
        """All in which the two differ now. since: before the first operation, see `differences`."""
        trees = describe(self.plain), describe(self.layered)
        return [
            *self.unlike,
            *self._differences_of_what_is_held(),
            *differences(*trees, since=since, whole_seconds=True),
        ]

    # 1. Hard links of the image

    def _split_where_the_layers_did(self, operation: Operation) -> None:
        """Make the plain name a file of its own, if that is what the layers have just done."""
        path = operation.paths[0]
        place = self._in(self.plain, path)
        if not os.path.lexists(place):
            return
        status = os.lstat(place)
        if _identity(status) not in self.linked - self.changed:
            return
        real = self._real(path)
        others = [other for other in self._names_of(status) if other != real]
        if others and self._is_split(operation, others):
            _make_a_file_of_its_own(place)
            self._follow(real, status)

    def _is_split(self, operation: Operation, others: list[bytes]) -> bool:
        now = operation.paths[-1] if operation.verb == "rename" else operation.paths[0]
        if operation.verb == "rename" and self._real(now) in others:
            # Of two names of one file rename(2) takes none away; of two files it does.
            return not os.path.lexists(self._in(self.layered, operation.paths[0]))
        mine = _identity(os.lstat(self._in(self.layered, now)))
        theirs = [_identity(os.lstat(self._in(self.layered, other))) for other in others]
        return mine not in theirs

    def _follow(self, name: bytes, before: os.stat_result) -> None:
        """Let what was opened by this name show the file that the name has now, as overlay does."""
        for held in self.held:
            if held.name == name and os.path.samestat(os.fstat(held.plain), before):
                now = os.open(self._in(self.plain, name), os.O_RDONLY | os.O_NOFOLLOW)
                os.dup2(now, held.plain, inheritable=False)
                os.close(now)

    # 2. Directories of the image

    def _renames_a_directory_of_the_image(self, operation: Operation) -> bool:
        place = self._in(self.plain, operation.paths[0])
        if operation.verb != "rename" or not os.path.lexists(place):
            return False
        status = os.lstat(place)
        return stat.S_ISDIR(status.st_mode) and self._is_of_the_image(status)

    # 3. Old descriptors

    def _hold(self, path: bytes) -> None:
        place = self._in(self.plain, path)
        if os.path.islink(place) or not os.path.isfile(place):
            return
        try:
            handle = os.open(self._in(self.layered, path), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            self.unlike.append(f"open {show(path)}: it {_how(error.errno)}")
            return
        plain = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
        status = os.fstat(plain)
        untouched = self._is_of_the_image(status) and _identity(status) not in self.changed
        self.held.append(Held(path, self._real(path), handle, plain, _all_of(plain), untouched))

    def _differences_of_what_is_held(self) -> Iterator[str]:
        for held in self.held:
            wanted, got = _all_of(held.plain), _all_of(held.layered)
            if got != wanted and not self._may_show(held, got):
                yield f"{show(held.path)}, still open: {_short(got)} is in it, not {_short(wanted)}"

    def _may_show(self, held: Held, content: bytes) -> bool:
        return held.untouched and content == held.before

    # What is what

    def _is_of_the_image(self, status: os.stat_result) -> bool:
        return _identity(status) in self.of_the_image

    def _note_change(self, path: bytes) -> None:
        place = self._in(self.plain, path)
        if os.path.lexists(place):
            self.changed.add(_identity(os.lstat(place)))

    def _names_of(self, status: os.stat_result) -> list[bytes]:
        paths = _below(os.fsencode(self.plain))
        return [p for p in paths if os.path.samestat(os.lstat(self._in(self.plain, p)), status)]

    def _real(self, path: bytes) -> bytes:
        """The path without symbolic links on the way; the last part may be one."""
        top = os.path.realpath(os.fsencode(self.plain))
        folder = os.path.realpath(os.path.join(top, os.path.dirname(path)))
        return os.path.relpath(os.path.join(folder, os.path.basename(path)), top)

    @staticmethod
    def _in(top: Path, path: bytes) -> bytes:
        return os.path.join(os.fsencode(top), path)


class TwinsOnAufs(Twins):
    """The same on AUFS, which has ways of its own. These were seen, and nothing else is allowed:

    4. Copy-up: when a file or a directory of the image is copied to the layer, for a change to it
       or to what is below it, the directory that it lies in may get a new time of change.
    5. Attributes: one that is removed may keep its name, with nothing in it.
    6. Hard links of the image: when one name was truncated, what is opened by another name may
       show what was in the file before, once a directory with one of the names was made anew.

    copied_up: by name and inode, where it was seen. truncated: the inode, the name, and what was in
    it before.
    """

    def __init__(self, layered: Path, plain: Path) -> None:
        super().__init__(layered, plain)
        self.copied_up: set[tuple[bytes, tuple[int, int]]] = set()
        self.truncated: list[tuple[tuple[int, int], bytes, bytes]] = []
        self.names_of_linked = {
            identity: self._names_of(os.fstat(self.of_the_image[identity]))
            for identity in self.linked
        }

    def do(self, operation: Operation) -> None:
        begun = int((time.time() - 1) * SECOND)  # the clock of files is behind by some milliseconds
        waiting = [
            (folder, name, self._time_of(folder))
            for folder, name in self._may_be_copied_up(operation)
        ]
        had_attribute = self._has_attribute(operation, self.plain)
        self._note_truncation(operation)
        super().do(operation)
        for folder, name, before in waiting:
            after = self._time_of(folder)
            if after is not None and after != before and after >= begun:
                self.copied_up.add(name)
                self._set_plain_time(folder, after)
        if had_attribute and self._keeps_an_empty_attribute(operation):
            _set_xattr(self._in(self.plain, operation.paths[0]), operation.values[0], b"")

    # 4. Copy-up

    def _may_be_copied_up(
        self, operation: Operation
    ) -> list[tuple[bytes, tuple[bytes, tuple[int, int]]]]:
        """What of the image is on the way to an operation's paths, each after its folder."""
        found = []
        for path in operation.paths:
            parts = self._real(path).split(b"/")
            for number in range(len(parts)):
                name = b"/".join(parts[: number + 1])
                place = self._in(self.plain, name)
                if not os.path.lexists(place):
                    break
                status = os.lstat(place)
                known = (name, _identity(status))
                if self._is_of_the_image(status) and known not in self.copied_up:
                    found.append((b"/".join(parts[:number]) or b".", known))
        return found

    def _time_of(self, folder: bytes) -> int | None:
        try:
            return os.lstat(self._in(self.layered, folder)).st_mtime_ns
        except OSError:
            return None

    def _set_plain_time(self, folder: bytes, nanoseconds: int) -> None:
        place = self._in(self.plain, folder)
        if os.path.isdir(place):
            os.utime(place, ns=(os.stat(place).st_atime_ns, nanoseconds))

    # 5. Attributes

    def _has_attribute(self, operation: Operation, top: Path) -> bool:
        return self._attribute(operation, top) is not None

    def _keeps_an_empty_attribute(self, operation: Operation) -> bool:
        found = self._attribute(operation, self.layered)
        return found == b"" and not self._has_attribute(operation, self.plain)

    def _attribute(self, operation: Operation, top: Path) -> bytes | None:
        """The one that an operation removes."""
        if operation.verb != "remove-xattr":
            return None
        place = self._in(top, operation.paths[0])
        try:
            return os.getxattr(place, operation.values[0], follow_symlinks=False)
        except OSError:
            return None

    # 6. Hard links of the image

    def _note_truncation(self, operation: Operation) -> None:
        place = self._in(self.plain, operation.paths[0])
        if operation.verb in ("truncate", "overwrite") and os.path.lexists(place):
            identity = _identity(os.lstat(place))
            if identity in self.linked:
                name = self._real(operation.paths[0])
                self.truncated.append((identity, name, _content_of(place)))

    def _may_show(self, held: Held, content: bytes) -> bool:
        identity = _identity(os.fstat(held.plain))
        return super()._may_show(held, content) or (
            any(
                name != held.name and (identity, content) == (its_identity, before)
                for its_identity, name, before in self.truncated
            )
            and any(map(self._is_in_a_new_folder, self.names_of_linked[identity]))
        )

    def _is_in_a_new_folder(self, name: bytes) -> bool:
        folder = self._in(self.plain, os.path.dirname(name) or b".")
        return os.path.isdir(folder) and not self._is_of_the_image(os.stat(folder))


def twins_on(driver: str, layered: Path, plain: Path) -> Twins:
    """Twins that know the ways of a storage driver."""
    return (TwinsOnAufs if driver == "aufs" else Twins)(layered, plain)


def _below(top: bytes) -> Iterator[bytes]:
    for folder, directories, files in os.walk(top):
        for name in [*directories, *files]:
            yield os.path.relpath(os.path.join(folder, name), top)


def _error_of(operation: Operation, top: Path) -> int | None:
    try:
        operation.do(top)
    except OSError as error:
        return error.errno
    return None


def _how(error: int | None, should_have: bool = False) -> str:
    if error is None:
        return "worked"
    return f"{'failed' if should_have else 'fails'} with '{os.strerror(error)}'"


def _make_a_file_of_its_own(path: bytes) -> None:
    """Take one of several names of a file and give it a copy, as a copy-up does."""
    folder = os.path.dirname(path)
    before, status = os.stat(folder), os.lstat(path)
    new = os.path.join(folder, b".of-its-own")
    _write(new, _content_of(path))
    os.chown(new, status.st_uid, status.st_gid)
    os.chmod(new, stat.S_IMODE(status.st_mode))
    for name, value in _xattrs(path).items():
        os.setxattr(new, name, value)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.rename(new, path)
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _content_of(path: bytes) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return _all_of(handle)
    finally:
        os.close(handle)


def _all_of(handle: int) -> bytes:
    return os.pread(handle, os.fstat(handle).st_size, 0)
