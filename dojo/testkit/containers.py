"""Containers that a test starts: waited for, looked at from outside, ended."""

import contextlib
import os
import random
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojo.scratch import Call, Process, Running
from dojo.scratch.calls import show
from dojo.scratch.groups import start_time
from dojo.testkit.testing import Unmet, check, expect, remark

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker


def started(running: Running, line: bytes = b"ready") -> Running:
    """Expect a program that was left running to write this line to stdout. Returns it.

    The whole line: a program that starts nothing, and logs the command that it was given, writes
    the word as well.
    """
    __tracebackhide__ = True
    return _awaited(running, running.wait_for_line(line), f"the line {show(line)}")


def sleeping(mydocker: "Mydocker", *options: str, **more: Any) -> Running:
    """Leave a container running that only sleeps: `run` with these options, and `sleep 1000`.

    That it runs is seen from the host. So nothing here depends on streams, or on an argument with
    blanks. more: what `mydocker.start` takes.
    """
    __tracebackhide__ = True
    running = mydocker.start("run", *options, "busybox", "sleep", "1000", **more)

    def is_asleep() -> bool:
        below = running.descendants()
        return any(p.is_first_of_a_container() and p.command == "sleep 1000" for p in below)

    if not mydocker.host.until(lambda: is_asleep() or running.has_ended()) or not is_asleep():
        there = "; ".join(map(str, running.descendants())) or "no process below `run`"
        expected = "`sleep 1000` as PID 1 of a container, and it goes on running"
        call = running.so_far()
        running.stop()
        raise Unmet([*call.rows(), *remark(call), ("found", there), ("expected", expected)])
    return running


def showed(running: Running, part: bytes) -> Running:
    """The same, where there is no whole line: a prompt, or what a terminal echoes."""
    __tracebackhide__ = True
    return _awaited(running, running.wait_for_output(part), show(part))


def _awaited(running: Running, came: bool, what: str) -> Running:
    __tracebackhide__ = True
    if not came:
        call = running.so_far()
        running.stop()
        expected = f"{what} on stdout, and a container that goes on running"
        raise Unmet([*call.rows(), *remark(call), ("expected", expected)])
    return running


def drawn() -> tuple[str, str]:
    """A number that was drawn, and how a shell computes it.

    Who writes the number has run the script: it stands nowhere in what was typed.
    """
    number, summand = random.randrange(10**8, 10**9), random.randrange(10**7)
    return str(number), f"$(({number - summand} + {summand}))"


def first_process(running: Running) -> Process:
    """PID 1 of the container that this `run` has started, as the host sees it."""
    __tracebackhide__ = True
    below = running.descendants()
    found = [process for process in below if process.is_first_of_a_container()]
    if len(found) != 1:
        there = "; ".join(str(process) for process in below) or "no process"
        expected = "a process below `run` that is PID 1 in a PID namespace of its own"
        raise Unmet([*running.so_far().rows(), ("found", there), ("expected", expected)])
    return found[0]


def end(running: Running) -> Call:
    """End a container by killing its PID 1. Returns how `run` ended; its status is 3.1's matter."""
    __tracebackhide__ = True
    os.kill(first_process(running).pid, signal.SIGKILL)
    return expect(running.wait())


def detached(mydocker: "Mydocker", *words: str | bytes, **more: Any) -> str:
    """Start a container that lives on: `run -d` with these words. Returns its ID.

    Expects status 0, nothing on stderr, and on stdout one line with an ID of 64 hex digits. more:
    what a call of `mydocker` takes. If it does not end by itself, `end_detached` ends it.

    Where nobody needs the ID, `start_detached` says less of a program that does not print it.
    """
    __tracebackhide__ = True
    call = expect(start_detached(mydocker, *words, **more), err="")
    identity = call.text.removesuffix("\n")
    is_one = re.fullmatch("[0-9a-f]{64}", identity) is not None
    wanted = "the ID of the container on a line of its own: 64 hex digits"
    check(is_one, wanted, repr(identity), call)
    return identity


def start_detached(mydocker: "Mydocker", *words: str | bytes, **more: Any) -> Call:
    """Start a container that lives on, see `detached`. Expects status 0 alone."""
    __tracebackhide__ = True
    return expect(mydocker("run", "-d", *words, **more), status=0)


def container_process(mydocker: "Mydocker", identity: str | None = None) -> Process:
    """PID 1 of the container with this ID, as the host sees it; of the only one if there is no ID.

    It is waited for, and one that has ended does not count. Raises Unmet where there is no such
    process, or more than one.
    """
    __tracebackhide__ = True
    host = mydocker.host
    found = host.until(lambda: container_processes(mydocker, identity), 5.0)
    if len(found) != 1:
        there = "; ".join(str(process) for process in host.processes()) or "no process"
        whose = "the container" if identity is None else f"the container {identity[:12]}"
        expected = f"one process that is PID 1 in {whose}, and lives"
        raise Unmet([*_last_call(mydocker), ("found", there), ("expected", expected)])
    return found[0]


def monitor_of(mydocker: "Mydocker", first: Process) -> Process:
    """The process that monitors a container: the parent of its PID 1. It is there to be killed.

    Raises Unmet where nobody does, since what had started PID 1 has gone: its parent then is PID 1
    of the test host, with which all would end.
    """
    __tracebackhide__ = True
    for process in mydocker.host.processes():
        if process.pid == first.parent:
            return process
    gone = "has gone" if first.parent != mydocker.host.pid else "is PID 1 of the test host"
    nobody = f"nobody monitors the container: the parent of {first} {gone}"
    expected = "a process of mydocker's that is the parent of PID 1, and waits for it"
    raise Unmet([*_last_call(mydocker), ("found", nobody), ("expected", expected)])


def container_processes(mydocker: "Mydocker", identity: str | None = None) -> list[Process]:
    """The PID 1s of all containers that live on the test host, or of the one with this ID."""
    return [
        process
        for process in mydocker.host.processes()
        if process.is_first_of_a_container()
        and process.state != "Z"
        and (identity is None or _belongs_to(process, identity))
    ]


def processes_inside(mydocker: "Mydocker") -> list[Process]:
    """All processes that are in some container, as far as they have not ended."""
    there = mydocker.host.processes()
    return [process for process in there if len(process.pids) > 2]


def nothing_beside(mydocker: "Mydocker", first: Process) -> None:
    """Expect that there is PID 1 in the container and nothing else, not even a zombie."""
    __tracebackhide__ = True

    def others() -> list[str]:
        return [str(process) for process in processes_inside(mydocker) if process.pid != first.pid]

    mydocker.host.until(lambda: not others())
    check(not others(), "no process in the container beside its PID 1", "; ".join(others()))


def process_called(mydocker: "Mydocker", command: str, running: Running) -> Process:
    """The process in a container that has this command line. It is waited for."""
    __tracebackhide__ = True

    def found() -> list[Process]:
        return [process for process in processes_inside(mydocker) if process.command == command]

    if not mydocker.host.until(found):
        call = running.stop()
        check(False, f"a process `{command}` in the container", "no such process", call)
    return found()[0]


def end_detached(mydocker: "Mydocker", identity: str | None = None) -> None:
    """End a container that lives on by killing its PID 1, as `container_process` finds it.

    Waits until that process and its parent, the monitor, are gone: what is left of the container
    then stays. Raises Unmet if they are not.
    """
    __tracebackhide__ = True
    end_process(mydocker, container_process(mydocker, identity))


def end_process(mydocker: "Mydocker", process: Process) -> None:
    """End a container by killing this PID 1 of it, which may have ended meanwhile.

    See `end_detached`.
    """
    __tracebackhide__ = True
    monitor = process.parent
    begun = {pid: start_time(pid) for pid in (process.pid, monitor) if pid != mydocker.host.pid}
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)

    def left() -> list[int]:
        return [pid for pid, time in begun.items() if time and start_time(pid) == time]

    mydocker.host.until(lambda: not left())
    mydocker.notice()
    names = {process.pid: "PID 1 of the container", monitor: "its monitor"}
    there = " and ".join(names[pid] for pid in left())
    expected = "when PID 1 is killed, it is waited for, and the container's monitor ends"
    if there:
        raise Unmet(
            [*_last_call(mydocker), ("found", f"{there}: still there"), ("expected", expected)]
        )


def wait_for_text(mydocker: "Mydocker", path: Path) -> None:
    """Wait until something stands in a file: a shell makes it first, and writes to it then."""
    mydocker.host.until(lambda: path.exists() and path.read_text())


def _belongs_to(process: Process, identity: str) -> bool:
    """Whether its cgroup or its hostname says that it is of this container."""
    try:
        groups = Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:  # it has ended
        return False
    if identity in groups:
        return True
    words = ["nsenter", f"--uts=/proc/{process.pid}/ns/uts", "cat", "/proc/sys/kernel/hostname"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    return told.stdout.strip() == identity[:12]


def _last_call(mydocker: "Mydocker") -> list[tuple[str, str]]:
    return mydocker.made[-1].so_far().rows() if mydocker.made else []
