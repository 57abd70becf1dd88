"""`kata` and `kata status`: where a learner is."""

from rich.table import Table
from rich.text import Text

from dojo.course import progress
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.progress import Progress
from dojo.screens import bar, command, console, marks, next_steps, of, say


def what_next(catalogue: Catalogue) -> None:
    """In a few lines: where the learner is, and what to type."""
    screen = console()
    known = progress.load(catalogue.clone)
    chapter = known.current(catalogue)
    done = sum(known.done(chapter) for chapter in catalogue.chapters)
    figures = f"{of(done, len(catalogue.chapters))} chapters done"
    say(screen, Text.assemble(("Write your own Docker", "bold"), f"  {figures}"), "")
    if chapter is None:
        last = catalogue.chapters[-1]
        next_steps(
            screen,
            [
                (command("status"), "every chapter"),
                (command("diff", last.number), "how the reference does the last one"),
            ],
        )
        return
    say(screen, Text.assemble((f"{chapter.number} {chapter.title}", "bold"), f"  {chapter.line}"))
    record = known.record(chapter)
    if record is not None:
        say(screen, Text(f"{of(record.passed, record.total)} tests are green."))
    say(screen, "")
    number = chapter.number
    steps = [
        (command("read", number), "the lesson: what to build, and why"),
        (command("check", number, as_root=True), "run its tests against your mydocker/"),
    ]
    if record is not None:
        steps = [*reversed(steps), (command("hint", number), "when you are stuck")]
    next_steps(screen, [*steps, (command("--help"), "what else there is")])


def status(catalogue: Catalogue) -> None:
    """A line for each chapter."""
    screen = console()
    known = progress.load(catalogue.clone)
    current = known.current(catalogue)
    table = Table.grid(padding=(0, 2, 0, 0), expand=screen.is_terminal)
    for _ in range(4):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # what is too narrow for all
    for chapter in catalogue.chapters:
        record = known.record(chapter)
        mark, state, colour = _state(known, chapter)
        here = "bold" if chapter == current else ""
        title = Text.assemble(marks(screen)[mark], " ", (f"{chapter.number} {chapter.title}", here))
        if record is None:
            strip, figures = bar(screen, 0, 0, 0, _BAR), ""
        else:
            strip = bar(screen, record.passed, record.failed, record.total, _BAR)
            figures = of(record.passed, record.total)
        table.add_row(title, Text(state, colour), strip, Text(figures), Text(chapter.line, "dim"))
    screen.print(table)
    done = sum(known.done(chapter) for chapter in catalogue.chapters)
    say(screen, "", f"{of(done, len(catalogue.chapters))} chapters done.")


_BAR = 12


def _state(known: Progress, chapter: Chapter) -> tuple[str, str, str]:
    """The mark, the word and the colour of a chapter's state."""
    record = known.record(chapter)
    if record is None:
        return "waiting", "not begun", "dim"
    if record.done:
        return "passed", "done", "green"
    if record.failed:
        return "failed", "red", "red"
    return "waiting", "begun", ""
