"""What mydocker writes to the streams that it was given.

They are others' as well. Who makes one non-blocking, as ssh(1) and Node.js do, makes it so for all
who have it: it is a flag of the open file description, see open(2). So we leave it, and wait.
"""

import os
import select


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it, and wait where there is no room."""
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            wait(descriptor, select.POLLOUT)


def wait(descriptor: int, event: int) -> None:
    """Wait until there is something to read, or room to write: poll(2)."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()
