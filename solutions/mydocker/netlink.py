"""How to ask the kernel about its network: messages on a socket, see netlink(7).

A message is a header, then a structure that depends on what is asked, then attributes, each with
its length and its kind. What there is to ask is in rtnetlink(7). Every refusal is an OSError, as in
`linux.py`: `filename` says what was being tried.
"""

import ctypes
import os
import struct
from collections.abc import Iterator

from mydocker.trace import step

# sys/socket.h and linux/netlink.h, see netlink(7)
AF_NETLINK = 16
SOCK_RAW = 3
SOCK_CLOEXEC = 0o2000000
NETLINK_ROUTE = 0
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_EXCL = 0x200  # refuse if it is there already
NLM_F_CREATE = 0x400  # make it if it is not there
NLM_F_DUMP = 0x300  # not one, but all there are
NLM_F_DUMP_INTR = 0x10  # in an answer: something has changed while all were listed

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, kind, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, kind
LONGEST = 1 << 16  # of what the kernel says in one go

_libc = ctypes.CDLL(None, use_errno=True)


def ask(kind: int, flags: int, content: bytes, tried: str) -> list[bytes]:
    """Send the kernel one message, and wait until it has done what it says.

    kind, flags: such as RTM_NEWLINK, NLM_F_CREATE. content: a structure and its attributes. tried:
    what to tell the user if the kernel refuses. Returns the contents of what it answers.
    """
    link = socket(tried)
    try:
        answers = exchange(link, kind, flags, content, tried)
        while answers is None:
            answers = exchange(link, kind, flags, content, tried)
        step(tried)
        return answers
    finally:
        os.close(link)


def attribute(kind: int, content: bytes) -> bytes:
    """One attribute. What comes next begins at a multiple of four bytes."""
    return padded(ATTRIBUTE.pack(ATTRIBUTE.size + len(content), kind) + content)


def attributes_in(content: bytes) -> dict[int, bytes]:
    """The attributes that stand one after another, by their kinds."""
    found = {}
    while len(content) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(content)
        found[kind] = content[ATTRIBUTE.size : length]
        content = content[aligned(length) :]
    return found


def exchange(link: int, kind: int, flags: int, content: bytes, tried: str) -> list[bytes] | None:
    """Ask once. None where the answer is to be had again: what was listed changed meanwhile."""
    length = HEADER.size + len(content)
    os.write(
        link,
        HEADER.pack(length, kind, flags | NLM_F_REQUEST | NLM_F_ACK, 1, 0) + content,
    )
    answers: list[bytes] = []
    is_whole = True
    while True:
        for answer, its_flags, what in messages_in(os.read(link, LONGEST)):
            is_whole = is_whole and not its_flags & NLM_F_DUMP_INTR
            if answer in (NLMSG_DONE, NLMSG_ERROR):
                (number,) = struct.unpack_from("=i", what)
                if number:
                    raise OSError(-number, os.strerror(-number), tried)
                return answers if is_whole else None
            answers.append(what)


def messages_in(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The kind, flags and content of each message."""
    while packet:
        length, kind, flags, _, _ = HEADER.unpack_from(packet)
        yield kind, flags, packet[HEADER.size : length]
        packet = packet[aligned(length) :]


def socket(tried: str) -> int:
    link: int = _libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
    if link == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), tried)
    return link


def padded(content: bytes) -> bytes:
    return content + bytes(aligned(len(content)) - len(content))


def aligned(length: int) -> int:
    return (length + 3) & ~3
