"""mydocker logs: what a container has written."""

import os
import signal
import time
from collections.abc import Iterator

from mydocker import log
from mydocker.cli import LogsRequest
from mydocker.container import Container, find, load
from mydocker.errors import FAILED, MydockerError
from mydocker.streams import write_all


def logs(request: LogsRequest, wanted: str) -> int:
    """Give back its stdout on stdout and its stderr on stderr; with -f until it has ended."""
    tried = f"logs {wanted}"
    container = find(wanted, tried)
    try:
        file = os.open(log.path_of(container), os.O_RDONLY)
    except FileNotFoundError:
        return 0  # it has been recorded, and is about to start
    except OSError as error:
        raise MydockerError(tried, error.strerror or str(error), FAILED) from error
    if is_anothers(container):
        raise MydockerError(tried, "no such container", FAILED)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads us may have read enough, as of `cat`
    reader = log.Reader(file)
    found = reader.new_chunks()
    show(found if request.tail is None else log.last_lines(found, request.tail), tried)
    more_may_come = request.follow
    while more_may_come:
        more_may_come = not has_ended(container)
        show(reader.new_chunks(), tried)
        if more_may_come:
            time.sleep(log.NEXT_SECONDS)
    return 0


def show(chunks: Iterator[tuple[int, bytes]], tried: str) -> None:
    for stream, content in chunks:
        try:
            write_all(stream, content)
        except OSError as error:
            why = error.strerror or str(error)
            raise MydockerError(f"{tried}: {log.NAMES[stream]}", why, FAILED) from error


def is_anothers(container: Container) -> bool:
    """Whether its name is another one's by now: then the log that was opened may be that one's."""
    try:
        return load(container.name).identity != container.identity
    except (OSError, ValueError):
        return False


def has_ended(container: Container) -> bool:
    """Whether all that it wrote is in its log: its monitor has recorded the end, or is gone."""
    try:
        current = load(container.name)
    except (OSError, ValueError):
        return True
    if current.identity != container.identity:  # its name is another one's by now
        return True
    return current.exit_status is not None or not current.is_monitored()
