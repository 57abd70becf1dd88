"""The network of a test host: what is counted in it, and the world outside."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dojo.scratch import TestHost, groups, leaks
from dojo.scratch.network import ADDRESSES, Outside
from dojo.testkit.mydocker import Mydocker
from tests.learners import require_lab

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
MADE = "ip link add br-012345678901 type bridge"
UP = f"{MADE} && ip addr add 10.7.0.1/24 dev br-012345678901 && ip link set br-012345678901 up"


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestHost]:
    require_lab(request)
    host = TestHost(next(groups.unique_names()), writable=[tmp_path])
    yield host
    host.close()


def shell(host: TestHost, script: str) -> None:
    call = host.run(["sh", "-c", script], env=ENV)
    assert call.status == 0, call


def test_a_new_host_has_a_loopback_interface_and_nothing_else(host: TestHost) -> None:
    assert host.interfaces() == ["lo"]
    seen = leaks.take(host, [])
    assert seen.addresses == {"127.0.0.1/8 on lo"}
    assert seen.routes == frozenset()


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (MADE, ["the interface br-012345678901 was left"]),
        ("ip addr add 10.7.0.1/24 dev lo", ["the address 10.7.0.1/24 on lo was left"]),
        ("ip route add 10.8.0.0/24 dev lo", ["the route 10.8.0.0/24 on lo was left"]),
        (
            "ip route add blackhole 10.8.0.0/24 table 7",
            ["the route 10.8.0.0/24 in table 7 was left"],
        ),
        ("ip addr del 127.0.0.1/8 dev lo", ["the address 127.0.0.1/8 on lo is gone"]),
    ],
)
def test_what_is_left_in_a_network_is_told(host: TestHost, script: str, wanted: list[str]) -> None:
    before = leaks.take(host, [])
    shell(host, script)
    assert [leak.what for leak in leaks.compare(before, leaks.take(host, []))] == wanted


def test_a_network_that_nobody_has_removed_is_there_to_stay(host: TestHost, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    before = leaks.take(host, [tmp_path])
    (root / "networks" / "web").mkdir(parents=True)
    (root / "networks" / "web" / "config.json").touch()
    shell(host, UP)
    mine = {"web": "0123456789012" + "0" * 51}
    assert leaks.compare(before, leaks.take(host, [tmp_path], mine)) == []
    found = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert [leak.what for leak in found] == [
        "the interface br-012345678901 was left",
        "the address 10.7.0.1/24 on br-012345678901 was left",
        "the route 10.7.0.0/24 on br-012345678901 was left",
        f"{root}/networks was left, with 2 more in it",
    ]


def test_an_empty_directory_of_networks_is_there_to_stay(host: TestHost, tmp_path: Path) -> None:
    (tmp_path / "root" / "images").mkdir(parents=True)
    before = leaks.take(host, [tmp_path])
    (tmp_path / "root" / "networks").mkdir()
    assert leaks.compare(before, leaks.take(host, [tmp_path])) == []


def test_the_outside_and_the_host_reach_each_other(host: TestHost) -> None:
    """A socket belongs to the network in which it was made, whoever uses it afterwards."""
    with Outside(host) as outside:
        assert outside.is_reached()
        with outside.on_the_host(lambda: socket.create_server((ADDRESSES.host, 0))) as server:
            address = server.getsockname()
            client = outside.there(lambda: socket.create_connection(address, timeout=10))
            with client, server.accept()[0] as accepted:
                client.sendall(b"hello")
                assert accepted.recv(5) == b"hello"
        shell(host, "ip link set outside down")
        assert not outside.is_reached()


def test_an_outside_goes_with_its_wire(host: TestHost) -> None:
    before = leaks.take(host, [])
    with Outside(host):
        assert host.interfaces() == ["lo", "outside"]
    assert host.until(lambda: not leaks.compare(before, leaks.take(host, [])))


def test_it_is_noted_which_networks_there_are(host: TestHost, tmp_path: Path) -> None:
    """By what was printed: a network is there to stay until a `network rm` has named it."""
    (tmp_path / "here").mkdir()
    double = tmp_path / "double"
    double.write_text(
        'if [ "$2" = create ]; then [ -z "$ID" ] || echo $ID; exit; fi\n'
        'shift 2; for name; do [ "$name" = no-such ] || echo $name; done\n'
    )
    mydocker = Mydocker(["sh", str(double)], host, tmp_path, tmp_path / "caches")
    first, second, third = ("a" * 64, "b" * 64, "c" * 64)
    for name, identity in (("web", first), ("data", second), ("refused", ""), ("more", third)):
        mydocker("network", "create", "--internal", name, env={"ID": identity})
    assert mydocker.networks() == {"web": first, "data": second, "more": third}
    mydocker("network", "rm", "web", "no-such", second[:12])
    assert mydocker.networks() == {"more": third}
    mydocker.start("network", "create", "again", env={"ID": first}).wait()
    assert mydocker.networks() == {"more": third, "again": first}
