"""One run of chapters' tests for `kata check`: pytest, started here, and what it reports."""

import os
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import IO

import pytest
from rich.console import Console
from rich.text import Text

from dojo.course.catalogue import Chapter
from dojo.errors import KataError
from dojo.labs.remote import LabFailed
from dojo.learner.board import Board, Test
from dojo.learner.check_labs import Lab
from dojo.plugin.items import chapter_of, place_of, task_of, title_of
from dojo.screens import command, next_steps, say, table
from dojo.testkit import program, surroundings

GREEN, RED, STOPPED = 0, 1, 130


@dataclass(frozen=True)
class Request:
    """What was asked for.

    chapters: in the order of the catalogue. mydocker: the command of the program under test, None
    for the learner's package. marked: run only the tests whose markers are such, as pytest's -m has
    it. workers: how many tests run at a time, None for what suits this machine. everything: show
    every failure in full. lab, strict, red_first: see the pytest plugin.
    """

    chapters: tuple[Chapter, ...]
    mydocker: str | None = None
    marked: str | None = None
    workers: int | None = None
    everything: bool = False
    lab: str = "auto"
    strict: bool = False
    red_first: bool = False

    def typed(self, *words: str) -> str:
        """What to type for a check of the same kind. words: the chapters, and more options."""
        options = [*words]
        options += ["--mydocker", self.mydocker] if self.mydocker else []
        options += ["-m", self.marked] if self.marked else []
        return command("check", *options, as_root=True)

    def once_more(self) -> str:
        return self.typed(*(chapter.number for chapter in self.chapters))


def another_stdin() -> IO[str]:
    """stdin by another descriptor: pytest takes away the usual one."""
    return os.fdopen(os.dup(sys.stdin.fileno()))


@dataclass
class Opening:
    """What comes before the tests.

    word: where to wait for a line before all else. let_go: to be called then. is_done: whether
    tests may run. status: with which all ends where they may not.
    """

    request: Request
    lab: Lab
    console: Console
    word: IO[str] | None = None
    let_go: Callable[[], None] | None = None
    is_done: bool = False
    status: int = GREEN

    def may_run(self) -> bool:
        """Wait, say what will be run, and see whether the program starts. Raises KataError."""
        if self.word is not None and not self.word.readline():
            return False  # nobody wants it any more
        if self.let_go is not None:
            self.let_go()
        self.lab.open()
        announce(self.request, self.lab, self.console)
        trouble = self.lab.trouble(lambda line: say(self.console, Text(line, "dim")))
        if trouble is not None:
            show_trouble(trouble, self.request, self.console)
            self.status = RED
            return False
        self.is_done = True
        return True


# Running -------------------------------------------------------------------------------------


@dataclass(eq=False)  # pluggy keeps plugins in sets
class Run:
    """A run of pytest, and as a plugin of its the one who hears of everything.

    tests: by their IDs, in the order of tasks. broken: files of tests that cannot be read, and why.
    opening: what comes before the tests are looked for, where pytest starts before that.
    """

    request: Request
    lab: Lab
    console: Console
    tests: dict[str, Test] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    opening: Opening | None = None
    refused: KataError | None = None

    def run(self) -> None:
        self.board = Board(self.console)
        surroundings.clear_for_tests()
        try:
            code = pytest.main(self._arguments(), plugins=[self, *self.lab.plugins()])
        finally:
            self.board.close()
        if code == pytest.ExitCode.NO_TESTS_COLLECTED and self.request.marked:
            self.refused = KataError(f"-m {self.request.marked!r}: no test is marked so")
        if self.refused is not None:
            raise self.refused
        if self.stopped:
            self.lab.clear_away()
        usual = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
        if code not in usual and not self.broken:
            self.broken["pytest"] = f"pytest ended with {code!r}"

    @property
    def status(self) -> int:
        if self.stopped:
            return STOPPED
        return RED if self.broken or self.red else GREEN

    @property
    def red(self) -> list[Test]:
        return [test for test in self.tests.values() if test.outcome == "failed"]

    def _arguments(self) -> list[str]:
        request = self.request
        root = request.chapters[0].folder.parent.parent
        arguments = [f"--rootdir={root}", f"--config-file={root / 'pyproject.toml'}"]
        arguments += ["--override-ini=addopts=", "--import-mode=importlib", "--strict-markers"]
        arguments += ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:randomly"]
        arguments += [*plugin_options(), f"--lab={self.lab.name}"]
        arguments += ["--strict-lab"] if request.strict else []
        arguments += ["--red-first"] if request.red_first else []
        arguments += ["--mydocker", request.mydocker] if request.mydocker else []
        arguments += ["-m", request.marked] if request.marked else []
        number = self.lab.at_a_time(request.workers)
        if number > 1:
            arguments += ["-n", str(number), "--maxschedchunk=1"]
        return [*arguments, *(str(chapter.folder) for chapter in request.chapters)]

    # pytest's hooks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Under xdist only the workers collect: do it here too, while they are being started."""
        if self.opening is not None and not self._may_run(self.opening):
            raise session.Interrupted("there is nothing to run")
        try:
            if session.config.pluginmanager.hasplugin("dsession"):
                session.perform_collect()
                if self.broken:
                    raise session.Interrupted("a file of tests cannot be read")
            return (yield)
        except pytest.UsageError as error:
            self.refused = KataError(str(error))
            raise session.Interrupted("there is nothing to run") from error

    def _may_run(self, opening: Opening) -> bool:
        try:
            return opening.may_run()
        except KataError as error:
            self.refused = error
            return False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in sorted(session.items, key=place_of):  # they may run in another order
            chapter = chapter_of(item)
            if chapter is not None:
                test = Test(item.nodeid, chapter, task_of(item), title_of(item))
                self.tests[item.nodeid] = test
        self.board.begin(self.tests.values())

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken[report.nodeid] = report.longreprtext

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self.tests[report.nodeid]
        if report.failed:
            test.outcome = "failed"
            test.text = "\n".join(text for text in (test.text, _text(report)) if text)
            for name, value in report.user_properties:
                if name == "symptoms" and isinstance(value, list):
                    test.symptoms = tuple(value)
        elif report.skipped:
            test.outcome, test.reason = "skipped", _reason(report)
        elif report.when == "call":
            test.outcome = "passed"
        # "???" is what xdist says of a test in which a worker has died.
        if report.when in ("teardown", "???"):
            self.board.ended(test)

    def pytest_internalerror(self, excrepr: object) -> None:
        self.broken["pytest"] = str(excrepr)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if isinstance(excinfo.value, LabFailed):
            self.broken["the lab"] = str(excinfo.value)
        self.stopped = self.stopped or not isinstance(excinfo.value, pytest.Session.Interrupted)


def plugin_options() -> list[str]:
    """What makes pytest load the kata's plugin: nothing where the project is installed."""
    from importlib.metadata import entry_points

    installed = any(point.value == "dojo.plugin" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "dojo.plugin"]


def _text(report: pytest.TestReport) -> str:
    """Why a test failed, without the line that xdist puts before it."""
    return report.longrepr if isinstance(report.longrepr, str) else report.longreprtext


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple | list):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext


def announce(request: Request, lab: Lab, console: Console) -> None:
    for chapter in request.chapters if len(request.chapters) == 1 else ():
        say(
            console,
            Text.assemble((f"{chapter.number} {chapter.title}", "bold"), f"  {chapter.line}"),
        )
    what = ", ".join(f"chapters/{chapter.folder.name}" for chapter in request.chapters)
    what += f" that are {request.marked!r}" if request.marked else ""
    against = request.mydocker or "your mydocker/"
    number = lab.at_a_time(request.workers)
    at_a_time = f", {number} at a time" if number > 1 else ""
    text = f"Running the tests of {what} against {against}{at_a_time}{lab.where()}."
    say(console, Text(text, "dim"), "")


def show_trouble(trouble: program.Trouble, request: Request, console: Console) -> None:
    whose = f"`{request.mydocker}`" if request.mydocker else "Your mydocker/"
    say(console, Text(f"{whose} does not start, so no test was run.", "bold red"), "")
    say(console, table(console, trouble), "")
    next_steps(console, [(request.once_more(), "when it is mended")])
