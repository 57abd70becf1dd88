"""Processes that are started before they are needed, and wait until they are.

`kata watch` has the next check stand by: pytest and its workers have started, and wait with
looking for tests. Who waits takes a lock that another process holds: when that one ends, however it
ends, nobody waits for ever.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

VARIABLE = "KATA_STANDBY"  # in the environment of those who wait: the path of the lock


@contextmanager
def others_wait() -> Iterator[Callable[[], None]]:
    """Let the processes that are started from here on wait in `wait`.

    Yields what lets them go on; at the end of the block they go on in any case.
    """
    import fcntl

    with tempfile.NamedTemporaryFile(prefix="kata-standby-") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.environ[VARIABLE] = file.name
        try:
            yield lambda: fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            del os.environ[VARIABLE]


def wait() -> None:
    """Wait for the word of the process that has started this one, if it is to wait at all."""
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    import fcntl

    with suppress(FileNotFoundError), open(path, "rb") as file:  # gone: go on
        fcntl.flock(file, fcntl.LOCK_SH)
