"""What a test reads from output, a terminal and /proc."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dojo.scratch import Call, Running
from dojo.testkit.testing import check

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker


@dataclass(frozen=True)
class Mounted:
    """A line of a mountinfo. kind: of its file system, as mount(8) names it."""

    point: str
    kind: str
    line: str


def mounts_in(call: Call) -> list[Mounted]:
    """What a container has shown of its /proc/self/mountinfo, see proc_pid_mountinfo(5)."""
    __tracebackhide__ = True
    found = [
        Mounted(match[1], match[2], match[0])
        for match in re.finditer(r"^\d+ \d+ \S+ \S+ (\S+) .* - (\S+) .*$", call.text, re.M)
    ]
    check(len(found) == len(call.text.splitlines()) > 0, "a mountinfo on stdout", call.text, call)
    return found


def same_mounts(mydocker: "Mydocker", before: Sequence[str], call: Call) -> None:
    """Expect the host to have the mounts that it had before. before: its mountinfo."""
    __tracebackhide__ = True
    after = mydocker.host.mountinfo()
    changed = [f"new: {line}" for line in after if line not in before]
    changed += [f"gone: {line}" for line in before if line not in after]
    told = "\n".join(changed) or "the same ones in another order"
    check(after == before, "the host's mounts as they were", told, call)


def first_words(table: Call) -> list[str]:
    """The first word of each line below the header, sorted."""
    lines = [line.split() for line in table.text.splitlines()[1:]]
    return sorted(words[0] if words else "(an empty line)" for words in lines)


def number_in(call: Call) -> int:
    """The number that stdout consists of."""
    __tracebackhide__ = True
    found = re.fullmatch(r"\s*(\d+)\s*", call.text)
    if found is None:
        check(False, "a number on stdout, and nothing else", repr(call.text), call)
        raise AssertionError  # for those who read types
    return int(found[1])


def type_ctrl_c(running: Running, command: int) -> None:
    """Type Ctrl-C at the terminal of a program. command: the PID of what it has started.

    The program stands still until the terminal has sent its signal, and then hands it on. So who
    gets it from both gets two: at the same time, they would be one.
    """
    host, own = running.host, running.pid
    running.send(signal.SIGSTOP)
    host.until(lambda: state_of(own) == "T")
    running.type(b"\x03")
    host.until(lambda: has_signals_pending(own))
    host.until(lambda: has_taken_its_signals(command))
    running.send(signal.SIGCONT)
    host.until(lambda: has_taken_its_signals(own))
    host.until(lambda: has_taken_its_signals(command))


def has_taken_its_signals(pid: int) -> bool:
    """Whether a process has dealt with its signals, and waits again; or has ended."""
    return not has_signals_pending(pid) and state_of(pid) in ("S", "")


def has_signals_pending(pid: int) -> bool:
    """Whether a signal is on its way to a process; not to one that has ended."""
    rows = _status(pid)
    return any(int(rows.get(name, "0"), 16) for name in ("SigPnd", "ShdPnd"))


def state_of(pid: int) -> str:
    """The letter that ps(1) shows for a process; none for one that has ended."""
    return _status(pid).get("State", "").strip()[:1]


def _status(pid: int) -> dict[str, str]:
    """What proc_pid_status(5) tells of a process; nothing of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return {}
    return dict(line.split(":", 1) for line in text.splitlines())
