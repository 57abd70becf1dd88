"""Copies of a directory, each for one test.

The image that tests run has some three hundred links. To copy and to remove them takes longer than
to see that nobody has touched them: such a copy serves the next test as well.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

Trace = tuple[object, ...]


class Copies:
    """Makes copies of a directory.

    spare: where a copy that was given back waits; no such file or directory yet, on the file system
    on which the copies are to be.
    """

    def __init__(self, original: Path, spare: Path) -> None:
        self.original = original
        self.spare = spare
        self._traces: dict[int, list[Trace]] = {}  # by inode number of the copy

    def put(self, place: Path) -> None:
        """Put a copy there: what the original has, with its modes, owners, times, xattrs."""
        if self.spare.exists():
            self.spare.rename(place)
            return
        subprocess.run(["cp", "-a", str(self.original), str(place)], check=True)
        self._traces[place.stat().st_ino] = list(_traces(place))

    def give_back(self, place: Path) -> bool:
        """Keep a copy for the next test, if nobody has changed anything in it. Returns whether.

        Whoever may still do so must have ended.
        """
        if self.spare.exists() or place.is_symlink() or not place.is_dir():
            return False
        inode = place.stat().st_ino
        traces = self._traces.pop(inode, [])
        if traces != list(_traces(place)):
            return False
        place.rename(self.spare)
        self._traces[inode] = traces
        return True


def _traces(top: Path) -> Iterator[Trace]:
    """What tells of any change in a tree.

    A change that hides its time of modification leaves one of status change (ctime), which nobody
    can set: see inode(7). Only the top has that of its last rename, and more is looked at there.
    """
    status = top.lstat()
    names = os.listxattr(top, follow_symlinks=False)
    yield status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, *names
    waiting = [str(top)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                status = entry.stat(follow_symlinks=False)
                yield entry.name, status.st_ino, status.st_ctime_ns
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
