"""mydocker run: a command in a new container."""

import os

from mydocker import launch
from mydocker.cgroups.limits import Limits
from mydocker.cli import RunRequest
from mydocker.errors import FAILED, MydockerError, Unread, say


def run(request: RunRequest) -> int:
    """Run the command in a container of its own and wait for it. Returns its exit status.

    With -d print its ID and leave it running.
    """
    if request.interactive and request.tty and not request.detach and not os.isatty(0):
        raise MydockerError("run -it", "stdin is not a terminal", FAILED)
    launch.fill_standard_streams()
    identity = os.urandom(32).hex()
    limits = Limits(request.memory, request.cpu_shares, request.cpus, request.pids)
    if request.detach:
        launch.detach(identity, request, limits)
        tell(identity)
        return 0
    return launch.run(identity, request, limits, lambda: None)


def tell(identity: str) -> None:
    """Print the ID; on stderr if stdout takes none, or nobody could find out what runs now."""
    try:
        say(f"{identity}\n", "run -d")
    except Unread as error:
        raise MydockerError(f"run -d: {identity} runs", "nobody reads stdout") from error
    except MydockerError as error:
        raise MydockerError(f"run -d: {identity} runs; stdout", error.why) from error
