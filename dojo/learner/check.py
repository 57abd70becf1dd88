"""`kata check`: the main job. Runs chapters' tests and tells what came of it.

The tests are run by pytest in this very process, with `Run` as the plugin that hears of every
result; a `Board` shows how far they are; at the end stand what is red, and what to do next.
"""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from dojo.course import progress
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.progress import Record, Result
from dojo.errors import KataError
from dojo.labs.remote import LabFailed
from dojo.learner.board import Board, Test
from dojo.learner.check_labs import Lab, lab_of
from dojo.learner.reference import DEFAULT_ROOT, IMAGES_BEGIN, has_image, root_or
from dojo.plugin.hooks import chapter_of, place_of, task_of, title_of
from dojo.plugin.standby import others_wait
from dojo.screens import command, counted, lesson, next_steps, of, own_mydocker, say, table
from dojo.testkit import program, surroundings
from dojo.testkit.symptoms import in_common

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


def check(catalogue: Catalogue, request: Request, console: Console, standby: bool = False) -> int:
    """Run the tests of chapters against a program and tell what came of it.

    standby: prepare what can be, and wait for a line on stdin before anything is said or run.
    Returns the exit status: 0 all green, 1 something red, 130 stopped. Raises KataError where no
    test can run.
    """
    again = request.once_more()
    with lab_of(request.lab, catalogue.clone, request.mydocker, again) as lab, ExitStack() as stack:
        opening = _Opening(request, lab, console)
        run = Run(request, lab, console)
        if standby:
            lab.prepare()
            opening.word = _another_stdin()
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
        _Report(catalogue, request, run, before, console).show()
        return run.status


def _another_stdin() -> IO[str]:
    """stdin by another descriptor: pytest takes away the usual one."""
    return os.fdopen(os.dup(sys.stdin.fileno()))


@dataclass
class _Opening:
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
        _announce(self.request, self.lab, self.console)
        trouble = self.lab.trouble(lambda line: say(self.console, Text(line, "dim")))
        if trouble is not None:
            _show_trouble(trouble, self.request, self.console)
            self.status = RED
            return False
        self.is_done = True
        return True


def _announce(request: Request, lab: Lab, console: Console) -> None:
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


# Running -------------------------------------------------------------------------------------


@dataclass(eq=False)  # pluggy keeps plugins in sets
class Run:
    """A run of pytest, and as a plugin of its the one who hears of everything.

    tests: by their ids, in the order of tasks. broken: files of tests that cannot be read, and why.
    opening: what comes before the tests are looked for, where pytest starts before that.
    """

    request: Request
    lab: Lab
    console: Console
    tests: dict[str, Test] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    opening: _Opening | None = None
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

    def _may_run(self, opening: _Opening) -> bool:
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


# Telling -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Report:
    """What stands at the end of a check. before: what was remembered before it."""

    catalogue: Catalogue
    request: Request
    run: Run
    before: dict[str, Record]
    console: Console

    def show(self) -> None:
        for name, text in self.run.broken.items():
            self._say("", Text(f"The tests of {name} cannot be run:", "red"), Text(text))
        self._show_what_is_common()
        self._show_red()
        self._show_skipped()
        if self.run.stopped:
            self._say("", Text("Stopped.", "yellow"))
        if self.run.tests:
            self._say("", self._sum(), *self._changes(), "")
            next_steps(self.console, [*self._next(), *self._by_hand()])

    def _show_what_is_common(self) -> None:
        """Say once what many failures have in common: mended there, it is mended in all of them."""
        red = self.run.red
        symptom = in_common([test.symptoms for test in red])
        if symptom is None:
            return
        alike = [test for test in red if symptom in test.symptoms]
        number = of(len(alike), len(red))
        self._say("", Text(f"{number} red tests have this in common: {symptom}.", "yellow"))
        first = alike[0]
        if first is not red[0]:  # which is shown in full below
            self._say(f"Begin with {first.chapter.number} task {first.task}: {first.title}.")

    def _show_red(self) -> None:
        red = self.run.red
        shown = red if self.request.everything else red[:1]
        for test in shown:
            self._say("", lesson(self.console, test.text))

    def _show_skipped(self) -> None:
        reasons: dict[str, int] = {}
        for test in self.run.tests.values():
            if test.outcome == "skipped":
                reasons[test.reason] = reasons.get(test.reason, 0) + 1
        if reasons:
            self._say("")
        for reason, number in reasons.items():
            self._say(Text(f"{counted(number, 'test')} skipped: {reason}", "yellow"))

    def _sum(self) -> Text:
        tests = list(self.run.tests.values())
        count = {
            outcome: sum(test.outcome == outcome for test in tests) for outcome in progress.OUTCOMES
        }
        parts = [Text(f"{of(count['passed'], len(tests))} green", "bold green")]
        if count["failed"]:
            parts.append(Text(f"{count['failed']} red", "bold red"))
        if count["skipped"]:
            parts.append(Text(f"{count['skipped']} skipped", "yellow"))
        if count["waiting"]:
            parts.append(Text(f"{count['waiting']} not run", "yellow"))
        line = Text(", ").join(parts)
        hidden = 0 if self.request.everything else max(0, count["failed"] - 1)
        if hidden:
            line += Text(f" ({hidden} of them not shown)")
        return line + Text(".")

    def _changes(self) -> list[Text]:
        """What is different from the last time."""
        lines = []
        tests = [test for test in self.run.tests.values() if test.outcome != "waiting"]
        known = {name: r for record in self.before.values() for name, r in record.results.items()}
        was_green = {name for name, result in known.items() if result.outcome == "passed"}
        compared = [test for test in tests if test.name in known]
        is_green = {test.name for test in compared if test.outcome == "passed"}
        won = len(is_green - was_green)
        more = len(is_green) - sum(test.name in was_green for test in compared)
        lost = [t for t in compared if t.outcome == "failed" and t.name in was_green]
        if more > 0:
            lines.append(Text(f"{more} more than last time.", "green"))
        elif won:
            lines.append(Text(f"{won} newly green.", "green"))
        for test in lost[:_SHOWN_LOST]:
            lines.append(Text(f"Red again: {test.chapter.number} {test.title}", "yellow"))
        if len(lost) > _SHOWN_LOST:
            lines.append(Text(f"Red again: {len(lost) - _SHOWN_LOST} more", "yellow"))
        return lines

    def _next(self) -> list[tuple[str, str]]:
        if self.run.red:
            return self._next_when_red(self.run.red[0])
        if self.run.stopped or self.run.broken:
            return [(self.request.once_more(), "once more")]
        return self._next_when_green(self.request.chapters[-1])

    def _by_hand(self) -> list[tuple[str, str]]:
        """How to run the learner's program, where it can be run: on the machine of the tests."""
        if self.request.mydocker or self.run.lab.where():
            return []
        steps = []
        needs_image = self.request.chapters[-1].order >= IMAGES_BEGIN
        if needs_image and not has_image(root_or(DEFAULT_ROOT)):
            steps.append((command("rootfs", "--import", as_root=True), "an image for yours"))
        return [*steps, (own_mydocker("run", "busybox", "sh"), "yours, by hand")]

    def _next_when_red(self, test: Test) -> list[tuple[str, str]]:
        number = test.chapter.number
        steps = [
            (command("read", number), "the lesson"),
            (command("hint", number), f"a hint for task {max(1, test.task)}"),
        ]
        if len(self.run.red) > 1 and not self.request.everything:
            steps.append((self.request.typed(number, "--all"), "every failure in full"))
        if self.request.mydocker:
            return [*steps, (self.request.typed(number), "once more")]
        return [*steps, (command("watch", number, as_root=True), "again at every save")]

    def _next_when_green(self, chapter: Chapter) -> list[tuple[str, str]]:
        steps = [(command("diff", chapter.number), "how the reference does it")]
        following = self.catalogue.after(chapter)
        if following is None:
            return [*steps, (command("status"), "this was the last chapter: all of them")]
        steps.append((command("read", following.number), f"the next chapter, {following.title}"))
        if self.request.mydocker:
            return [*steps, (self.request.typed(following.number), "its tests")]
        go_on = command("goto", following.number)
        return [*steps, (go_on, "begin it from the reference; yours is saved")]

    def _say(self, *texts: RenderableType) -> None:
        say(self.console, *texts)


_SHOWN_LOST = 3


def _show_trouble(trouble: program.Trouble, request: Request, console: Console) -> None:
    whose = f"`{request.mydocker}`" if request.mydocker else "Your mydocker/"
    say(console, Text(f"{whose} does not start, so no test was run.", "bold red"), "")
    say(console, table(console, trouble), "")
    next_steps(console, [(request.once_more(), "when it is mended")])
