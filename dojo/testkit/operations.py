"""A tree that has one of everything, and all that can be done to its files."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from dojo.testkit.trees import SECOND, show

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
        write(at(path), content)
    write(at(_SPARSE), b"")
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
        values = (f"0o{v:o}" if self.verb in MODE_VERBS else short(v) for v in self.values)
        return " ".join([self.verb, *map(show, self.paths), *values])

    def do(self, top: Path) -> None:
        """Raises OSError, as the system calls do."""
        places = (os.path.join(os.fsencode(top), path) for path in self.paths)
        VERBS[self.verb](*places, *self.values)


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:20]}…"


def write(path: bytes, content: bytes, flags: int = os.O_CREAT | os.O_EXCL) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o666)
    try:
        while content:
            content = content[os.write(handle, content) :]
    finally:
        os.close(handle)


def _overwrite(path: bytes, content: bytes) -> None:
    write(_a_file(path), content, os.O_TRUNC)


def _append(path: bytes, content: bytes) -> None:
    write(_a_file(path), content, os.O_APPEND)


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


def set_xattr(path: bytes, name: str, value: bytes) -> None:
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
    "create": write,
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
    "set-xattr": set_xattr,
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
