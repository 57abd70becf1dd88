"""MYDOCKER_DEBUG=1 shows what a start does, step by step, from the start code on."""

import re
import sys

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import expect
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
STEP = re.compile(r"mydocker: (\d+): (.+)")
NAMESPACES = ["unshare(CLONE_NEWPID)", "unshare(CLONE_NEWNS", "mount(None, /, None, MS_REC|MS_PRIV"]
ROOT = ["pivot_root(., .)", "umount2(., MNT_DETACH)", "mount(proc, /proc, proc, MS_NOSUID"]


@pytest.mark.parametrize(
    ("chapter", "wanted"),
    [
        ("3.1", [*NAMESPACES, "mount(proc, /proc, proc, MS_NOSUID"]),
        ("3.2", ["write '0' to /sys/fs/cgroup", *NAMESPACES[1:]]),
        ("4.1", [*NAMESPACES, *ROOT]),
        ("5.9", [*NAMESPACES, "mount(overlay, mnt/", *ROOT]),
    ],
)
def test_the_steps_of_a_start_are_shown_in_their_order(
    request: pytest.FixtureRequest, mydocker: Mydocker, chapter: str, wanted: list[str]
) -> None:
    require_lab(request, "overlay")
    mydocker.command = [sys.executable, "-S", "-m", "mydocker"]
    mydocker.env["PYTHONPATH"] = str(Steps(CATALOGUE).state(CATALOGUE.chapter(chapter)))
    words = ("run", "--rm", "busybox", "echo", "done")
    expect(mydocker(*words), status=0, out="done\n", err="")
    expect(mydocker(*words, env={"MYDOCKER_DEBUG": "0"}), status=0, out="done\n", err="")

    call = expect(mydocker(*words, env={"MYDOCKER_DEBUG": "1"}), status=0, out="done\n")
    steps = [STEP.fullmatch(line) for line in call.errors.splitlines()]
    assert all(steps), call.errors
    shown = [(step[1], step[2]) for step in steps if step]
    assert {pid for pid, _ in shown} >= {"1"}, "PID 1 shows what it does as well"
    left = list(wanted)
    for _, step in shown:
        if left and step.startswith(left[0]):
            left.pop(0)
    assert not left, f"not shown, or too early: {left}\n{call.errors}"
