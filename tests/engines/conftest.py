"""Another engine beside ours: Debian's dockerd, started by hand on a test host.

On its test host it has processes, mounts, groups and a network of its own, so nothing that it
does reaches this machine, and all of it goes with the host, whatever state a test has left it in.
No registry is asked for anything: its images are those that a test imports.
"""

import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dojo import clone
from dojo.engines.docker import Docker, start_dockerd
from dojo.engines.engine import START_SECONDS
from dojo.plugin.fixtures import RUN, TestHosts, command_under_test
from dojo.scratch import Running, TestHost
from dojo.testkit import lab, rootfs
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import expect

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.images import Image

NEEDS = ("namespaces", "cgroup", "overlay")
CLIENTS = ("docker", "pytest_docker_tools")


def pytest_configure(config: pytest.Config) -> None:
    """Without the client, no test here can be collected: under --strict-lab that is no skip."""
    missing = [name for name in CLIENTS if find_spec(name) is None]
    if missing and config.getoption("--strict-lab"):
        raise pytest.UsageError(f"no {' and '.join(missing)} here: pip install -e '.[dev]'")


class Engine:
    """A dockerd that runs.

    host: the test host that it runs on. client: what asks it for everything.
    """

    def __init__(self, host: TestHost, client: "DockerClient") -> None:
        self.host = host
        self.client = client

    def root_of(self, container: "Container") -> Path:
        """The files of a running container as it sees them itself, its mounts included."""
        container.reload()
        return Path(f"/proc/{self.host.outer_pid(container.attrs['State']['Pid'])}/root")

    def take(self, tar: Path, name: str) -> "Image":
        """`docker import TAR NAME`."""
        self.client.api.import_image_from_file(str(tar), repository=name)
        return self.client.images.get(name)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, scratch_hosts: TestHosts) -> Iterator[Engine]:
    """A dockerd of this test run's own; where there can be none, the test is skipped."""
    if reason := lab.cannot(NEEDS) or Docker.missing():
        give_up(request.config, reason)
    directory = scratch_hosts.directory / "docker"  # where a test host lets it write
    directory.mkdir()
    host = scratch_hosts.make(guarded=False)
    try:
        daemon = start_dockerd(host, directory)
        client = connect(host, daemon, directory / "socket")
        if client is None:
            said = daemon.stop().errors.splitlines() or ["nothing"]
            give_up(request.config, f"dockerd does not start, it says: {said[-1]}")
        yield Engine(host, client)
        client.close()
    finally:
        host.close()
        shutil.rmtree(directory)


def give_up(config: pytest.Config, reason: str) -> None:
    if config.getoption("--strict-lab"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def connect(host: TestHost, daemon: Running, socket: Path) -> "DockerClient | None":
    """Wait until dockerd answers. None if it ends, or takes too long."""
    import docker
    from docker.errors import DockerException

    host.until(lambda: socket.exists() or host.wait(daemon.inner, 0.01) is not None, START_SECONDS)
    try:
        return docker.DockerClient(base_url=f"unix://{socket}", version="auto")
    except DockerException:
        return None


@pytest.fixture(scope="session")
def docker_client(engine: Engine) -> "DockerClient":
    """What the fixtures of pytest-docker-tools talk to."""
    return engine.client


@pytest.fixture
def ours(request: pytest.FixtureRequest, scratch_hosts: TestHosts) -> Iterator[Mydocker]:
    """The reference, on a test host and with a MYDOCKER_ROOT of its own, which has `busybox`.

    `--mydocker CMD` puts another program in its place. What it leaves behind fails the test.
    """
    if reason := lab.cannot(NEEDS):
        give_up(request.config, reason)
    here = clone.here()
    command = [sys.executable, "-P", "-m", "mydocker"]
    if request.config.getoption("--mydocker"):
        command = command_under_test(request.config)
    host = scratch_hosts.make()
    top = scratch_hosts.directory / "ours"
    try:
        (top / "here").mkdir(parents=True)
        (top / "root/images").mkdir(parents=True)
        mydocker = Mydocker(command, host, top, scratch_hosts.directory / "caches")
        mydocker.env["PYTHONPATH"] = str(here.solutions)
        request.node.stash[RUN] = mydocker
        expect(mydocker("import", str(rootfs.ensure(here)), "busybox"), status=0)
        yield mydocker
    finally:
        host.close()
        shutil.rmtree(top)
