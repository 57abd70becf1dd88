"""What a container's root file system is made of, and what was changed in its top layer.

An overlay lists its directories in mountinfo, AUFS its branches in /sys/fs/aufs. A deleted file is
a whiteout in the top layer: a character device 0/0 for overlay, a file `.wh.NAME` for AUFS. See the
kernel's filesystems/overlayfs and aufs(5).
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dojo.errors import KataError
from dojo.xray import kernel
from dojo.xray.kernel import Mount

MOST = 100_000  # of the files of a layer that are looked at
SYS_AUFS = Path("/sys/fs/aufs")


@dataclass(frozen=True)
class Changes:
    """Paths in the container, sorted.

    deleted: those that a whiteout hides, and those that are gone because a directory was replaced.
    replaced: directories that were deleted and made anew, so that nothing below them is seen.
    is_whole: False where there were too many files to look at all.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True)
class Root:
    """kind: "host" where it is the looker's own, "chroot" where it is a directory of a file system
    that no mount of the container's leads to; else the type of its file system.

    lowers: the image's layers, lowest first. upper: the one that is written to; None where there is
    none. changes: None where the upper layer cannot be found from here.
    """

    kind: str
    source: str
    is_read_only: bool
    lowers: tuple[str, ...] = ()
    upper: str | None = None
    changes: Changes | None = None

    @property
    def has_layers(self) -> bool:
        return self.upper is not None


def root_of(pid: int, starter: int) -> Root:
    """starter: a process outside, whose directories a relative path may be meant from.

    Raises kernel.Ended.
    """
    there, here = top_of(kernel.mounts(pid)), top_of(kernel.mounts("self"))
    if there is None or not kernel.has_its_own_root(pid):
        is_host = not kernel.has_its_own_root(pid)
        source = there.source if there else ""
        is_read_only = there is not None and there.is_read_only
        return Root("host" if is_host else "chroot", source, is_read_only)
    if here is not None and (there.device, there.of) == (here.device, here.of):
        return Root("host", there.source, there.is_read_only)
    if there.kind == "overlay":
        return _of_overlay(there, _bases(pid, starter))
    if there.kind == "aufs":
        bases = _bases(pid, starter)
        writable, lowers = branches_of_aufs(there.super_options, SYS_AUFS)
        return _of_aufs(there, *placed_branches(writable, lowers, _mount_points(starter, bases)))
    return Root(there.kind, there.source, there.is_read_only)


def top_of(mounts: list[Mount]) -> Mount | None:
    """What is mounted at "/"; None where a process's root is no mount point."""
    found = [mount for mount in mounts if mount.point == "/"]
    return found[-1] if found else None


def _bases(pid: int, starter: int) -> list[Path]:
    """Where the directories of an overlay may be meant from.

    It is mounted by short names, which mountinfo repeats: from the working directory of whoever
    did so, or from a root directory that his environment names. He may have a mount namespace of
    his own: then his directories are found by way of /proc only, absolute names as well.
    """
    found = [Path("/")]
    for each in (starter, pid):
        with suppress(KataError):
            environment = kernel.environment(each)
            found.append(Path(environment.get("MYDOCKER_ROOT") or "/var/lib/mydocker"))
            found.append(Path(kernel.working_directory(each)))
    found += [Path("/proc", str(starter), name) for name in ("root", "cwd")]
    return [base for base in found if base.is_absolute()]


def _of_overlay(mount: Mount, bases: list[Path]) -> Root:
    names, upper = directories_of_overlay(mount.super_options)
    base = _base(bases, [*names, *([upper] if upper else [])])
    lowers = [_placed(base, name) for name in names]
    top = _placed(base, upper) if upper else None
    changes = None
    if top is not None and base is not None:
        changes = changes_of(top, lowers, OverlayMarks())
    return Root(
        kind="overlay",
        source=mount.source,
        is_read_only=mount.is_read_only,
        lowers=tuple(str(lower) for lower in reversed(lowers)),
        upper=str(top) if top else None,
        changes=changes,
    )


def directories_of_overlay(options: str) -> tuple[list[str], str | None]:
    """The lower directories, topmost first, and the upper one, from mountinfo's last field.

    There a comma of a name is an octal escape, a colon has a backslash before it. What was mounted
    by fsconfig(2) has one `lowerdir+` for each lower directory.
    """
    lowers: list[str] = []
    upper = None
    for option in options.split(","):
        name, _, value = option.partition("=")
        value = kernel.unescaped(value)
        if name == "lowerdir":
            lowers += [_plain(found) for found in re.findall(r"(?:\\.|[^:\\])+", value, re.DOTALL)]
        elif name in ("lowerdir+", "datadir+"):
            lowers.append(value)
        elif name == "upperdir":
            upper = _plain(value)
    return lowers, upper


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)


def _base(bases: list[Path], names: list[str]) -> Path | None:
    """The first one from which all of them are directories."""
    for base in bases:
        if all(_placed(base, name).is_dir() for name in names):
            return base
    return None


def _placed(base: Path | None, name: str) -> Path:
    """An absolute name stays what it is, unless it is another process's root that it is from."""
    if base is None:
        return Path(name)
    is_root = base.parts[:2] == ("/", "proc") and base.name == "root"
    return base / (name.lstrip("/") if is_root else name)


def _mount_points(starter: int, bases: list[Path]) -> list[Path]:
    """Where the branches of AUFS may lie: first where a base does, in mounts in mounts first.

    What is automounted is left alone, as to look there would mount it.
    """
    here = [Path(mount.point) for mount in kernel.mounts("self") if mount.kind != "autofs"]
    near = {point for point in here if any(base.is_relative_to(point) for base in bases)}
    found = sorted(dict.fromkeys(here), key=lambda point: (point not in near, -len(point.parts)))
    with suppress(KataError):
        its_root = Path("/proc", str(starter), "root")
        there = [mount.point for mount in kernel.mounts(starter) if mount.kind != "autofs"]
        found += [_from(its_root, Path(point)) for point in there]
    return found


def placed_branches(
    writable: list[Path], lowers: list[Path], points: list[Path]
) -> tuple[list[Path], list[Path]]:
    """The branches, at those of the mount points where they are.

    The container has let go of the mounts that they lie on, and so the kernel gives each path from
    the top of its mount. A branch that can be written to is known by a file of AUFS's own. Where
    none is found, the paths stay what they are.
    """
    near = [
        point
        for point in points
        if any(os.path.lexists(_from(point, path) / ".wh..wh.aufs") for path in writable)
    ]
    return (
        [_first_directory(near, path) for path in writable],
        [_first_directory([*near, *points], path) for path in lowers],
    )


def _first_directory(points: list[Path], path: Path) -> Path:
    found = (_from(point, path) for point in points)
    return next((place for place in found if place.is_dir()), path)


def _from(point: Path, path: Path) -> Path:
    return point / str(path).lstrip("/")


def _of_aufs(mount: Mount, writable: list[Path], lowers: list[Path]) -> Root:
    top = writable[0] if writable else None
    return Root(
        kind="aufs",
        source=mount.source,
        is_read_only=mount.is_read_only,
        lowers=tuple(str(lower) for lower in reversed(lowers)),
        upper=str(top) if top else None,
        changes=changes_of(top, lowers, AufsMarks()) if top and top.is_dir() else None,
    )


def branches_of_aufs(options: str, sys: Path) -> tuple[list[Path], list[Path]]:
    """The branches that can be written to, and the others; topmost first.

    mountinfo names an instance, `si=…`, and below sys/si_… there is a file for each branch. Names
    in there have octal escapes.
    """
    writable: list[Path] = []
    lowers: list[Path] = []
    number = dict(option.partition("=")[::2] for option in options.split(",")).get("si", "")
    places = sorted(
        (place for place in (sys / f"si_{number}").glob("br*") if place.name[2:].isdecimal()),
        key=lambda place: int(place.name[2:]),
    )
    for place in places:
        with suppress(OSError):
            path, _, mode = os.fsdecode(place.read_bytes()).strip().rpartition("=")
            (writable if mode.startswith("rw") else lowers).append(Path(kernel.unescaped(path)))
    return writable, lowers


# The top layer ---------------------------------------------------------------------------------


class Marks(Protocol):
    """How a file system notes in a layer what is gone."""

    def hidden(self, entry: os.DirEntry[str]) -> str | None:
        """The name that an entry hides, "" for one that is nobody's file; None for a file."""

    def hides(self, directory: Path, name: str) -> bool:
        """Whether this directory of a layer hides that name in the layers below."""

    def is_opaque(self, directory: Path) -> bool:
        """Whether nothing of the same directory in the layers below is seen."""


class OverlayMarks:
    # The second one is of a mount in a user namespace, as podman's without root.
    OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")

    def hidden(self, entry: os.DirEntry[str]) -> str | None:
        return entry.name if _is_whiteout(entry.stat(follow_symlinks=False)) else None

    def hides(self, directory: Path, name: str) -> bool:
        try:
            return _is_whiteout(os.lstat(directory / name))
        except OSError:
            return False

    def is_opaque(self, directory: Path) -> bool:
        return any(_has_mark(directory, name) for name in self.OPAQUE)


class AufsMarks:
    def hidden(self, entry: os.DirEntry[str]) -> str | None:
        if entry.name.startswith(".wh..wh."):
            return ""
        return entry.name.removeprefix(".wh.") if entry.name.startswith(".wh.") else None

    def hides(self, directory: Path, name: str) -> bool:
        return os.path.lexists(directory / f".wh.{name}")

    def is_opaque(self, directory: Path) -> bool:
        return os.path.lexists(directory / ".wh..wh..opq")


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _has_mark(directory: Path, name: str) -> bool:
    try:
        return os.getxattr(directory, name, follow_symlinks=False) == b"y"
    except OSError:
        return False


def changes_of(top: Path, lowers: list[Path], marks: Marks) -> Changes:
    """What the top layer adds to, changes in, and deletes from those below it.

    lowers: topmost first. A directory counts as changed where its owner or mode is another: it is
    in the top layer as soon as anything below it was changed.
    """
    found: dict[str, list[str]] = {"added": [], "changed": [], "deleted": [], "replaced": []}
    is_whole = True
    for count, (what, path) in enumerate(_entries(top, lowers, marks)):
        if count == MOST:
            is_whole = False
            break
        found[what].append(f"/{path}")
    return Changes(
        **{what: tuple(sorted(paths)) for what, paths in found.items()}, is_whole=is_whole
    )


def _entries(top: Path, lowers: list[Path], marks: Marks) -> Iterator[tuple[str, Path]]:
    """waiting: directories still to look at, each with whether it hides all that is below it."""
    waiting = [(Path(), False)]
    while waiting:
        here, is_opaque = waiting.pop()
        seen = set()
        for entry in _listed(top / here):
            path = here / entry.name
            try:
                hidden = marks.hidden(entry)
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # it was removed meanwhile
            if hidden is not None:
                if hidden and seen_below(here / hidden, lowers, marks):
                    seen.add(hidden)
                    yield "deleted", here / hidden
                continue
            seen.add(entry.name)
            below = seen_below(path, lowers, marks)
            if below is None:
                yield "added", path
            elif _is_another(status, below):
                yield "changed", path
            if stat.S_ISDIR(status.st_mode):
                replaces = marks.is_opaque(top / path)
                if replaces and below is not None and stat.S_ISDIR(below.st_mode):
                    yield "replaced", path
                waiting.append((path, is_opaque or replaces))
        if is_opaque:
            for name in sorted(_names_below(here, lowers, marks) - seen):
                yield "deleted", here / name


def _listed(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []  # it was removed meanwhile


def _is_another(top: os.stat_result, below: os.stat_result) -> bool:
    """Of what is in both layers, whether it was changed: a file is there because it was."""
    if not (stat.S_ISDIR(top.st_mode) and stat.S_ISDIR(below.st_mode)):
        return True
    return (top.st_mode, top.st_uid, top.st_gid) != (below.st_mode, below.st_uid, below.st_gid)


def seen_below(path: Path, lowers: Iterable[Path], marks: Marks) -> os.stat_result | None:
    """What the image has at a path; None where it has nothing, or hides it.

    lowers: topmost first. In each the way is gone step by step: what is no directory, a whiteout
    or an opaque directory ends the search in those below.
    """
    for lower in lowers:
        is_last = False
        place = lower
        for number, part in enumerate(path.parts, start=1):
            if marks.hides(place, part):
                return None
            place = place / part
            try:
                status = os.lstat(place)
            except OSError:
                break
            if number == len(path.parts):
                return status
            if not stat.S_ISDIR(status.st_mode):
                return None
            is_last = is_last or marks.is_opaque(place)
        if is_last:
            return None
    return None


def _names_below(here: Path, lowers: list[Path], marks: Marks) -> set[str]:
    """The names that the image shows in a directory."""
    entries = [entry for lower in lowers for entry in _listed(lower / here)]
    names = {entry.name for entry in entries if marks.hidden(entry) is None}
    return {name for name in names if seen_below(here / name, lowers, marks) is not None}
