"""What comes out of a container, read as it comes."""

import contextlib
import os
import select
import threading
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
        self._reading: list[threading.Thread] = []
        self._finished_to_read, self._finished_to_write = os.pipe()

    def start(self, sources: Mapping[int, int]) -> None:
        """Begin to read. sources: descriptors by their names.

        Raises OSError where the kernel has no thread left.
        """
        for name, source in sources.items():
            reading = threading.Thread(target=self._read, args=(name, source), daemon=True)
            with refused_threads():
                reading.start()
            self._reading.append(reading)

    def finish(self) -> None:
        """Read what is still to be read, once those that write have ended.

        A source need not come to its end: a descriptor of it may have been handed to somebody.
        """
        os.close(self._finished_to_write)
        for reading in self._reading:
            reading.join()

    def _read(self, name: int, source: int) -> None:
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
