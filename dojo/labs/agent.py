"""The monitor of the tests on the lab's machine.

It runs each thing that it is asked for in a forked child, for which all that takes long to import
is already there. Meanwhile it listens: when it is told to stop, or when there is nobody on the
other side any more, the child is interrupted as by Ctrl-C and cleans up.
"""

import gc
import importlib
import os
import select
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dojo.labs.children import PATIENCE_SECONDS, fork
from dojo.labs.landing import Channel, take_in
from dojo.testkit import machine


class _Left(Exception):
    """The other side is gone, or this machine is being shut down."""


def serve(channel: Channel, clone: str, message: dict[str, Any] | None) -> None:
    """Do what messages ask for, until there are no more. message: the first one."""
    os.chdir(clone)
    os.environ["TMPDIR"] = _directory_for_files()
    signal.signal(signal.SIGINT, lambda number, frame: None)  # the children's matter
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    tempfile.tempdir = None  # asked for anew
    with suppress(_Left):
        while message is not None:
            _do(channel, clone, message)
            message = channel.read()


def _directory_for_files() -> str:
    """Where files can have all that the tests give them: a tmpfs has no xattrs before Linux 6.6."""
    for directory in (tempfile.gettempdir(), "/var/tmp"):
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=directory) as file:
            os.setxattr(file.name, "user.kata", b"1")
            return directory
    return tempfile.gettempdir()


def _leave(number: int, frame: object) -> None:
    raise _Left


def _do(channel: Channel, clone: str, message: dict[str, Any]) -> None:
    if "files" in message:
        take_in(channel, message, clone)
    elif message["do"] == "warm up":
        warm_up()
    elif message["do"] == "run":
        _monitor(channel, lambda: _run(channel, clone, message))
    elif message["do"] == "trouble":
        _monitor(channel, lambda: _try(channel, message["mydocker"]))
    # A "stop" that came too late has nothing to stop.


def warm_up() -> None:
    """Import what the tests will need, and find out what this machine can."""
    machine.ask()
    for name in _NEEDED_BY_TESTS:
        importlib.import_module(name)
    machine.patience()
    machine.abilities()
    gc.freeze()  # so that the children share it


_NEEDED_BY_TESTS = (
    "pytest",
    "hypothesis.stateful",
    "_hypothesis_pytestplugin",
    "pexpect",
    "dojo.labs.workers",
    "dojo.plugin",
    "dojo.testkit.callers",
    "dojo.testkit.crash_points",
    "dojo.testkit.readings",
    "dojo.testkit.records",
    "dojo.testkit.twins",
)


# In the child --------------------------------------------------------------------------------


def _run(channel: Channel, clone: str, message: dict[str, Any]) -> int:
    from dojo.labs.workers import run

    return run(channel, clone, message)


def _try(channel: Channel, mydocker: str | None) -> int:
    """Start the program under test once, see `program.trouble_of`."""
    from dojo import clone
    from dojo.errors import KataError
    from dojo.testkit import program

    try:
        found = program.trouble_of(program.words_of(mydocker), clone.here())
    except KataError as error:
        channel.say(refused=str(error))
    else:
        channel.say(trouble=found)
    return 0


# Monitoring it ----------------------------------------------------------------------------------


def _monitor(channel: Channel, action: Callable[[], int]) -> None:
    """Run an action in a child and say how it ended; interrupt it when that is asked for.

    Raises _Left when there is nobody any more.
    """
    child = fork(action)
    ended = os.pidfd_open(child)
    try:
        left = _wait(channel, child, ended)
    finally:
        os.close(ended)
        _, status = os.waitpid(child, 0)
        clear_away()
    if left:
        raise _Left
    channel.say(ended=os.waitstatus_to_exitcode(status))


def _wait(channel: Channel, child: int, ended: int) -> bool:
    """Wait for the end of a child. Returns whether the other side has gone meanwhile."""
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(channel.reading, select.POLLIN)
    while True:
        try:
            ready = {descriptor for descriptor, _ in poll.poll(0 if channel.has_line() else None)}
            if channel.has_line() or channel.reading in ready:
                message = channel.read()
                if message is None or message.get("do") == "stop":
                    _interrupt(child, ended)
                    return message is None
            if ended in ready:
                return False
        except _Left:
            _interrupt(child, ended)
            return True


def _interrupt(child: int, ended: int) -> None:
    """Let a child end as by Ctrl-C; kill it if it does not."""
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGINT)
        if not poll.poll(PATIENCE_SECONDS * machine.patience() * 1000):
            os.kill(child, signal.SIGKILL)


def clear_away() -> None:
    """Remove what processes that were killed have left of their test hosts."""
    from dojo.scratch import groups

    with suppress(OSError):
        groups.remove_stale()
