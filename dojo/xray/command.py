"""`kata xray`: find the container that was typed, look at it, show it."""

import errno
import json
import os
import select
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dojo.errors import KataError
from dojo.screens import command, next_steps, say
from dojo.xray import data, drawing, finding, pages, picture, texts
from dojo.xray.finding import Candidate
from dojo.xray.kernel import Ended, Process
from dojo.xray.picture import Xray

SECONDS = 0.5  # between two looks of --live


def show(
    typed: str | None,
    console: Console,
    as_json: bool,
    live: bool,
    svg: Path | None,
    html: Path | None,
) -> None:
    """X-ray the container that was typed, or the only one; without one, list those there are.

    svg, html: files to draw into; then nothing is drawn on the console. Raises KataError where
    there is nothing to see, or a file cannot be written.
    """
    wants_one = as_json or live or svg is not None or html is not None
    if live and (as_json or svg is not None or html is not None):
        raise KataError("xray: --live draws on the terminal: leave out --json, --svg, --html")
    _must_be_possible()
    drawing.wide_enough(console)
    first = finding.find(typed) if typed is not None else _the_only_one(console, wants_one)
    if first is None:
        return
    shown = typed or str(first.pid)
    if live:
        _follow(first, shown, console)
        return
    xray = _look(first, shown)
    title = f"kata xray {texts.printable(shown)}"
    written = _write_all({svg: pages.svg, html: pages.html}, xray, title)
    if as_json:
        print(json.dumps(data.of(xray), indent=2))
    elif written:
        for path in written:
            if not _is_special(path):
                say(console, Text(f"Drawn into {texts.printable(str(path))}."))
    else:
        console.print(drawing.Picture(xray))


def _must_be_possible() -> None:
    if sys.platform != "linux":
        raise KataError(
            "xray: containers are Linux processes: look at them in the virtual machine, "
            f"{command('lab', 'ssh')}"
        )
    if not _is_own_proc():
        raise KataError(
            "xray: /proc does not show the PID namespace that this is run in: "
            "mount -t proc proc /proc"
        )
    if os.geteuid() != 0:
        raise KataError(f"xray: only root sees into containers: {command('xray', as_root=True)}")


def _is_own_proc() -> bool:
    """Whether PIDs are the same in /proc as in what the kernel is asked otherwise."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _the_only_one(console: Console, wants_one: bool) -> Process | None:
    """The container, if there is but one. Lists them if there are more."""
    there = finding.containers()
    if not there:
        raise KataError("xray: there is no container here that the kernel shows")
    if len(there) == 1:
        return there[0].process
    if wants_one:
        pids = ", ".join(str(each.process.pid) for each in there)
        raise KataError(f"xray: which container? There are {len(there)}, with PIDs {pids}")
    _list(there, console)
    return None


def _list(there: list[Candidate], console: Console) -> None:
    grid = Table("PID", "ID", "NAME", "HOSTNAME", "COMMAND", box=None, header_style="dim")
    for each in there:
        words = (str(each.process.pid), each.identity[:12], each.name or each.group, each.hostname)
        cells = [texts.cut(word, 24) for word in words]
        grid.add_row(*map(Text, cells), Text(texts.cut(each.process.command, 40)))
    say(console, grid, "")
    typed = command("xray", str(there[0].process.pid), as_root=True)
    next_steps(console, [(typed, "look at one of them, by PID, id or name")])


def _look(first: Process, shown: str) -> Xray:
    try:
        return picture.take(first)
    except Ended as error:
        raise KataError(f"xray: {shown}: it has ended while it was looked at") from error


def _follow(first: Process, shown: str, console: Console) -> None:
    """Look again and again, until it has ended. Where there is no terminal, show the last only."""
    look = _look(first, shown)
    try:
        ended = os.pidfd_open(first.pid)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EINVAL):  # the same, until Linux 6.16
            raise
        raise KataError(f"xray: {shown}: it has ended while it was looked at") from error
    live = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal else None
    try:
        with live or nullcontext(), suppress(Ended):  # between two questions to the kernel
            while True:
                if live:
                    live.update(drawing.Picture(look, moving=True), refresh=True)
                if select.select([ended], [], [], SECONDS)[0]:
                    break
                look = picture.take(first)
    finally:
        os.close(ended)
    console.print(drawing.Picture(look))  # as it was last: what the screen showed is gone
    name = texts.printable(shown)
    say(console, Text(f"{name} has ended, at {time.strftime('%H:%M:%S')}.", "bold"))


# Files -----------------------------------------------------------------------------------------


def _write_all(
    wanted: dict[Path | None, Callable[[Xray, str], str]], xray: Xray, title: str
) -> list[Path]:
    """Draw into each of the files that were asked for. Returns them."""
    written = []
    for path, draw in wanted.items():
        if path is not None:
            _write(path, draw(xray, title))
            written.append(path)
    return written


def _write(path: Path, text: str) -> None:
    """Whole, or not at all. Raises KataError naming the file as it was typed."""
    try:
        if _is_special(path):
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise KataError(f"xray: {texts.printable(str(path))}: {reason}") from error


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a terminal, a device: to be written to, not to be replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _replace(target: Path, text: str) -> None:
    """Put a new file in the place of what is there. It belongs to whoever called sudo."""
    with tempfile.NamedTemporaryFile(
        "w", dir=target.parent, prefix=".kata-xray-", delete=False, encoding="utf-8"
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            if "SUDO_UID" in os.environ:
                user, group = os.environ["SUDO_UID"], os.environ.get("SUDO_GID", "-1")
                os.fchown(file.fileno(), int(user), int(group))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
