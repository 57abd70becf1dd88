"""`kata lab`: the virtual machine, made, looked at, entered, put back, switched off."""

import subprocess
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.labs import vagrant
from dojo.labs.vagrant import RUNNING, SNAPSHOT, VirtualMachine, said_of
from dojo.screens import say


def status(clone: Clone, console: Console) -> bool:
    """Say what there is, a line each. Returns whether tests can run there."""
    machine = VirtualMachine.of(clone)
    state = machine.state()
    rows = [("machine", f"{machine.name}, {state}")]
    if state != RUNNING:
        _show(console, [*rows, ("next", said_of(state))])
        return False
    connection = vagrant.connect(clone)
    try:
        hello = connection.hello
    finally:
        connection.close()
    rows += [
        ("kernel", f"{hello.kernel}, {hello.cpus} CPUs"),
        ("reached", f"in {connection.connect_seconds:.1f} s"),
        ("files", f"{len(hello.files)} of the working tree are there"),
        ("snapshot", SNAPSHOT if SNAPSHOT in machine.snapshots() else "none: `kata lab up`"),
    ]
    _show(console, rows)
    return True


def _show(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    for name, text in rows:
        say(console, Text.assemble((f"{name:<10}", "dim"), text))


def up(clone: Clone, console: Console) -> None:
    """Make or start it; a new one gets a snapshot, where its provider can have one."""
    machine = VirtualMachine.of(clone)
    machine.up(lambda line: say(console, Text(line, "dim")))
    machine.ask_the_way()
    vagrant.connect(clone).close()  # whether tests can run there
    try:
        if SNAPSHOT not in machine.snapshots():
            _timed(console, f"Snapshot {SNAPSHOT} is taken", machine.save)
    except KataError as error:
        say(console, Text(f"No snapshot, so no `kata lab reset`: {error}", "yellow"))
    say(console, "It runs. The chapters' tests can run there: --lab vagrant")


def ssh(clone: Clone, words: Sequence[str]) -> int:
    """Become somebody over there, or run a command there. Returns its exit status."""
    machine = VirtualMachine.of(clone)
    if not machine.knows_the_way():
        machine.ask_the_way()
    try:
        done = subprocess.run([*machine.way(terminal=not words), *words], check=False)
    except OSError as error:
        raise KataError(
            f"lab ssh: start ssh: {error.strerror}: install OpenSSH's client"
        ) from error
    if done.returncode == 255 and (state := machine.state()) != RUNNING:
        raise KataError(f"lab ssh: {said_of(state)}")
    return done.returncode


def reset(clone: Clone, console: Console) -> None:
    """Put back what it was when the snapshot was taken."""
    machine = VirtualMachine.of(clone)
    if machine.state() == "not_created":
        raise KataError(f"lab reset: {said_of('not_created')}")
    if SNAPSHOT not in machine.snapshots():
        raise KataError(
            f"lab reset: it has no snapshot {SNAPSHOT}: `kata lab up` takes one; without, "
            "`vagrant destroy` and `vagrant up` make it anew"
        )
    _timed(console, "It is what it was when it was new", machine.restore)


def down(clone: Clone, console: Console) -> None:
    machine = VirtualMachine.of(clone)
    state = machine.state()
    if state == "not_created":
        raise KataError(f"lab down: {said_of(state)}")
    _timed(console, "It is off", machine.halt)


def _timed(console: Console, text: str, action: Callable[[], object]) -> None:
    begin = time.monotonic()
    action()
    say(console, f"{text} ({time.monotonic() - begin:.0f} s).")
