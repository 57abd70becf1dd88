"""Removing groups, which are directories of cgroupfs."""

import errno
import os
import time

BUSY_SECONDS = 5.0  # a group is busy until the kernel has let go of its last process


def remove_tree(directory: str) -> None:
    """Remove a group and those below it, if it is there.

    A group is removed as an empty directory is, though it is full of files: they are the kernel's.
    """
    for path, _, _ in os.walk(directory, topdown=False):
        remove(path)


def remove(directory: str) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return os.rmdir(directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
