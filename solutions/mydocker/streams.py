"""What mydocker reads from and writes to the streams that it was given.

They are others' as well. Who makes one non-blocking, as ssh(1) and Node.js do, makes it so for all
who have it: it is a flag of the open file description, see open(2). So we leave it, and wait.
"""

import contextlib
import fcntl
import io
import os
import select
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def read(descriptor: int, length: int) -> bytes:
    """Read what there is, and wait where there is nothing."""
    while True:
        try:
            return os.read(descriptor, length)
        except BlockingIOError:
            wait(descriptor, select.POLLIN)


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


class WaitingReader(io.FileIO):
    """A file that is read, and waited for where it would say that there is nothing just now."""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while (length := super().readinto(buffer)) is None:
            wait(self.fileno(), select.POLLIN)
        return length


def make_blocking() -> None:
    """Open the standard streams anew where one is non-blocking: hardly any program expects that.

    A pipe or a terminal that is opened by /proc/self/fd is the same one, with flags of our own.
    """
    for stream in (0, 1, 2):
        with contextlib.suppress(OSError):  # it is closed, or a socket, or nobody reads the pipe
            flags = fcntl.fcntl(stream, fcntl.F_GETFL)
            if flags & os.O_NONBLOCK and not stat.S_ISREG(os.fstat(stream).st_mode):
                ours = os.open(f"/proc/self/fd/{stream}", flags | os.O_NOCTTY)
                os.set_blocking(ours, True)
                os.dup2(ours, stream)
                os.close(ours)


def fill_standard_streams() -> None:
    """Keep our own descriptors out of the places of stdin, stdout and stderr, if one is closed."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
