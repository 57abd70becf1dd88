"""Volumes: files of the host that a container sees, too, and that outlive it."""

import contextlib
import os

from mydocker.errors import MydockerError


class Volume:
    """What `-v` asks for.

    text: as it was typed. source: a path on the host. target: one in the container, its ".." and
    "//" resolved, links not yet.
    """

    def __init__(self, text: str, source: str, target: str, read_only: bool) -> None:
        self.text = text
        self.source = source
        self.target = target
        self.read_only = read_only

    def refused(self, why: str) -> MydockerError:
        return MydockerError(f"run -v '{self.text}'", why)


def read_volume(text: str) -> Volume:
    """The volume that HOST:CONTAINER[:ro|rw] means. Raises ValueError."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        raise ValueError("a volume is HOST:CONTAINER, and :ro or :rw if you like")
    source, target, mode = (*parts, "rw")[:3]
    for what, path in (("HOST", source), ("CONTAINER", target)):
        if not path.startswith("/"):
            raise ValueError(f"{what} is an absolute path")
    if mode not in ("ro", "rw"):
        raise ValueError(f"'{mode}' is neither ro nor rw")
    target = "/" + os.path.normpath(target).lstrip("/")
    refuse_place(target)
    return Volume(text, source, target, mode == "ro")


def refuse_place(target: str) -> None:
    if target == "/":
        raise ValueError("the container's root cannot be a volume")
    if target == "/proc" or target.startswith("/proc/"):
        raise ValueError("/proc is the kernel's")


def refuse_twice(volumes: list[Volume], targets: list[str]) -> None:
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise volumes[number].refused(f"there is a volume on {target} already")


# Outside, before the container is started


def make_sources(volumes: list[Volume]) -> contextlib.ExitStack:
    """Make the directories of the host that are missing. Closing what it returns undoes that."""
    with contextlib.ExitStack() as undo:
        for volume in volumes:
            try:
                for directory in missing(volume.source):
                    with contextlib.suppress(FileExistsError):  # another start has just made it
                        os.mkdir(directory)
                        undo.callback(remove_if_empty, directory)
                        os.chmod(directory, 0o755)
                os.stat(volume.source)
            except OSError as error:
                raise volume.refused(f"{volume.source}: {error.strerror}") from error
        return undo.pop_all()


def missing(path: str) -> list[str]:
    """The directories on the way to a path, and itself, that are not there, the topmost first."""
    found: list[str] = []
    path = path.rstrip("/")
    while path and not os.path.lexists(path):
        found.insert(0, path)
        path = os.path.dirname(path).rstrip("/")
    return found


def remove_if_empty(directory: str) -> None:
    with contextlib.suppress(OSError):  # somebody else has begun to use it
        os.rmdir(directory)
