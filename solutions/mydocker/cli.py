"""What the user typed: commands, options, values. The grammar is that of the `docker` command.

`run` is read here by hand: options end at IMAGE, and what follows belongs to the container.
(argparse does not stop there.) Most of the time of a start goes into imports: what few commands
need is imported where they need it, here and elsewhere.
"""

import signal
from collections.abc import Callable

from mydocker.cgroups.limits import (
    read_cpu_shares,
    read_cpus,
    read_memory,
    read_pids_limit,
    whole_number,
)
from mydocker.environment import read_file, read_variable
from mydocker.errors import (
    FAILED,
    UNREAD,
    MydockerError,
    Unread,
    complain,
    from_kernel,
    say,
)
from mydocker.spec import ContainerSpec, ExecSpec
from mydocker.volume import read_volume, refuse_twice

HELP = """\
Usage: mydocker run [OPTIONS] IMAGE [COMMAND] [ARG...]
       mydocker import FILE|- IMAGE
       mydocker commit CONTAINER [IMAGE]
       mydocker images
       mydocker ps [-a] [-q] [--no-trunc] [--format json]
       mydocker logs [-f] [--tail N] CONTAINER
       mydocker exec [-i] [-t] [-e NAME[=VALUE]] CONTAINER COMMAND [ARG...]
       mydocker stop [-t SECONDS] CONTAINER...
       mydocker rm [-f] CONTAINER...
       mydocker network create [OPTIONS] NAME
       mydocker network ls [-q] [--no-trunc] [--format json]
       mydocker network inspect NETWORK...
       mydocker network rm NETWORK...

Run a command in a new container, make an image from a tar file or a container, list the images,
list the containers that run or, with -a, all; show what one has written, run a command in one, stop
some, remove some; create networks, list them, show what is known of some, remove some.

Options of run:
  -d, --detach        Leave the container running, print its ID
  -i, --interactive   Keep stdin attached
  -t, --tty           Give the command a terminal of its own
      --rm            Remove the container when it ends
      --name NAME     Give the container a name
  -v, --volume HOST:CONTAINER[:ro|rw]
                      Let the container see a file or directory of the host
  -e, --env NAME=VALUE
                      Set a variable; -e NAME takes the caller's value
      --env-file FILE Set those of a file, a line each
  -m, --memory SIZE   Limit the memory, swap included, such as 64m
      --cpu-shares N  Weight of its CPU time beside others' (default 1024)
      --cpuset-cpus LIST
                      Run on these CPUs only, such as 0-1,3
      --pids-limit N  Limit the number of processes

Options of network create:
  -d, --driver NAME   What makes it; there is only bridge
      --subnet CIDR   Its addresses, such as 10.1.0.0/16 (default: a free one)
      --gateway IP    The address of the bridge (default: the first one)
      --ip-range CIDR The addresses for containers (default: all others)
      --internal      No way out
"""

NAME_LENGTH = 128
LINES_MOST = 1 << 62  # more than there can be, and still a size for Python
LONGEST_SECONDS = 1_000_000  # what poll(2) can wait for


class RunRequest(ContainerSpec):
    """What stands behind `run`."""

    help = False


class Help:
    """What the commands that only have --help ask for."""

    def __init__(self) -> None:
        self.help = False


class PsRequest(Help):
    """What a `ps` asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.all = False
        self.quiet = False
        self.no_trunc = False
        self.format: str | None = None


class StopRequest(Help):
    """What a `stop` asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 10


class RmRequest(Help):
    """What a `rm` asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.force = False


class ExecRequest(ExecSpec):
    """What stands behind `exec`."""

    help = False


class LogsRequest(Help):
    """What a `logs` asks for. tail: how many lines from the end, None for all."""

    def __init__(self) -> None:
        super().__init__()
        self.follow = False
        self.tail: int | None = None


def main(arguments: list[str]) -> int:
    """Carry out one command line. Returns the exit status; errors are told on stderr."""
    try:
        forget_the_callers_signals()
        return dispatch(arguments)
    except MydockerError as error:
        complain(str(error), error.details)
        return error.status
    except OSError as error:
        failure = unforeseen(arguments[0], error)
        complain(str(failure))
        return failure.status
    except Unread:
        return UNREAD
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell counts it


def forget_the_callers_signals() -> None:
    """Take back what exec(2) has kept of whoever called us: signals ignored, signals blocked.

    Where SIGCHLD is ignored, a child that ends is gone at once, and nobody learns how it ended.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def unforeseen(command: str, error: OSError) -> MydockerError:
    """What to tell of a system call that failed under a command."""
    if command in ("run", "exec"):
        return from_kernel(error, command=command)
    tried = f"{command}: {error.filename}" if error.filename else command
    return MydockerError(tried, error.strerror or str(error), FAILED)


def dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        return show_help()
    command, words = arguments[0], arguments[1:]
    if command == "run":
        from mydocker.commands.run import run

        request = read_run(words)
        return show_help() if request.help else run(request)
    if words[:1] in (["-h"], ["--help"]):
        return show_help()
    if command == "import":
        from mydocker.commands.import_ import import_

        source, name = read_words(command, words, "FILE|-", "IMAGE")
        return import_(source, str(checked(image_name, "import IMAGE", name)))
    if command == "commit":
        from mydocker.commands.commit import commit

        given = Grammar(command, {}, {}).read(Help(), words)
        if len(given) == 1:
            given.append(name_of(given[0]))  # an image that is called as the container is
        container, name = counted(command, given, "CONTAINER", "[IMAGE]")
        return commit(container, str(checked(image_name, "commit IMAGE", name)))
    if command == "ps":
        from mydocker.commands.ps import ps

        listing = PsRequest()
        given = PS.read(listing, words)
        if listing.help:
            return show_help()
        counted(command, given)
        return ps(listing)
    if command == "logs":
        from mydocker.commands.logs import logs

        reading = LogsRequest()
        given = LOGS.read(reading, words)
        return show_help() if reading.help else logs(reading, *counted(command, given, "CONTAINER"))
    if command == "exec":
        from mydocker.commands.exec import exec_

        joining = ExecRequest()
        given = EXEC.read(joining, words)
        if joining.help:
            return show_help()
        if len(given) < 2:
            raise MydockerError("exec", "usage: exec CONTAINER COMMAND [ARG...]", FAILED)
        joining.container, *joining.command = given
        return exec_(joining)
    if command == "stop":
        from mydocker.commands.stop import stop

        stopping = StopRequest()
        given = STOP.read(stopping, words)
        if stopping.help:
            return show_help()
        return stop(one_at_least(command, given), stopping.seconds)
    if command == "rm":
        from mydocker.commands.rm import rm

        removing = RmRequest()
        given = RM.read(removing, words)
        if removing.help:
            return show_help()
        return rm(one_at_least(command, given), removing.force)
    if command == "network":
        from mydocker.commands.network import network_

        return network_(words)
    if command == "images":
        from mydocker.commands.images import images

        read_words(command, words)
        return images()
    raise MydockerError(command, "no such command, see 'mydocker --help'", FAILED)


def show_help() -> int:
    say(HELP, "help")
    return 0


def read_words(command: str, words: list[str], *meanings: str) -> list[str]:
    """The words behind a command that has no options, as many as there are meanings of them."""
    return counted(command, Grammar(command, {}, {}).read(Help(), words), *meanings)


def name_of(container: str) -> str:
    from mydocker.container import find

    return find(container, f"commit {container}").name


def one_at_least(command: str, given: list[str]) -> list[str]:
    if not given:
        raise MydockerError(command, f"usage: {command} CONTAINER [CONTAINER...]", FAILED)
    return given


def counted(command: str, given: list[str], *meanings: str) -> list[str]:
    """These words, if they are as many as their meanings. Raises MydockerError otherwise."""
    if len(given) != len(meanings):
        wanted = " ".join([command, *meanings])
        raise MydockerError(" ".join([command, *given]), f"usage: {wanted}", FAILED)
    return given


def read_run(words: list[str]) -> RunRequest:
    """Read what stands behind `run`. Raises MydockerError that names the wrong word."""
    request = RunRequest()
    rest = RUN.read(request, words)
    if request.help:
        return request
    if not rest:
        raise MydockerError("run", "IMAGE is missing, see 'mydocker run --help'", FAILED)
    request.image = str(checked(image_name, "run IMAGE", rest[0]))
    request.command = rest[1:]
    refuse_twice(request.volumes, [volume.target for volume in request.volumes])
    if not request.command:
        raise MydockerError(f"run {request.image}", "no command given, and none in the image")
    return request


class Grammar:
    """The options of a command.

    flags: which attribute an option without a value sets. values: which one an option with a value
    sets, and what reads the value. anywhere: whether options may also stand behind other words.
    """

    def __init__(
        self,
        command: str,
        flags: dict[str, str],
        values: dict[str, tuple[str, Callable[[str], object]]],
        anywhere: bool = True,
    ) -> None:
        self.command = command
        self.flags = {"--help": "help", **flags}
        self.values = values
        self.anywhere = anywhere

    def read(self, request: object, words: list[str]) -> list[str]:
        """Set what the options ask for. Returns the other words."""
        rest, others = list(words), []
        while rest:
            word = rest.pop(0)
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                others.append(word)
                if not self.anywhere:
                    break
            elif word.startswith("--"):
                option, equals, value = word.partition("=")
                self.set_option(request, option, value if equals else None, rest)
            else:
                self.read_letters(request, word[1:], rest)
        return others + rest

    def read_letters(self, request: object, letters: str, rest: list[str]) -> None:
        """Set options by their letters: `-it`, `-x=VALUE`, and `-xVALUE` where x takes one."""
        tried = f"{self.command} -{letters}"
        while letters:
            option, letters = f"-{letters[0]}", letters[1:]
            if option not in self.flags and option not in self.values:
                raise MydockerError(tried, f"no such option {option}, see 'mydocker --help'")
            value = None
            if letters and (option in self.values or letters.startswith("=")):
                value, letters = letters.removeprefix("="), ""
            self.set_option(request, option, value, rest)

    def set_option(self, request: object, option: str, value: str | None, rest: list[str]) -> None:
        """Set one option; `value` is what was attached to it, else it is the first of `rest`."""
        tried = f"{self.command} {option}"
        if option in self.flags:
            value = "true" if value is None else value
            setattr(request, self.flags[option], checked(boolean, tried, value))
        elif option in self.values:
            if value is None:
                if not rest:
                    raise MydockerError(tried, "a value is missing")
                value = rest.pop(0)
            attribute, read = self.values[option]
            wanted = checked(read, tried, value)
            if isinstance(wanted, dict):
                getattr(request, attribute).update(wanted)
            elif attribute in REPEATED:
                getattr(request, attribute).append(wanted)
            else:
                setattr(request, attribute, wanted)
        else:
            raise MydockerError(tried, "no such option, see 'mydocker --help'")


def checked(read: Callable[[str], object], what: str, value: str) -> object:
    """Read a value; one that is wrong is told together with what it was meant for."""
    try:
        return read(value)
    except ValueError as error:
        raise MydockerError(f"{what} '{value}'", str(error)) from error


def boolean(text: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise ValueError("neither true nor false")


def one_format(text: str) -> str:
    if text != "json":
        raise ValueError("the only format is json")
    return text


def number_of_seconds(text: str) -> int:
    return min(whole_number(text, "a number of seconds is a whole number"), LONGEST_SECONDS)


def number_of_lines(text: str) -> int | None:
    if text == "all":
        return None
    return min(whole_number(text, "a number of lines, or all"), LINES_MOST)


def container_name(text: str) -> str:
    if len(text) < 2 or not of_name_characters(text):
        raise ValueError("a container's name is [a-zA-Z0-9][a-zA-Z0-9_.-]+")
    return text


def image_name(text: str) -> str:
    if text != text.lower() or not of_name_characters(text):
        raise ValueError("an image's name is [a-z0-9][a-z0-9_.-]*")
    if text.endswith(".tar"):
        raise ValueError("an image's name does not end in .tar")
    return text


def of_name_characters(text: str) -> bool:
    if len(text) > NAME_LENGTH:
        raise ValueError(f"a name has {NAME_LENGTH} characters at most")
    return text[:1].isalnum() and text.isascii() and all(c.isalnum() or c in "_.-" for c in text)


FLAGS = {
    "-d": "detach",
    "--detach": "detach",
    "-i": "interactive",
    "--interactive": "interactive",
    "-t": "tty",
    "--tty": "tty",
    "--rm": "rm",
}

# an option that takes a value: the attribute that it sets, and what reads the value
VALUES: dict[str, tuple[str, Callable[[str], object]]] = {
    "--name": ("name", container_name),
    "-e": ("environment", read_variable),
    "--env": ("environment", read_variable),
    "--env-file": ("environment_of_files", read_file),
    "-v": ("volumes", read_volume),
    "--volume": ("volumes", read_volume),
    "-m": ("memory", read_memory),
    "--memory": ("memory", read_memory),
    "--cpu-shares": ("cpu_shares", read_cpu_shares),
    "--cpuset-cpus": ("cpus", read_cpus),
    "--pids-limit": ("pids", read_pids_limit),
}

REPEATED = {"volumes"}  # attributes that each option adds to

RUN = Grammar("run", FLAGS, VALUES, anywhere=False)

PS = Grammar(
    "ps",
    {"-a": "all", "--all": "all", "-q": "quiet", "--quiet": "quiet", "--no-trunc": "no_trunc"},
    {"--format": ("format", one_format)},
)

LOGS = Grammar(
    "logs", {"-f": "follow", "--follow": "follow"}, {"--tail": ("tail", number_of_lines)}
)

EXEC = Grammar(
    "exec",
    {"-i": "interactive", "--interactive": "interactive", "-t": "tty", "--tty": "tty"},
    {"-e": ("environment", read_variable), "--env": ("environment", read_variable)},
    anywhere=False,
)

STOP = Grammar(
    "stop", {}, {"-t": ("seconds", number_of_seconds), "--time": ("seconds", number_of_seconds)}
)

RM = Grammar("rm", {"-f": "force", "--force": "force"}, {})
