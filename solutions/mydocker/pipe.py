"""What the two sides of a start say to each other, through a pipe each way.

The child tells when it is ready for the command, and the parent sends that. The child, should it
fail, sends back what it tried and why that did not work; the exec that succeeds closes its end, and
the parent reads nothing but the end.
"""

import os
from collections.abc import Sequence

from mydocker.errors import MydockerError, from_bug, from_kernel
from mydocker.streams import write_all

LENGTH_BYTES = 8
CHUNK = 65536
READY = b"\n"  # a message of failure starts with a digit


class Channel:
    """What connects the two sides of a start: a pipe each way, and a pidfd of the parent."""

    def __init__(self) -> None:
        self.parent = os.pidfd_open(os.getpid())
        self.command_to_read, self.command_to_write = os.pipe()
        self.failure_to_read, self.failure_to_write = os.pipe()

    def keep_childs_ends(self) -> None:
        os.close(self.command_to_write)
        os.close(self.failure_to_read)

    def keep_parents_ends(self) -> None:
        os.close(self.command_to_read)
        os.close(self.failure_to_write)


def send_command(pipe: int, command: Sequence[str]) -> None:
    """Send every argument as it is: an argument can hold any byte but NUL, so NUL ends each."""
    message = b"".join(os.fsencode(argument) + b"\0" for argument in command)
    write_all(pipe, len(message).to_bytes(LENGTH_BYTES, "little") + message)


def receive_command(pipe: int) -> list[str]:
    """Wait for the command. Raises EOFError where the sender died before it was all sent."""
    length = int.from_bytes(read_exactly(pipe, LENGTH_BYTES), "little")
    message = read_exactly(pipe, length)
    return [os.fsdecode(argument) for argument in message.split(b"\0")[:-1]]


def tell_ready(pipe: int) -> None:
    """Tell the parent that all is done but the exec, for which the command is still to come."""
    write_all(pipe, READY)


def wait_until_ready(pipe: int) -> MydockerError | None:
    """Wait until the child has told so, or has failed before that."""
    message = os.read(pipe, len(READY))
    return None if message == READY else receive_failure(pipe, message)


def receive_outcome(pipe: int) -> MydockerError | None:
    """Wait until the monitor has told that the container runs, or why it does not."""
    message = os.read(pipe, len(READY))
    if not message:
        return MydockerError("run", "the container's monitor was killed")
    return None if message == READY else receive_failure(pipe, message)


def send_failure(pipe: int, error: BaseException, command: str = "run") -> None:
    """Send what is to be told of the exception that is being handled."""
    if isinstance(error, MydockerError):
        failure = error
    else:
        failure = from_kernel(error, command=command) if isinstance(error, OSError) else from_bug()
    message = f"{failure.status}\0{failure.tried}\0{failure.why}\0{failure.details}"
    write_all(pipe, os.fsencode(message))


def receive_failure(pipe: int, message: bytes = b"") -> MydockerError | None:
    """Wait until the child has become the command, or has failed to."""
    while chunk := os.read(pipe, CHUNK):
        message += chunk
    if not message:
        return None
    status, tried, why, details = os.fsdecode(message).split("\0", 3)
    return MydockerError(tried, why, int(status), details)


def read_exactly(pipe: int, length: int) -> bytes:
    message = b""
    while len(message) < length:
        chunk = os.read(pipe, min(CHUNK, length - len(message)))
        if not chunk:
            raise EOFError
        message += chunk
    return message
