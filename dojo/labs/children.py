"""Children of the agent and of its workers, and how long they may take to end."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

PR_SET_PDEATHSIG = 1
PATIENCE_SECONDS = 10.0  # for an interrupted child, times what this machine is slower


def fork(action: Callable[[], int]) -> int:
    """Run an action in a child, which ends with its result. Returns the child's PID.

    The child is interrupted by SIGINT, as usual, and when this process dies.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() == parent:
            status = action()
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)  # what the parent would do at its end is not ours to do
