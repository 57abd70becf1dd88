"""How a test handles its test host, from outside."""

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dojo.errors import KataError
from dojo.scratch.calls import Call
from dojo.scratch.crash_points import CrashPoint
from dojo.scratch.ends import Ends, write_all
from dojo.scratch.executables import why_not
from dojo.scratch.groups import Groups
from dojo.scratch.guard import CALLS, Guard
from dojo.scratch.maker import make_host
from dojo.scratch.processes import Process, children_of, process_of
from dojo.scratch.typed import show_command

Found = TypeVar("Found")

_DEAD = "the test host has died, and all that ran on it: something has killed its PID 1"
START_SECONDS = 10.0
END_SECONDS = 10.0
PACKET = 1 << 16
LET_GO_SECONDS = 2.0  # how long output may stay open after its program has ended


class TestHost:
    """A machine of a test's own, made of namespaces and cgroups.

    It has PID, mount (`/` shared, as systemd has it), network, IPC, UTS and cgroup namespaces of
    its own, and a limit on processes; its files are those of this machine. Ending its PID 1 clears
    all of it, whatever was started in there.

    name: a name that no other one has. patience: what deadlines are multiplied with. writable: the
    directories that programs on it can write to; every other file of this machine is read-only.
    guarded: see `guard`; an engine is no learner's, and needs no guard against mistakes.
    """

    in_its_own_words = False  # see `Call`

    __test__ = False  # pytest would collect it, by its name

    def __init__(
        self,
        name: str,
        patience: float = 1.0,
        writable: Sequence[Path] = (),
        guarded: bool = True,
    ) -> None:
        self.name = name
        self.patience = patience
        self.writable = [str(directory.resolve()) for directory in writable]
        self.groups = Groups(name)
        v1 = [each.data for each in self.groups.hierarchies if each.version == 1]
        self.guard = Guard(v1) if guarded else None
        self._ended: dict[int, int] = {}
        self._first: int | None = None
        self._link, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        doors = [self.guard.begin()] if self.guard else []
        try:
            self.groups.make(with_all_devices=not guarded)
            make_host(self._plan(), [other.fileno(), *doors])
            other.close()
            self.pid: int = self._receive(lambda message: "ready" in message)["ready"]
            self._first = os.pidfd_open(self.pid)
        except BaseException:
            other.close()
            self.close()
            raise
        finally:
            for door in doors:
                os.close(door)

    def _plan(self) -> dict[str, Any]:
        return {
            "doors": self.groups.doors(),
            "cgroups": self.groups.mounts(),
            "leaf": self.groups.door_of_the_leaf(),
            "writable": self.writable,
            "guarded": [(name, 0, 0) for name in CALLS.split()] if self.guard else [],
        }

    def close(self) -> None:
        """End it, and with it every process in it; then remove its cgroups."""
        self._link.close()
        if self._first is not None:
            _end(self._first, END_SECONDS * self.patience)
            self._first = None
        self.groups.remove()

    # Programs

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        stdin: bytes | int | None = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
        seconds: float = 20.0,
        shown: str | None = None,
        holding: Sequence[int] = (),
    ) -> Call:
        """Run a program to its end, or to the deadline. See `start`."""
        running = self.start(argv, stdin=stdin, env=env, cwd=cwd, shown=shown, holding=holding)
        return running.wait(seconds)

    def start(
        self,
        argv: Sequence[str | bytes],
        *,
        stdin: bytes | int | None = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
        shown: str | None = None,
        holding: Sequence[int] = (),
        terminal: bool = False,
        crash_point: CrashPoint | None = None,
    ) -> "Running":
        """Start a program and leave it running.

        stdin: what it reads, or a descriptor to read from; None leaves a pipe open that the test
        writes to. holding: descriptors that it finds open as 3, 4, … terminal: its three streams
        are a terminal of its own, the controlling one. crash_point: where it is held up.

        Raises FileNotFoundError or another OSError if there is no such program.
        """
        ends = Ends.of_a_terminal() if terminal else Ends.of_pipes(stdin)
        words = [os.fsdecode(word) for word in argv]
        request = {"argv": words, "env": dict(env or {}), "cwd": str(cwd), "tty": terminal}
        request["held"] = crash_point.calls() if crash_point else []
        program = os.memfd_create("program", os.MFD_CLOEXEC)
        doors = [crash_point.begin(self)] if crash_point else []
        try:
            write_all(program, json.dumps(request).encode())
            descriptors = [program, *doors, *ends.inner, *holding]
            reply = self._ask(
                {"start": True}, descriptors, lambda m: "started" in m or "error" in m
            )
        finally:
            for descriptor in (program, *doors, *ends.inner):
                os.close(descriptor)
        if "error" in reply:
            why = why_not(words[0], reply["error"]) or reply["error"]
            raise KataError(f"start {words[0]}: {why}")
        self._ended.pop(reply["started"], None)  # of an earlier program that had this PID
        return Running(self, reply["started"], shown or show_command(argv), ends)

    def wait(self, inner: int, seconds: float) -> int | None:
        """Wait until a program that was started has ended. Returns its status, None if it has not.

        The status is negative for the signal that ended it.
        """
        with contextlib.suppress(TimeoutError):
            self._receive(lambda message: inner in self._ended, seconds * self.patience)
        return self._ended.get(inner)

    # What is there

    def facts(self) -> dict[str, Any]:
        """What only a process of this host sees: its hostname, its SysV objects."""
        reply = self._ask({"facts": True}, [], lambda message: "facts" in message)
        facts: dict[str, Any] = reply["facts"]
        return facts

    def processes(self) -> list[Process]:
        """All processes but PID 1, by the tree that the kernel keeps of them out here.

        One whose parent ends meanwhile moves to PID 1, so that is looked at until nothing is new.
        """
        found: dict[int, Process] = {}
        children: set[int] = set()
        while new := [pid for pid in children_of(self.pid) if pid not in children]:
            children.update(new)
            found.update((process.pid, process) for process in self._with_descendants(new))
        return list(found.values())

    def descendants(self, pid: int) -> list[Process]:
        """The children of a process, and theirs."""
        return self._with_descendants(children_of(pid))

    def _with_descendants(self, pids: Iterable[int]) -> list[Process]:
        found: list[Process] = []
        waiting = list(pids)
        while waiting:
            pid = waiting.pop(0)
            with contextlib.suppress(OSError, IndexError, StopIteration):
                found.append(process_of(pid))
            waiting += children_of(pid)
        return found

    def outer_pid(self, inner: int) -> int:
        """The PID out here of a process that has this PID on the test host."""
        for process in self.processes():
            if process.inner == inner:
                return process.pid
        raise ProcessLookupError(f"no process {inner} on the test host")

    def mountinfo(self) -> list[str]:
        return Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()

    def interfaces(self) -> list[str]:
        lines = Path(f"/proc/{self.pid}/net/dev").read_text().splitlines()[2:]
        return sorted(line.partition(":")[0].strip() for line in lines)

    def until(self, found: Callable[[], Found], seconds: float = 10.0) -> Found:
        """Ask again and again until the answer is true or the time is over. Returns the last."""
        deadline = time.monotonic() + seconds * self.patience
        while not (answer := found()) and time.monotonic() < deadline:
            time.sleep(0.002)
        return answer

    # The socket

    def _ask(
        self,
        question: dict[str, bool],
        descriptors: Sequence[int],
        wanted: Callable[[dict[str, Any]], bool],
    ) -> dict[str, Any]:
        try:
            socket.send_fds(self._link, [json.dumps(question).encode()], list(descriptors))
        except (BrokenPipeError, ConnectionResetError):
            raise KataError(_DEAD) from None
        return self._receive(wanted)

    def _receive(
        self, wanted: Callable[[dict[str, Any]], bool], seconds: float | None = None
    ) -> dict[str, Any]:
        """Read messages until one is wanted; those of programs that ended are remembered."""
        deadline = time.monotonic() + (seconds or START_SECONDS * self.patience)
        message: dict[str, Any] = {}
        while not wanted(message):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the test host does not answer")
            self._link.settimeout(left)
            try:
                packet = self._link.recv(PACKET)
            except ConnectionResetError:
                packet = b""
            if not packet:
                raise KataError(_DEAD)
            message = json.loads(packet)
            if "ended" in message:
                self._ended[message["ended"]] = message["status"]
            if "error" in message and not wanted(message):
                raise KataError(f"make a test host: {message['error']}")
        return message


class Running:
    """A program that runs on a test host."""

    def __init__(self, host: TestHost, inner: int, shown: str, ends: Ends) -> None:
        self.host = host
        self.inner = inner
        self.shown = shown
        self.was_killed = False  # by the test
        self._ends = ends
        self._call: Call | None = None  # when it has ended

    def __repr__(self) -> str:
        return f"`{self.shown}`"

    @property
    def pid(self) -> int:
        """Its PID out here. Raises ProcessLookupError if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            return self.host.outer_pid(self.inner)
        raise ProcessLookupError(f"`{self.shown}` has ended already")

    def descendants(self) -> list[Process]:
        """What it has started, and what that has started; nothing if it has ended."""
        try:
            return self.host.descendants(self.pid)
        except ProcessLookupError:
            return []

    @property
    def out(self) -> bytes:
        """What it has written to stdout so far."""
        return bytes(self._ends.out.content)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def type(self, text: bytes) -> None:
        """Write to its stdin: `stdin=None` or `terminal=True` when it was started."""
        assert self._ends.keyboard is not None
        os.write(self._ends.keyboard, text)

    def wait_for_output(self, wanted: bytes, seconds: float = 20.0) -> bool:
        """Wait until it has written that to stdout. False if it ended or took too long."""
        return self._ends.out.wait_for(wanted, seconds * self.host.patience)

    def wait_for_line(self, line: bytes, seconds: float = 20.0) -> bool:
        """The same for a whole line."""
        return self._ends.out.wait_for_line(line, seconds * self.host.patience)

    def stop(self) -> Call:
        """Kill it, if it still runs. Returns all there is to know."""
        self.kill()
        return self.wait()

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self.was_killed = True
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether it has ended, or is just about to be waited for."""
        return self.host.wait(self.inner, 0.1) is not None

    def so_far(self) -> Call:
        """All there is to know now. If it runs, it goes on."""
        if self._call is not None:
            return self._call
        with contextlib.suppress(KataError, OSError):  # the host may be gone
            # What has closed its stdout is about to end.
            if self.host.wait(self.inner, 1.0 if self._ends.out.ended else 0.01) is not None:
                return self.wait()
        out, err = bytes(self._ends.out.content), bytes(self._ends.err.content)
        return Call(self.shown, None, out, err, "", self.host.in_its_own_words, runs=True)

    def wait(self, seconds: float = 20.0) -> Call:
        """Wait for its end; at the deadline it is killed. Returns all there is to know."""
        problem = ""
        status = self.host.wait(self.inner, seconds)
        if status is None:
            limit = f"{seconds * self.host.patience:.0f} s"
            problem = f"it did not end within {limit} and was killed"
            self.kill()
            self.host.wait(self.inner, 5.0)
        if not self._ends.let_go(LET_GO_SECONDS * self.host.patience) and not problem:
            problem = "it ended, but something that it started still holds its stdout or stderr"
        out, err = self._ends.out, self._ends.err
        if out.total > len(out.content):
            problem = problem or f"it wrote {out.total} bytes to stdout"
        if err.total > len(err.content):
            problem = problem or f"it wrote {err.total} bytes to stderr"
        self._call = Call(
            self.shown,
            status,
            bytes(out.content),
            bytes(err.content),
            problem,
            self.host.in_its_own_words,
        )
        return self._call


def _end(first: int, seconds: float) -> None:
    """Kill PID 1 of a PID namespace. It goes as the last one, after those that it has reaped."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(first, signal.SIGKILL)
    ended = select.poll()
    ended.register(first, select.POLLIN)
    ended.poll(seconds * 1000)
    os.close(first)
