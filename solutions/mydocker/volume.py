"""Volumes: files of the host that a container sees, too, and that outlive it."""

import contextlib
import os
import stat

from mydocker import linux, paths
from mydocker.cgroups.files import read
from mydocker.cgroups.hierarchies import unescaped
from mydocker.errors import MydockerError

# What a bind mount keeps only if it is told again when it becomes read-only: see mount(2).
KEPT = {"nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV, "noexec": linux.MS_NOEXEC}


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


# Inside, on both sides of pivot_root


def take_sources(volumes: list[Volume]) -> list[int]:
    """Take hold of the files while their paths still lead to them, as mounts of no place yet."""
    flags = linux.OPEN_TREE_CLONE | linux.OPEN_TREE_CLOEXEC | linux.AT_RECURSIVE
    return [linux.open_tree(volume.source, flags) for volume in volumes]


def mount(volumes: list[Volume], trees: list[int]) -> None:
    """Put them in their places, from inside: so every link leads to a place in the container.

    What lies in another comes after it, whatever the order in which they were typed.
    """
    targets = [os.path.realpath(volume.target) for volume in volumes]
    refuse_twice(volumes, targets)
    in_order = sorted(zip(targets, volumes, trees, strict=True), key=lambda v: v[0].count("/"))
    for _, volume, tree in in_order:
        try:
            target = make_mount_point(volume, tree)
            linux.move_mount(tree, target)
            if volume.read_only:
                make_read_only(target)
        except (OSError, ValueError) as error:
            raise volume.refused(getattr(error, "strerror", None) or str(error)) from error


def make_mount_point(volume: Volume, tree: int) -> str:
    """Make what to mount it on, where that is missing. Returns its path, with no link in it."""
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    target = os.path.realpath(volume.target)
    refuse_place(target)
    if not os.path.lexists(target):
        paths.make_directory(target if is_directory else os.path.dirname(target))
        if not is_directory:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    if stat.S_ISDIR(os.stat(target).st_mode) != is_directory:
        here, there = ("a directory", "a file") if is_directory else ("a file", "a directory")
        raise ValueError(f"{volume.source} is {here}, {target} in the container is {there}")
    return target


def make_read_only(target: str) -> None:
    """Let nothing be written to a mount, nor to those that came along below it."""
    for line in read("/proc/self/mountinfo").splitlines():
        point, options = unescaped(line.split()[4]), line.split()[5].split(",")
        if point == target or point.startswith(f"{target}/"):
            kept = sum(flag for name, flag in KEPT.items() if name in options)
            change = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
            linux.mount(None, point, None, change | kept)
