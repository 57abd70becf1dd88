"""Where mydocker keeps things, and how a tree of files is removed."""

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Iterator

from mydocker.mountinfo import mounts

DEFAULT_ROOT = "/var/lib/mydocker"
REMOVED = ".removed"
_root = os.path.realpath(os.environ.get("MYDOCKER_ROOT") or DEFAULT_ROOT)  # before any chdir


def root() -> str:
    """The directory below which everything of ours lies: MYDOCKER_ROOT, its links resolved."""
    return _root


def make_directory(path: str, mode: int = 0o755) -> None:
    """Make a directory and those above it, whatever the umask; one that is there stays as it is."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above != path:
        make_directory(above)
    try:
        os.mkdir(path)
        os.chmod(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def remove_tree(top: str) -> None:
    """Remove a directory and all below it, if it is there. Raises OSError where a mount is below.

    Each directory is moved aside before it is emptied. The kernel moves none that something is
    mounted on (EBUSY), so what lies behind a mount is never reached, even where it was mounted a
    moment ago. And as they all come to lie side by side, there is no recursion and no path that is
    too long, however deep the tree is. What a removal that was killed has left is removed with it.
    """
    aside = f"{os.path.dirname(top)}/.{os.path.basename(top)}{REMOVED}"
    empty(aside)
    with contextlib.suppress(FileNotFoundError):
        try:
            os.rmdir(top)  # most have nothing in them
        except NotADirectoryError:
            os.unlink(top)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
                raise
            refuse_mounts_below(top)
            os.rename(top, aside)
            empty(aside)


def remove_leftovers(directory: str) -> None:
    """Remove what removals have left in a directory that were killed, or that go on.

    What cannot be removed, such as a file that is immutable, stays and keeps nobody from anything.
    """
    for name in os.listdir(directory):
        if name.startswith(".") and name.endswith(REMOVED):
            with contextlib.suppress(OSError):  # it is in nobody's way, and told by its own `rm`
                empty(f"{directory}/{name}")


def empty(aside: str) -> None:
    """Remove a directory that was moved aside, with all below it, if it is there.

    Two may be at it at the same time: what one of them does not find, the other has taken.
    """
    token = os.urandom(8).hex()
    names = (f"{aside}/{token}-{number}" for number in itertools.count())
    while os.path.isdir(aside):
        waiting = [aside]
        while waiting:
            directory = waiting.pop()
            for entry in entries(directory):
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        name = next(names)
                        os.rename(entry.path, name)
                        waiting.append(name)
                    else:
                        os.unlink(entry.path)
            try:
                os.rmdir(directory)
            except OSError as error:
                # The top one has those in it that are waiting, or that the other has moved.
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    raise


def refuse_mounts_below(top: str) -> None:
    here = os.path.realpath(top)
    for mount in mounts():
        if f"{mount.point}/".startswith(f"{here}/"):
            raise OSError(errno.EBUSY, f"something is mounted on {mount.point}", f"remove {top}")


def entries(directory: str) -> list[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as listed:
        return list(listed)
    return []


@contextlib.contextmanager
def locked(directory: str, how: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Hold the lock on a directory, as a descriptor of it. The kernel lets go of it at our end."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, how)
        yield handle
    finally:
        os.close(handle)


def is_still(directory: str, handle: int) -> bool:
    """Whether a descriptor is that of the directory that is there now."""
    return os.path.isdir(directory) and os.path.samestat(os.stat(directory), os.fstat(handle))


def file_system_of(path: str) -> str:
    """The kind of file system that a path lies on, as mountinfo names it."""
    found = os.stat(path).st_dev
    device = f"{os.major(found)}:{os.minor(found)}"
    kinds = [mount.kind for mount in mounts() if mount.device == device]
    return kinds[0] if kinds else "an unknown file system"
