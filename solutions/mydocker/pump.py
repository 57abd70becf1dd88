"""What comes out of a container, read as it comes."""

import _thread  # `threading` is made of it, and takes too long to import for a start
import contextlib
import os
import select
from collections.abc import Callable, Mapping

from mydocker.errors import refused_threads

CHUNK = 65536


class Pump:
    """Reads from descriptors, each in a thread of its own.

    take: is given the name of a source and what has come from it. When it raises OSError, nobody
    wants more: the source is closed, and who writes there is told so by the kernel.
    """

    def __init__(self, take: Callable[[int, bytes], None]) -> None:
        self._take = take
        self._reading: list[_thread.LockType] = []  # a lock for each thread, held until it ends
        self._finished_to_read, self._finished_to_write = os.pipe()

    def start(self, sources: Mapping[int, int]) -> None:
        """Begin to read. sources: descriptors by their names.

        Raises OSError where the kernel has no thread left.
        """
        for name, source in sources.items():
            reading = _thread.allocate_lock()
            reading.acquire()
            self._reading.append(reading)
            with refused_threads():
                _thread.start_new_thread(self._read, (name, source, reading))

    def finish(self) -> None:
        """Read what is still to be read, once those that write have ended.

        A source need not come to its end: a descriptor of it may have been handed to somebody.
        """
        os.close(self._finished_to_write)
        for reading in self._reading:
            reading.acquire()

    def _read(self, name: int, source: int, reading: _thread.LockType) -> None:
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(self._finished_to_read, select.POLLIN)
        try:
            with contextlib.suppress(OSError):
                while source in dict(poll.poll()):
                    chunk = os.read(source, CHUNK)
                    if not chunk:
                        break
                    self._take(name, chunk)
        finally:
            os.close(source)
            reading.release()
