"""Where a busybox comes from: this machine, a package, an image of Docker's."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dojo.errors import KataError
from dojo.testkit.root_commands import ClosedError, ask
from dojo.testkit.root_tree import Tree, tree_of, tree_of_export

Say = Callable[[str], object]


def first_that_works(say: Say) -> Tree:
    reasons = []
    for way in (_from_this_machine, _from_apt, _from_docker):
        try:
            return way(say)
        except ClosedError as error:
            reasons.append(str(error))
    on_this_machine, apt, docker = reasons
    raise KataError(
        "there is no busybox to make a root file system from. Any of these will do:\n"
        f"  sudo apt-get install busybox-static   ({on_this_machine}; {apt})\n"
        f"  a Docker engine that has the image busybox, or can pull it   ({docker})\n"
        "  KATA_ROOTFS=PATH in the environment: a tar file or a directory that holds bin/sh"
    )


def _from_this_machine(say: Say) -> Tree:
    """The root file system of the first static busybox found here."""
    on_path = shutil.which("busybox")
    candidates = dict.fromkeys(path for path in (on_path, _BIN_BUSYBOX) if path)
    refused = []
    for candidate in candidates:
        try:
            return tree_of(Path(candidate))
        except ClosedError as error:
            refused.append(str(error))
    raise ClosedError("; ".join(refused))


_BIN_BUSYBOX = "/bin/busybox"


def _from_apt(say: Say) -> Tree:
    apt = shutil.which("apt-get")
    if apt is None:
        raise ClosedError("no apt-get here")
    if os.geteuid() != 0:
        raise ClosedError("apt-get needs root")
    say("installing busybox-static with apt-get, to make a root file system of it")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "-qq", "-y", "-oDPkg::Lock::Timeout=60", "install", "busybox-static"]
    try:
        ask(install, _APT_SECONDS, environment)
    except ClosedError:  # a fresh container has no package lists
        ask([apt, "-qq", "update"], _APT_SECONDS, environment)
        ask(install, _APT_SECONDS, environment)
    return _from_this_machine(say)


_APT_SECONDS = 300.0


def _from_docker(say: Say) -> Tree:
    """The image busybox, as a Docker engine that answers exports it."""
    docker = shutil.which("docker")
    if docker is None:
        raise ClosedError("no docker command here")
    ask([docker, "version", "--format", "{{.Server.Version}}"], _DOCKER_SECONDS)
    say("exporting the image busybox from Docker, to make a root file system of it")
    name = f"kata-rootfs-{os.getpid()}"
    try:
        ask([docker, "create", "--name", name, "busybox"], _DOCKER_PULL_SECONDS)
        exported = ask([docker, "export", name], _DOCKER_SECONDS)
    finally:
        with suppress(ClosedError):
            ask([docker, "rm", "-f", name], _DOCKER_SECONDS)
    return tree_of_export(exported)


_DOCKER_SECONDS = 10.0
_DOCKER_PULL_SECONDS = 60.0
