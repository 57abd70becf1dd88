"""A chapter's hints: for each task several, from a nudge to nearly the answer."""

import re
from collections.abc import Sequence

from dojo.course.catalogue import Chapter
from dojo.errors import KataError

# A chapter's hints: those of each task, in their order, as Markdown.
Hints = dict[int, list[str]]


def read(chapter: Chapter) -> Hints:
    """The hints in `hints.md`, where a task is `## Task 1: ...` and a hint `### Hint 1`.

    Raises KataError if there is no such file, or none in it.
    """
    try:
        text = chapter.hints.read_text("utf-8")
    except FileNotFoundError:
        raise KataError(f"chapter {chapter.number} has no hints yet") from None
    hints = {task: found for task, found in _tasks(text.splitlines()).items() if found}
    if not hints:
        raise KataError(f"read {chapter.hints}: there is no hint in it")
    return hints


def of_task(hints: Hints, task: int) -> list[str]:
    """Raises KataError naming the task and those that have hints."""
    if task not in hints:
        there_are = ", ".join(str(number) for number in sorted(hints))
        raise KataError(f"no hint for task {task}: there are hints for task {there_are}")
    return hints[task]


def _tasks(lines: Sequence[str]) -> Hints:
    hints: Hints = {}
    found: list[list[str]] = []
    task, fence = 0, ""
    for line in lines:
        fence = _fence_after(line, fence)
        heading = None if fence else _HEADING.match(line)
        if heading and heading["task"]:
            task = int(heading["task"])
            hints[task] = []
            found = []
        elif heading:
            found.append([])
        elif found:
            found[-1].append(line)
        if task:
            hints[task] = ["\n".join(one).strip() for one in found]
    return hints


_HEADING = re.compile(r"(?:##\s+Task\s+(?P<task>\d+)\b|###\s+Hint\s+\d+\b)")


def _fence_after(line: str, fence: str) -> str:
    """The fence of the code block that the line is in, "" outside: no heading is in there."""
    found = re.match(r"\s{0,3}(`{3,}|~{3,})", line)
    if not found:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence
