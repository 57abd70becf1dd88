"""Crash points of a program: it is held up right before one of the changes that it makes.

Whoever is killed is killed between two changes: of files, mounts, processes, namespaces. Between
the same two, all crash points are alike for those who come after. So a test can try every one there
is, by number and not by the clock, and a busy machine makes no difference. Where something else
changes what the program has looked at, those before each look count as well.

The kernel asks us before each such system call of a program, and of all that it starts, and has it
wait for the answer: seccomp_unotify(2).
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from dojo.scratch import changes, notifications
from dojo.scratch.guard import CALLS, Guard
from dojo.scratch.processes import Process

GUARDED = CALLS.split()  # a program has one listener: here as well, some calls may be refused
STANDSTILL_SECONDS = 0.1  # without any CPU time: then a program waits for somebody else
BUSY = ("R", "D")  # unless it waits for a CPU or a disk; the states of ps(1)
NEVER_STILL_SECONDS = 10.0  # then it is a program that goes on for ever


class Host(Protocol):
    """What a crash point asks of the test host that the program runs on."""

    pid: int
    patience: float
    writable: list[str]

    @property
    def guard(self) -> Guard | None: ...

    def processes(self) -> list[Process]: ...


class CrashPoint:
    """A crash point of a program. Give it to `TestHost.start`, then use it as a context.

    The context begins when the program, or one that it started, is about to make the change with
    that number, and is held up; the others are at their next change. It begins as well when that
    change does not come: they have ended, or wait for somebody else. At its end they go on.

    number: from 0; None if they are not to be held up at all. looks: to look at what others change
    counts as a change, too. also: the names of more system calls that count. alone: the others are
    not held up. seen: the names of those that they have begun. came: whether they were held up, and
    before: which change.
    """

    def __init__(
        self,
        number: int | None,
        *,
        looks: bool = False,
        also: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        self.number = number
        self.looks = looks
        self.also = also
        self.alone = alone
        self.seen: list[str] = []
        self.came = False
        self.before = ""
        self._last = (0, "")  # who made the last system call; to which file, if it was a write
        self._is_here = threading.Event()
        self._is_past = threading.Event()
        self._failure: BaseException | None = None  # of the thread that answers

    def calls(self) -> list[tuple[str, int, int]]:
        """The system calls to ask about, as inside.py takes them."""
        flags = (0,) if self.looks else changes.MAKES_OR_EMPTIES
        opens = [(name, path + 1, flag) for name, path in changes.OPENS.items() for flag in flags]
        names = [*changes.PATHS, *([changes.LOOKS] if self.looks else []), *self.also]
        return [(name, 0, 0) for name in names] + opens

    def begin(self, host: Host) -> int:
        """Answer whoever asks from now on. Returns a socket for the listener of the program."""
        self._host = host
        ours, theirs = notifications.door()
        threading.Thread(target=self._answer_all, args=(ours,), daemon=True).start()
        return theirs

    def __enter__(self) -> "CrashPoint":
        self._wait_for_standstill(sooner=self._is_here)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_past.set()

    def steps(self) -> Iterator[None]:
        """This crash point, and each that comes after it, until one does not come."""
        assert self.number is not None
        while True:
            with self:
                if not self.came:
                    return
                yield
                self.came = False
                self._is_here.clear()

    def let_others_go_on(self) -> None:
        """Wait until all but the one that is held up have ended, or wait for somebody."""
        assert self.alone
        self._wait_for_standstill(sooner=threading.Event())

    def _wait_for_standstill(self, sooner: threading.Event) -> None:
        """Wait until all processes of the test host wait for somebody."""
        patience = self._host.patience
        last, since = None, 0.0
        deadline = time.monotonic() + NEVER_STILL_SECONDS * patience
        while not sooner.wait(0.005) and time.monotonic() < deadline:
            there = self._host.processes()
            now = (len(self.seen), _cpu_time(process.pid for process in there))
            if now != last or any(process.state in BUSY for process in there):
                last, since = now, time.monotonic()
            elif time.monotonic() > since + STANDSTILL_SECONDS * patience:
                break

    def _answer_all(self, door: int) -> None:
        try:
            for listener, names in notifications.listeners(door):
                while notifications.wait_for(listener):
                    self._answer_one(listener, names)
        except BaseException as failure:
            self._failure = failure
        finally:
            self._is_here.set()

    def _answer_one(self, listener: int, names: dict[int, str]) -> None:
        for asked in notifications.received(listener):
            name = names[asked.number]
            if self._counts(asked.pid, name, asked.arguments):
                self.seen.append(name)
                if not self.came and self.number is not None and len(self.seen) > self.number:
                    self.before = changes.text(asked.pid, name, asked.arguments)
                    self._hold_up(listener, names)
                if self.number is not None and _is_killed(asked.pid):
                    return  # with an answer that is there before its end, it would make the change
            guard = self._host.guard
            error = guard.error_for(asked, name) if guard and name in GUARDED else 0
            notifications.answer(listener, asked, error)

    def _hold_up(self, listener: int, names: dict[int, str]) -> None:
        self.came = True
        self._is_here.set()
        while not self._is_past.wait(0.001 if self.alone else None):
            if notifications.wait_for(listener, 0):
                self._answer_one(listener, names)
        self._is_past.clear()

    def _counts(self, pid: int, name: str, arguments: tuple[int, ...]) -> bool:
        """Whether a system call is a change, or a look at what others change."""
        if not self.seen and not self._has_begun(pid):
            return False
        last, self._last = self._last, (pid, "")
        if name == "write":  # not what it says to a person, and a long text only once
            where = changes.what_is_open(pid, arguments[0])
            self._last = (pid, where)
            said = arguments[0] <= 2 and where.startswith(("pipe:", "socket:", "/dev/"))
            return not said and self._last != last
        if name not in changes.OPENS:
            return True
        path, flags = arguments[changes.OPENS[name] :][:2]
        return any(flags & flag for flag in changes.MAKES_OR_EMPTIES) or (
            self._others_change(changes.text_at(pid, path))
        )

    def _has_begun(self, pid: int) -> bool:
        """Whether it is the program already, and not the test host's process that becomes it."""
        first = Path(f"/proc/{self._host.pid}/cmdline").read_bytes()
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes() != first
        except OSError:
            return True

    def _others_change(self, path: str) -> bool:
        """Whether it is neither the program itself nor what that loads."""
        if path.endswith(".pyc"):
            return False
        return not path.startswith("/") or path.startswith(
            ("/proc/", "/sys/", *self._host.writable)
        )


def _is_killed(pid: int) -> bool:
    """Whether SIGKILL is on its way to a process, or has reached it."""
    pending = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("SigPnd:", "ShdPnd:")):
                pending |= int(line.split()[1], 16)
    except OSError:
        return True
    return bool(pending & 1 << signal.SIGKILL - 1)


def _cpu_time(pids: Iterable[int]) -> int:
    """The CPU time that processes have used, in nanoseconds."""
    used = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            used += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return used
