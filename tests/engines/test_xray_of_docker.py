"""`kata xray` on containers of Docker's, against what Docker itself says of them."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dojo import clone
from dojo.engines.engine import CAPABILITIES
from dojo.testkit import rootfs
from dojo.xray import kernel

if TYPE_CHECKING:
    from docker.models.containers import Container

    from tests.engines.conftest import Engine

pytest.importorskip("docker", reason="see pyproject.toml: its extra `dev`")

IMAGE = "xray"
DEFAULT_CAPABILITIES = 14  # of Docker's, see `docker run --help` on --cap-add


@pytest.fixture(scope="module")
def image(engine: "Engine") -> str:
    engine.take(rootfs.ensure(clone.here(), say=lambda line: None), IMAGE)
    return IMAGE


@pytest.fixture
def box(engine: "Engine", image: str, tmp_path: Path) -> Iterator["Container"]:
    """A container that has written, changed and deleted something, and has a volume."""
    (tmp_path / "data").mkdir()
    script = "echo new > /new; echo x >> /etc/passwd; rm /etc/group; echo ready; exec sleep 1000"
    container = engine.client.containers.run(
        image,
        ["sh", "-c", script],
        name="box",
        detach=True,
        network_mode="none",
        mem_limit="64m",
        pids_limit=20,
        cpu_shares=512,
        environment={"A": "B"},
        volumes={str(tmp_path / "data"): {"bind": "/data", "mode": "ro"}},
    )
    try:
        assert engine.host.until(lambda: b"ready" in container.logs())
        yield container
    finally:
        container.remove(force=True)


def xray(engine: "Engine", *words: str) -> dict[str, Any]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(clone.here().root)}
    argv = [sys.executable, "-P", "-B", "-m", "dojo", "xray", *words, "--json"]
    call = engine.host.run(argv, env=environment)
    assert (call.status, call.errors) == (0, ""), call
    found: dict[str, Any] = json.loads(call.text)
    return found


def test_what_docker_says_of_it(engine: "Engine", box: "Container", tmp_path: Path) -> None:
    assert box.id
    seen = xray(engine, box.id[:12])
    box.reload()
    assert seen["id"] == box.id
    assert seen["pid"] == box.attrs["State"]["Pid"]
    assert seen["hostname"] == box.id[:12]
    open_walls = {wall["what"] for wall in seen["walls"] if not wall["up"]}
    assert open_walls <= {"users", "view of groups", "system calls"}
    limits = seen["groups"]["limits"]
    assert (limits["memory"]["limit"], limits["pids"]["limit"]) == (64 << 20, 20)
    assert seen["groups"]["cpu_weight"] == pytest.approx(0.5, abs=0.02)
    assert [each["command"] for each in seen["processes"]] == ["sleep 1000"]
    assert len(seen["rights"]["capabilities"]) == DEFAULT_CAPABILITIES
    assert {"PATH", "HOSTNAME", "HOME", "A"} <= set(seen["environment"]["names"])
    assert not seen["environment"]["inherited"]
    (data,) = [each for each in seen["mounts"] if each["point"] == "/data"]
    assert (data["outside"], data["read_only"]) == (str(tmp_path / "data"), True)
    assert [each["name"] for each in seen["interfaces"]] == ["lo"]
    assert "containerd-shim" in seen["starter"]["command"]


def test_its_layers(engine: "Engine", box: "Container") -> None:
    root = xray(engine, str(box.id))["root"]
    assert root["kind"] == "overlay"
    driver = box.attrs["GraphDriver"]["Data"]
    assert root["changes"]["changed"] == ["/etc/passwd"]
    assert root["changes"]["deleted"] == ["/etc/group"]
    assert "/new" in root["changes"]["added"]
    assert Path(root["upper"]).name == Path(driver["UpperDir"]).name
    assert len(root["lowers"]) == len(driver["LowerDir"].split(":"))


def test_an_image_of_several_layers(engine: "Engine", box: "Container") -> None:
    """What its second layer hides from its first one is nothing that a container replaces."""
    box.commit("xray-second")
    script = "echo anew > /etc/group; rm /new; echo ready; exec sleep 1000"
    second = engine.client.containers.run(
        "xray-second", ["sh", "-c", script], detach=True, network_mode="none"
    )
    try:
        assert engine.host.until(lambda: b"ready" in second.logs())
        changes = xray(engine, str(second.id))["root"]["changes"]
        told = {each["Path"]: each["Kind"] for each in second.diff()}
    finally:
        second.remove(force=True)
    assert "/etc/group" in changes["added"]
    assert changes["deleted"] == ["/new"]
    assert (told["/etc/group"], told["/new"]) == (1, 2)  # added, deleted


def test_one_of_all_walls_down(engine: "Engine", image: str) -> None:
    """With the host's namespaces and the powers of its root: what is missing is seen.

    It is `--privileged` by hand: that gives capabilities which this machine may not have.
    """
    rights = kernel.rights(os.getpid())
    container = engine.client.containers.create(
        image,
        ["sleep", "1000"],
        cap_add=[name for name in CAPABILITIES if name.lower() in rights.capabilities],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        network_mode="host",
        pid_mode="host",
        ipc_mode="host",
        uts_mode="host",
    )
    try:
        container.start()
        container.reload()
        seen = xray(engine, str(container.attrs["State"]["Pid"]))
    finally:
        container.remove(force=True)
    own = {kind for kind, each in seen["namespaces"].items() if each["own"]}
    assert own <= {"mnt", "cgroup"}
    up = {wall["what"] for wall in seen["walls"] if wall["up"]}
    assert {"mounts", "root file system", "image"} <= up
    missing = {"hostname", "process numbers", "/proc", "network", "System V IPC"}
    assert not up & {*missing, "memory, CPU, pids", "root's powers", "system calls"}
    assert seen["id"] == container.id


def test_a_replaced_directory(engine: "Engine", box: "Container") -> None:
    status, said = box.exec_run(["sh", "-c", "rm -r /home && mkdir /home && echo x > /home/new"])
    assert status == 0, said
    changes = xray(engine, str(box.id))["root"]["changes"]
    assert changes["replaced"] == ["/home"]
    assert "/home/new" in changes["added"]
