"""The processes of a test host, as /proc shows them: see proc(5)."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, repr=False)
class Process:
    """A process of a test host.

    pids: its PID in each PID namespace that it is in: out here, on the test host, and, if it is
    in a container, in there.
    """

    pids: tuple[int, ...]
    parent: int = field(compare=False)
    state: str = field(compare=False)  # it sleeps, then runs: still the same process
    command: str = field(compare=False)

    @property
    def pid(self) -> int:
        """Its PID out here."""
        return self.pids[0]

    @property
    def inner(self) -> int:
        """Its PID on the test host."""
        return self.pids[1]

    def is_first_of_a_container(self) -> bool:
        """Whether it is PID 1 in a PID namespace below the test host's."""
        return len(self.pids) > 2 and self.pids[-1] == 1

    def __str__(self) -> str:
        zombie = " (a zombie: it has ended, and nobody has waited for it)"
        return f"process {self.inner} `{self.command}`" + (zombie if self.state == "Z" else "")

    __repr__ = __str__  # in a message, too, that shows a list of them


def process_of(pid: int) -> Process:
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
    return Process(
        pids=tuple(int(number) for number in rows["NSpid"].split()),
        parent=int(rows["PPid"]),
        state=rows["State"].split()[0],
        command=command.decode(errors="backslashreplace") or rows["Name"].strip(),
    )


def children_of(pid: int) -> list[int]:
    """The PIDs of what a process has started; none if it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found
