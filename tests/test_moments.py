"""Moments of a program's work, at which chapters kill it: where they lie, and when they end."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dojo.scratch import Running, ScratchHost, groups
from dojo.testing import moments
from tests.learners import require_lab

LOADS = 30  # milliseconds of CPU time
WORKS = 40
PROGRAM = """
import sys, time
def spend(milliseconds):
    begun = time.process_time()
    while time.process_time() < begun + milliseconds / 1000: pass
spend({LOADS})
if sys.argv[1] != "nothing": spend({WORKS})
if sys.argv[1] == "waits": time.sleep(1000)
"""


class Program(SimpleNamespace):
    """Loads itself, and then works, or waits for somebody who never comes, or does nothing."""

    def start(self, *words: str) -> Running:
        code = PROGRAM.format(LOADS=LOADS, WORKS=WORKS)
        return self.host.start([sys.executable, "-I", "-S", "-c", code, *words])


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    require_lab(request)
    host = ScratchHost(next(groups.unique_names()), writable=[tmp_path])
    yield Program(host=host)
    host.close()


@pytest.mark.parametrize("work", ["works", "waits"])
def test_they_lie_in_the_work_and_end_with_it(program: Program, work: str) -> None:
    seen = []
    for moment in moments(program, ["nothing"], 100, apart=10):
        running = program.start(work)
        moment.wait_in(running)
        running.stop()
        seen.append(moment)
    first, *found = seen
    assert first.milliseconds == 0
    assert first.came
    came = [moment for moment in found if moment.came]
    assert LOADS - 5 < came[0].milliseconds < LOADS + WORKS
    assert 3 <= len(came) <= 8
    assert len(found) == len(came) + 2


def test_there_are_no_more_than_asked_for(program: Program) -> None:
    asked = 0
    for moment in moments(program, ["nothing"], 3, apart=1):
        running = program.start("waits")
        moment.wait_in(running)
        running.stop()
        asked += 1
    assert asked == 1 + 3


def test_what_it_started_counts_where_that_is_asked_for(program: Program) -> None:
    script = f"{sys.executable} -I -S -c 'while True: pass' & wait"
    running = program.host.start(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"})
    for with_children in (False, True):
        moment = next(later(program))
        moment.wait_in(running, with_children=with_children)
        assert moment.came == with_children
    running.stop()


def later(program: Program) -> Iterator:
    found = moments(program, ["nothing"], 3, apart=1)
    next(found)
    return found
