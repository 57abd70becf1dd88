"""The crash points at which chapters hold a program up, and kill it: where they lie."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.scratch import CrashPoint, Running, TestHost, groups
from dojo.teeth import proofs
from dojo.teeth.runs import run_chapter
from dojo.testkit.crash_points import beside, crash_points
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())


class Program(SimpleNamespace):
    """A program that makes directories, one by one; each is a change. Its words are its code."""

    def start(self, *words: str, crash_point: CrashPoint) -> Running:
        code = "; ".join(words).replace("{folder}", str(self.folder))
        return self.host.start([sys.executable, "-I", "-S", "-c", code], crash_point=crash_point)

    def made(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def clear(self) -> None:
        for path in self.folder.iterdir():
            path.rmdir()


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    require_lab(request)
    host = TestHost(next(groups.unique_names()), writable=[tmp_path])
    yield Program(host=host, folder=tmp_path)
    host.close()


def makes(number: int) -> str:
    return f"import os, time; [os.mkdir('{{folder}}/' + str(each)) for each in range({number})]"


@pytest.mark.parametrize("then", ["", "time.sleep(1000)"])
def test_the_first_is_its_end_and_the_others_lie_before_each_change(
    program: Program, then: str
) -> None:
    seen = []
    for crash_point in crash_points(100):
        running = program.start(makes(4), then or "pass", crash_point=crash_point)
        with crash_point:
            running.kill()
            seen.append((crash_point.number, crash_point.came, len(program.made())))
        call = running.wait()
        program.clear()
        assert not call.problem
    assert seen == [(None, False, 4), *((number, True, number) for number in range(4))]


def test_there_are_no_more_than_asked_for_of_each_kind_one(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes once, between much that is alike, is tried: and so is what comes after it."""
    # There are fewer where it is slow.
    monkeypatch.setattr("dojo.testkit.crash_points.examples", lambda usual, least: usual)
    numbers = []
    renames = "os.rename('{folder}/0', '{folder}/new')"
    for crash_point in crash_points(5):
        running = program.start(
            makes(9), renames, "os.mkdir('{folder}/last')", crash_point=crash_point
        )
        with crash_point:
            numbers.append(crash_point.number)
        running.wait()
        assert len(program.made()) == 10
        program.clear()
    first, second, after_them, last = 0, 1, 9, 10
    assert numbers == [None, first, second, 2, after_them, last]


def test_killed_there_it_does_not_make_the_change(program: Program) -> None:
    """The kernel might have its answer before the signal, and one that is dead makes the change."""
    for _ in range(50):
        crash_point = CrashPoint(2)
        running = program.start(makes(4), crash_point=crash_point)
        with crash_point:
            running.kill()
        assert running.wait().status == -signal.SIGKILL
        assert program.made() == ["0", "1"]
        program.clear()


def test_what_it_started_is_held_up_as_well(program: Program) -> None:
    crash_point = CrashPoint(1)
    running = program.start(
        "import os, sys, time", "pid = os.fork()", makes(1), crash_point=crash_point
    )
    with crash_point:
        assert crash_point.came
        assert program.made() == []
    running.wait()
    assert program.made() == ["0"]


def test_a_moment_that_does_not_come_ends_when_all_wait_for_somebody(program: Program) -> None:
    crash_point = CrashPoint(7)
    running = program.start(makes(2), "time.sleep(1000)", crash_point=crash_point)
    with crash_point:
        assert (crash_point.came, crash_point.seen) == (False, ["mkdir", "mkdir"])
    running.stop()


def test_one_that_goes_on_for_ever_is_not_waited_for(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dojo.scratch.crash_points.NEVER_STILL_SECONDS", 0.5)
    crash_point = CrashPoint(7)
    running = program.start(makes(2), "exec('while True: pass')", crash_point=crash_point)
    with crash_point:
        assert not crash_point.came
        assert not running.has_ended()
    running.stop()


def test_one_that_could_not_be_started_is_not_waited_for(program: Program) -> None:
    crash_point = CrashPoint(0)
    with pytest.raises(Exception, match="no such program"):
        program.host.start(["/no-such-program"], crash_point=crash_point)


def holds_up(chapter: Chapter) -> bool:
    return any("unotify" in path.read_text() for path in chapter.folder.glob("*.py"))


def what_goes_into(chapter: Chapter) -> list[Path]:
    return [*proofs.files_of(chapter), Steps(CATALOGUE).state(chapter)]


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize(
    "chapter", [*filter(holds_up, CATALOGUE.chapters)], ids=lambda chapter: chapter.number
)
def test_at_every_moment_the_reference_does_what_it_should(
    request: pytest.FixtureRequest, chapter: Chapter, tmp_path: Path
) -> None:
    """A learner's tests try some of them, for the time it takes."""
    require_lab(request)
    state = Steps(CATALOGUE).state(chapter)
    outcomes, output = run_chapter(chapter, state, tmp_path, "--every-crash-point")
    results = {outcome.result for outcome in outcomes.values()}
    assert "passed" in results
    assert results <= {"passed", "skipped"}, output


def test_what_counts(program: Program) -> None:
    """A change, not what is said; a long text once. With looks: what others change, and no more."""
    path = f"{program.folder}/a"
    code = f"""
import os
os.write(1, b"said")
made = os.open({path!r}, os.O_CREAT | os.O_WRONLY)
for _ in range(5): os.write(made, b"long")
os.unlink({path!r})
open("/proc/self/stat").close()
os.close(os.pidfd_open(os.getpid()))
open("/etc/passwd").close()
"""
    changes = ["openat", "write", "unlink"]
    for looks, names in ((False, changes), (True, [*changes, "openat", "pidfd_open"])):
        crash_point = CrashPoint(None, looks=looks)
        running = program.start(code, crash_point=crash_point)
        with crash_point:
            pass
        assert running.wait().text == "said"
        assert crash_point.seen == names


def test_a_second_command_gets_as_far_as_it_can(program: Program) -> None:
    """To its end, or to where it waits for the first one."""
    lock = program.folder / "lock"
    lock.touch()
    takes = f"import fcntl, os; fcntl.flock(os.open({str(lock)!r}, 0), fcntl.LOCK_EX)"
    crash_point = CrashPoint(1)
    first = program.start(
        takes, "os.rename('{folder}/lock', '{folder}/gone')", crash_point=crash_point
    )
    call = beside(program, crash_point, takes, "print(os.listdir('{folder}'))")
    assert call.text == "['gone']\n"
    assert first.wait().status == 0
    os.unlink(program.folder / "gone")
