"""How the tool speaks: consoles, pagers, the words that a person is to type."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dojo.clone import Clone
from dojo.rows import NAME_WIDTH, laid_out, readable


def console() -> Console:
    """A console on stdout that goes on working while pytest captures stdout.

    Its size is fixed here: it cannot be asked for while standard streams lead elsewhere.
    """
    size = shutil.get_terminal_size()
    return Console(
        file=_copy_of(sys.stdout),
        width=size.columns if sys.stdout.isatty() else 200,
        height=size.lines if sys.stdout.isatty() else None,
        highlight=False,
        emoji=False,
    )


def _copy_of(stream: TextIO) -> TextIO:
    """The same file by another descriptor; the stream itself where it has none."""
    try:
        descriptor = os.dup(stream.fileno())
    except (UnsupportedOperation, OSError):
        return stream
    stream.flush()
    return os.fdopen(descriptor, "w", encoding=stream.encoding, errors="replace", buffering=1)


def say(console: Console, *renderables: RenderableType) -> None:
    """Print, wrapped to the terminal, and as long as they are elsewhere.

    Texts are printed as they are: what stands in brackets, as in a test's name, is no markup.
    """
    for renderable in renderables:
        shown = Text(renderable) if isinstance(renderable, str) else renderable
        console.print(shown, soft_wrap=not console.is_terminal)


def command(*words: str, as_root: bool = False) -> str:
    """What a person types to have this tool do something.

    as_root: it is a command that needs root.
    """
    tool = "kata" if sys.platform == "win32" else "./kata"
    sudo = as_root and sys.platform != "win32" and _is_typed_by_another()
    return shlex.join([*(["sudo"] if sudo else []), tool, *words])


def own_mydocker(*words: str) -> str:
    """What a learner types on Linux, in the clone, to run the `mydocker` in there by hand."""
    of_the_clone = Path(sys.executable).is_relative_to(Path.cwd())
    python = os.path.relpath(sys.executable) if of_the_clone else "python3"
    sudo = ["sudo"] if _is_typed_by_another() else []
    return shlex.join([*sudo, python, "-m", "mydocker", *words])


def _is_typed_by_another() -> bool:
    """Whether who types is not root, and needs sudo."""
    return os.geteuid() != 0 or "SUDO_USER" in os.environ


def marks(console: Console) -> dict[str, Text]:
    """The signs of what became of something, in what the console's encoding has."""
    plain = not _can_say(console, "✔✘·")
    return {
        "passed": Text("+" if plain else "✔", "green"),
        "failed": Text("x" if plain else "✘", "red"),
        "skipped": Text("-" if plain else "–", "yellow"),  # noqa: RUF001 # a dash is meant
        "waiting": Text("." if plain else "·", "dim"),
    }


def bar(console: Console, green: int, red: int, total: int, width: int = 20) -> Text:
    """A bar of tests: those that passed, those that failed, those that were not run."""
    full, empty = ("━", "─") if _can_say(console, "━─") else ("=", "-")
    greens = width * green // total if total else 0
    reds = min(width - greens, max(1, round(width * red / total))) if red else 0
    rest = width - greens - reds
    return Text.assemble((full * greens, "green"), (full * reds, "red"), (empty * rest, "dim"))


def _can_say(console: Console, text: str) -> bool:
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def of(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def next_steps(console: Console, steps: Iterable[tuple[str, str]]) -> None:
    """What can be typed next. steps: pairs of a command and what it is for."""
    rows = list(steps)
    width = max(len(typed) for typed, _ in rows)
    for number, (typed, purpose) in enumerate(rows):
        head = "Next  " if number == 0 else "      "
        line = Text.assemble((head, "bold"), (typed.ljust(width), "cyan"), "  ", purpose)
        say(console, line)


# What a failing test teaches -----------------------------------------------------------------


def lesson(console: Console, text: str) -> RenderableType:
    """The text of a failed test, with its rows told apart.

    text: as `lesson_of` of the plugin makes it: a title, then rows of a name and a text, whose
    further lines are indented as deep as their first. Any other text is shown as it is.
    """
    title, *lines = text.split("\n")
    rows = list(_rows(lines))
    if not rows:
        return Text(readable(text, most=50_000, lines=500))
    return Group(Text(title, "bold"), table(console, rows))


def table(console: Console, rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Rows of a name and a text, wrapped where there is a terminal."""
    if not console.is_terminal:
        return Text(laid_out(rows, NAME_WIDTH, margin=2, gap=1))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=NAME_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name, "dim"), Text(text, STYLES.get(name, "")))
    return Padding(grid, (0, 0, 0, 2))


STYLES = {
    "ran": "bold cyan",
    "expected": "green",
    "problem": "red",
    "error": "red",
    "left": "red",
    "found": "red",
    "why": "italic",
    "read": "cyan",
    "where": "bold cyan",
}


_NAME = re.compile(r"[a-z]+( [a-z]+)?")  # "found", "held up"


def _rows(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The rows of a lesson; none if the lines are not those of a lesson."""
    rows: list[tuple[str, list[str]]] = []
    deep = " " * (2 + NAME_WIDTH + 1)
    for line in lines:
        name, content = line[2 : len(deep) - 1].strip(), line[len(deep) :]
        if line.startswith(deep) and rows:
            rows[-1][1].append(content)
        elif line.startswith("  ") and _NAME.fullmatch(name) and line[len(deep) - 1 :][:1] == " ":
            rows.append((name, [content]))
        else:
            return iter(())
    return iter([(name, "\n".join(content)) for name, content in rows])


# Pagers --------------------------------------------------------------------------------------


@contextmanager
def paged() -> Iterator[Console]:
    """A console whose output goes through a pager if stdout is a terminal, else to stdout."""
    argv = _pager()
    if argv is None:
        yield console()
        return
    environment = {"LESS": "FRX"} | os.environ  # as git: colours, and no pager for a short text
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment, text=True) as pager:
        assert pager.stdin is not None
        with suppress(BrokenPipeError):  # a person who has seen enough
            yield Console(
                file=pager.stdin,
                width=min(100, shutil.get_terminal_size().columns),
                force_terminal=True,
                highlight=False,
            )
        with suppress(BrokenPipeError):
            pager.stdin.close()


def _pager() -> list[str] | None:
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        return None
    for wanted in (os.environ.get("PAGER"), "less"):
        argv = shlex.split(wanted or "")
        if argv and shutil.which(argv[0]):
            return None if argv[0] == "cat" else argv
    return None


def shown(path: Path, clone: Clone) -> str:
    """A path as a person in the clone would write it."""
    return str(path.relative_to(clone.root) if path.is_relative_to(clone.root) else path)
