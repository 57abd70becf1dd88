"""What is known of a container: its record, `containers/NAME/config.json` below MYDOCKER_ROOT.

It is replaced in one rename, so that whoever reads it sees an old one or a new one, and needs no
lock. What it says is compared with what there is: a container whose monitor was killed has ended,
too, though nobody was left to record that.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from mydocker import paths, process
from mydocker.errors import FAILED, MydockerError
from mydocker.files import read
from mydocker.image import IMAGE_LINK, directory_by_key
from mydocker.process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KILLED = 137  # 128 + SIGKILL: how a container ends together with its monitor
KILL_SECONDS = 10.0  # SIGKILL works at once, but for a process that waits for a disk
RECORD = "config.json"
MONITORED = "monitored"  # a directory beside it that is locked as long as the monitor lives


class Container:
    """The attributes are what is recorded.

    driver: the storage driver of its layer. created, finished: in seconds since 1970. boot_id:
    which boot its processes are of. pid_namespace: where their PIDs are valid. monitor, process:
    the one outside, and PID 1 of the container once it has one.
    """

    def __init__(
        self,
        identity: str,
        name: str,
        image: str,
        command: list[str],
        environment: dict[str, str],
    ) -> None:
        self.identity = identity
        self.name = name
        self.image = image
        self.command = command
        self.environment = environment
        self.driver = ""
        self.created = time.time()
        self.boot_id = process.boot_id()
        self.pid_namespace: int | None = process.pid_namespace()
        self.monitor = Process.of(os.getpid())
        self.process: Process | None = None
        self.exit_status: int | None = None
        self.finished: float | None = None

    @property
    def directory(self) -> str:
        return f"{containers()}/{self.name}"

    def image_directory(self) -> str:
        """The files that it was started from. Raises OSError where they are gone."""
        return directory_by_key(os.readlink(f"{self.directory}/{IMAGE_LINK}"))

    # Recording

    def create(self, image_key: str) -> None:
        """Record it under its name, for which there is none yet. Raises MydockerError otherwise.

        image_key: which files it is started from. They are kept as long as the record is there.
        """
        paths.make_directory(paths.root(), 0o700)
        paths.make_directory(containers())
        remove_unfinished()
        new = f"{containers()}/{beginning()}{self.monitor.pid}-{self.monitor.start}"
        os.mkdir(new, 0o700)
        try:
            os.mkdir(f"{new}/{MONITORED}")
            monitored = os.open(f"{new}/{MONITORED}", os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(monitored, fcntl.LOCK_EX)  # until we end, in whatever way
            os.symlink(image_key, f"{new}/{IMAGE_LINK}")
            self.write(new)
            os.rename(new, self.directory)
        except OSError as error:
            paths.remove_tree(new)
            if os.path.isdir(self.directory):
                why = "there is a container of that name"
                raise MydockerError(f"run --name {self.name}", why) from error
            raise

    def has_started(self, pid: int) -> None:
        self.process = Process.of(pid)
        self.update()

    def has_ended(self, status: int) -> None:
        self.exit_status = status
        self.finished = time.time()
        self.update()

    def update(self, how: int = fcntl.LOCK_SH) -> None:
        """Record what it is now. Raises FileNotFoundError where its record is there no more."""
        with self.locked(how):
            self.write(self.directory)

    def write(self, directory: str) -> None:
        """Put the record into its directory, whole or not at all."""
        # `ps` may write it, too, and a PID is a process's own in one PID namespace only.
        new = f"{directory}/.{RECORD}.{process.pid_namespace()}.{os.getpid()}"
        try:
            with open(new, "wb") as file:
                file.write(os.fsencode(as_json(self.as_values()) + "\n"))
            os.rename(new, f"{directory}/{RECORD}")
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise

    def remove(self) -> None:
        paths.remove_tree(self.directory)

    @contextlib.contextmanager
    def locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        """Keep others from removing it. Raises FileNotFoundError where somebody has done so.

        Whatever is done to a container by its name is done in here: by now, the name can be another
        one's.
        """
        with paths.locked(self.directory, how) as handle:
            if not paths.is_still(self.directory, handle) or not self.is_recorded():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.directory)
            yield

    def is_recorded(self) -> bool:
        """Whether the record of that name is its own."""
        with contextlib.suppress(OSError, ValueError):
            text = read(f"{self.directory}/{RECORD}")
            as_written = text.startswith(as_json({"id": self.identity})[:-1])  # no need for `json`
            return as_written or load(self.name).identity == self.identity
        return False

    def as_values(self) -> dict[str, object]:
        of_process = self.process and vars(self.process)
        return {
            "id": self.identity,
            **{name: vars(self)[name] for name in SIMPLE},
            "monitor": vars(self.monitor),
            "process": of_process,
        }

    @classmethod
    def from_values(cls, values: "dict[str, Any]") -> "Container":
        """values: those of a record, checked."""
        found = cls.__new__(cls)
        found.identity = values["id"]
        for name in SIMPLE:
            setattr(found, name, values[name])
        found.monitor = Process(**values["monitor"])
        found.process = values["process"] and Process(**values["process"])
        return found

    # What it is doing

    def state(self) -> str:
        """It is "running", "exited" or "created". An end that nobody saw is recorded now."""
        if self.exit_status is not None:
            return "exited"
        if self.is_seen():
            is_monitored = self.is_monitored()
            if self.process and self.process.is_alive():
                if is_monitored or not self.ends_unmonitored(self.process):
                    return "running"
            elif is_monitored:
                return self.state_while_monitored()
        elif self.boot_id == process.boot_id() and self.is_monitored():
            return "running" if self.process else "created"
        self.died_unseen()
        return "exited"

    def is_seen(self) -> bool:
        """Whether the PIDs in the record mean here what they meant to whoever wrote them.

        They begin anew at each boot, and in each PID namespace.
        """
        here = self.pid_namespace in (None, process.pid_namespace())
        return here and self.boot_id == process.boot_id()

    def is_monitored(self) -> bool:
        """Whether its monitor lives. Who cannot see it asks for its lock, which is one for all."""
        if self.is_seen():
            return self.monitor.is_alive()
        try:
            with paths.locked(f"{self.directory}/{MONITORED}", fcntl.LOCK_SH | fcntl.LOCK_NB):
                return False
        except BlockingIOError:
            return True
        except OSError:  # it has been removed
            return False

    def refuse_unseen(self, tried: str) -> None:
        """Raises MydockerError where it runs, and its PIDs are those of others here."""
        if not self.is_seen() and self.state() != "exited":
            raise MydockerError(tried, "it runs in another PID namespace", FAILED)

    def read_again(self) -> bool:
        """Take what is recorded by now. Returns whether there still is a record, and no other's."""
        with contextlib.suppress(OSError, ValueError):
            found = load(self.name)
            if found.identity == self.identity:
                vars(self).update(vars(found))
                return True
        return False

    def state_while_monitored(self) -> str:
        """Either it is about to start, or it has just ended and its monitor is about to say so."""
        if self.process is None:
            return "created"
        self.exit_status = self.process.exit_status()
        self.finished = time.time()
        if self.exit_status is None:  # the monitor has waited for it: then it has also said so
            self.read_again()
        return "exited"

    def ends_unmonitored(self, first: Process) -> bool:
        """Kill its PID 1, which lives though its monitor was killed. Returns whether that ended it.

        It was to die with its monitor, but a change of its user ID takes that back: see prctl(2).
        """
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends by itself
            if f"/mydocker-{self.identity}" not in read(f"/proc/{first.pid}/cgroup"):
                return False  # the record is wrong, and the process another container's
        return first.is_killed_within(KILL_SECONDS)

    def died_unseen(self) -> None:
        """Its monitor was killed, or the machine went down: nobody else will record the end.

        It may have recorded it just before, after we had read the record.
        """
        is_recorded = self.read_again()
        if self.exit_status is None:
            self.exit_status = KILLED
            self.finished = time.time()
            if is_recorded and (self.is_seen() or self.boot_id != process.boot_id()):
                # It is the truth all the same, also where somebody is removing it.
                with contextlib.suppress(OSError):
                    self.update(fcntl.LOCK_SH | fcntl.LOCK_NB)


SIMPLE = (
    *("name", "image", "command", "environment", "driver"),
    *("created", "boot_id", "pid_namespace", "exit_status", "finished"),
)


def load(name: str) -> Container:
    """The container of that name. Raises OSError for no record, ValueError for a broken one."""
    from mydocker import record  # takes longer than all that a `run` does before its container runs

    return Container.from_values(record.values_of(f"{containers()}/{name}/{RECORD}", name))


def all_containers(tell: Callable[[str], None]) -> Iterator[Container]:
    """All of them, the newest first. tell: is called with the path of a corrupt record."""
    found = []
    for name in names():
        try:
            found.append(load(name))
        except (OSError, ValueError):
            if os.path.isdir(f"{containers()}/{name}"):  # it may have been removed meanwhile
                tell(f"{containers()}/{name}")
    yield from sorted(found, key=lambda container: container.created, reverse=True)


def names() -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [name for name in os.listdir(containers()) if not name.startswith(".")]
    return []


def find(wanted: str, tried: str, everyone: list[Container] | None = None) -> Container:
    """As `look_for`, but raises MydockerError also where there is none."""
    found = look_for(wanted, tried, everyone)
    if found is None:
        why = "its record cannot be read" if wanted in names() else "no such container"
        raise MydockerError(tried, why, FAILED)
    return found


def look_for(wanted: str, tried: str, everyone: list[Container] | None = None) -> Container | None:
    """The container of that ID, or of that name, or whose ID alone begins so; None for none.

    everyone: all containers, for who looks for many. Raises MydockerError where there is more than
    one.
    """
    if everyone is None:
        everyone = list(all_containers(lambda path: None))
    for matches in (
        [c for c in everyone if c.identity == wanted],
        [c for c in everyone if c.name == wanted],
        [c for c in everyone if wanted and c.identity.startswith(wanted)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise MydockerError(tried, f"{len(matches)} containers have an ID like that", FAILED)
    return None


def is_broken(name: str) -> bool:
    """Whether what is there of that very name, one of `names`, is no record."""
    try:
        load(name)
    except (OSError, ValueError):
        return os.path.lexists(f"{containers()}/{name}")
    return False


def containers() -> str:
    return f"{paths.root()}/containers"


def beginning() -> str:
    """How the name of an unfinished record begins: PIDs of another namespace say nothing here."""
    return f".new-{process.pid_namespace()}-"


def remove_unfinished() -> None:
    """Remove what a `run` that was killed had not put in its place yet, and a removal not away."""
    if not os.path.isdir(containers()):
        return
    paths.remove_leftovers(containers())
    for name in os.listdir(containers()):
        pid, _, start = name.removeprefix(beginning()).partition("-")
        is_ours = name.startswith(beginning()) and pid.isdecimal() and start.isdecimal()
        if is_ours and not Process(int(pid), int(start)).is_alive():
            paths.remove_tree(f"{containers()}/{name}")


def as_json(value: object) -> str:
    """A value as JSON. (To import `json` takes half as long as to start a container.)"""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_json(k)}: {as_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_json(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(escaped(character) for character in value) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)  # a number


def escaped(character: str) -> str:
    """What JSON has no letter for, surrogates of bytes that are no UTF-8 among it."""
    if character in '"\\' or character < " " or "\ud800" <= character <= "\udfff":
        return f"\\u{ord(character):04x}"
    return character
