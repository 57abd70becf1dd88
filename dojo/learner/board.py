"""How far a check is: a line for each task, and on a terminal a bar that moves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from dojo.course.catalogue import Chapter
from dojo.screens import bar, marks, of, say


@dataclass
class Test:
    """One test, and what became of it.

    outcome: "passed", "failed", "skipped", or "waiting" for one that has not ended. text: why it
    failed. symptoms: what may be said of other failures, too. reason: why it was skipped.
    """

    name: str
    chapter: Chapter
    task: int
    title: str
    outcome: str = "waiting"
    text: str = ""
    symptoms: tuple[str, ...] = ()
    reason: str = ""


@dataclass
class Tally:
    """A task of a chapter, and what became of its tests so far."""

    chapter: str
    task: int
    title: str
    tests: list[Test] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(test.outcome == outcome for test in self.tests)

    @property
    def is_over(self) -> bool:
        return not self.count("waiting")

    @property
    def mark(self) -> str:
        if self.count("failed"):
            return "failed"
        if not self.is_over:
            return "waiting"
        return "passed" if self.count("passed") else "skipped"

    @property
    def figures(self) -> str:
        skipped = f", {self.count('skipped')} skipped" if self.count("skipped") else ""
        return of(self.count("passed"), len(self.tests)) + skipped


class Board:
    """Shows the tasks of one chapter after the other, in their order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = marks(console)
        self._tallies: list[Tally] = []
        self._printed = 0
        self._live: Live | None = None

    def begin(self, tests: Iterable[Test]) -> None:
        """tests: all there are, in the order of chapters and tasks."""
        tallies: dict[tuple[str, int], Tally] = {}
        for test in tests:
            titles = test.chapter.tasks
            title = titles[test.task - 1] if 0 < test.task <= len(titles) else "Without a task"
            key = (test.chapter.number, test.task)
            tallies.setdefault(key, Tally(*key, title)).tests.append(test)
        self._tallies = list(tallies.values())
        self._width = max((len(tally.title) for tally in self._tallies), default=0)
        self._several = len({tally.chapter for tally in self._tallies}) > 1
        if self._console.is_terminal and self._tallies:
            self._live = Live(
                self,
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def ended(self, test: Test) -> None:
        """A test has ended: its outcome is known."""
        while self._printed < len(self._tallies) and self._tallies[self._printed].is_over:
            self._print_next()

    def close(self) -> None:
        """Print what has not been printed yet. Safe to call twice."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        while self._printed < len(self._tallies):
            self._print_next()

    def _print_next(self) -> None:
        tally = self._tallies[self._printed]
        first = self._printed == 0 or self._tallies[self._printed - 1].chapter != tally.chapter
        if self._several and first:
            say(self._console, Text(f"  {tally.chapter}", "bold"))
        self._printed += 1
        say(self._console, self._line(tally))

    def _line(self, tally: Tally) -> Text:
        colour = {"failed": "red", "passed": "green"}.get(tally.mark, "dim")
        title = f" {tally.task}  {tally.title:<{self._width}}  "
        return Text.assemble("  ", self._marks[tally.mark], title, (tally.figures, colour))

    def __rich__(self) -> RenderableType:
        """What moves: the tasks of this chapter that are not printed yet, and a bar of it all."""
        rest = self._tallies[self._printed :]
        here = [tally for tally in rest if tally.chapter == rest[0].chapter]
        tests = [test for tally in self._tallies for test in tally.tests]
        count = {
            outcome: sum(test.outcome == outcome for test in tests)
            for outcome in ("passed", "failed", "skipped", "waiting")
        }
        strip = bar(self._console, count["passed"], count["failed"], len(tests), width=40)
        ended = of(len(tests) - count["waiting"], len(tests))
        return Group(
            *(self._line(tally) for tally in here),
            "",
            Text.assemble("  ", strip, f"  {ended}", ("  Ctrl-C stops", "dim")),
        )
