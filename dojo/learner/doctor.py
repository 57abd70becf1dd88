"""`kata doctor`: what this machine can run, and what to do about what it cannot."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dojo.clone import Clone, here
from dojo.testkit import machine
from dojo.testkit.machine import Ability

# Without these no chapter's tests run; what else is missing only makes some of them skip.
NEEDED = ("linux", "root", "namespaces", "cgroup")


def report(console: Console, abilities: Sequence[Ability], clone: Clone | None = None) -> bool:
    """Print what there is and, for each "no", what to do.

    clone: the clone whose root file system and disk are looked at, by default the one we lie in.
    Returns whether the tests of chapters can run here.
    """
    rows = [*abilities, *_surroundings(clone or here())]
    if console.is_terminal:
        console.print(_table(rows))
    else:
        for row in rows:
            _print_plainly(console, row)
    lacking = [ability for ability in abilities if ability.name in NEEDED and not ability.present]
    console.print(_verdict(lacking), markup=False, highlight=False, soft_wrap=True)
    return not lacking


def _surroundings(clone: Clone) -> Iterator[Ability]:
    """What is beside the kernel: each is a row of the report, none is a chapter's need."""
    python = f"{platform.python_version()}, {os.path.realpath(sys.executable)}"
    yield Ability("python", "Python", True, python, "")
    yield _git()
    yield _root_file_system(clone)
    yield _disk(clone.root)
    milliseconds = machine.process_start_seconds() * 1000
    speed = f"{milliseconds:.1f} ms, deadlines are stretched {machine.patience():.1f} times"
    yield Ability("speed", "start of a process", True, speed, "")


def _git() -> Ability:
    """What `goto`, `tags`, `diff` and the steps are made with."""
    oldest = ".".join(map(str, OLDEST_GIT))
    remedy = f"install git {oldest} or newer"
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, check=False)
    except OSError:
        return Ability("git", "git", False, "not installed", f"{remedy}: apt install git")
    said = done.stdout.decode(errors="replace").strip()
    found = re.search(r"(\d+)\.(\d+)[.\w]*", said)
    if found is None:
        return Ability("git", "git", False, f"`git --version` says {said!r}", remedy)
    is_new_enough = (int(found[1]), int(found[2])) >= OLDEST_GIT
    return Ability("git", "git", is_new_enough, found[0], "" if is_new_enough else remedy)


OLDEST_GIT = (2, 34)  # Ubuntu 22.04's


def _root_file_system(clone: Clone) -> Ability:
    given = os.environ.get("KATA_ROOTFS")
    tar = Path(given) if given else clone.state / "rootfs" / "busybox.tar"
    title = "root file system"
    if tar.exists():
        return Ability("rootfs", title, True, str(tar), "")
    if given:
        return Ability("rootfs", title, False, f"KATA_ROOTFS={given} is not there", "unset it")
    remedy = "./kata check 3.1 makes it"
    return Ability("rootfs", title, False, "not made yet", remedy)


def _disk(directory: Path) -> Ability:
    free = shutil.disk_usage(directory).free / 2**30
    remedy = "" if free >= _GIBIBYTES else f"make {_GIBIBYTES} GiB free on the disk of {directory}"
    return Ability("disk", "free disk space", not remedy, f"{free:.1f} GiB", remedy)


_GIBIBYTES = 1  # root file systems, layers, images of all chapters' tests at once


def _table(rows: Sequence[Ability]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", style="yellow", overflow="fold")
    for row in rows:
        answer = "[green]yes[/]" if row.present else "[red]no[/]"
        table.add_row(answer, escape(row.title), escape(row.detail), escape(row.remedy))
    return table


def _print_plainly(console: Console, row: Ability) -> None:
    line = f"{'yes' if row.present else 'no':3} {row.title}: {row.detail}"
    if row.remedy:
        line += f" -> {row.remedy}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _verdict(lacking: Sequence[Ability]) -> str:
    if not lacking:
        return "The chapters' tests can run here."
    first = lacking[0]
    return f"The chapters' tests cannot run here: {first.title}: {first.detail}: {first.remedy}"
