"""A program that a test runs: how it is watched while it runs, and what it leaves to read."""

import functools
import os
import re
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dojo.rows import laid_out, readable

KEPT_BYTES = (
    16 * 1024 * 1024
)  # of each stream; the rest is read and counted, so that nothing blocks


@dataclass
class Stream:
    """What comes out of one of a program's streams, read as it comes."""

    name: str
    descriptor: int
    content: bytearray = field(default_factory=bytearray)
    total: int = 0

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.ended = False
        _reader(os.getpid()).add(self)

    def read(self) -> bool:
        """Read what has come. Returns whether more can come."""
        try:
            chunk = os.read(self.descriptor, 65536)
        except OSError:  # a terminal whose other end is closed says EIO
            chunk = b""
        with self.changed:
            self.total += len(chunk)
            self.content += chunk[: max(0, KEPT_BYTES - len(self.content))]
            self.ended = not chunk
            self.changed.notify_all()
        return not self.ended

    def wait_for_end(self, seconds: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.ended, seconds)

    def wait_for(self, wanted: bytes, seconds: float) -> bool:
        return self._wait_until(lambda: wanted in self.content, seconds)

    def wait_for_line(self, line: bytes, seconds: float) -> bool:
        """Wait for a line that has this and nothing else on it, and has come to its end."""
        whole = re.compile(rb"^%s\r?\n" % re.escape(line), re.MULTILINE)
        return self._wait_until(lambda: whole.search(self.content) is not None, seconds)

    def _wait_until(self, came: Callable[[], bool], seconds: float) -> bool:
        with self.changed:
            self.changed.wait_for(lambda: came() or self.ended, seconds)
            return came()


class _Reader:
    """A thread that reads all streams: one for each of them takes a while to start, each time."""

    def __init__(self) -> None:
        self._ready = select.epoll()
        self._streams: dict[int, Stream] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def add(self, stream: Stream) -> None:
        self._streams[stream.descriptor] = stream
        self._ready.register(stream.descriptor, select.EPOLLIN)

    def _read(self) -> None:
        while True:
            for descriptor, _ in self._ready.poll():
                if not self._streams[descriptor].read():
                    del self._streams[descriptor]
                    self._ready.unregister(descriptor)
                    os.close(descriptor)


@functools.cache
def _reader(pid: int) -> _Reader:
    """The one of this process: a fork of it has no threads."""
    return _Reader()


@dataclass(frozen=True)
class Call:
    """A program that has been run.

    status: its exit status, negative for the signal that ended it, None if it had to be killed.
    problem: what was wrong with the run itself ("did not end within 20 s"). in_its_own_words: it
    tells errors as it likes: how mydocker tells them is promised by mydocker only. runs: it has not
    ended yet.
    """

    shown: str
    status: int | None
    out: bytes
    err: bytes
    problem: str = ""
    in_its_own_words: bool = False
    runs: bool = False

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode(errors="replace")

    @property
    def errors(self) -> str:
        """stderr as text."""
        return self.err.decode(errors="replace")

    def __repr__(self) -> str:
        return laid_out(self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """The whole call, as pairs of what it is and what it was."""
        rows = [("ran", self.shown), ("status", self.describe_status())]
        rows += [("stdout", show(self.out)), ("stderr", show(self.err))]
        return [*rows, ("problem", self.problem)] if self.problem else rows

    def describe_status(self) -> str:
        return "none yet: it runs" if self.runs else describe_status(self.status)


def describe_status(status: int | None) -> str:
    if status is None:
        return "none: it did not end by itself"
    return str(status) if status >= 0 else f"killed by signal {-status}"


def show(content: bytes) -> str:
    """Output as a person can read it: strange bytes escaped, the middle of much of it left out."""
    if not content:
        return "(nothing)"
    ends = content if len(content) <= 2 * _ENDS else content[:_ENDS] + content[-_ENDS:]
    return readable(ends.decode(errors="backslashreplace"), f"{len(content)} bytes")


_ENDS = 10_000  # more than are shown
