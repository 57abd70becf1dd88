"""Which addresses a network gets: those that the user wants, or the first that nobody has."""

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from mydocker import network, rtnetlink
from mydocker.errors import FAILED, MydockerError

POOLS = (
    *(IPv4Network(f"172.{number}.0.0/16") for number in range(17, 32)),
    *(IPv4Network(f"192.168.{number}.0/20") for number in range(0, 256, 16)),
)
LONGEST_PREFIX = 30  # with an address for the bridge and one for a container


def read_subnet(text: str) -> str:
    """Read a subnet of whatever version of IP. Raises ValueError where it is none."""
    if not text.partition("/")[2].isdecimal():
        raise ValueError("a subnet has the length of a prefix, such as 10.1.0.0/16")
    return str(ipaddress.ip_network(text, strict=False))


def read_address(text: str) -> str:
    """Read an address of whatever version of IP. Raises ValueError where it is none."""
    return str(ipaddress.ip_address(text))


def choose(
    subnet: str | None, gateway: str | None, ip_range: str | None
) -> tuple[str, str, str | None]:
    """The subnet, gateway and range of a new network, from those that the user wants.

    Raises MydockerError where it cannot have them.
    """
    given = {"--subnet": subnet, "--gateway": gateway, "--ip-range": ip_range}
    for option, text in given.items():
        if text is not None and ":" in text:
            raise refusal(option, text, "only IPv4 is supported")
        if text is not None and subnet is None:
            raise refusal(option, text, "only allowed together with --subnet")
    if subnet is None:
        free = first_free()
        return str(free), str(free[1]), None
    wanted = IPv4Network(subnet)
    if wanted.prefixlen > LONGEST_PREFIX:
        raise refusal("--subnet", subnet, f"the smallest subnet is a /{LONGEST_PREFIX}")
    gateway = gateway or str(wanted[1])
    address = IPv4Address(gateway)
    if address not in wanted or address in (wanted[0], wanted[-1]):
        raise refusal("--gateway", gateway, f"not an address of an interface in {subnet}")
    if ip_range is not None and not IPv4Network(ip_range).subnet_of(wanted):
        raise refusal("--ip-range", ip_range, f"not in {subnet}")
    for taken, whose in in_use():
        if wanted.overlaps(taken):
            raise refusal("--subnet", subnet, f"it overlaps {taken} {whose}")
    return subnet, gateway, ip_range


def first_free() -> IPv4Network:
    taken = [subnet for subnet, _ in in_use()]
    for pool in POOLS:
        if not any(pool.overlaps(other) for other in taken):
            return pool
    why = f"all default subnets from {POOLS[0]} to {POOLS[-1]} are in use: give it a --subnet"
    raise MydockerError("network create", why, FAILED)


def in_use() -> Iterator[tuple[IPv4Network, str]]:
    """The subnets that a new one must not overlap, and whose each is."""
    for other in network.all_networks():
        yield IPv4Network(other.subnet), f"of network {other.name}"
    for subnet in rtnetlink.subnets_in_use():
        yield subnet, "of this host"


def refusal(option: str, value: str, why: str) -> MydockerError:
    return MydockerError(f"network create {option} {value}", why, FAILED)
