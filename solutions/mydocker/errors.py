"""What can go wrong, and how a person is told."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator

from mydocker.streams import write_all

FAILED = 1  # a command that failed, or that was given the wrong number of arguments
MYDOCKER_FAILED = 125  # mydocker itself failed, or an option or its value is wrong
CANNOT_EXECUTE = 126  # the command is there, but it is nothing that can be executed
NOT_FOUND = 127  # the command is not there
UNREAD = 141  # 128 + SIGPIPE, as a shell counts it


class MydockerError(Exception):
    """Something that the user has to know: what was tried, and why it did not work.

    status: the exit status that mydocker ends with. details: lines to show below it, as they are.
    """

    def __init__(
        self, tried: str, why: str, status: int = MYDOCKER_FAILED, details: str = ""
    ) -> None:
        super().__init__(f"{tried}: {why}")
        self.tried = tried
        self.why = why
        self.status = status
        self.details = details


class Unread(Exception):
    """Who has read our stdout does so no more, as `head` after ten lines: no failure to tell of."""


def from_kernel(
    error: OSError, status: int = MYDOCKER_FAILED, command: str = "run"
) -> MydockerError:
    """What to tell of a system call that failed. `linux.py` puts what was tried in `filename`."""
    return MydockerError(str(error.filename or command), error.strerror or str(error), status)


@contextlib.contextmanager
def refused_threads() -> Iterator[None]:
    """Let a thread that the kernel refuses be an OSError, as it is for a process. See fork(2)."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), "start a thread") from error


def from_bug() -> MydockerError:
    """What to tell of the exception that is being handled: nobody has expected it."""
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):  # in a container, no module can be imported any more
        sys.__excepthook__(*sys.exc_info())
    why = "mydocker's own code raised what follows"
    return MydockerError("a bug", why, MYDOCKER_FAILED, shown.getvalue())


def end_child(status: int) -> None:
    """End a forked child, as os._exit does. It never returns to what its parent was doing.

    An exception that is on its way is shown first. It could not come any further.
    """
    try:
        if sys.exc_info()[0]:
            bug = from_bug()
            complain(str(bug), bug.details)
    finally:
        os._exit(status)


def say(text: str, tried: str) -> None:
    """Write to stdout what was asked for.

    Raises Unread where nobody reads it, MydockerError where it cannot be written.
    """
    try:
        write_all(1, text.encode(errors="backslashreplace"))
    except BrokenPipeError as error:
        raise Unread from error
    except OSError as error:
        raise MydockerError(f"{tried}: stdout", error.strerror or str(error), FAILED) from error


def complain(text: str, details: str = "") -> None:
    """Write one line to stderr, whatever the user typed into it; and details as they are."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in f"mydocker: {text}")
    with contextlib.suppress(OSError):  # stderr is full, or closed: what was to be done goes on
        write_all(2, f"{line}\n{details}".encode(errors="backslashreplace"))
