"""The parent's side while its child runs: pass signals on, and wait for its end."""

import contextlib
import os
import signal
from collections.abc import Iterator

from mydocker.container import Container
from mydocker.errors import complain
from mydocker.pump import Pump
from mydocker.terminal import Terminal

# Whoever sends one of these to a `run` in the foreground means the container.
FORWARDED = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
}

BLOCKED = {*FORWARDED, signal.SIGCHLD, signal.SIGWINCH, signal.SIGTTOU}


def wait_for_signals_only_when_asked() -> None:
    """Let no signal end this process half-way: from now on `monitor` takes them one by one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


@contextlib.contextmanager
def ended_by_failure(pid: int) -> Iterator[None]:
    """End a child when a step fails on either side: while it lives, its group cannot be removed."""
    try:
        yield
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def monitor(pid: int, record: Container, terminal: Terminal | None, pump: Pump) -> int:
    """Monitor a container until it ends. Returns its exit status.

    The end is recorded when all that the container wrote is in the log, and before it is waited
    for: until then whoever asks finds a zombie, and not nothing.
    """
    status = exit_status(wait_for_end(pid, terminal))
    pump.finish()
    try:
        record.has_ended(status)
    except FileNotFoundError:
        pass  # somebody has removed the container while we waited for its reader
    except OSError as error:  # a full disk, say: the container has ended all the same
        complain(f"record the end of {record.name}: {error.strerror}")
    os.waitpid(pid, 0)
    return status


def wait_for_end(pid: int, terminal: Terminal | None) -> os.waitid_result:
    """Hand signals on to a child until it has ended. It is a zombie then."""
    awaited = {*FORWARDED, signal.SIGCHLD, signal.SIGWINCH}
    while True:
        received = signal.sigwait(awaited)
        if received == signal.SIGCHLD:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended:
                return ended
        elif received != signal.SIGWINCH:
            os.kill(pid, received)
        elif terminal:
            terminal.fit()


def exit_status(ended: os.waitid_result) -> int:
    """The exit status for what waitid(2) says: 128+N where signal N ended the process."""
    return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status
