"""Which container is meant, by what the kernel knows: PIDs, ids, and what was typed."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dojo.errors import KataError
from dojo.xray import kernel, picture
from dojo.xray.kernel import Ended, Process


@dataclass(frozen=True)
class Candidate:
    """A container that the kernel shows, by its first process.

    identity: its ID, where its groups or its host name carry one. name: what it was started with;
    empty where nobody said so. group: the last part of the path of its groups.
    """

    process: Process
    identity: str
    name: str
    hostname: str
    group: str

    def is_called(self, typed: str) -> bool:
        return typed in (self.name, self.hostname, self.group)

    def has_id(self, typed: str) -> bool:
        """Of a host name only 12 digits are known: the others cannot be compared."""
        known = self.identity
        is_id = re.fullmatch(r"[0-9a-f]{1,64}", typed) is not None
        return is_id and known != "" and known.startswith(typed[: len(known)])


def containers() -> list[Candidate]:
    """All that have a PID namespace of their own: each by its PID 1.

    Raises KataError if there is none, and some that could not be looked at.
    """
    mine = picture.pid_namespace("self")
    found = []
    refused = None
    for process in kernel.processes():
        try:
            if process.inner == 1 and kernel.inode_of_namespace(process.pid, "pid") != mine:
                found.append(_candidate(process))
        except Ended:
            continue
        except KataError as error:
            refused = error
    if refused and not found:
        raise refused
    return sorted(found, key=lambda each: each.process.pid)


def _candidate(process: Process) -> Candidate:
    hostname = kernel.hostname(process.pid)
    is_own = kernel.inode_of_namespace(process.pid, "uts") != kernel.inode_of_namespace(
        "self", "uts"
    )
    return Candidate(
        process=process,
        identity=picture.identity_of(process.pid, hostname),
        name=_name(process),
        hostname=hostname if is_own else "",
        group=_group(process.pid),
    )


def _group(pid: int) -> str:
    """The last part of the longest path of its groups that is not the looker's, too."""
    mine = set(kernel.groups("self").values())
    paths = [path for path in kernel.groups(pid).values() if path not in mine]
    return PurePosixPath(max(paths, key=len)).name if paths else ""


def find(typed: str) -> Process:
    """The first process of the container that was typed: a PID, the beginning of an ID, a name.

    Raises KataError if there is none, or more than one.
    """
    if not typed:
        raise KataError("xray: a container has a name, an ID or a PID that is not empty")
    if re.fullmatch(r"[0-9]{1,10}", typed) and Path("/proc", typed).is_dir():
        return _first_of(int(typed))
    there = containers()
    found = [each.process for each in there if each.is_called(typed)]
    found = found or [each.process for each in there if each.has_id(typed)]
    if len(found) > 1:
        pids = ", ".join(str(process.pid) for process in found)
        raise KataError(f"xray: {typed}: fits more than one, say which by its PID: {pids}")
    if not found:
        raise KataError(f"xray: {typed}: {_why_none(typed)}")
    return found[0]


def _why_none(typed: str) -> str:
    record = _record_of(typed)
    if record is not None:
        return f"this container does not run, and the kernel shows those that do; see {record}"
    if typed.isdecimal():
        return "no such process, and no container that runs has an ID that begins so"
    if re.fullmatch(r"[0-9a-f]{12,64}", typed):
        return "no container that runs has this id"
    return "no container that runs was started with this name; one of Docker's has an ID or a PID"


def _record_of(name: str) -> Path | None:
    """Where mydocker keeps the record of a container, from 5.2 on; None where there is none."""
    root = Path(os.environ.get("MYDOCKER_ROOT") or "/var/lib/mydocker")
    record = root / "containers" / name
    try:
        return record if "/" not in name and name.strip(".") and record.is_dir() else None
    except ValueError:  # a name that no file can have
        return None


def _first_of(number: int) -> Process:
    """The first process of the container that a process, or a thread of it, is in."""
    try:
        pid = int(kernel.status(number)["Tgid"])
        process = kernel.process(pid)
        inode = kernel.inode_of_namespace(pid, "pid")
        is_outside = not any(each.is_own for each in kernel.namespaces(pid))
        if is_outside and not kernel.has_its_own_root(pid):
            raise KataError(
                f"xray: {number}: this process is in no container: "
                "all its namespaces are the host's"
            )
        if process.inner == 1 or inode == picture.pid_namespace("self"):
            return process
        for each in kernel.processes():
            if each.inner == 1 and picture.pid_namespace(each.pid) == inode:
                return each
    except Ended as error:
        raise KataError(f"xray: {number}: it has ended while it was looked at") from error
    return process


# Names -----------------------------------------------------------------------------------------

# Options of `mydocker run` that a value follows: what comes after IMAGE is not ours.
VALUED = {
    *("--name", "-v", "--volume", "-e", "--env", "--env-file"),
    *("-m", "--memory", "--cpu-shares", "--cpuset-cpus", "--pids-limit"),
}


def _name(process: Process) -> str:
    """What was typed after --name, by the first of its ancestors that is a `run`."""
    seen = set()
    parent = process.parent
    while parent > 1 and parent not in seen:
        seen.add(parent)
        try:
            words = kernel.command_line(parent)
            parent = kernel.process(parent).parent
        except KataError:
            return ""
        if name := name_typed(words):
            return name
    return ""


def name_typed(words: Sequence[str]) -> str:
    """The NAME in `... mydocker run ... --name NAME ... IMAGE`; empty where there is none."""
    is_ours = any("mydocker" in os.path.basename(word) for word in words)
    if not is_ours or "run" not in words:
        return ""
    rest = iter(words[words.index("run") + 1 :])
    for word in rest:
        option, equals, value = word.partition("=")
        if not word.startswith("-") or word == "--":
            return ""
        if option == "--name":
            return value if equals else next(rest, "")
        if option in VALUED and not equals:
            next(rest, "")
    return ""
