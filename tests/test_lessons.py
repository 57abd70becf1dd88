"""The lessons and hints hang together with the tests that name them."""

import ast
import re

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter

CHAPTERS = Catalogue(clone.here()).chapters


@pytest.fixture(params=CHAPTERS, ids=lambda chapter: chapter.number)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    found: Chapter = request.param
    return found


def headings(text: str, level: int) -> list[str]:
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.findall(rf"^{'#' * level} (.+)$", without_code, flags=re.M)


def test_each_task_has_its_section_in_the_order_of_the_tasks(chapter: Chapter) -> None:
    sections = headings(chapter.lesson.read_text(), 2)
    assert [section for section in sections if section in chapter.tasks] == list(chapter.tasks)


def test_a_lesson_has_what_every_lesson_has(chapter: Chapter) -> None:
    text = chapter.lesson.read_text()
    sections = headings(text, 2)
    for wanted in (
        "See it with your own eyes",
        "The contract",
        "How Docker and runc do it",
        "Think about it",
        "Further reading",
    ):
        assert wanted in sections
    assert "```mermaid" in text
    assert f"{chapter.number}-start" in text


def test_each_task_has_three_to_five_hints(chapter: Chapter) -> None:
    text = chapter.hints.read_text()
    tasks = [f"Task {number}: {title}" for number, title in enumerate(chapter.tasks, start=1)]
    assert headings(text, 2) == tasks
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        hints = headings(part, 3)
        assert 3 <= len(hints) <= 5, part.splitlines()[0]
        assert hints == [f"Hint {number}" for number in range(1, len(hints) + 1)]
        bodies = re.split(r"^### Hint \d\n", part, flags=re.M)[1:]
        assert all(body.strip() for body in bodies)


def test_each_test_says_why_and_belongs_to_a_task(chapter: Chapter) -> None:
    tasks_seen = set()
    for path in chapter.folder.glob("test_*.py"):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                assert ast.get_docstring(function), f"{function.name} has no docstring"
                tasks_seen.add(task_of(function))
    assert tasks_seen == set(range(1, len(chapter.tasks) + 1))


def task_of(function: ast.FunctionDef) -> int:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "task":
            return int(ast.unparse(decorator.args[0]))
    raise AssertionError(f"{function.name} belongs to no task")
