"""AUFS, what Docker began with: see aufs(5), "Branch Syntax". Few kernels still have it."""

from mydocker import linux
from mydocker.errors import MydockerError


def prepare(work: str) -> None:
    """AUFS needs no directory to work in."""


def mount(lower: str, upper: str, work: str, target: str) -> None:
    """Mount `upper` over `lower` on `target`. Paths may be relative: they are shorter.

    A file that is deleted becomes a `.wh.NAME` in the upper branch; a directory that is made anew
    holds a `.wh..wh..opq` there, which hides what lies below.
    """
    linux.mount("none", target, "aufs", 0, options(lower, upper))


def mount_read_only(lower: str, upper: str, target: str) -> None:
    """The same to look at only; `ro+wh` minds the `.wh.NAME` of a branch that is not written to."""
    linux.mount("none", target, "aufs", linux.MS_RDONLY, options(lower, upper, "ro+wh"))


def options(lower: str, upper: str, mode: str = "rw") -> str:
    """Both branches, the one on top first. Raises MydockerError for a path that has no spelling."""
    for path in (upper, lower):
        if any(character in path for character in ":,="):
            raise MydockerError(
                f"storage driver 'aufs', branch {path}", "there may be no ':', ',' or '=' in it"
            )
    return f"br:{upper}={mode}:{lower}=ro"
