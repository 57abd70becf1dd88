"""A terminal of the container's own, and the caller's, which is passed on to it. See pty(7)."""

import contextlib
import fcntl
import os
import termios
import threading
import tty

from mydocker.errors import MydockerError, refused_threads
from mydocker.pump import CHUNK
from mydocker.streams import read, write_all

ROWS_AND_COLUMNS = b"\0" * 8  # struct winsize, see ioctl_tty(2)
STANDARD_STREAMS = (0, 1, 2)


class Terminal:
    """Made by the container's process inside; monitored, through its master side, outside."""

    def __init__(self) -> None:
        from socket import socketpair

        self._outside, self._inside = socketpair()
        self._settings: list[int | list[bytes | int]] | None = None
        self.master = -1

    def open(self) -> None:
        """Inside: become a session with a new terminal, of this /dev/pts, as all three streams."""
        from socket import send_fds

        os.setsid()
        master, slave = os.openpty()
        send_fds(self._inside, [b"master"], [master])
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for stream in STANDARD_STREAMS:
            os.dup2(slave, stream)

    def receive(self) -> None:
        """Outside, when the other side has opened it: take its master side."""
        from socket import recv_fds

        self._inside.close()
        _, received, _, _ = recv_fds(self._outside, CHUNK, 1)
        if not received:
            raise MydockerError("open a terminal", "the process that opens it has been killed")
        (self.master,) = received
        self.fit()

    def fit(self) -> None:
        """Make it as large as the caller's terminal is; the kernel tells those who use it."""
        for stream in STANDARD_STREAMS:
            with contextlib.suppress(OSError):  # that one is no terminal
                size = fcntl.ioctl(stream, termios.TIOCGWINSZ, ROWS_AND_COLUMNS)
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)
                return

    def pass_keys_on(self) -> None:
        """Send to it what is typed, Ctrl-C and all; the caller's own terminal is raw meanwhile."""
        with contextlib.suppress(termios.error):  # stdin is no terminal
            self._settings = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)
        with refused_threads():
            threading.Thread(target=self._pass_keys_on, daemon=True).start()

    def _pass_keys_on(self) -> None:
        with contextlib.suppress(OSError):
            while keys := read(0, CHUNK):
                write_all(self.master, keys)

    def restore(self) -> None:
        """Give the caller's terminal back as it was."""
        if self._settings is not None:
            termios.tcsetattr(0, termios.TCSANOW, self._settings)
            self._settings = None
