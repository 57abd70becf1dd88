"""Networks: each is a bridge in the kernel and a record, `networks/NAME/config.json`.

Until a network is complete, its directory has a temporary name, which contains its ID. So whoever
finds such a directory knows which bridge goes with it.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from mydocker import paths, rtnetlink
from mydocker.container import as_json
from mydocker.errors import FAILED, MydockerError
from mydocker.record import is_id, is_moment, parsed

DRIVER = "bridge"
PREDEFINED = ("bridge", "host", "none")
RECORD = "config.json"
UNFINISHED = ".new-"  # how a temporary name begins; the ID comes after it


class Network:
    """The attributes are what is recorded.

    gateway: the address of the bridge. ip_range: the addresses for containers, None for all of the
    subnet. created: in seconds since 1970.
    """

    def __init__(
        self, name: str, subnet: str, gateway: str, ip_range: str | None, internal: bool
    ) -> None:
        self.id = os.urandom(32).hex()
        self.name = name
        self.subnet = subnet
        self.gateway = gateway
        self.ip_range = ip_range
        self.internal = internal
        self.created = time.time()

    @property
    def directory(self) -> str:
        return f"{networks()}/{self.name}"

    def make(self) -> None:
        """Make the bridge and the record. If one of them fails, nothing is left of the other."""
        new = f"{networks()}/{UNFINISHED}{self.id}"
        try:
            os.mkdir(new, 0o700)
            with open(f"{new}/{RECORD}", "w", encoding="utf-8") as file:
                file.write(as_json(vars(self)) + "\n")
            self.make_bridge()
            os.rename(new, self.directory)
        except BaseException:
            remove_unfinished()
            raise

    def remove(self) -> None:
        remove_bridge(self.id)
        paths.remove_tree(self.directory)

    def make_bridge(self) -> None:
        rtnetlink.create_bridge(bridge(self.id), mac(self.id))
        index = rtnetlink.index_of(bridge(self.id), mac(self.id))
        address = IPv4Interface((self.gateway, IPv4Network(self.subnet).prefixlen))
        rtnetlink.add_address(index, address)


def load(name: str) -> Network:
    """The network of that name. Raises OSError for no record, ValueError for a corrupt one."""
    found = Network.__new__(Network)
    values = parsed(f"{networks()}/{name}/{RECORD}")
    try:
        for key, is_right in RIGHT.items():
            if not is_right(values[key]):
                raise ValueError(f"{key}: {values[key]!r}")
            setattr(found, key, values[key])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no record: {error!r}") from error
    if found.name != name:
        raise ValueError(f"the record of {found.name}")
    return found


def is_subnet(value: object) -> bool:
    return isinstance(value, str) and str(IPv4Network(value)) == value


RIGHT: dict[str, Callable[[object], bool]] = {
    "id": is_id,
    "name": lambda value: isinstance(value, str),
    "subnet": is_subnet,
    "gateway": lambda value: isinstance(value, str) and str(IPv4Address(value)) == value,
    "ip_range": lambda value: value is None or is_subnet(value),
    "internal": lambda value: isinstance(value, bool),
    "created": is_moment,
}


def all_networks(tell: Callable[[str], None] = lambda path: None) -> Iterator[Network]:
    """All networks, by their names. tell: is called with the path of a corrupt record."""
    for name in names():
        try:
            yield load(name)
        except (OSError, ValueError, RecursionError):
            if os.path.isdir(f"{networks()}/{name}"):  # it may have been removed meanwhile
                tell(f"{networks()}/{name}")


def names() -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(networks()) if not name.startswith("."))
    return []


def find(wanted: str, tried: str) -> Network:
    """The network of that ID, or of that name, or whose ID alone begins so.

    Raises MydockerError where there is none, or more than one.
    """
    everyone = list(all_networks())
    for matches in (
        [network for network in everyone if network.id == wanted],
        [network for network in everyone if network.name == wanted],
        [network for network in everyone if wanted and network.id.startswith(wanted)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise MydockerError(tried, f"{len(matches)} networks have an ID like that", FAILED)
    why = "its record cannot be read" if wanted in names() else "no such network"
    raise MydockerError(tried, why, FAILED)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let nobody else create or remove networks meanwhile. Clears what others have left unfinished.

    One lock is for the records. Another is for the subnets, which all roots of this host share: a
    network namespace is a file, and a file can be locked.
    """
    paths.make_directory(paths.root(), 0o700)
    paths.make_directory(networks())
    with paths.locked(networks()):
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            fcntl.flock(namespace, fcntl.LOCK_EX)
            remove_unfinished()
            yield
        finally:
            os.close(namespace)


def remove_unfinished() -> None:
    """Remove what is not complete. Who has the lock knows that nobody is still at it."""
    paths.remove_leftovers(networks())
    for name in os.listdir(networks()):
        identity = name.removeprefix(UNFINISHED)
        if name.startswith(UNFINISHED) and is_id(identity):
            remove_bridge(identity)
            paths.remove_tree(f"{networks()}/{name}")


def remove_bridge(identity: str) -> None:
    """Remove the bridge of a network, if it is there."""
    try:
        rtnetlink.delete_interface(rtnetlink.index_of(bridge(identity), mac(identity)))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def networks() -> str:
    return f"{paths.root()}/networks"


def bridge(identity: str) -> str:
    """The name of a network's bridge. An interface's name has 15 letters at most."""
    return f"br-{identity[:12]}"


def mac(identity: str) -> bytes:
    """The MAC of a network's bridge. An interface of that name with another MAC is not ours.

    02 begins a MAC that is from no maker of network cards; Docker's begin with 0242.
    """
    return bytes.fromhex(f"0242{identity[12:20]}")
