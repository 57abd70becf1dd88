"""A chapter's steps as a page: the message of each, and what has changed in each file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from dojo.course.catalogue import Chapter
from dojo.course.patches import Patch
from dojo.course.steps import Steps


@dataclass(frozen=True)
class Line:
    """A line of a difference.

    before, after: its number in the old and in the new file, None where it is not in there.
    """

    before: int | None
    after: int | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "same"


# What a hunk is about, "@@ ... @@ def run", and its lines.
Hunk = tuple[str, Sequence[Line]]


def page(steps: Steps, chapter: Chapter) -> str:
    """The steps of a chapter as Markdown with HTML in it, a section for each task."""
    parts = [f"# {chapter.number}: {chapter.title}, as the reference does it"]
    for patch in steps.patches(chapter):
        before, after = steps.start(chapter, patch.task), steps.state(chapter, patch.task)
        parts += _section(patch, before, after)
    return "\n\n".join(parts) + "\n"


def _section(patch: Patch, before: Path, after: Path) -> Iterator[str]:
    """before, after: the folders with `mydocker/` as it is before the step, and after it."""
    _, _, body = patch.message.partition("\n")
    yield f"## {patch.number}: {patch.subject}"
    yield body.strip()
    for name, hunks in _files(patch.diff.decode(errors="replace")):
        old, new = _coloured_lines(before / name), _coloured_lines(after / name)
        change = "" if old and new else " (new)" if new else " (gone)"
        yield f"### `{name}`{change}"
        yield _table(hunks, old, new)


def _files(patch: str) -> Iterator[tuple[str, Sequence[Hunk]]]:
    for text in re.split(r"^diff --git ", patch, flags=re.MULTILINE)[1:]:
        head, *hunks = re.split(r"^(?=@@ )", text, flags=re.MULTILINE)
        name = re.match(r"a/(\S+) ", head)
        assert name, head
        yield name[1], [_hunk(hunk.splitlines()) for hunk in hunks]


def _hunk(lines: Sequence[str]) -> Hunk:
    head = re.match(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)", lines[0])
    assert head, lines[0]
    before, after = int(head[1]), int(head[2])
    found = []
    for line in lines[1:]:
        if line.startswith("\\"):
            continue
        found.append(Line(None if line[:1] == "+" else before, None if line[:1] == "-" else after))
        before += line[:1] != "+"
        after += line[:1] != "-"
    return head[3], found


def _coloured_lines(path: Path) -> Sequence[str]:
    """The lines of a Python file as HTML, none where there is no such file."""
    if not path.exists():
        return []
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    return str(highlight(path.read_text("utf-8"), lexer, HtmlFormatter(nowrap=True))).split("\n")


def _table(hunks: Sequence[Hunk], old: Sequence[str], new: Sequence[str]) -> str:
    rows: list[str] = []
    for about, lines in hunks:
        if rows or about:
            rows.append(f'<tr class="between"><td colspan="3">… {escape(about)}</td></tr>')
        rows += [_row(line, old, new) for line in lines]
    body = "".join(rows)
    table = f'<table class="lines">{body}</table>'
    return f'<div class="difference highlight">{table}</div>'


def _row(line: Line, old: Sequence[str], new: Sequence[str]) -> str:
    text = new[line.after - 1] if line.after else old[(line.before or 1) - 1]
    numbers = "".join(
        f'<td class="number" data-number="{number or ""}"></td>'
        for number in (line.before, line.after)
    )
    # A row is one line of HTML: an empty line would end it for Markdown.
    return f'<tr class="{line.kind}">{numbers}<td class="line">{text}</td></tr>'
