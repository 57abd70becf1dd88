"""What the user typed: commands, options, values. The grammar is that of the `docker` command.

`run` is read here by hand: options end at IMAGE, and what follows belongs to the container.
(argparse does not stop there.) Most of the time of a start goes into imports: what few commands
need is imported where they need it, here and elsewhere.
"""

from collections.abc import Callable

from mydocker.errors import (
    FAILED,
    MYDOCKER_FAILED,
    UNREAD,
    MydockerError,
    Unread,
    complain,
    from_kernel,
    say,
)
from mydocker.spec import ContainerSpec

HELP = """\
Usage: mydocker run [OPTIONS] IMAGE [COMMAND] [ARG...]

Run a command in a new container.

Options:
  -i, --interactive   Keep stdin attached
  -t, --tty           Hand the terminal on to the command
      --rm            Remove the container when it ends
      --name NAME     Give the container a name
"""

NAME_LENGTH = 128


class RunRequest(ContainerSpec):
    """What stands behind `run`."""

    help = False


def main(arguments: list[str]) -> int:
    """Carry out one command line. Returns the exit status; errors are told on stderr."""
    try:
        return dispatch(arguments)
    except MydockerError as error:
        complain(str(error), error.details)
        return error.status
    except OSError as error:
        complain(str(from_kernel(error)))
        return MYDOCKER_FAILED
    except Unread:
        return UNREAD
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell counts it


def dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        return show_help()
    if arguments[0] == "run":
        from mydocker.commands.run import run

        request = read_run(arguments[1:])
        return show_help() if request.help else run(request)
    raise MydockerError(arguments[0], "no such command, see 'mydocker --help'", FAILED)


def show_help() -> int:
    say(HELP, "help")
    return 0


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
            setattr(request, attribute, checked(read, tried, value))
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
    "-i": "interactive",
    "--interactive": "interactive",
    "-t": "tty",
    "--tty": "tty",
    "--rm": "rm",
}

# an option that takes a value: the attribute that it sets, and what reads the value
VALUES: dict[str, tuple[str, Callable[[str], object]]] = {
    "--name": ("name", container_name),
}

RUN = Grammar("run", FLAGS, VALUES, anywhere=False)
