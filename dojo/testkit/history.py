"""All calls of a test, for the message about its failure: what went before may be the reason."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from dojo.scratch import Running

Rows = list[tuple[str, str]]  # of a message: a word and a text

MOST = 12  # lines of calls; of more, the first and the last ones
_FIRST = 4
_OF_A_CALL = ("ran", "status", "stdout", "stderr", "problem")
_OWN_STORY = ("before", "did", "left")  # rows of a test that tells itself what was done


def with_calls(rows: Rows, made: Sequence[Running], begun: int = 0) -> Rows:
    """A message, with all calls that were made: one of them in full, the others in short.

    In full is the one that the message is about, and the last one where it names none. begun: how
    many had been made for other examples when the last example of Hypothesis began.
    """
    names = [name for name, _ in rows]
    if not made or any(name in _OWN_STORY for name in names):
        return rows
    if "ran" not in names:
        return with_calls([*made[-1].so_far().rows(), *rows], made, begun)
    place = _place(rows, made)
    end = names.index("ran")
    while names[end : end + 1] and names[end] in _OF_A_CALL:
        end += 1
    earlier, later = in_short(made[begun:place]), in_short(made[place + 1 :])
    if begun:
        earlier = f"(calls for other examples: {begun})\n{earlier}".rstrip("\n")
    return [
        *([("earlier", earlier)] if earlier else []),
        *rows[:end],
        *([("later", later)] if later else []),
        *rows[end:],
    ]


def _place(rows: Rows, made: Sequence[Running]) -> int:
    """Where the call stands that is shown in full; behind all of them, if it is none of them."""
    shown = dict(reversed(rows))  # of several rows with a name, the first
    same = [place for place, running in enumerate(made) if running.shown == shown["ran"]]
    ended = [place for place in same if dict(made[place].so_far().rows()).items() <= shown.items()]
    return (ended or same or [len(made)])[-1]


def in_short(made: Sequence[Running]) -> str:
    """Calls, a line for each, or for several in a row that went the same way."""
    lines = [*_lines(made)]
    if len(lines) > MOST:
        left_out = len(lines) - MOST + 1
        last = MOST - _FIRST - 1
        lines[_FIRST:-last] = [f"… ({left_out} lines with other calls are left out) …"]
    return "\n".join(lines)


def _lines(made: Sequence[Running]) -> Iterator[str]:
    for line, same in groupby(map(_line, made)):
        number = len([*same])
        yield f"{line}, {number} times" if number > 1 else line


def _line(running: Running) -> str:
    command = running.shown.replace("\n", r"\n")
    if len(command) > _COMMAND:
        command = f"{command[: _COMMAND * 2 // 3]} … {command[-_COMMAND // 3 :]}"
    return f"{command} ({_outcome(running)})"


_COMMAND = 150  # characters


def _outcome(running: Running) -> str:
    call = running.so_far()
    if running.was_killed and call.status == -9 and not call.problem:
        return "killed by the test"
    status = "still running" if call.runs else f"status {call.status}"
    if call.status is not None and call.status < 0:
        status = call.describe_status()
    told = [call.problem or status]
    if call.status and call.errors.strip():
        told.append(call.errors.strip().splitlines()[0][:100])
    return ": ".join(told)
