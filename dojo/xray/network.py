"""The interfaces of a network namespace, asked by netlink: see rtnetlink(7)."""

from dataclasses import dataclass

from dojo.errors import KataError
from dojo.xray import kernel

IFF_UP = 1  # linux/if.h


@dataclass(frozen=True)
class Interface:
    """kind: "veth", "bridge" and so on; empty for one that was not made by a person. addresses:
    with the length of their network's part, "10.0.0.2/24".
    """

    name: str
    kind: str
    is_up: bool
    addresses: tuple[str, ...]


def interfaces(pid: int) -> tuple[Interface, ...]:
    """Those that a process sees. Raises kernel.Ended, KataError if netlink cannot be asked."""
    from pyroute2 import NetNS
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with NetNS(f"/proc/{pid}/ns/net", flags=0) as link:  # flags: it is never made
            addresses: dict[int, list[str]] = {}
            for each in link.get_addr():
                address = f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}"
                addresses.setdefault(each["index"], []).append(address)
            return tuple(
                Interface(
                    name=each.get_attr("IFLA_IFNAME"),
                    kind=_kind(each),
                    is_up=bool(each["flags"] & IFF_UP),
                    addresses=tuple(addresses.get(each["index"], ())),
                )
                for each in link.get_links()
            )
    except (OSError, NetlinkError) as error:
        if kernel.is_over(pid):
            raise kernel.Ended(f"process {pid} has ended") from error
        raise KataError(f"xray: the network of process {pid}: {error}") from error


def _kind(link: object) -> str:
    info = link.get_attr("IFLA_LINKINFO")  # type: ignore[attr-defined]
    return (info.get_attr("IFLA_INFO_KIND") or "") if info else ""
