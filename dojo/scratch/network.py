"""The network of a test host: what is in it, and a second network beside it as the world outside.

A thread can be in another network namespace than the rest of its process. What it makes there stays
there: a socket belongs to the network in which it was made, whoever uses it afterwards.
"""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

Made = TypeVar("Made")

CLONE_NEWNET = 0x40000000  # linux/sched.h
NETLINK_ROUTE, NLMSG_ERROR, NLMSG_DONE = 0, 2, 3  # linux/netlink.h
RTM_GETADDR, RTM_GETROUTE = 22, 26  # linux/rtnetlink.h, as all that follows
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_LOCAL = 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
PACKET = 1 << 16
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr

_libc = ctypes.CDLL(None, use_errno=True)


class Host(Protocol):
    """What is asked of a test host: the PID out here of its PID 1."""

    pid: int


def in_network_of(network: int, action: Callable[[], Made]) -> Made:
    """Do something in another network namespace. Returns what it returns, raises what it raises.

    network: a descriptor of the namespace.
    """
    return _in_a_thread(lambda: _call("setns", network, CLONE_NEWNET), action)


def _in_a_thread(enter: Callable[[], object], action: Callable[[], Made]) -> Made:
    made: list[Made] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            enter()
            made.append(action())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return made[0]


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _this_network() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


# What is in a network ------------------------------------------------------------------------


class Contents(NamedTuple):
    """The IPv4 addresses and routes of a network, as a person would say them.

    The routes that the kernel makes for each address in a table of its own are left out.
    """

    addresses: frozenset[str]
    routes: frozenset[str]


def contents(pid: int) -> Contents:
    """What a process sees in its network."""
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return in_network_of(
            network, lambda: Contents(frozenset(_addresses()), frozenset(_routes()))
        )
    finally:
        os.close(network)


def _addresses() -> Iterator[str]:
    for content in _dump(RTM_GETADDR):
        _, length, _, _, index = struct.unpack_from("=BBBBI", content)  # struct ifaddrmsg
        address = _attributes(content[8:]).get(IFA_LOCAL, bytes(4))
        yield f"{socket.inet_ntoa(address)}/{length} on {_name_of(index)}"


def _routes() -> Iterator[str]:
    for content in _dump(RTM_GETROUTE):
        _, length, _, _, table = struct.unpack_from("=BBBBB", content)  # struct rtmsg
        found = _attributes(content[12:])
        if RTA_TABLE in found:
            (table,) = struct.unpack("=I", found[RTA_TABLE])
        if table == RT_TABLE_LOCAL:
            continue
        words = [f"{socket.inet_ntoa(found.get(RTA_DST, bytes(4)))}/{length}"]
        if RTA_GATEWAY in found:
            words.append(f"by {socket.inet_ntoa(found[RTA_GATEWAY])}")
        if RTA_OIF in found:
            words.append(f"on {_name_of(*struct.unpack('=I', found[RTA_OIF]))}")
        if table != RT_TABLE_MAIN:
            words.append(f"in table {table}")
        yield " ".join(words)


def _name_of(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # it has gone meanwhile
        return f"interface {index}"


def _dump(kind: int) -> Iterator[bytes]:
    """All objects of a kind, each as the kernel describes it."""
    question = HEADER.pack(HEADER.size + 12, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as link:
        link.send(question + bytes([socket.AF_INET]).ljust(12, b"\0"))
        while True:
            packet = link.recv(PACKET)
            while packet:
                length, answer, *_ = HEADER.unpack_from(packet)
                if answer in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield packet[HEADER.size : length]
                packet = packet[_aligned(length) :]


def _attributes(content: bytes) -> dict[int, bytes]:
    found = {}
    while len(content) >= 4:
        length, kind = struct.unpack_from("=HH", content)
        found[kind] = content[4:length]
        content = content[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


# The world outside ---------------------------------------------------------------------------


class Addresses(NamedTuple):
    host: str
    outside: str
    length: int


# Of the range for benchmarks of networks, RFC 2544, which no default pool overlaps.
ADDRESSES = Addresses("198.18.0.1", "198.18.0.2", 24)
WIRE = "outside"  # the end of the wire that is on the test host
OTHER_END = "wire"
SECONDS = 5.0


class Outside:
    """A network beside that of a test host, with a wire between them: the world outside.

    On the host, the wire is the interface `outside`, and the default route goes by it.
    """

    def __init__(self, host: Host) -> None:
        self._host = os.open(f"/proc/{host.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._outside = _in_a_thread(lambda: _call("unshare", CLONE_NEWNET), _this_network)
        try:
            in_network_of(self._outside, self._lay_wire)
            in_network_of(self._host, lambda: _set_up(WIRE, ADDRESSES.host, ADDRESSES.outside))
        except BaseException:
            self.close()
            raise

    def _lay_wire(self) -> None:
        from pyroute2 import IPRoute  # takes long to import, and most tests do not need it

        with IPRoute() as routes:
            peer = {"ifname": WIRE, "net_ns_fd": self._host}
            routes.link("add", ifname=OTHER_END, kind="veth", peer=peer)
        _set_up(OTHER_END, ADDRESSES.outside)

    def __enter__(self) -> "Outside":
        return self

    def __exit__(self, *of_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go; with the network, its end of the wire goes, and so the other one."""
        os.close(self._outside)
        os.close(self._host)

    def there(self, action: Callable[[], Made]) -> Made:
        """Do something in there: make a socket, such as a server's or a client's."""
        return in_network_of(self._outside, action)

    def on_the_host(self, action: Callable[[], Made]) -> Made:
        """Do something in the network of the test host."""
        return in_network_of(self._host, action)

    def is_reached(self) -> bool:
        """Whether the test host reaches it: a connection, and what is said on it."""
        at = (ADDRESSES.outside, 0)
        with self.there(lambda: socket.create_server(at)) as server:
            server.settimeout(SECONDS)
            to = server.getsockname()
            try:
                client = self.on_the_host(lambda: socket.create_connection(to, timeout=SECONDS))
            except OSError:
                return False
            with client:
                client.sendall(b"here")
                accepted, (address, _) = server.accept()
                with accepted:
                    return bool(accepted.recv(4) == b"here" and address == ADDRESSES.host)


def _set_up(name: str, address: str, gateway: str | None = None) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as routes:
        (index,) = routes.link_lookup(ifname=name)
        routes.addr("add", index=index, address=address, prefixlen=ADDRESSES.length)
        routes.link("set", index=index, state="up")
        if gateway:
            routes.route("add", dst="default", gateway=gateway)
