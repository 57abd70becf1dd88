"""The kernel asks before a system call of a program, and has it wait for the answer.

See seccomp_unotify(2). `inside.py` sets the filter in the program, and sends the listener.
"""

import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# linux/seccomp.h
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
# struct seccomp_notif: its ID, whose it is, the number of the system call, its arguments
NOTIFICATION = struct.Struct("=QI4xi12x6Q")
ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp


@dataclass(frozen=True)
class Asked:
    """A system call that a process is about to make."""

    identity: int
    pid: int
    number: int
    arguments: tuple[int, ...]


def door() -> tuple[int, int]:
    """Two ends of a socket: one for `listeners`, the other for the process that sets the filter."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours.detach(), theirs.detach()


def listeners(door: int) -> Iterator[tuple[int, dict[int, str]]]:
    """The listener that comes through a door, with the names of calls by their numbers.

    None where no filter could be set. Once it is closed, each such call fails.
    """
    with socket.socket(fileno=door) as link:
        packet, found, _, _ = socket.recv_fds(link, 1 << 16, 1)
    for listener in found:
        try:
            yield listener, {number: name for name, number in json.loads(packet).items()}
        finally:
            os.close(listener)


def wait_for(listener: int, milliseconds: int | None = None) -> bool:
    """Wait until somebody asks. False if nobody has, or nobody will any more."""
    asked = select.poll()
    asked.register(listener, select.POLLIN)
    ready = asked.poll(milliseconds)
    return bool(ready and ready[0][1] & select.POLLIN)


def received(listener: int) -> Iterator[Asked]:
    """What is asked; nothing if who has asked was killed before we came to it."""
    import fcntl

    notification = bytearray(NOTIFICATION.size)
    with contextlib.suppress(FileNotFoundError):
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification)
        identity, pid, number, *arguments = NOTIFICATION.unpack(notification)
        yield Asked(identity, pid, number, tuple(arguments))


def answer(listener: int, asked: Asked, error: int = 0) -> None:
    """Let the call be made, or end with an error instead."""
    import fcntl

    flags = 0 if error else SECCOMP_USER_NOTIF_FLAG_CONTINUE
    with contextlib.suppress(FileNotFoundError):
        reply = ANSWER.pack(asked.identity, 0, -error, flags)
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, reply)


def memory(pid: int, address: int, size: int) -> bytes:
    """Bytes of a process's memory; none where there are none."""
    with contextlib.suppress(OSError):
        handle = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        try:
            return os.pread(handle, size, address)
        finally:
            os.close(handle)
    return b""
