"""The virtual machine: asked and handled through Vagrant, reached through ssh as Vagrant says.

Asking Vagrant takes seconds, so what it says of ssh is kept for as long as the machine is the same.
"""

import contextlib
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.labs.connection import Connection, Unreachable

Answer = TypeVar("Answer")

OLDEST = (2, 3)
SNAPSHOT = "provisioned"
GET_VAGRANT = "install it from https://developer.hashicorp.com/vagrant, or your system's packages"

# What Vagrant calls the states of a machine, and what to say and do about each.
RUNNING = "running"
STATES = {
    "not_created": ("there is no virtual machine yet", "vagrant up"),
    "poweroff": ("the virtual machine is off", "vagrant up"),
    "shutoff": ("the virtual machine is off", "vagrant up"),
    "off": ("the virtual machine is off", "vagrant up"),
    "stopped": ("the virtual machine is off", "vagrant up"),
    "not_running": ("the virtual machine is off", "vagrant up"),
    "aborted": ("the virtual machine has crashed", "vagrant up"),
    "crashed": ("the virtual machine has crashed", "vagrant up"),
    "saved": ("the virtual machine is suspended", "vagrant resume"),
    "suspended": ("the virtual machine is suspended", "vagrant resume"),
    "paused": ("the virtual machine is suspended", "vagrant resume"),
}


def connect(clone: Clone) -> Connection:
    """Reach the lab's machine.

    KATA_LAB_SSH names another way than Vagrant's: the words of a command that has a line run by a
    shell over there, such as `ssh -p 2222 root@box`. Raises KataError that says what to do.
    """
    given = os.environ.get("KATA_LAB_SSH")
    if given:
        try:
            return Connection(shlex.split(given), clone)
        except Unreachable as error:
            raise KataError(f"lab vagrant: KATA_LAB_SSH={given}: {error}") from error
    machine = VirtualMachine.of(clone)
    if machine.knows_the_way():
        # It may have been halted meanwhile, or be at another address.
        with contextlib.suppress(Unreachable):
            return Connection(machine.way(), clone)
    machine.ask_the_way()
    try:
        return Connection(machine.way(), clone)
    except Unreachable as error:
        raise KataError(
            f"lab vagrant: the virtual machine runs, but ssh does not reach it ({error}): "
            "type `vagrant reload`"
        ) from error


def may_be_there(clone: Clone) -> bool:
    """Whether a virtual machine has ever been made, found out without asking Vagrant."""
    return bool(os.environ.get("KATA_LAB_SSH")) or VirtualMachine.of(clone).identity is not None


@dataclass
class VirtualMachine:
    """A machine of the project's Vagrantfile. name: what it is called there."""

    clone: Clone
    name: str

    @staticmethod
    def of(clone: Clone) -> "VirtualMachine":
        return VirtualMachine(clone, os.environ.get("KATA_MACHINE", "default"))

    # The way to it

    @property
    def identity(self) -> str | None:
        """What its provider calls it; None if it has not been made."""
        kept = os.environ.get("VAGRANT_DOTFILE_PATH", ".vagrant")
        folder = self.clone.root / kept / "machines" / self.name
        for file in sorted(folder.glob("*/id")):
            with contextlib.suppress(OSError):
                return file.read_text().strip() or None
        return None

    def knows_the_way(self) -> bool:
        """Whether what Vagrant said of ssh is still there, and of this machine."""
        try:
            kept = json.loads((self._folder / "machine.json").read_text())
        except (OSError, ValueError):
            return False
        there = self.identity
        return there is not None and kept == {"id": there} and self._config.is_file()

    def ask_the_way(self) -> None:
        """Have Vagrant say how ssh reaches it. Raises KataError where it cannot be reached."""
        state = self.state()
        if state != RUNNING:
            raise KataError(f"lab vagrant: {said_of(state)}")
        config = self._ssh_config()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._config.write_text(config)
            (self._folder / "machine.json").write_text(json.dumps({"id": self.identity}))
        except OSError as error:
            raise KataError(f"write into {self._folder}: {error.strerror}") from error
        self.clone.give_back(self.clone.state)

    def _ssh_config(self) -> str:
        """What ssh has to know, without what Vagrant, its plugins and Ruby say beside it."""
        said = self._call("ssh-config", self.name)
        found = re.search(r"^Host .*\n([ \t]+\w.*(\n|\Z))+", said, re.MULTILINE)
        if found is None:
            raise KataError(_why("ssh-config", f"no way to {self.name} in what it says: {said}"))
        return found[0]

    def way(self, terminal: bool = False) -> list[str]:
        """The words of ssh, to be followed by what is to be done there.

        terminal: for a person, not for an agent.
        """
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            "ControlMaster": "no",
            "ControlPath": "none",
            "LogLevel": "ERROR",
            "RequestTTY": "auto" if terminal else "no",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
        }
        words = [f"-o{name}={value}" for name, value in options.items()]
        return ["ssh", "-F", str(self._config), *words, self.name]

    @property
    def _folder(self) -> Path:
        return self.clone.state / "lab" / self.name

    @property
    def _config(self) -> Path:
        return self._folder / "ssh-config"

    # What Vagrant does

    def state(self) -> str:
        """In Vagrant's words, such as "running" or "not_created"."""
        said = self._call("status", "--machine-readable", self.name)
        found = re.search(rf"^\d+,{re.escape(self.name)},state,(\w+)", said, re.MULTILINE)
        if found is not None:
            return found[1]
        raise KataError(f"lab vagrant: `vagrant status` names no machine {self.name}")

    def up(self, say: Callable[[str], object]) -> None:
        """Make or start it. say: gets Vagrant's lines as they come."""
        provider = os.environ.get("KATA_PROVIDER") or None
        with _errors("up") as file:
            lines = self._vagrant(file).up(vm_name=self.name, provider=provider, stream_output=True)
            for line in lines:
                say(line.rstrip())

    def halt(self) -> None:
        self._ask(lambda vagrant: vagrant.halt(vm_name=self.name), "halt")

    def snapshots(self) -> list[str]:
        listed = self._call("snapshot", "list", self.name)
        return [line.strip() for line in listed.splitlines() if not line.startswith("==>")]

    def save(self) -> None:
        self._call("snapshot", "save", "--force", self.name, SNAPSHOT)

    def restore(self) -> None:
        self._call("snapshot", "restore", "--no-provision", self.name, SNAPSHOT)

    def _call(self, *words: str) -> str:
        """A command that python-vagrant does not have for one machine of several."""
        self._program  # noqa: B018 # whether it can be used at all
        done = subprocess.run(
            [self._program, *words],
            cwd=self.clone.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            reason = _error_among(done.stdout) or done.stderr.strip()
            raise KataError(_why(words[0], reason or f"exit status {done.returncode}"))
        return done.stdout

    def _ask(self, question: Callable[[Any], Answer], verb: str) -> Answer:
        with _errors(verb) as file:
            return question(self._vagrant(file))

    def _vagrant(self, errors: IO[bytes]) -> Any:
        """Vagrant in this clone, with what it complains of in a file."""
        self._program  # noqa: B018 # python-vagrant's own complaint would come at its import
        vagrant: Any = importlib.import_module("vagrant")
        return vagrant.Vagrant(str(self.clone.root), err_cm=lambda: contextlib.nullcontext(errors))

    @cached_property
    def _program(self) -> str:
        """The path of Vagrant. Raises KataError where it cannot be used here."""
        found = shutil.which("vagrant")
        if found is None:
            raise KataError(f"lab vagrant: there is no vagrant on this machine: {GET_VAGRANT}")
        if not (self.clone.root / "Vagrantfile").is_file():
            raise KataError(
                f"lab vagrant: there is no Vagrantfile in {self.clone.root}: "
                "get it back with `git checkout main -- Vagrantfile`"
            )
        said = subprocess.run(
            [found, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).stdout.decode(errors="replace")
        version = re.search(r"(?<=^Vagrant )(\d+)\.(\d+)[.\d]*", said, re.MULTILINE)
        if version is None:
            raise KataError(f"lab vagrant: `vagrant --version` fails: {GET_VAGRANT}")
        if (int(version[1]), int(version[2])) < OLDEST:
            raise KataError(
                f"lab vagrant: this is Vagrant {version[0]}, older than 2.3: {GET_VAGRANT}"
            )
        return found


def said_of(state: str) -> str:
    """What a state of the machine means, and what to do about it."""
    text, remedy = STATES.get(state, (f"the virtual machine is {state}", "vagrant up"))
    return f"{text}: type `{remedy}`"


@contextlib.contextmanager
def _errors(verb: str) -> Iterator[IO[bytes]]:
    """A file for what Vagrant complains of; where it fails, KataError says the main thing of it."""
    with tempfile.TemporaryFile() as file:
        try:
            yield file
        except subprocess.CalledProcessError as error:
            file.seek(0)
            said = file.read().decode(errors="replace").strip()
            raise KataError(_why(verb, said or f"exit status {error.returncode}")) from error


def _error_among(output: str) -> str:
    """What `--machine-readable` output says went wrong."""
    for line in output.splitlines():
        _, _, kind, *rest = [*line.split(",", 4), "", "", ""]
        if kind == "error-exit":
            return str(rest[1]).replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n")
    return ""


def _why(verb: str, said: str) -> str:
    """One line of what Vagrant complained of, and what to do where we know it."""
    text = " ".join(said.split())
    for pattern, remedy in _KNOWN:
        if re.search(pattern, text, re.I):
            return f"lab vagrant: vagrant {verb}: {_cut(text)}: {remedy}"
    return f"lab vagrant: vagrant {verb}: {_cut(text)}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN].rpartition(" ")[0] + " …"


_SHOWN = 300
_PROVIDER = (
    "install VirtualBox, or libvirt with the plugin vagrant-libvirt; KATA_PROVIDER=NAME chooses one"
)
_KNOWN = [
    (r"provider.{0,80}(could not be found|was not found)|No usable default provider", _PROVIDER),
    (r"No space left|not enough (free )?(disk )?space|disk full", "make room on this disk"),
    (r"could not be found or.{0,40}could not be accessed", "set KATA_BOX to a box that you have"),
]
