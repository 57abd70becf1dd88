"""Descriptors of processes, which no other process can come to have, as it can a PID."""

import errno
import os


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
