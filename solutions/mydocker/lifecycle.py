"""How a container comes to its end, and goes."""

import contextlib
import errno
import os
import signal
import time

from mydocker import image, layer, paths, record
from mydocker.cgroups import groups
from mydocker.container import (
    KILL_SECONDS,
    RECORD,
    Container,
    all_containers,
    containers,
    is_broken,
)

MONITOR_SECONDS = 2.0
START_SECONDS = 10.0


class Gone(Exception):
    """A container that is not there, or not any more."""


def stop(stopped: list[Container], seconds: float) -> list[Container]:
    """Ask all of them to end, at the same time; kill those that have not after so many seconds.

    Returns when they are gone, and their monitors have taken away what they leave: with those that
    are still there, because not even SIGKILL ends a process that waits for a broken disk.
    """
    for container in stopped:
        send(container, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for container in stopped:
        if not ends_within(container, deadline - time.monotonic()):
            send(container, signal.SIGKILL)
    return [container for container in stopped if not is_gone(container)]


def is_gone(container: Container) -> bool:
    """Wait a while for the end of a container that was killed, and for its monitor's."""
    if not ends_within(container, KILL_SECONDS):
        return False
    if container.is_seen():
        container.monitor.ends_within(KILL_SECONDS)
    return container.state() == "exited"  # an end that the monitor could not record is recorded now


def send(container: Container, number: signal.Signals) -> None:
    """Send a signal to PID 1 of the container, and to no other process, whatever its PID is."""
    wait_until_started(container)
    if container.process and container.is_seen():
        with contextlib.suppress(ProcessLookupError), container.process.held() as handle:
            signal.pidfd_send_signal(handle, number)


def ends_within(container: Container, seconds: float) -> bool:
    if container.process is None or not container.is_seen():
        return True
    return container.process.ends_within(max(0.0, seconds))


def wait_until_started(container: Container) -> None:
    """A container that is about to start has no process yet to send a signal to."""
    deadline = time.monotonic() + START_SECONDS
    while container.state() == "created" and time.monotonic() < deadline:
        time.sleep(0.005)
        container.read_again()


def kill(container: Container) -> None:
    """End a container at once. Afterwards nothing of it runs, and nobody monitors it.

    Raises TimeoutError where it is still running after SIGKILL.
    """
    send(container, signal.SIGKILL)
    if not ends_within(container, KILL_SECONDS):
        raise TimeoutError(errno.ETIMEDOUT, "it is still running after SIGKILL", "kill it")
    if not container.monitor.ends_within(MONITOR_SECONDS) and container.is_seen():
        # It waits for something else, such as a caller that does not read what it passes on.
        with contextlib.suppress(ProcessLookupError), container.monitor.held() as handle:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        container.monitor.ends_within(KILL_SECONDS)


def remove(container: Container) -> None:
    """Remove all that is of a container that has ended. Raises Gone where somebody else has.

    The record goes last: if we are killed before that, there is something to remove again.
    """
    if container.is_seen():
        container.monitor.ends_within(KILL_SECONDS)  # with --rm it removes the same things
    try:
        with container.locked():
            groups.find(f"mydocker-{container.identity}").end()
            remove_files(container)
    except FileNotFoundError as error:
        raise Gone from error


def remove_files(container: Container) -> None:
    """Its layer and its record, and with the last of them an image that was replaced."""
    layer.remove(container.name)
    container.remove()
    image.remove_replaced(container.image)


def remove_broken(name: str) -> None:
    """Remove a record that cannot be read, and what runs in the groups that it may still name.

    Not where it is another container's id that it names. Raises Gone where somebody else has
    removed it: the name can be another one's by now.
    """
    directory = f"{containers()}/{name}"
    if os.path.islink(directory) or not os.path.isdir(directory):
        return paths.remove_tree(directory)  # a file, or a link: nobody's
    try:
        with paths.locked(directory) as handle:
            if not paths.is_still(directory, handle) or not is_broken(name):
                raise Gone
            remove_what_is_broken(name)
    except FileNotFoundError as error:
        raise Gone from error


def remove_what_is_broken(name: str) -> None:
    directory = f"{containers()}/{name}"
    identity = record.id_in(f"{directory}/{RECORD}")
    known = {container.identity for container in all_containers(lambda path: None)}
    if identity and identity not in known:
        groups.find(f"mydocker-{identity}").end()
    layer.remove(name)
    paths.remove_tree(directory)
