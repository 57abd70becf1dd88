"""Two trees, one of them in layers, that are to stay the same whatever is done to both."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dojo.testkit.operations import CHANGES, HOLD, Operation, set_xattr, short, write
from dojo.testkit.trees import SECOND, describe, differences, identity_of, show, xattrs


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
            if identity_of(status) in self.of_the_image:
                self.linked.add(identity_of(status))
                os.close(handle)
            else:
                self.of_the_image[identity_of(status)] = handle

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
        if identity_of(status) not in self.linked - self.changed:
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
        mine = identity_of(os.lstat(self._in(self.layered, now)))
        theirs = [identity_of(os.lstat(self._in(self.layered, other))) for other in others]
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
        untouched = self._is_of_the_image(status) and identity_of(status) not in self.changed
        self.held.append(Held(path, self._real(path), handle, plain, _all_of(plain), untouched))

    def _differences_of_what_is_held(self) -> Iterator[str]:
        for held in self.held:
            wanted, got = _all_of(held.plain), _all_of(held.layered)
            if got != wanted and not self._may_show(held, got):
                yield f"{show(held.path)}, still open: {short(got)} is in it, not {short(wanted)}"

    def _may_show(self, held: Held, content: bytes) -> bool:
        return held.untouched and content == held.before

    # What is what

    def _is_of_the_image(self, status: os.stat_result) -> bool:
        return identity_of(status) in self.of_the_image

    def _note_change(self, path: bytes) -> None:
        place = self._in(self.plain, path)
        if os.path.lexists(place):
            self.changed.add(identity_of(os.lstat(place)))

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
            set_xattr(self._in(self.plain, operation.paths[0]), operation.values[0], b"")

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
                known = (name, identity_of(status))
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
            identity = identity_of(os.lstat(place))
            if identity in self.linked:
                name = self._real(operation.paths[0])
                self.truncated.append((identity, name, _content_of(place)))

    def _may_show(self, held: Held, content: bytes) -> bool:
        identity = identity_of(os.fstat(held.plain))
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
    write(new, _content_of(path))
    os.chown(new, status.st_uid, status.st_gid)
    os.chmod(new, stat.S_IMODE(status.st_mode))
    for name, value in xattrs(path).items():
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
