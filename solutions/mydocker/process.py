"""Processes, told apart for good: a PID alone is given to another process one day."""

import contextlib
import functools
import os
import select
import signal
from collections.abc import Iterator

from mydocker import pidfd
from mydocker.files import read

ENDED = ("Z", "X")  # states of proc_pid_stat(5): a zombie has ended, and nobody has waited for it
# Fields of it, counted from the one behind the name.
STATE, THREADS, START, EXIT_CODE = 0, 17, 19, 49


class Process:
    """pid: its PID. start: when it began, in clock ticks since the boot."""

    def __init__(self, pid: int, start: int) -> None:
        self.pid = pid
        self.start = start

    @classmethod
    def of(cls, pid: int) -> "Process":
        """Raises FileNotFoundError or ProcessLookupError where there is none of that PID."""
        return cls(pid, int(fields(pid)[START]))

    def is_alive(self) -> bool:
        found = self.fields()
        return found is not None and not has_no_thread_left(found)

    def exit_status(self) -> int | None:
        """How a zombie ended, 128+N for signal N; None where it lives, or where it is gone."""
        found = self.fields()
        if found is None or not has_no_thread_left(found):
            return None
        code = os.waitstatus_to_exitcode(int(found[EXIT_CODE]))
        return code if code >= 0 else 128 - code

    def fields(self) -> list[str] | None:
        """What the kernel tells of it, None where it is gone and waited for."""
        try:
            found = fields(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return found if int(found[START]) == self.start else None

    def is_killed_within(self, seconds: float) -> bool:
        """Kill it and wait for its end. Returns whether that came in time."""
        try:
            with self.held() as handle:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return bool(select.select([handle], [], [], seconds)[0])
        except ProcessLookupError:
            return True

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end. Returns whether it came in time."""
        try:
            with self.held() as handle:
                return pidfd.ends_within(handle, seconds)
        except ProcessLookupError:
            return True

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """A pidfd of it.

        Raises ProcessLookupError where it has ended, also when it ends before the block does: what
        was read of it below /proc may be a stranger's then.
        """
        handle = pidfd.of(self.pid)
        try:
            if not self.is_alive():
                raise ProcessLookupError
            yield handle
            has_ended, _, _ = select.select([handle], [], [], 0)
            if has_ended:
                raise ProcessLookupError
        finally:
            os.close(handle)


def has_no_thread_left(found: list[str]) -> bool:
    """Whether these fields are of a process that has ended, and not only of its first thread."""
    return found[STATE] in ENDED and int(found[THREADS]) <= 1


def fields(pid: int) -> list[str]:
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


@functools.cache
def boot_id() -> str:
    """What tells this boot of the machine from all others: random(4)."""
    return read("/proc/sys/kernel/random/boot_id").strip()


@functools.cache
def pid_namespace() -> int:
    """What tells the PID namespace that we are in from all others of this boot: namespaces(7)."""
    return os.stat("/proc/self/ns/pid").st_ino
