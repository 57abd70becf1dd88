"""`kata read`, `kata hint`, `kata diff`: what there is to read about a chapter."""

import re
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Column, Table
from rich.text import Text

from dojo.course import hints, progress
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.progress import Record
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.screens import command, console, next_steps, of, paged


def lesson(chapter: Chapter) -> None:
    """Show a chapter's lesson: rendered on a terminal, as the Markdown that it is elsewhere."""
    try:
        text = chapter.lesson.read_text("utf-8")
    except FileNotFoundError:
        raise KataError(f"chapter {chapter.number} has no lesson yet") from None
    with paged() as screen:
        if screen.is_terminal:
            screen.print(Markdown(_for_a_terminal(text)))
        else:
            screen.print(Text(text), end="")


def _for_a_terminal(text: str) -> str:
    """Pictures cannot be drawn here: their source is shown, and said to be one."""
    picture = "*A picture, as text; where Markdown is rendered (on GitHub, say) it is drawn.*"
    return re.sub(r"^```mermaid$", f"{picture}\n\n```text", text, flags=re.MULTILINE)


def hint(catalogue: Catalogue, chapter: Chapter, task: int | None, *, everything: bool) -> None:
    """Show the next hint of a task and remember that; or all of them.

    task: its number, None for the first one that is red: if all are green, there is none to show.
    """
    record = progress.load(catalogue.clone).record(chapter)
    if task is None and record is not None and record.done and record.passed:
        _need_none(catalogue, chapter, record)
        return
    chosen = task or (record.first_open_task if record else None) or 1
    chapter.require_task(chosen)
    of_task = hints.of_task(hints.read(chapter), chosen)
    screen = console()
    if everything:
        for number in range(1, len(of_task) + 1):
            _show_hint(screen, chapter, chosen, number, of_task)
        _point_at_the_reference(screen, chapter)
        return
    shown = progress.load(catalogue.clone).hints.get((chapter.number, chosen), 0)
    if shown >= len(of_task):
        title = chapter.tasks[chosen - 1]
        screen.print(Text(f"All {len(of_task)} hints for task {chosen}, {title}, were shown."))
        again = command("hint", chapter.number, "--task", str(chosen), "--all")
        _point_at_the_reference(screen, chapter, (again, "all hints of this task again"))
        return
    _show_hint(screen, chapter, chosen, shown + 1, of_task)
    progress.update(catalogue.clone, lambda known: known.with_hint(chapter, chosen, shown + 1))
    if shown + 1 < len(of_task):
        of_this_task = ["--task", str(task)] if task else []
        next_steps(screen, [(command("hint", chapter.number, *of_this_task), "the next hint")])
    else:
        _point_at_the_reference(screen, chapter)


def _need_none(catalogue: Catalogue, chapter: Chapter, record: Record) -> None:
    screen = console()
    green = f"{of(record.passed, record.total)} tests of {chapter.number} are green"
    screen.print(Text(f"No hint is needed: {green}, and none is red."), soft_wrap=True)
    steps = [(command("diff", chapter.number), "how the reference does it")]
    following = catalogue.after(chapter)
    if following is not None:
        purpose = f"the next chapter, {following.title}"
        steps.append((command("read", following.number), purpose))
    steps.append((command("hint", chapter.number, "--task", "1"), "a hint for task 1 all the same"))
    next_steps(screen, steps)


def _show_hint(
    screen: Console, chapter: Chapter, task: int, number: int, of_task: list[str]
) -> None:
    title = chapter.tasks[task - 1]
    head = f"{chapter.number} task {task}, {title}: hint {of(number, len(of_task))}"
    screen.print(Text(head, "bold"), soft_wrap=True)
    screen.print()
    text = of_task[number - 1]
    screen.print(
        Markdown(text) if screen.is_terminal else Text(text), soft_wrap=not screen.is_terminal
    )
    screen.print()


def _point_at_the_reference(screen: Console, chapter: Chapter, *more: tuple[str, str]) -> None:
    steps = [*more, (command("diff", chapter.number), "how the reference does it")]
    next_steps(screen, steps)


def diff(steps: Steps, chapter: Chapter, task: int | None) -> None:
    """Show the steps of a chapter, or of one task.

    In colours on a terminal, elsewhere as patch files have it, for `git apply`.
    """
    if task is not None:
        chapter.require_task(task)
    patches = steps.patches(chapter, task)
    if not patches:
        raise KataError(f"task {task} of {chapter.number} has no step of its own: nothing changes")
    with paged() as screen:
        if screen.is_terminal:
            for patch in patches:
                screen.print(Text(patch.message, "bold" if len(patches) > 1 else ""), "")
                for line in patch.diff.decode(errors="replace").splitlines():
                    screen.print(Text(line, _colour(line)), soft_wrap=True)
            return
    sys.stdout.buffer.write(b"\n".join(patch.text() for patch in patches))


def list_steps(screen: Console, steps: Steps, chapters: Sequence[Chapter]) -> None:
    """Show the steps of chapters: number, lines that each adds, and subject."""
    table = Table("step", Column("lines", justify="right"), "", box=None, pad_edge=False)
    for chapter in chapters:
        patches = steps.patches(chapter)
        lines = str(sum(patch.added() for patch in patches))
        table.add_row(chapter.number, lines, chapter.title, style="bold")
        for patch in patches:
            table.add_row(patch.number, str(patch.added()), patch.subject)
    screen.print(table)


def _colour(line: str) -> str:
    """As git colours the lines of a patch."""
    for start, colour in _COLOURS.items():
        if line.startswith(start):
            return colour
    return ""


_COLOURS = {
    "diff ": "bold",
    "new file": "bold",
    "deleted file": "bold",
    "--- ": "bold",
    "+++ ": "bold",
    "@@": "cyan",
    "+": "green",
    "-": "red",
}
