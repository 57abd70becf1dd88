"""mydocker images: which images there are."""

import contextlib
import os
import time

from mydocker import image
from mydocker.errors import say
from mydocker.table import aligned

UNITS = ("B", "kB", "MB", "GB", "TB")


def images() -> int:
    """Print a table of all images, a line each."""
    rows = [("IMAGE", "CREATED", "SIZE")]
    for name in image.names():
        with contextlib.suppress(FileNotFoundError):  # removed since, or a link to nothing
            rows.append(row(name))
    say("".join(f"{line}\n" for line in aligned(rows)), "images")
    return 0


def row(name: str) -> tuple[str, str, str]:
    path = image.stored_as(name)
    created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(os.stat(path).st_mtime))
    return name, created, in_units(size_of(path))


def size_of(path: str) -> int:
    """How many bytes the files below a directory have, or a file."""
    if not os.path.isdir(path):
        return os.stat(path).st_size
    files: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            found = os.lstat(f"{directory}/{name}")
            files[found.st_dev, found.st_ino] = found.st_size  # hard links count once
    return sum(files.values())


def in_units(size: float) -> str:
    """As docker writes it: powers of 1000, three digits at the most."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.3g}{unit}"
