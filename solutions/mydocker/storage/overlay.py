"""Overlay: kernel document filesystems/overlayfs."""

import errno
import os

from mydocker import linux, paths
from mydocker.errors import MydockerError

# What an overlay keeps its own notes in, such as which directories hide those below.
ATTRIBUTE = "trusted.overlay.mydocker"


def prepare(work: str) -> None:
    """Make the directory that an overlay works in before a file appears in its upper one."""
    os.mkdir(work, 0o700)
    try:
        os.setxattr(work, ATTRIBUTE, b"")
    except OSError as error:
        raise unusable(error) from error
    os.removexattr(work, ATTRIBUTE)


def mount(lower: str, upper: str, work: str, target: str) -> None:
    """Mount `upper` over `lower` on `target`. Paths may be relative: they are shorter."""
    options = f"lowerdir={escaped(lower)},upperdir={escaped(upper)},workdir={escaped(work)}"
    try:
        linux.mount("overlay", target, "overlay", 0, options)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise unusable(error) from error
        raise


def mount_read_only(lower: str, upper: str, work: str, target: str) -> None:
    """The same to look at only: with no upper directory it can be mounted as often as wanted."""
    options = f"lowerdir={escaped(upper)}:{escaped(lower)}"
    linux.mount("overlay", target, "overlay", linux.MS_RDONLY, options)


def escaped(path: str) -> str:
    """A path in which what separates options and layers stands for itself."""
    for character in ("\\", ":", ","):
        path = path.replace(character, f"\\{character}")
    return path


def unusable(error: OSError) -> MydockerError:
    root = paths.root()
    why = (
        f"cannot write to {root}, which lies on {paths.file_system_of(root)} ({error.strerror}):"
        " set MYDOCKER_ROOT to a directory on ext4, xfs or tmpfs"
    )
    return MydockerError("storage driver 'overlay'", why)
