"""Volumes get to their places in the container: inside, on both sides of pivot_root."""

import os
import stat

from mydocker import linux, paths
from mydocker.mountinfo import mounts
from mydocker.volume import Volume, refuse_place, refuse_twice

# What a bind mount keeps only if it is told again when it becomes read-only: see mount(2).
KEPT = {"nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV, "noexec": linux.MS_NOEXEC}


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
    for mounted in mounts():
        if f"{mounted.point}/".startswith(f"{target}/"):
            kept = sum(flag for name, flag in KEPT.items() if name in mounted.options)
            change = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
            linux.mount(None, mounted.point, None, change | kept)
