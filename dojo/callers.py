"""What an exec has kept of whoever called us."""

import signal


def wait_for_children() -> None:
    """Have the kernel keep how our children end.

    A caller may ignore SIGCHLD. Then it keeps nothing, and `subprocess` takes every program for one
    that has succeeded.
    """
    if hasattr(signal, "SIGCHLD"):  # Windows has none
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
