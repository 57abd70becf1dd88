"""Messages: whatever a program under test has written, a terminal can show it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojo.rows import NAME_WIDTH, an, laid_out, readable
from dojo.scratch.calls import show
from dojo.screens import _rows
from dojo.testkit.testing import described


@given(st.text())
def test_a_text_is_shown_by_printed_characters_only_and_not_cut_twice(text: str) -> None:
    shown = readable(text)
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert readable(shown) == shown.removesuffix("\n")


def test_what_is_harmless_stays_as_it_is() -> None:
    text = "mydocker: run: läuft nicht 実\n\n  indented"
    assert readable(text + "\n") == text


@pytest.mark.parametrize(
    "content", [b"\0" * 500_000, b"line\n" * 100_000, b"\xff" * 9000, b"x" * 2401]
)
def test_of_much_the_beginning_the_end_and_the_length_are_shown(content: bytes) -> None:
    shown = show(b"begin " + content + b" end")
    assert len(shown) < 2500
    assert shown.count("\n") < 36
    assert shown.startswith("begin ")
    assert shown.endswith(" end")
    assert f"… (the middle of {len(content) + 10} bytes is left out) …" in shown
    assert readable(shown) == shown


@given(st.lists(st.tuples(st.sampled_from(["ran", "found", "held up"]), st.text()), min_size=1))
def test_rows_are_told_apart_again_whatever_is_in_them(rows: list[tuple[str, str]]) -> None:
    shown = [(name, readable(text)) for name, text in rows]
    text = laid_out(shown, NAME_WIDTH, margin=2, gap=1)
    assert list(_rows(text.split("\n"))) == shown


@pytest.mark.parametrize("line", ["  x", "x", "", "  found", "  foundit", "            "])
def test_other_lines_are_not_taken_for_rows(line: str) -> None:
    assert list(_rows([line])) == []


@pytest.mark.parametrize("noun", ["an ipc", "a uts", "a pid", "an IPC namespace", "a user's"])
def test_a_noun_has_the_article_that_is_spoken(noun: str) -> None:
    assert an(noun.partition(" ")[2]) == noun


class Ours:
    def __str__(self) -> str:
        return "process 3 `sleep 5`"


@pytest.mark.parametrize(
    ("got", "shown"),
    [
        ([Ours(), Ours()], "process 3 `sleep 5`; process 3 `sleep 5`"),
        ({Ours()}, "process 3 `sleep 5`"),
        (b"a\0b", "a\\x00b"),
        (["", "a b"], "['', 'a b']"),
        ("", "(nothing)"),
        ([], "[]"),
        (None, "None"),
    ],
)
def test_what_was_found_is_never_how_python_writes_an_object_of_ours(
    got: object, shown: str
) -> None:
    assert described(got) == shown
