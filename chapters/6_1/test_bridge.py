"""Chapter 6.1: a network is a switch in the kernel, with a subnet and a record of its own."""

import json
import os
import shutil
from collections.abc import Iterable
from ipaddress import IPv4Network

import pytest

from dojo.scratch import Call
from dojo.testkit.crash_points import beside, crash_points, killed_at
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.networks import (
    Interface,
    bridge_of,
    created,
    inspected,
    interfaces,
    listed,
    on_the_host,
    subnet_of,
)
from dojo.testkit.records import listed as containers_listed
from dojo.testkit.records import wrong_records
from dojo.testkit.testing import check, expect, guard, needs, ours, task

TOGETHER = 6  # commands at once
CRASH_POINTS = 8  # at most, at which something happens to a command
SENDS = ("sendto",)  # a message to the kernel is a change (sendmsg cannot be: see inside.py)
DEFAULT = ("172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16")
SOMEBODYS = "link0"  # an interface that is not ours


# Task 1: A switch in the kernel


@task(1)
def test_a_network_is_a_bridge(mydocker):
    """A bridge is the kernel's own switch: containers are to be plugged into it."""
    one, two = created(mydocker, "web"), created(mydocker, "data")
    check(one != two, "another ID for each network", f"{one} twice")
    indexes = {bridge_of(mydocker, identity).index for identity in (one, two)}
    check(len(indexes) == 2, "two bridges", indexes)


@task(1)
def test_the_driver_is_bridge(mydocker):
    """`-d` says what makes the network. There is one driver, and it is also the default one."""
    for number, words in enumerate((["-d", "bridge"], ["--driver=bridge"])):
        bridge_of(mydocker, created(mydocker, *words, f"net{number}"))
    refused(mydocker, "-d", "no-such-driver", "web", names=["no-such-driver"])


@task(1)
@pytest.mark.parametrize("name", ["x", "9", "a_b.c-d", "UPPER", "n" * 100])
def test_a_name_that_is_allowed(mydocker, name):
    """An interface has 15 letters at most: so the network's name cannot be the bridge's."""
    bridge_of(mydocker, created(mydocker, name))


@task(1)
@ours
@pytest.mark.parametrize(
    "name", ["", "-x", ".x", "..", "a/b", "../../x", "a b", "größe", "a\nb", "n" * 300]
)
def test_a_name_that_is_not_allowed(mydocker, name):
    """The name becomes part of a path, and `../../x` would be anybody's directory."""
    created(mydocker, "good")
    words = ("--", name) if name.startswith("-") else (name,)
    call = refused(mydocker, *words, status=125)
    check(
        name[:20] in call.errors or not name.isprintable(),
        "a message with the name in it",
        call.errors,
        call,
    )


@task(1)
def test_wrong_words_are_refused(mydocker):
    """Whoever leaves out a name, or types two, is told so and nothing is made."""
    for words in ([], ["one", "two"]):
        expect(refused(mydocker, *words), out="", complaint=["network create"])
    refused(mydocker, "--no-such-option", "web", names=["--no-such-option"], status=125)
    refused(mydocker, "-x", "web", names=["-x"], status=125)


@task(1)
@ours
def test_an_unknown_command_is_refused(mydocker):
    """There is `network create`, but there is no `network make`."""
    before = interfaces(mydocker.host)
    expect(mydocker("network", "make", "web"), status=1, out="", complaint=["network make"])
    nothing_made(mydocker, before)


@task(1)
@ours
def test_without_the_privilege_it_says_so(mydocker):
    """Interfaces are made with CAP_NET_ADMIN only. The kernel says no, and so does mydocker."""
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    refused(mydocker, "web", before=without, names=["not permitted"], status=125)
    created(mydocker, "web")


# Task 2: An address for the host


@task(2)
def test_the_bridge_has_an_address(mydocker):
    """With it, the host is in the network itself: containers will reach it there."""
    identity = created(mydocker, "--subnet", "10.1.0.0/16", "web")
    has_address(mydocker, identity, "10.1.0.1/16")


@task(2)
@pytest.mark.parametrize("gateway", ["10.1.0.2", "10.1.255.254", "10.1.1.0"])
def test_the_gateway_can_be_chosen(mydocker, gateway):
    """Any address of the subnet will do. 10.1.1.0 looks like a network's own, and is not one."""
    identity = created(mydocker, "--subnet=10.1.0.0/16", "--gateway", gateway, "web")
    has_address(mydocker, identity, f"{gateway}/16")


@task(2)
@pytest.mark.parametrize(
    ("subnet", "address"),
    [
        ("10.0.0.0/8", "10.0.0.1/8"),
        ("10.1.2.128/25", "10.1.2.129/25"),
        ("10.1.2.8/30", "10.1.2.9/30"),
    ],
)
def test_a_subnet_of_any_size(mydocker, subnet, address):
    """The prefix can end within a byte. 16 million addresses cost nothing."""
    has_address(mydocker, created(mydocker, "--subnet", subnet, "web"), address)


@task(2)
@ours
def test_bits_behind_the_prefix_are_cleared(mydocker):
    """10.1.2.3/16 is an address in 10.1.0.0/16: the subnet is what the prefix says."""
    has_address(mydocker, created(mydocker, "--subnet", "10.1.2.3/16", "web"), "10.1.0.1/16")


@task(2)
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--subnet", "10.1.0.0/31"], "10.1.0.0/31"),
        (["--subnet", "10.1.0.1/32"], "10.1.0.1/32"),
        (["--subnet", "10.1.0.0/24", "--gateway", "10.1.1.1"], "10.1.1.1"),
        (["--gateway", "10.1.0.1"], "10.1.0.1"),
    ],
    ids=["31", "32", "gateway", "gateway-alone"],
)
def test_addresses_that_a_network_cannot_have(mydocker, words, named):
    """A /31 has no address left for a container; a gateway elsewhere is reached by nobody."""
    identity = created(mydocker, "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.9", "good")
    has_address(mydocker, identity, "10.1.0.9/24")
    refused(
        mydocker,
        *(word.replace("10.1.", "10.2.") for word in words),
        "web",
        names=[named.replace("10.1.", "10.2.")],
    )


@task(2)
@ours
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--subnet", "fd00:1::/64"], "fd00:1::/64"),
        (["--subnet", "10.1.0.0/24", "--gateway", "10.1.0.0"], "10.1.0.0"),
        (["--subnet", "10.1.0.0/24", "--gateway", "10.1.0.255"], "10.1.0.255"),
        (["--subnet", "10.1.0.0/24", "--gateway", "fd00::1"], "fd00::1"),
    ],
    ids=["ipv6", "network-address", "broadcast", "gateway-of-ipv6"],
)
def test_more_addresses_that_a_network_cannot_have(mydocker, words, named):
    """The first and the last address of a subnet mean the network, and all who are in it."""
    call = refused(mydocker, *words, "web", names=[named])
    if "fd00" in named:
        check("IPv4" in call.errors, "a message that says IPv4", call.errors, call)
    created(mydocker, "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.254", "web")


@task(2)
@ours
@pytest.mark.parametrize(
    "words",
    [
        *(["--subnet", text] for text in ("", "no", "10.1.0.0", "10.1.0/24", "10.1.0.0/33")),
        *(["--subnet", text] for text in ("256.1.0.0/16", "10.1.0.0/x", "10.1.0.0/-1")),
        ["--subnet", "10.1.0.0/255.255.0.0"],
        *(["--subnet", "10.1.0.0/16", "--gateway", text] for text in ("no", "10.1.0.1/16")),
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_what_is_no_address(mydocker, words):
    """A value that cannot be read is refused, as any option's, and the message repeats it."""
    refused(mydocker, *words, "web", names=[words[-2], words[-1]], status=125)
    created(mydocker, "--subnet", "10.1.0.0/16", "web")


# Task 3: A record and a list


@task(3)
def test_networks_are_listed(mydocker):
    """A table for people: the short ID, the name, the driver, where it is valid."""
    web, data = created(mydocker, "web"), created(mydocker, "data")
    call = expect(mydocker("network", "ls"), status=0, err="")
    head, *lines = call.text.splitlines()
    columns = ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    check(head.split() == columns, f"a header: {' '.join(columns)}", head, call)
    for identity, name in ((web, "web"), (data, "data")):
        wanted = [identity[:12], name, "bridge", "local"]
        rows = [line.split() for line in lines]
        check(wanted in rows, f"a line: {' '.join(wanted)}", call.text, call)


@task(3)
def test_networks_are_listed_for_programs(mydocker):
    """`-q` prints IDs alone, `--no-trunc` whole ones, and `--format json` an object a line."""
    identity = created(mydocker, "web")
    for words, wanted in (
        (["-q"], identity[:12]),
        (["--quiet", "--no-trunc"], identity),
    ):
        call = expect(mydocker("network", "ls", *words), status=0, err="")
        check(wanted in call.text.splitlines(), f"a line with {wanted} alone", call.text, call)
    row = listed(mydocker).get("web", {})
    wanted = {"ID": identity, "Name": "web", "Driver": "bridge", "Scope": "local"}
    check(row.items() >= wanted.items(), f"{wanted}", row)


@task(3)
@ours
def test_where_there_is_no_network_yet(mydocker):
    """A fresh machine has no directory of networks. That is no failure: there are none."""
    call = expect(mydocker("network", "ls"), status=0, err="")
    check(len(call.text.splitlines()) == 1, "a header alone", call.text, call)
    expect(mydocker("network", "ls", "-q"), status=0, out="", err="")


@task(3)
def test_wrong_words_behind_ls(mydocker):
    """`network ls` takes no names."""
    expect(mydocker("network", "ls", "web"), status=1, out="", complaint=["network ls"])
    expect(mydocker("network", "ls", "-x"), status=125, out="", complaint=["-x"])
    expect(mydocker("network", "ls"), status=0)


@task(3)
@ours
def test_another_root_has_networks_of_its_own(mydocker):
    """Two roots never see each other, though they are on the same host."""
    created(mydocker, "--subnet", "10.1.0.0/16", "web")
    other = mydocker.another_root()
    check(listed(mydocker, env=other) == {}, "no network", listed(mydocker, env=other))
    created(mydocker, "--subnet", "10.2.0.0/16", "web-2", env=other)
    check([*listed(mydocker)] == ["web"], "web alone", listed(mydocker))


@task(3)
def test_a_network_is_no_container(mydocker):
    """Both can have the same name, and neither is seen among the others."""
    created(mydocker, "box")
    expect(mydocker("run", "--name", "box", "busybox", "true"), status=0, err="")
    names = [row["Names"] for row in containers_listed(mydocker, "-a")]
    check(names == ["box"], "one container", names)
    check([*listed(mydocker)] == ["box"], "one network", listed(mydocker))
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    check([*listed(mydocker)] == ["box"], "the network stays", listed(mydocker))


# Task 4: A name that is there once


@task(4)
def test_a_name_is_there_once(mydocker):
    """A second network of that name is refused, and the first is as it was."""
    identity = created(mydocker, "--subnet", "10.1.0.0/16", "web")
    before = bridge_of(mydocker, identity)
    for words in ([], ["--subnet", "10.1.0.0/16"], ["--subnet", "10.2.0.0/16"]):
        refused(mydocker, *words, "web", names=["web"])
    check(listed(mydocker)["web"]["ID"] == identity, "the first one's ID", listed(mydocker))
    after = bridge_of(mydocker, identity)
    check(after == before, "its bridge, as it was", after)


@task(4)
@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_a_predefined_network_cannot_be_created(mydocker, name):
    """These three have a meaning of their own: `--network host` is never a network of yours."""
    refused(mydocker, name, names=[name])
    created(mydocker, f"{name}-2")


@task(4)
@ours
@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"null", b'{"id": 1}', b"\xff", b"[" * 100_000, "of another"],
    ids=["none", "empty", "torn", "array", "null", "number", "no-text", "deep", "of-another"],
)
def test_a_corrupt_record_hides_no_other(mydocker, content):
    """A disk was full, or somebody has edited it: the others are listed, and this one is named."""
    created(mydocker, "web")
    networks = mydocker.root / "networks"
    (networks / "torn").mkdir()
    if content == "of another":
        content = (networks / "web" / "config.json").read_bytes()
    if content is not None:
        (networks / "torn" / "config.json").write_bytes(content)
    call = expect(mydocker("network", "ls"), status=0, complaint=["torn"])
    names = [line.split()[1] for line in call.text.splitlines()[1:]]
    check(names == ["web"], "web, and no other", names, call)
    refused(mydocker, "torn", names=["torn"])
    created(mydocker, "data")
    for path in (networks / "torn").iterdir():
        path.unlink()
    (networks / "torn").rmdir()


@task(4)
@ours
def test_no_value_of_a_record_is_believed(mydocker):
    """Its ID becomes the name of an interface, its subnet is compared: any text can stand there."""
    identity = created(mydocker, "web")
    networks = mydocker.root / "networks"
    good = json.loads((networks / "web" / "config.json").read_bytes())
    broken = [
        (networks / name, text)
        for _, copies in wrong_records(good, "web", identity)
        for name, text in copies
    ]
    for path, text in broken:
        path.mkdir()
        (path / "config.json").write_text(text)
    for words in (["ls"], ["ls", "--format", "json"], ["create", "data"]):
        call = mydocker("network", *words)
        expect(call, status=0)
        check("Traceback" not in call.errors, "no traceback", call.errors, call)
        shown = call.text if words[0] == "ls" else "web"
        check("web" in shown, "web is listed beside them", shown, call)
    for path, _ in broken:
        shutil.rmtree(path)
    check({*listed(mydocker)} == {"web", "data"}, "web and data", listed(mydocker))


@task(4)
@ours
def test_a_create_that_fails_leaves_nothing(mydocker):
    """The disk is full: then there is no record, and a bridge without one would be nobody's."""
    full = ("prlimit", "--fsize=0")
    refused(mydocker, "web", before=full, names=["File too large"], status=125)
    check(listed(mydocker) == {}, "no network", listed(mydocker))
    created(mydocker, "web")


# Task 5: All that is known


@task(5)
def test_a_network_is_shown_in_full(mydocker):
    """The words are Docker's, so that what reads them there reads them here."""
    words = ("--subnet", "10.1.0.0/16", "--gateway", "10.1.0.9", "--ip-range", "10.1.2.0/24")
    identity = created(mydocker, *words, "--internal", "web")
    call = expect(mydocker("network", "inspect", "web"), status=0, err="")
    (found,) = inspected(call)
    config = {"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.9", "IPRange": "10.1.2.0/24"}
    wanted = {"Name": "web", "Id": identity, "Scope": "local", "Driver": "bridge"}
    wanted |= {"Internal": True, "Containers": {}, "Options": {}}
    got = {key: found[key] for key in wanted}
    check(got == wanted, f"{wanted}", got, call)
    check(
        found["IPAM"].get("Config") == [config], f"IPAM.Config is [{config}]", found["IPAM"], call
    )


@task(5)
@ours
def test_what_was_not_asked_for_is_shown_as_it_is(mydocker):
    """The subnet and the gateway that it has got are shown; a range that it has not is not."""
    created(mydocker, "--subnet", "10.1.2.3/16", "web")
    created(mydocker, "data")
    call = expect(mydocker("network", "inspect", "web", "data"), status=0, err="")
    for found, subnet, gateway in zip(
        inspected(call), ("10.1.0.0/16", "172.17.0.0/16"), ("10.1.0.1", "172.17.0.1"), strict=True
    ):
        config = [{"Subnet": subnet, "Gateway": gateway}]
        check(found["IPAM"].get("Config") == config, f"IPAM.Config is {config}", found, call)
        check(found["Internal"] is False, "Internal is false", found, call)


@task(5)
@pytest.mark.parametrize("part", ["10.1.1.0/28", "10.0.0.0/24"])
def test_a_range_that_is_not_in_the_subnet(mydocker, part):
    """`--ip-range` is where containers will get their addresses from: a part of the subnet."""
    refused(mydocker, "--subnet", "10.1.0.0/24", "--ip-range", part, "web", names=[part])
    created(mydocker, "--subnet", "10.1.0.0/24", "--ip-range", "10.1.0.16/28", "web")


@task(5)
@ours  # Docker takes it
def test_a_range_that_is_larger_than_the_subnet(mydocker):
    """The addresses of a container would not be the network's."""
    words = ("--subnet", "10.1.0.0/24", "--ip-range")
    refused(mydocker, *words, "10.1.0.0/16", "web", names=["10.1.0.0/16"])
    created(mydocker, *words, "10.1.0.0/24", "web")


@task(5)
@ours
@pytest.mark.parametrize("part", ["10.1.0.1", "no", "fd00::/64", "10.1.0.0/28"])
def test_a_range_that_is_none(mydocker, part):
    """An address alone is no range, and without a subnet there is nothing to be a part of."""
    subnet = () if part == "10.1.0.0/28" else ("--subnet", "10.1.0.0/16")
    status = 1 if part in ("10.1.0.0/28", "fd00::/64") else 125
    refused(mydocker, *subnet, "--ip-range", part, "web", names=[part], status=status)
    created(mydocker, "--subnet", "10.1.0.0/16", "--ip-range", "10.1.0.0/28", "web")


@task(5)
def test_a_network_is_found_by_its_id(mydocker):
    """By the whole ID, by its beginning, by its name; and a name comes before a beginning."""
    identity = created(mydocker, "web")
    for wanted in (identity, identity[:12], "web"):
        call = expect(mydocker("network", "inspect", wanted), status=0, err="")
        check([each["Id"] for each in inspected(call)] == [identity], "that one", call.text, call)
    other = created(mydocker, identity[:4])
    call = expect(mydocker("network", "inspect", identity[:4]), status=0, err="")
    check([each["Id"] for each in inspected(call)] == [other], "the one named so", call.text, call)


@task(5)
def test_a_beginning_of_two_ids_is_refused(mydocker):
    """Which one is meant? Whoever guesses removes the wrong one some day."""
    seen: dict[str, str] = {}
    for number in range(17):  # by then, two of them begin with the same digit
        subnet = ("--subnet", f"10.{number}.0.0/16")
        first = created(mydocker, *subnet, f"net-{number}")[0]
        if first in seen:
            break
        seen[first] = subnet[1]
    expect(mydocker("network", "inspect", first), status=1, complaint=[first])


@task(5)
def test_an_unknown_network_keeps_no_other_from_being_shown(mydocker):
    """The others are printed, and the status tells that one was not there."""
    created(mydocker, "web")
    created(mydocker, "data")
    call = expect(mydocker("network", "inspect", "web", "no-such", "data"), status=1)
    check("no-such" in call.errors, "a message that names no-such", call.errors, call)
    check([each["Name"] for each in inspected(call)] == ["web", "data"], "both", call.text, call)
    call = expect(mydocker("network", "inspect", "no-such"), status=1, complaint=["no-such"])
    check(inspected(call) == [], "an empty array", call.text, call)
    expect(mydocker("network", "inspect"), status=1, out="", complaint=["network inspect"])


# Task 6: Gone again


@task(6)
def test_a_network_is_removed(mydocker):
    """Its bridge goes, and with it address and route; the name is free again."""
    before = interfaces(mydocker.host)
    first = created(mydocker, "web")
    expect(mydocker("network", "rm", "web"), status=0, out="web\n", err="")
    nothing_made(mydocker, before)
    check(listed(mydocker) == {}, "no network", listed(mydocker))
    second = created(mydocker, "web")
    check(second != first, "a new network, with an ID of its own", second)


@task(6)
def test_several_are_removed(mydocker):
    """Each on its own: one that is not there keeps no other."""
    created(mydocker, "web")
    identity = created(mydocker, "data")
    kept = created(mydocker, "kept")
    call = expect(mydocker("network", "rm", "web", "no-such", identity[:12]), status=1)
    check(call.text == f"web\n{identity[:12]}\n", "what was typed of both", call.text, call)
    check("no-such" in call.errors, "a message that names no-such", call.errors, call)
    check([*listed(mydocker)] == ["kept"], "one that stays", listed(mydocker))
    bridge_of(mydocker, kept)
    expect(mydocker("network", "rm"), status=1, out="", complaint=["network rm"])


@task(6)
@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_a_predefined_network_cannot_be_removed(mydocker, name):
    """They are always there, whether anybody uses them or not."""
    created(mydocker, "web")
    call = expect(mydocker("network", "rm", name, "web"), status=1, out="web\n")
    check(name in call.errors, f"a message that names {name}", call.errors, call)


@task(6)
@ours
def test_all_go_though_nothing_can_be_printed(mydocker):
    """No room for a name is no reason to stop at the first of two."""
    created(mydocker, "web")
    created(mydocker, "data")
    full = ("sh", "-c", 'exec "$@" > /dev/full', "sh")
    expect(mydocker("network", "rm", "web", "data", before=full), status=1)
    check(listed(mydocker) == {}, "no network", listed(mydocker))
    all_bridges_gone(mydocker)


@task(6)
@ours
def test_a_network_whose_bridge_is_gone_is_removed(mydocker):
    """Somebody has deleted it by hand, or the host was started anew: the record is there alone."""
    identity = created(mydocker, "web")
    on_the_host(mydocker.host, "ip", "link", "del", bridge_of(mydocker, identity).name)
    check([*listed(mydocker)] == ["web"], "a network, all the same", listed(mydocker))
    expect(mydocker("network", "rm", "web"), status=0, out="web\n", err="")
    check(listed(mydocker) == {}, "no network", listed(mydocker))


@task(6)
@ours
@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_an_interface_that_is_not_ours_is_never_removed(mydocker, kind):
    """A name proves nothing: after a restart of the host, it can be somebody else's interface."""
    identity = created(mydocker, "web")
    name = bridge_of(mydocker, identity).name
    on_the_host(mydocker.host, "ip", "link", "del", name)
    on_the_host(mydocker.host, "ip", "link", "add", name, "type", kind)
    before = interfaces(mydocker.host)
    call = expect(mydocker("network", "rm", "web"), status=0, out="web\n")
    there = interfaces(mydocker.host)
    check(there == before, "the interface, as somebody has made it", there.values(), call)
    on_the_host(mydocker.host, "ip", "link", "del", name)


@task(6)
def test_what_others_have_made_stays(mydocker):
    """A bridge, an address, a route of somebody else's: no command of ours changes them."""
    host = mydocker.host
    on_the_host(host, "ip", "link", "add", SOMEBODYS, "type", "bridge")
    on_the_host(host, "ip", "address", "add", "10.9.0.1/24", "dev", SOMEBODYS)
    on_the_host(host, "ip", "link", "set", SOMEBODYS, "up")
    on_the_host(host, "ip", "route", "add", "10.8.0.0/24", "via", "10.9.0.2")
    mydocker.look_again()
    created(mydocker, "--subnet", "10.1.0.0/16", "web")
    expect(mydocker("network", "rm", "web"), status=0, out="web\n", err="")


# Task 7: A subnet that nobody has


@task(7)
def test_each_network_has_a_subnet_of_its_own(mydocker):
    """An address that two networks have is reached in one of them, if at all."""
    subnets = [subnet_of(mydocker, created(mydocker, f"net-{number}")) for number in range(3)]
    are_apart(subnets)


@task(7)
@ours
def test_default_subnets_are_taken_in_order(mydocker):
    """The first that is free; and one that was removed is free again."""
    for number, wanted in enumerate(DEFAULT):
        has_subnet(mydocker, created(mydocker, f"net-{number}"), wanted)
    expect(mydocker("network", "rm", "net-1"), status=0, out="net-1\n", err="")
    has_subnet(mydocker, created(mydocker, "again"), DEFAULT[1])


@task(7)
@ours
def test_the_hosts_own_addresses_are_left_alone(mydocker):
    """A host in 172.17.4.0/24 would not reach its own neighbours any more."""
    on_the_host(mydocker.host, "ip", "address", "add", "172.17.4.5/24", "dev", "lo")
    mydocker.look_again()
    has_subnet(mydocker, created(mydocker, "web"), DEFAULT[1])


@task(7)
@ours
def test_the_hosts_own_routes_are_left_alone(mydocker, outside):
    """What the host reaches by a router counts, in any table. A default route does not."""
    route = ("via", "198.18.0.2")
    on_the_host(mydocker.host, "ip", "route", "add", "172.16.0.0/15", *route)
    on_the_host(mydocker.host, "ip", "route", "add", "172.18.4.0/24", *route, "table", "7")
    mydocker.look_again()
    has_subnet(mydocker, created(mydocker, "web"), DEFAULT[2])
    check(outside.is_reached(), "a host that reaches what it reached before", "it does not")


@task(7)
@ours
def test_all_default_subnets_are_used_up(mydocker, outside):
    """Then nothing is made, and a subnet that the user names is still good."""
    for subnet in ("172.16.0.0/12", "192.168.0.0/17", "192.168.128.0/18", "192.168.192.0/19"):
        on_the_host(mydocker.host, "ip", "route", "add", subnet, "via", "198.18.0.2")
    mydocker.look_again()
    has_subnet(mydocker, created(mydocker, "one"), "192.168.224.0/20")
    has_subnet(mydocker, created(mydocker, "two"), "192.168.240.0/20")
    refused(mydocker, "three", names=["--subnet"])
    has_subnet(mydocker, created(mydocker, "--subnet", "10.3.0.0/16", "three"), "10.3.0.0/16")


@task(7)
@pytest.mark.parametrize("subnet", ["10.1.0.0/16", "10.1.2.0/24", "10.0.0.0/8"])
def test_a_subnet_of_another_network_is_refused(mydocker, subnet):
    """Equal, within it, around it: each shares addresses with it."""
    identity = created(mydocker, "--subnet", "10.1.0.0/16", "web")
    refused(mydocker, "--subnet", subnet, "data", names=[subnet])
    has_subnet(mydocker, identity, "10.1.0.0/16")
    created(mydocker, "--subnet", "10.2.0.0/16", "data")


@task(7)
@ours
@pytest.mark.parametrize("subnet", ["198.18.0.0/24", "198.18.0.0/15", "198.18.0.128/25"])
def test_a_subnet_that_the_host_is_in_is_refused(mydocker, outside, subnet):
    """Docker takes it, and the host loses the network that it is in: the login, too."""
    check(outside.is_reached(), "a host that reaches the outside at first", "it does not")
    refused(mydocker, "--subnet", subnet, "web", names=[subnet])
    check(outside.is_reached(), "a host that reaches the outside still", "it does not any more")
    created(mydocker, "--subnet", "198.19.0.0/24", "web")
    check(outside.is_reached(), "a host that reaches the outside still", "it does not any more")


@task(7)
@ours
def test_a_subnet_that_the_host_has_a_route_to_is_refused(mydocker, outside):
    """All that lies behind that router would be unreachable."""
    on_the_host(mydocker.host, "ip", "route", "add", "10.1.0.0/16", "via", "198.18.0.2")
    mydocker.look_again()
    refused(mydocker, "--subnet", "10.1.2.0/24", "web", names=["10.1.2.0/24"])
    created(mydocker, "--subnet", "10.2.2.0/24", "web")


@task(7)
@ours
def test_a_network_without_its_bridge_keeps_its_subnet(mydocker):
    """After a restart of the host only the record knows. The bridge comes back with it."""
    identity = created(mydocker, "web")
    name = bridge_of(mydocker, identity).name
    on_the_host(mydocker.host, "ip", "link", "del", name)
    has_subnet(mydocker, created(mydocker, "data"), DEFAULT[1])
    refused(mydocker, "--subnet", "172.17.0.0/24", "more", names=["172.17.0.0/24"])


# Task 8: At once, and killed


@task(8)
@guard  # a race need not be lost each time; where one is held up, it is
def test_several_at_once_have_subnets_of_their_own(mydocker):
    """All of them look for a free one at the same time, and find the same one."""
    running = [mydocker.start("network", "create", f"net-{n}") for n in range(TOGETHER)]
    ids = [expect(each.wait(), status=0, err="").text.strip() for each in running]
    are_apart([subnet_of(mydocker, identity) for identity in ids])
    check(len(listed(mydocker)) == TOGETHER, f"{TOGETHER} networks", listed(mydocker))


@task(8)
@guard  # a race, and without a lock it is seldom lost
def test_of_one_name_there_is_one(mydocker):
    """Whoever comes second is told so, as if it had come much later."""
    before = interfaces(mydocker.host)
    running = [mydocker.start("network", "create", "web") for _ in range(TOGETHER)]
    calls = [each.wait() for each in running]
    good = [call for call in calls if call.status == 0]
    check(len(good) == 1, "one that makes the network", f"{len(good)} do", calls[0])
    for call in calls:
        if call not in good:
            expect(call, status=1, out="", complaint=["web"])
    new = interfaces(mydocker.host).keys() - before.keys()
    check(new == {f"br-{good[0].text[:12]}"}, "one bridge", new, good[0])


@task(8)
@ours
@needs("unotify")
def test_two_at_any_moment_of_each_other(mydocker):
    """The second comes while the first has looked for a subnet, and has not taken it yet."""
    for number, crash_point in enumerate(crash_points(CRASH_POINTS, looks=True, also=SENDS)):
        first = mydocker.start("network", "create", f"one-{number}", crash_point=crash_point)
        second = beside(mydocker, crash_point, "network", "create", f"two-{number}")
        ids = [expect(call, status=0, err="").text.strip() for call in (first.wait(), second)]
        are_apart([subnet_of(mydocker, identity) for identity in ids])
        removed(mydocker, f"one-{number}", f"two-{number}")


@task(8)
@ours
@needs("unotify")
def test_two_roots_at_any_moment_of_each_other(mydocker):
    """Roots never see each other, but they share the host, and the host has each subnet once."""
    other = mydocker.another_root()
    for number, crash_point in enumerate(crash_points(CRASH_POINTS, looks=True, also=SENDS)):
        first = mydocker.start("network", "create", f"one-{number}", crash_point=crash_point)
        second = beside(mydocker, crash_point, "network", "create", f"two-{number}", env=other)
        ids = [expect(call, status=0, err="").text.strip() for call in (first.wait(), second)]
        are_apart([subnet_of(mydocker, identity) for identity in ids])
        removed(mydocker, f"one-{number}")
        removed(mydocker, f"two-{number}", env=other)


@task(8)
@ours
@needs("unotify")
def test_a_create_that_is_killed(mydocker):
    """The network is there whole, or it is not there; and the next command clears what is left."""
    before = interfaces(mydocker.host)
    for crash_point in crash_points(CRASH_POINTS, also=SENDS):
        call = killed_at(
            crash_point, mydocker.start("network", "create", "web", crash_point=crash_point)
        )
        if "web" in listed(mydocker):
            bridge_of(mydocker, listed(mydocker)["web"]["ID"])
            removed(mydocker, "web")
        else:
            has_subnet(mydocker, created(mydocker, "web"), DEFAULT[0])
            removed(mydocker, "web")
        nothing_made(mydocker, before, call)
        nothing_kept(mydocker, call)


@task(8)
@guard  # the bridge goes first, and remove_tree clears what another one has left, since 5.6
@ours
@needs("unotify")
def test_a_removal_that_is_killed(mydocker):
    """It can be done again, or it is done; and the name and the subnet are free afterwards."""
    before = interfaces(mydocker.host)
    for crash_point in crash_points(CRASH_POINTS, also=SENDS):
        created(mydocker, "web")
        call = killed_at(
            crash_point, mydocker.start("network", "rm", "web", crash_point=crash_point)
        )
        if "web" in listed(mydocker):
            removed(mydocker, "web")
        has_subnet(mydocker, created(mydocker, "web"), DEFAULT[0])
        removed(mydocker, "web")
        nothing_made(mydocker, before, call)
        nothing_kept(mydocker, call)


@task(8)
@ours
@needs("unotify")
def test_two_that_remove_at_any_moment_of_each_other(mydocker):
    """One of them removes it, and the other finds it gone."""
    for crash_point in crash_points(CRASH_POINTS, looks=True, also=SENDS):
        created(mydocker, "web")
        first = mydocker.start("network", "rm", "web", crash_point=crash_point)
        with crash_point:
            second = mydocker.start("network", "rm", "web")
            if crash_point.came:
                mydocker.host.until(second.has_ended, 0.2)
        calls = (first.wait(), second.wait())
        check(
            sorted(call.status for call in calls) == [0, 1],
            "0 and 1",
            [call.status for call in calls],
            calls[0],
        )
        check(listed(mydocker) == {}, "no network", listed(mydocker), calls[0])
        all_bridges_gone(mydocker)


# What these tests have in common


def refused(
    mydocker: Mydocker, *words: str, names: Iterable[str] = (), status: int = 1, **more
) -> Call:
    """Expect `network create` to fail, to say what is wrong, and to make nothing."""
    __tracebackhide__ = True
    before = interfaces(mydocker.host)
    call = mydocker("network", "create", *words, **more)
    expect(call, status=status, out="", complaint=names)
    nothing_made(mydocker, before, call)
    return call


def nothing_made(
    mydocker: Mydocker, before: dict[str, Interface], call: Call | None = None
) -> None:
    __tracebackhide__ = True
    there = interfaces(mydocker.host)
    changed = [there[name] for name in there if there[name] != before.get(name)]
    check(
        there == before,
        "the interfaces of the host as before",
        changed or "one is gone",
        call or mydocker.calls[-1],
    )


def nothing_kept(mydocker: Mydocker, call: Call) -> None:
    """Expect nothing of a network to be left on disk: all of them were removed."""
    __tracebackhide__ = True
    left = os.listdir(mydocker.root / "networks")
    check(not left, "nothing in the directory of networks", left, call)


def all_bridges_gone(mydocker: Mydocker) -> None:
    __tracebackhide__ = True
    left = [each for each in interfaces(mydocker.host).values() if each.kind == "bridge"]
    check(not left, "no bridge is left", left, mydocker.calls[-1])


def removed(mydocker: Mydocker, *names: str, **more) -> None:
    __tracebackhide__ = True
    out = "".join(f"{name}\n" for name in names)
    expect(mydocker("network", "rm", *names, **more), status=0, out=out, err="")


def has_address(mydocker: Mydocker, identity: str, address: str) -> None:
    """Expect the bridge of a network to have this address, and no other."""
    __tracebackhide__ = True
    bridge = bridge_of(mydocker, identity)
    check(bridge.addresses == (address,), f"the address {address}", bridge, mydocker.calls[-1])


def has_subnet(mydocker: Mydocker, identity: str, subnet: str) -> None:
    __tracebackhide__ = True
    found = subnet_of(mydocker, identity)
    check(str(found) == subnet, f"the subnet {subnet}", found, mydocker.calls[-1])


def are_apart(subnets: list[IPv4Network]) -> None:
    __tracebackhide__ = True
    overlap = [
        f"{one} and {two}"
        for place, one in enumerate(subnets)
        for two in subnets[place + 1 :]
        if one.overlaps(two)
    ]
    check(not overlap, "subnets that do not overlap", overlap)
