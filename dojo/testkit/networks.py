"""What tests ask of networks: what `network` says of them, and what the test host's kernel does."""

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dojo.scratch import Call, TestHost
from dojo.testkit.testing import check, expect

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker

PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
OF_A_NETWORK = ("ID", "Name", "Driver", "Scope")  # keys of `network ls --format json`
# Keys of `network inspect`.
IN_FULL = ("Name", "Id", "Created", "Scope", "Driver", "Internal", "IPAM", "Containers", "Options")


@dataclass(frozen=True)
class Interface:
    """An interface of the test host. addresses: those of IPv4, such as "10.1.0.1/16"."""

    name: str
    index: int
    kind: str
    mac: str
    is_up: bool
    addresses: tuple[str, ...]

    def __str__(self) -> str:
        state = "up" if self.is_up else "down"
        return f"{self.name} ({self.kind or 'no kind'}, {state}, {' '.join(self.addresses)})"


def interfaces(host: TestHost) -> dict[str, Interface]:
    """The interfaces of the test host, by their names."""
    found = {}
    for each in json.loads(on_the_host(host, "ip", "-json", "-details", "address").out):
        if not each:  # iproute2 before 6.1 leaves an empty object for what has gone meanwhile
            continue
        of_ip = [a for a in each["addr_info"] if a["family"] == "inet"]
        found[each["ifname"]] = Interface(
            name=each["ifname"],
            index=each["ifindex"],
            kind=each.get("linkinfo", {}).get("info_kind", ""),
            mac=each["address"],
            is_up="UP" in each["flags"],
            addresses=tuple(f"{a['local']}/{a['prefixlen']}" for a in of_ip),
        )
    return found


def on_the_host(host: TestHost, *words: str) -> Call:
    """Run a program on the test host that cannot fail there, such as `ip`."""
    call = host.run(words, env=PATH)
    assert call.status == 0, call
    return call


def created(mydocker: "Mydocker", *words: str, **more: Any) -> str:
    """Expect `network create` with these words to make a network. Returns its ID."""
    __tracebackhide__ = True
    call = expect(mydocker("network", "create", *words, **more), status=0, err="")
    is_id = re.fullmatch(r"[0-9a-f]{64}\n", call.text)
    check(is_id, "the ID on stdout: 64 hex digits, and a newline", call.text, call)
    return call.text.strip()


def bridge_of(mydocker: "Mydocker", identity: str) -> Interface:
    """The bridge of a network, which is up."""
    __tracebackhide__ = True
    call = mydocker.calls[-1] if mydocker.calls else None
    there = interfaces(mydocker.host)
    bridge = there.get(f"br-{identity[:12]}")
    names = f"an interface br-{identity[:12]}, named by the first 12 digits of the ID"
    check(bridge is not None, names, there.values(), call)
    assert bridge is not None
    check(bridge.kind == "bridge", "an interface that is a bridge", bridge, call)
    check(bridge.is_up, "a bridge that is up", bridge, call)
    return bridge


def subnet_of(mydocker: "Mydocker", identity: str) -> ipaddress.IPv4Network:
    """The subnet of a network, by the one address of its bridge."""
    __tracebackhide__ = True
    bridge = bridge_of(mydocker, identity)
    check(len(bridge.addresses) == 1, "a bridge that has one IPv4 address", bridge)
    return ipaddress.IPv4Interface(bridge.addresses[0]).network


def listed(mydocker: "Mydocker", **more: Any) -> dict[str, dict[str, str]]:
    """What `network ls --no-trunc --format json` shows, by name; Docker's own left out."""
    __tracebackhide__ = True
    words = ("network", "ls", "--no-trunc", "--format", "json")
    call = expect(mydocker(*words, **more), status=0, err="")
    rows = [json_in(line, dict, call) for line in call.text.splitlines()]
    for row in rows:
        missing = [key for key in OF_A_NETWORK if not isinstance(row.get(key), str)]
        check(not missing, f"texts by the keys {', '.join(OF_A_NETWORK)}", row, call)
    return {row["Name"]: row for row in rows if row["Name"] not in ("bridge", "host", "none")}


def inspected(call: Call) -> list[dict[str, Any]]:
    """The networks that `network inspect` has shown."""
    __tracebackhide__ = True
    found: list[dict[str, Any]] = json_in(call.text, list, call)
    for each in found:
        missing = [key for key in IN_FULL if key not in each]
        check(not missing, f"the keys {', '.join(IN_FULL)}", f"without {missing}", call)
    return found


def json_in(text: str, kind: type[dict[str, Any]] | type[list[Any]], call: Call) -> Any:
    __tracebackhide__ = True
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    what = "a JSON object on each line of stdout" if kind is dict else "a JSON array on stdout"
    check(isinstance(value, kind), what, text, call)
    return value
