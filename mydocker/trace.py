"""MYDOCKER_DEBUG=1 shows each step when it is done, for who wants to see a container being made."""

import os

from mydocker.errors import complain

WATCHED = os.environ.get("MYDOCKER_DEBUG") == "1"


def step(what: str) -> None:
    """Show on stderr what has been done, and the PID of the process that did it."""
    if WATCHED:
        complain(f"{os.getpid()}: {what}")
