"""Reading and writing the files of the kernel, where a write is a command to it."""

import os

from mydocker.trace import step


def read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # half as many system calls as for a text
        return os.fsdecode(file.read())


def write(path: str, value: str) -> None:
    """Give the kernel a value."""
    with open(path, "wb", buffering=0) as file:
        file.write(value.encode())
    step(f"write '{value.strip()}' to {path}")
