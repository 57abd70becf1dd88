"""What we ask of the kernel's network: interfaces, addresses, routes. See rtnetlink(7)."""

import errno
import os
import struct
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network

from mydocker.netlink import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, ask, attribute, attributes_in

# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_GETROUTE = 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINKINFO = 1, 3, 18
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST = 1
IFF_UP = 1
AF_INET = 2

IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, which of them to change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, prefix length of the destination, …


def create_bridge(name: str, mac: bytes) -> None:
    """Make a bridge that is up: `ip link add NAME address MAC up type bridge`."""
    kind = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    content = IFINFOMSG.pack(0, 0, 0, IFF_UP, IFF_UP) + named(name) + attribute(IFLA_ADDRESS, mac)
    ask(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, content + kind, f"create bridge {name}")


def index_of(name: str, mac: bytes) -> int:
    """The index of the interface that has this name and this MAC.

    Raises OSError, with errno ENODEV, where there is none.
    """
    tried = f"look for interface {name}"
    (found,) = ask(RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + named(name), tried)
    if attributes_in(found[IFINFOMSG.size :])[IFLA_ADDRESS] != mac:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), tried)
    index: int = IFINFOMSG.unpack_from(found)[2]
    return index


def delete_interface(index: int) -> None:
    """Delete an interface, and with it its addresses and routes: `ip link delete`."""
    ask(RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0), f"delete interface {index}")


def add_address(index: int, address: IPv4Interface) -> None:
    """Give an interface an address: `ip address add ADDRESS dev …`."""
    content = IFADDRMSG.pack(AF_INET, address.network.prefixlen, 0, 0, index)
    content += attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, content, f"add address {address}")


def subnets_in_use() -> Iterator[IPv4Network]:
    """Where the host's addresses and routes lead to: `ip address`, `ip route show table all`.

    A default route has no destination.
    """
    for kind, header, destinations in (
        (RTM_GETADDR, IFADDRMSG, (IFA_ADDRESS, IFA_LOCAL)),
        (RTM_GETROUTE, RTMSG, (RTA_DST,)),
    ):
        asked = bytes([AF_INET]).ljust(header.size, b"\0")
        for found in ask(kind, NLM_F_DUMP, asked, "list addresses and routes"):
            attributes = attributes_in(found[header.size :])
            for destination in attributes.keys() & destinations:
                yield IPv4Network((attributes[destination], found[1]), strict=False)


def named(name: str) -> bytes:
    return attribute(IFLA_IFNAME, name.encode() + b"\0")
