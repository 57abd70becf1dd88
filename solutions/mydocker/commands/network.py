"""mydocker network: create networks, list them, show all that is known of them, remove them."""

import time
from collections.abc import Callable

from mydocker import network, subnet
from mydocker.cli import Grammar, Help, checked, counted, of_name_characters, one_format, show_help
from mydocker.container import as_json
from mydocker.errors import FAILED, MydockerError, complain, from_kernel, say
from mydocker.network import Network
from mydocker.table import aligned

COLUMNS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}
SHORT_ID = 12


class Request(Help):
    """What a command behind `network` asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = network.DRIVER
        self.subnet: str | None = None
        self.gateway: str | None = None
        self.ip_range: str | None = None
        self.internal = False
        self.quiet = False
        self.no_trunc = False
        self.format: str | None = None


def network_(words: list[str]) -> int:
    """Carry out one of the commands behind `network`."""
    command = " ".join(["network", *words[:1]])
    if command not in COMMANDS:
        raise MydockerError(command, "usage: network create|ls|inspect|rm", FAILED)
    grammar, carry_out = COMMANDS[command]
    request = Request()
    given = grammar.read(request, words[1:])
    try:
        return show_help() if request.help else carry_out(request, given)
    except OSError as error:
        raise from_kernel(error, command=command) from error


def create(request: Request, given: list[str]) -> int:
    """Make a network, and print its ID."""
    (name,) = counted("network create", given, "NAME")
    tried = f"network create {checked(network_name, 'network create NAME', name)}"
    if request.driver != network.DRIVER:
        why = f"unsupported; available: {network.DRIVER}"
        raise MydockerError(f"network create -d {request.driver}", why, FAILED)
    if name in network.PREDEFINED:
        raise MydockerError(tried, "this network is predefined", FAILED)
    with network.alone():
        if name in network.names():
            raise MydockerError(tried, "there is a network of that name", FAILED)
        chosen = subnet.choose(request.subnet, request.gateway, request.ip_range)
        made = Network(name, *chosen, request.internal)
        made.make()
    say(f"{made.id}\n", tried)
    return 0


def network_name(text: str) -> str:
    if not of_name_characters(text):
        raise ValueError("a network's name is [a-zA-Z0-9][a-zA-Z0-9_.-]*")
    return text


def ls(request: Request, given: list[str]) -> int:
    """Print a table of all networks, by their names."""
    counted("network ls", given)
    found = network.all_networks(lambda path: complain(f"network ls: {path}: corrupt record"))
    shown = [row(each, request.no_trunc) for each in found]
    if request.quiet:
        lines = [cells["ID"] for cells in shown]
    elif request.format == "json":
        lines = [as_json(cells) for cells in shown]
    else:
        lines = aligned([tuple(cells[key] for key in COLUMNS) for cells in (COLUMNS, *shown)])
    say("".join(f"{line}\n" for line in lines), "network ls")
    return 0


def row(shown: Network, no_trunc: bool) -> dict[str, str]:
    """What docker calls by these keys."""
    return {
        "ID": shown.id if no_trunc else shown.id[:SHORT_ID],
        "Name": shown.name,
        "Driver": network.DRIVER,
        "Scope": "local",
        "Internal": "true" if shown.internal else "false",
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(shown.created)),
    }


def inspect(request: Request, given: list[str]) -> int:
    """Print all that is known of some networks, as JSON. Returns 1 if one is not there."""
    import json

    shown: list[dict[str, object]] = []
    status = each_of(
        given,
        "network inspect",
        lambda tried, name: shown.append(in_full(network.find(name, tried))),
    )
    say(json.dumps(shown, indent=4) + "\n", "network inspect")
    return status


def in_full(shown: Network) -> dict[str, object]:
    """What docker calls by these keys."""
    config = {"Subnet": shown.subnet, "Gateway": shown.gateway, "IPRange": shown.ip_range}
    return {
        "Name": shown.name,
        "Id": shown.id,
        "Created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(shown.created)),
        "Scope": "local",
        "Driver": network.DRIVER,
        "Internal": shown.internal,
        "IPAM": {"Config": [{key: value for key, value in config.items() if value}]},
        "Containers": {},
        "Options": {},
    }


def rm(request: Request, given: list[str]) -> int:
    """Remove networks, and print the name of each that is gone. Returns 1 if one is not."""
    return each_of(given, "network rm", remove)


def remove(tried: str, name: str) -> None:
    with network.alone():
        network.find(name, tried).remove()
    say(f"{name}\n", tried)


def each_of(names: list[str], command: str, carry_out: Callable[[str, str], None]) -> int:
    """Carry out a command for each of these names. Returns 1 if it fails for one of them."""
    if not names:
        raise MydockerError(command, f"usage: {command} NETWORK [NETWORK...]", FAILED)
    status = 0
    for name in names:
        try:
            carry_out(f"{command} {name}", name)
        except OSError as error:
            complain(str(from_kernel(error, command=f"{command} {name}")))
            status = FAILED
        except MydockerError as error:
            complain(str(error))
            status = FAILED
    return status


CREATE = Grammar(
    "network create",
    {"--internal": "internal"},
    {
        "-d": ("driver", str),
        "--driver": ("driver", str),
        "--subnet": ("subnet", subnet.read_subnet),
        "--gateway": ("gateway", subnet.read_address),
        "--ip-range": ("ip_range", subnet.read_subnet),
    },
)

LS = Grammar(
    "network ls",
    {"-q": "quiet", "--quiet": "quiet", "--no-trunc": "no_trunc"},
    {"--format": ("format", one_format)},
)

COMMANDS: dict[str, tuple[Grammar, Callable[[Request, list[str]], int]]] = {
    "network create": (CREATE, create),
    "network ls": (LS, ls),
    "network inspect": (Grammar("network inspect", {}, {}), inspect),
    "network rm": (Grammar("network rm", {}, {}), rm),
}
