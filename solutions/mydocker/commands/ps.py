"""mydocker ps: which containers there are, and what they are doing."""

import time

from mydocker.cli import PsRequest
from mydocker.container import Container, all_containers, as_json
from mydocker.errors import complain, say
from mydocker.table import aligned

COLUMNS = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES")
COMMAND_LENGTH = 20
SHORT_ID = 12


def ps(request: PsRequest) -> int:
    """Print a table of the containers that run, with -a of all, the newest first."""
    shown = []
    for container in all_containers(lambda path: complain(f"ps: {path}: corrupt record")):
        state = container.state()
        if request.all or state == "running":
            shown.append(row(container, state, request))
    if request.quiet:
        lines = [cells["ID"] for cells in shown]
    elif request.format == "json":
        lines = [as_json(cells) for cells in shown]
    else:
        rows = [tuple(cells[key] for key in IN_TABLE) for cells in shown]
        lines = aligned([COLUMNS, *rows])
    say("".join(f"{line}\n" for line in lines), "ps")
    return 0


IN_TABLE = ("ID", "Image", "Command", "RunningFor", "Status", "Names")


def row(container: Container, state: str, request: PsRequest) -> dict[str, str]:
    """What docker calls by these keys."""
    command = " ".join(container.command)
    if not request.no_trunc and len(command) > COMMAND_LENGTH:
        command = command[: COMMAND_LENGTH - 1] + "…"
    return {
        "ID": container.identity if request.no_trunc else container.identity[:SHORT_ID],
        "Image": container.image,
        "Command": quoted(command),
        "State": state,
        "Status": status(container, state),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(container.created)),
        "RunningFor": f"{since(container.created)} ago",
        "Names": container.name,
    }


def status(container: Container, state: str) -> str:
    if state == "running":
        return f"Up {since(container.created)}"
    if state == "created":
        return "Created"
    ended = f"Exited ({container.exit_status})"
    return f"{ended} {since(container.finished or container.created)} ago"


def since(moment: float) -> str:
    """How long ago that was, in docker's words."""
    seconds = int(max(0.0, time.time() - moment))
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if seconds < 120:
        return "About a minute"
    hours = (seconds + 1800) // 3600
    if seconds < 3600:
        return f"{seconds // 60} minutes"
    if hours == 1:
        return "About an hour"
    for unit, length, most in UNITS:
        if hours < most:
            return f"{hours // length} {unit}"
    return f"{hours // (24 * 365)} years"


# a unit, how many hours it has, and from how many hours on the next one is used
UNITS = (
    ("hours", 1, 48),
    ("days", 24, 24 * 7 * 2),
    ("weeks", 24 * 7, 24 * 30 * 2),
    ("months", 24 * 30, 24 * 365 * 2),
)


def quoted(text: str) -> str:
    """In quotation marks, on one line, whatever is in it."""
    return '"' + "".join(ESCAPES.get(c) or (c if c.isprintable() else named(c)) for c in text) + '"'


ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def named(character: str) -> str:
    """A character by its number; a byte that was no UTF-8 by the byte."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}"
