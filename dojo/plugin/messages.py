"""What a learner reads of a test that failed."""

from pathlib import Path

import pytest

from dojo.course.catalogue import Chapter
from dojo.plugin.fixtures import RUN
from dojo.plugin.items import task_of, title_of
from dojo.rows import NAME_WIDTH, laid_out, readable
from dojo.testkit.history import with_calls
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import Unmet


def not_understood(info: pytest.ExceptionInfo[BaseException], under_test: Mydocker) -> Unmet:
    """An error in a test's own code: it has met something that it was not prepared for.

    Most likely the program under test has written what no test expects. That is shown; where the
    test is at fault, its author finds the traceback below.
    """
    calls = under_test.made[-1].so_far().rows() if under_test.made else []
    last = info.traceback[-1]
    own = [entry for entry in info.traceback if Path(entry.path).name.startswith("test_")] or [last]
    where = f"{Path(own[-1].path).name}, line {own[-1].lineno + 1}"
    note = f"the test cannot make sense of this: {info.exconly(tryshort=True)} ({where})"
    return Unmet([*calls, ("note", note), ("expected", "something that the test can read")])


def lesson_of(item: pytest.Item, chapter: Chapter, error: Unmet) -> str:
    """What a learner reads: what was run, what came out, what was expected, why, and where."""
    under_test = item.stash.get(RUN, None)
    told = error.rows
    if under_test is not None:
        told = with_calls(told, under_test.made, under_test.begun)
    rows = [*where_it_was_held_up(item), *told, *what_was_refused(item)]
    why = " ".join((getattr(item, "obj", None).__doc__ or "").split())
    if why:
        rows.append(("why", why))
    if item.get_closest_marker("ours") and item.config.getoption("--mydocker"):
        rows.append(("ours", _OURS))
    number = task_of(item)
    section = chapter.tasks[number - 1]
    rows.append(("read", f'chapters/{chapter.folder.name}/README.md, "{section}"'))
    title = f"{chapter.number} task {number}: {title_of(item)}"
    shown = [(name, readable(text)) for name, text in rows]
    return f"{title}\n{laid_out(shown, NAME_WIDTH, margin=2, gap=1)}"


_OURS = "real engines do not promise this: -m 'not ours' leaves out such tests"


def where_it_was_held_up(item: pytest.Item) -> list[tuple[str, str]]:
    """The crash point that a test had come to, where it goes by these."""
    under_test = item.stash.get(RUN, None)
    if under_test is None or under_test.held_up is None:
        return []
    shown, crash_point = under_test.held_up
    return [("held up", shown), ("before", crash_point.before)] if crash_point.came else []


def what_was_refused(item: pytest.Item) -> list[tuple[str, str]]:
    """The mounts that the test host has refused with EPERM, see `dojo.scratch.guard`."""
    under_test = item.stash.get(RUN, None)
    guard = under_test.host.guard if under_test is not None else None
    return [("refused", f"{why} (EPERM)") for why in dict.fromkeys(guard.refused if guard else [])]
