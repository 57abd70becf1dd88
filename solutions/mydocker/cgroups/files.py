"""Reading and writing cgroupfs, where a write is a command to the kernel."""

import errno
import os
import time

BUSY_SECONDS = 5.0  # a group is busy until the kernel has let go of its last process


def read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # half as many system calls as for a text
        return os.fsdecode(file.read())


def write(path: str, value: str) -> None:
    """Give the kernel a value. Raises OSError that names value and file."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, value.encode())
        finally:
            os.close(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"write '{value.strip()}' to {path}") from error


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
