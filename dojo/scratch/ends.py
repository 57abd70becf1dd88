"""The ends of a program's three streams that a test holds."""

import contextlib
import os
import threading
import time

from dojo.scratch.calls import Stream


class Ends:
    """The ends of a program's three streams: `inner` are the program's, the rest is read here."""

    def __init__(self, inner: list[int], out: Stream, err: Stream, keyboard: int | None) -> None:
        self.inner = inner
        self.out = out
        self.err = err
        self.keyboard = keyboard

    @classmethod
    def of_pipes(cls, stdin: bytes | int | None) -> "Ends":
        keyboard = None
        if isinstance(stdin, int):
            read = os.dup(stdin)
        elif stdin == b"":
            read = os.open(os.devnull, os.O_RDONLY)
        else:
            read, write = os.pipe()
            if stdin is None:
                keyboard = write
            else:
                threading.Thread(target=_feed, args=(write, stdin), daemon=True).start()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        out, err = Stream("stdout", out_read), Stream("stderr", err_read)
        return cls([read, out_write, err_write], out, err, keyboard)

    @classmethod
    def of_a_terminal(cls, rows: int = 24, columns: int = 80) -> "Ends":
        import fcntl
        import pty
        import struct
        import termios

        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        nothing, none = os.pipe()
        os.close(none)
        streams = Stream("terminal", os.dup(master)), Stream("stderr", nothing)
        return cls([slave, os.dup(slave), os.dup(slave)], *streams, master)

    def let_go(self, seconds: float) -> bool:
        """Whether both streams come to their end within that time."""
        if self.keyboard is not None:
            with contextlib.suppress(OSError):
                os.close(self.keyboard)
            self.keyboard = None
        deadline = time.monotonic() + seconds
        return all(
            stream.wait_for_end(max(0.0, deadline - time.monotonic()))
            for stream in (self.out, self.err)
        )


def _feed(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(OSError):  # it need not read all of it
        write_all(descriptor, content)
    os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write a content to its end, however much the descriptor takes at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
