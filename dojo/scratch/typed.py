"""What a person types in a shell to have a program run as a test has run it.

What is the same for every call of a test is left out: the message is to say what was special. What
no shell can say stands behind it as a comment.
"""

import os
import re
import select
import shlex
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

LONGEST = 1000  # characters of a word; of a longer one the beginning is shown


class Before(tuple[str, ...]):
    """What starts a program in another way than usual, and how that is said in few words."""

    said: str

    def __new__(cls, words: Sequence[str], said: str) -> "Before":
        made = super().__new__(cls, words)
        made.said = said
        return made


def show_command(argv: Sequence[str | bytes]) -> str:
    return " ".join(_word(word) for word in argv)


def show_call(
    argv: Sequence[str | bytes],
    *,
    before: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | int | None = b"",
    holding: Sequence[int] = (),
    terminal: bool = False,
) -> str:
    """A call. See `TestHost.start`; env, cwd: None where they are the usual ones."""
    text, notes = show_command(argv), []
    if isinstance(before, Before):
        notes.append(before.said)
        before = ()
    text = _with_what_starts_it(text, before, _assignments(env or {}))
    if terminal:
        notes.append("on a terminal of its own")
    elif stdin is None:
        notes.append("stdin: a pipe that stays open")
    elif isinstance(stdin, bytes) and len(stdin) > _TYPED:
        notes.append(f"stdin: a pipe with {len(stdin)} bytes")
    elif isinstance(stdin, bytes):
        text = f"printf {_as_format(stdin)} | {text}" if stdin else text
    held = [] if terminal or not isinstance(stdin, int) else [(0, stdin)]
    for number, descriptor in [*held, *enumerate(holding, 3)]:
        redirection, note = _of_descriptor(number, descriptor)
        text += f" {redirection}" if redirection else ""
        notes += [note] if note else []
    text = f"cd {_word(str(cwd))} && {text}" if cwd is not None else text
    return f"{text}  # {'; '.join(notes)}" if notes else text


_TYPED = 200  # bytes of stdin that are shown


def _assignments(env: Mapping[str, str]) -> str:
    """What stands before a command that gets these variables, with a space at its end."""
    pairs = env.items()
    if all(re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) for name in env):
        return "".join(f"{name}={_word(value)} " for name, value in pairs)
    return f"env {' '.join(_word(f'{name}={value}') for name, value in pairs)} "


def _with_what_starts_it(command: str, before: Sequence[str], assignments: str) -> str:
    """A command with what starts it. A script of sh that does so is shown as one types it."""
    *front, script, _ = before if before[-4:-2] == ("sh", "-c") else ("", "")
    own = re.fullmatch(r'(exec )?"\$@"(?P<redirected>[ \w<>&/.-]*)', script)
    if own and len(front) == 2:
        return f"{assignments}{command}{own['redirected']}"
    others = re.sub(r'"\$@"', "", script)
    simple = script.count('"$@"') == 1 and not re.search(r"\$[$@*#0-9{]|\bshift\b|\n", others)
    if simple and len(front) == 2 and not assignments:
        within = re.sub(r'(exec )?"\$@"', lambda _: command, script)
        return f"({within})" if re.search("[;&]", others) else within
    return f"{assignments}{show_command(before)} {command}" if before else assignments + command


def _word(word: str | bytes) -> str:
    """A word as a shell takes it back: bytes that no terminal shows are escaped for it."""
    content = os.fsencode(word)
    text = content.decode(errors="surrogateescape")
    shown = text if len(text) <= LONGEST else text[:_BEGINNING]
    if all(c.isprintable() or c == "\n" for c in shown):
        quoted = shlex.quote(shown)
    else:
        quoted = f"$'{''.join(map(_escaped, shown))}'"  # bash and others; POSIX since 2024
    return quoted if shown == text else f"{quoted}…({len(text)} characters)"


_BEGINNING = 60


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    known = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
    return known.get(character) or "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _as_format(content: bytes) -> str:
    """What printf(1) writes these bytes for."""
    shown = []
    for character in content.decode(errors="surrogateescape"):
        doubled = {"%": "%%", "\\": "\\\\"}.get(character)
        shown.append(doubled or (character if character == "'" else _escaped(character)))
    if shown[0] == "-":  # it would be taken for an option
        shown[0] = r"\055"
    return shlex.quote("".join(shown))


def _of_descriptor(number: int, descriptor: int) -> tuple[str, str]:
    """How it is opened in a shell; where it cannot be, a comment on it."""
    import fcntl  # not where the tests are only looked for

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    mode = os.fstat(descriptor).st_mode
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    if path.startswith("/") and os.path.exists(path) and not os.isatty(descriptor):
        way = {os.O_RDONLY: "<", os.O_WRONLY: ">", os.O_RDWR: "<>"}[flags & os.O_ACCMODE]
        way = ">>" if flags & os.O_APPEND and way == ">" else way
        return f"{number or ''}{way} {_word(path)}", ""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a terminal"}
    what = kinds.get(stat.S_IFMT(mode), "a file without a name")
    if stat.S_ISFIFO(mode):
        what += _without_other_end(descriptor)
    what += ", non-blocking" if flags & os.O_NONBLOCK else ""
    return "", f"{'stdin' if number == 0 else f'descriptor {number}'}: {what}"


def _without_other_end(pipe: int) -> str:
    look = select.poll()
    look.register(pipe, 0)  # errors are told, whatever was asked for
    happened = dict(look.poll(0)).get(pipe, 0)
    if happened & select.POLLERR:
        return " that nobody reads"
    return " that nobody writes to" if happened & select.POLLHUP else ""
