"""What a container has written: `container.log` beside its record.

The log is a row of chunks as they came: which stream, how long, and the bytes. So either stream can
be given back as it was, and the order of both is kept. It is the framing that docker's own API has.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Iterator

from mydocker.container import Container
from mydocker.errors import complain
from mydocker.streams import write_all

STDOUT, STDERR = 1, 2
NAMES = {STDOUT: "stdout", STDERR: "stderr"}
HEADER_BYTES = 8  # the stream, three zeros, the length as a big-endian number
NEXT_SECONDS = 0.05  # how often whoever follows looks again


def path_of(container: Container) -> str:
    return f"{container.directory}/container.log"


class Recorder:
    """Writes down what comes out of a container's streams, and passes it on to the caller."""

    def __init__(self, container: Container, passed_on: bool) -> None:
        self._name = container.name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._log: int | None = os.open(path_of(container), flags, 0o600)
        self._lock = threading.Lock()
        self._passed_on = passed_on

    def take(self, stream: int, chunk: bytes) -> None:
        """Raises OSError where the caller reads no more."""
        with self._lock:
            self._write_down(stream, chunk)
        if self._passed_on:
            try:
                write_all(stream, chunk)
            except OSError as error:
                if error.errno != errno.EPIPE:  # of a reader who has gone there is nothing to tell
                    complain(f"run: {NAMES[stream]}: {error.strerror}")
                raise

    def close(self) -> None:
        with self._lock:
            if self._log is not None:
                os.close(self._log)
                self._log = None

    def _write_down(self, stream: int, chunk: bytes) -> None:
        """Append a chunk. On a full disk the log ends, and the container goes on."""
        if self._log is None:
            return
        end = os.fstat(self._log).st_size
        try:
            header = bytes([stream, 0, 0, 0]) + len(chunk).to_bytes(4, "big")
            if os.writev(self._log, [header, chunk]) < HEADER_BYTES + len(chunk):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            complain(f"log of {self._name}: it ends here: {error.strerror}")
            os.ftruncate(self._log, end)  # half a chunk would be taken for a whole one
            os.close(self._log)
            self._log = None


# Reading


class Reader:
    """Reads a log chunk by chunk, and goes on where it was when more has been written."""

    def __init__(self, log: int) -> None:
        self._log = log
        self._offset = 0

    def new_chunks(self) -> Iterator[tuple[int, bytes]]:
        """The stream and the bytes of each chunk that has come since the last time."""
        while True:
            header = os.pread(self._log, HEADER_BYTES, self._offset)
            length = int.from_bytes(header[4:], "big")
            content = os.pread(self._log, length, self._offset + HEADER_BYTES)
            if len(header) < HEADER_BYTES or len(content) < length:
                return  # it is still being written, or was when the monitor was killed
            self._offset += HEADER_BYTES + length
            yield header[0], content


def last_lines(found: Iterator[tuple[int, bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    """Of chunks, the last lines of both streams together, each with its stream."""
    lines: deque[tuple[int, bytes]] = deque(maxlen=count)
    pieces: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}  # of a line that has not ended yet
    for stream, content in found:
        begun, newline, more = content.partition(b"\n")
        pieces[stream].append(begun)
        if newline:
            *whole, rest = more.split(b"\n")
            lines.append((stream, b"".join(pieces[stream]) + newline))
            lines.extend((stream, line + newline) for line in whole)
            pieces[stream] = [rest]
    lines.extend((stream, rest) for stream, left in pieces.items() if (rest := b"".join(left)))
    yield from lines
