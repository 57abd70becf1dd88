"""What is to be run. The command line fills it in, and both sides of a start go by it."""

from mydocker.cgroups.limits import Limits
from mydocker.environment import Variables
from mydocker.volume import Volume


class ContainerSpec:
    """What a `run` asks for. The attributes are the options' long names."""

    def __init__(self) -> None:
        self.detach = False
        self.interactive = False
        self.tty = False
        self.rm = False
        self.name: str | None = None
        self.volumes: list[Volume] = []
        self.environment: Variables = {}
        self.environment_of_files: Variables = {}
        self.memory: int | None = None
        self.cpu_shares: int | None = None
        self.cpus: frozenset[int] | None = None
        self.pids: int | None = None
        self.image = ""
        self.command: list[str] = []

    @property
    def limits(self) -> Limits:
        return Limits(self.memory, self.cpu_shares, self.cpus, self.pids)


class ExecSpec:
    """What an `exec` asks for."""

    def __init__(self) -> None:
        self.interactive = False
        self.tty = False
        self.environment: Variables = {}
        self.container = ""
        self.command: list[str] = []
