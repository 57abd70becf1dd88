"""mydocker run: a command in a new container."""

import os

from mydocker import launch
from mydocker.errors import FAILED, MydockerError, Unread, say
from mydocker.spec import ContainerSpec
from mydocker.streams import fill_standard_streams


def run(spec: ContainerSpec) -> int:
    """Run the command in a container of its own and wait for it. Returns its exit status.

    With -d print its ID and leave it running.
    """
    if spec.interactive and spec.tty and not spec.detach and not os.isatty(0):
        raise MydockerError("run -it", "stdin is not a terminal", FAILED)
    fill_standard_streams()
    identity = os.urandom(32).hex()
    if spec.detach:
        launch.detach(identity, spec)
        tell(identity)
        return 0
    return launch.run(identity, spec, lambda: None)


def tell(identity: str) -> None:
    """Print the ID; on stderr if stdout takes none, or nobody could find out what runs now."""
    try:
        say(f"{identity}\n", "run -d")
    except Unread as error:
        raise MydockerError(f"run -d: {identity} runs", "nobody reads stdout") from error
    except MydockerError as error:
        raise MydockerError(f"run -d: {identity} runs; stdout", error.why) from error
