"""Descriptors of processes, which no other process can come to have, as it can a PID."""

import errno
import os
import select


def of(pid: int) -> int:
    """A descriptor of a process: pidfd_open(2). Raises ProcessLookupError where it has ended.

    Until Linux 6.16, the kernel said EINVAL of one that was waited for at this moment.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        gone = os.strerror(errno.ESRCH)
        raise ProcessLookupError(errno.ESRCH, gone, f"pidfd_open({pid})") from error


def ends_within(handle: int, seconds: float) -> bool:
    """Wait for the end of a process, by a descriptor of it. Returns whether it came in time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
