"""AUFS, what Docker began with: see aufs(5), "Branch Syntax". Few kernels still have it."""

import os

from mydocker import linux
from mydocker.errors import MydockerError


def prepare(work: str) -> None:
    """Make the directory for AUFS's table of inode numbers; nobody but root gets into it."""
    os.mkdir(work, 0o700)


def mount(lower: str, upper: str, work: str, target: str) -> None:
    """Mount `upper` over `lower` on `target`. Paths may be relative: they are shorter.

    A file that is deleted becomes a `.wh.NAME` in the upper branch; a directory that is made anew
    holds a `.wh..wh..opq` there, which hides what lies below.
    """
    linux.mount("none", target, "aufs", 0, options(lower, upper, work))


def mount_read_only(lower: str, upper: str, work: str, target: str) -> None:
    """The same to look at only; `ro+wh` heeds the `.wh.NAME` of a branch that is not written to."""
    linux.mount("none", target, "aufs", linux.MS_RDONLY, options(lower, upper, work, "ro+wh"))


def options(lower: str, upper: str, work: str, mode: str = "rw") -> str:
    """Both branches, the one on top first. Raises MydockerError for a path that has no spelling.

    xino: the file for the table, which AUFS makes and unlinks at once. It takes none that is there.
    Its own choice is a name that does not change, at the top of a branch that can be written to:
    there the container could be in the way, which sees all that lies in the branch. Where there is
    no such branch it is `/tmp/.aufs.xino`, and anybody could be.
    """
    for path in (upper, lower, work):
        if any(character in path for character in ":,="):
            raise MydockerError(
                f"storage driver 'aufs', path {path}", "there may be no ':', ',' or '=' in it"
            )
    return f"br:{upper}={mode}:{lower}=ro,xino={work}/{os.urandom(8).hex()}"
