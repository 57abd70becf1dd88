"""The open descriptors of a process, and where they come from."""

import os
from dataclasses import dataclass
from pathlib import Path

from dojo.errors import KataError
from dojo.xray.kernel import explained, mounts


@dataclass(frozen=True)
class Descriptor:
    """is_from_outside: it leads to a file on a mount that the process itself does not have, or to
    what whoever started it holds open, too.
    """

    number: int
    target: str
    is_from_outside: bool


def descriptors(pid: int, starter: int) -> tuple[Descriptor, ...]:
    """Raises Ended.

    starter: what it may have inherited from. What a shell holds a second time of its own standard
    streams is given on purpose, as they are.
    """
    own = {mount.number for mount in mounts(pid)}
    targets = _targets(pid)
    standard = {target for number, target in targets.items() if number <= 2}
    held = {target for target in _targets_or_none(starter) if _is_one_of_a_kind(target)}
    found = []
    for number, target in targets.items():
        mount = _mount_of_descriptor(pid, number)
        is_file = target.startswith("/") and not target.startswith("/memfd:")
        is_foreign = is_file and mount is not None and mount not in own
        is_given = number <= 2 or target in standard
        is_from_outside = not is_given and (is_foreign or target in held)
        found.append(Descriptor(number, target, is_from_outside))
    return tuple(found)


def _targets(pid: int) -> dict[int, str]:
    try:
        numbers = sorted(map(int, os.listdir(f"/proc/{pid}/fd")))
    except OSError as error:
        raise explained(pid, error) from error
    found = {}
    for number in numbers:
        try:
            found[number] = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue  # it was closed meanwhile
    return found


def _targets_or_none(pid: int) -> list[str]:
    try:
        return list(_targets(pid).values())
    except KataError:
        return []


def _is_one_of_a_kind(target: str) -> bool:
    """Whether two that hold this hold the same: all eventfds, say, have one name."""
    return target.startswith(("/", "pipe:[", "socket:["))


def _mount_of_descriptor(pid: int, number: int) -> int | None:
    try:
        words = Path(f"/proc/{pid}/fdinfo/{number}").read_text().split()
    except OSError:
        return None
    return int(words[words.index("mnt_id:") + 1]) if "mnt_id:" in words else None
