"""What a container finds in its environment: what is said here, and what the user asks for."""

import codecs
import os

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # Docker's own default

# A name without "=", for the caller's value. None: the caller has none, so there is to be none.
Variables = dict[str, str | None]


def given(hostname: str, tty: bool, asked_for: Variables) -> dict[str, str]:
    """The whole environment of a command. asked_for: overrides what is set otherwise."""
    usual = {"PATH": PATH, "HOSTNAME": hostname, "HOME": "/root"}
    if tty:
        usual["TERM"] = "xterm"
    return changed(usual, asked_for)


def changed(environment: dict[str, str], by: Variables) -> dict[str, str]:
    together: Variables = {**environment, **by}
    return {name: value for name, value in together.items() if value is not None}


def read_variable(text: str) -> Variables:
    """What `-e NAME=VALUE` or `-e NAME` asks for. Raises ValueError."""
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError("a variable is NAME=VALUE, or the NAME of one of the caller's")
    return {name: value if equals else os.environ.get(name)}


def read_file(path: str) -> Variables:
    """What `--env-file PATH` asks for: a variable a line, nothing unquoted. Raises ValueError."""
    found: Variables = {}
    try:
        with open(path, "rb") as file:
            content = file.read().removeprefix(codecs.BOM_UTF8)  # some editors' way to begin a file
            lines = os.fsdecode(content).split("\n")
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix("\r").lstrip()
        if text and not text.startswith("#"):
            name = text.partition("=")[0]
            if any(character.isspace() for character in name):
                raise ValueError(f"line {number}: there is a blank in the name '{name}'")
            if "\0" in text:
                raise ValueError(f"line {number}: there is a zero byte in it")
            try:
                found |= read_variable(text)
            except ValueError as error:
                raise ValueError(f"line {number}, '{text}': {error}") from error
    return found
