"""`kata check`: the main job. Runs chapters' tests and tells what came of it.

The tests are run by pytest in this very process, with `Run` as the plugin that hears of every
result; a `Board` shows how far they are; at the end stand what is red, and what to do next.
"""

from contextlib import ExitStack

from rich.console import Console
from rich.text import Text

from dojo.course import progress
from dojo.course.catalogue import Catalogue
from dojo.course.progress import Record, Result
from dojo.errors import KataError
from dojo.learner.check_labs import lab_of
from dojo.learner.report import Report
from dojo.learner.run import (
    Opening,
    Request,
    Run,
    another_stdin,
)
from dojo.plugin.standby import others_wait
from dojo.screens import say


def check(catalogue: Catalogue, request: Request, console: Console, standby: bool = False) -> int:
    """Run the tests of chapters against a program and tell what came of it.

    standby: prepare what can be, and wait for a line on stdin before anything is said or run.
    Returns the exit status: 0 all green, 1 something red, 130 stopped. Raises KataError where no
    test can run.
    """
    again = request.once_more()
    with lab_of(request.lab, catalogue.clone, request.mydocker, again) as lab, ExitStack() as stack:
        opening = Opening(request, lab, console)
        run = Run(request, lab, console)
        if standby:
            lab.prepare()
            opening.word = another_stdin()
        if standby and lab.starts_early:
            opening.let_go = stack.enter_context(others_wait())
            run.opening = opening
        elif not opening.may_run():
            return opening.status
        run.run()
        if not opening.is_done:
            return opening.status
        is_of_the_learner = not request.mydocker and not request.marked  # and whole
        before = _remember(catalogue, run, console) if is_of_the_learner else {}
        Report(catalogue, request, run, before, console).show()
        return run.status


# Remembering ---------------------------------------------------------------------------------


def _remember(catalogue: Catalogue, run: Run, console: Console) -> dict[str, Record]:
    """Note the results. Returns the records that were there before."""
    before: dict[str, Record] = {}

    def note(known: progress.Progress) -> progress.Progress:
        before.update(known.records)
        for chapter in run.request.chapters:
            tests = [test for test in run.tests.values() if test.chapter == chapter]
            if any(test.outcome != "waiting" for test in tests):
                results = {test.name: Result(test.task, test.outcome) for test in tests}
                known = known.with_results(chapter, results)
        return known

    try:
        progress.update(catalogue.clone, note)
    except KataError as error:
        say(console, Text(f"kata: not remembered: {error}", "yellow"))
    return before
