"""Other engines as the program under test: `--mydocker docker`, `--mydocker podman`.

The chapters' tests know a command line and what the kernel shows, so a real engine can take them.
It runs on a test host that it keeps for the whole test run, since a daemon takes seconds to
start; after each test its own `rm -f` clears away what the test made.
"""

from dojo.engines.docker import Docker
from dojo.engines.engine import Engine, EngineHost
from dojo.engines.podman import Podman

__all__ = ["NAMES", "Docker", "Engine", "EngineHost", "Podman", "kind_of"]

_KINDS: dict[str, type[Engine]] = {"docker": Docker, "podman": Podman}
NAMES = tuple(_KINDS)


def kind_of(command: str) -> type[Engine] | None:
    """The engine that a program under test is, by its name; None if it is none."""
    return _KINDS.get(command.rpartition("/")[2])
