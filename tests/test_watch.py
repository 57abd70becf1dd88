"""`kata watch`, at a terminal."""

import re
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from dojo.course.catalogue import Catalogue
from dojo.errors import KataError
from dojo.learner.watch import Events, Saved, _Saves
from tests.learners import Learner, kata, make_learner, require_lab

SECONDS = 30
OFFER = "Waiting for a save"


@pytest.fixture
def learner(tmp_path: Path, request: pytest.FixtureRequest) -> Learner:
    require_lab(request)
    return make_learner(tmp_path / "clone")


@pytest.fixture
def screen(learner: Learner) -> Iterator[pexpect.spawn]:
    """A terminal in which a learner who knows one word watches chapter 3.1."""
    learner.knows("one")
    first, *rest = kata("watch", "3.1")
    child = pexpect.spawn(
        first,
        rest,
        cwd=str(learner.clone.root),
        env=learner.environment,
        dimensions=(50, 100),
        timeout=SECONDS,
        encoding="utf-8",
    )
    yield child
    child.close(force=True)


def shows(screen: pexpect.spawn, text: str) -> None:
    """Wait until the screen shows this text, in whatever colours."""
    between = r"(?:\x1b\[[0-9;]*m|\s)*"
    screen.expect(between.join(map(re.escape, re.findall(r"\w+|[^\w\s]", text))))


def ends(screen: pexpect.spawn) -> int | None:
    screen.expect(pexpect.EOF)
    screen.close()
    return screen.exitstatus


def test_a_save_runs_it_again(learner: Learner, screen: pexpect.spawn) -> None:
    shows(screen, "1 of 4 green, 3 red")
    shows(screen, OFFER)
    learner.knows("one", "two")
    shows(screen, "3.1 words of 3.1")
    shows(screen, "2 of 4 green, 2 red")
    shows(screen, "1 more than last time")
    shows(screen, OFFER)
    (learner.clone.learner / "new.py").write_text("")
    shows(screen, "2 of 4 green, 2 red")
    shows(screen, OFFER)
    chapter = learner.clone.chapters / "3_1/test_3_1.py"
    chapter.write_text(chapter.read_text() + "\n\ndef test_more():\n    pass\n")
    shows(screen, "3 of 5 green, 2 red")
    shows(screen, OFFER)
    screen.send("q")
    assert ends(screen) == 0


def test_keys(learner: Learner, screen: pexpect.spawn) -> None:
    shows(screen, "r run again   h hint   l list   q quit")
    assert "next chapter" not in screen.before  # it is red
    screen.send("h")
    shows(screen, "3.1 task 1, Small words: hint 1 of 2")
    shows(screen, OFFER)
    screen.send("h")
    shows(screen, "hint 2 of 2")
    shows(screen, OFFER)
    screen.send("l")
    shows(screen, "0 of 2 chapters done")
    shows(screen, OFFER)
    screen.send("n")  # does nothing: the chapter is red
    screen.send("x")
    screen.send("r")
    shows(screen, "3.1 words of 3.1")
    shows(screen, "1 of 4 green")
    shows(screen, OFFER)
    learner.knows("one", "two", "three", "four", "five")
    shows(screen, "4 of 4 green")
    shows(screen, "n next chapter")
    screen.send("n")
    shows(screen, "3.2 words of 3.2")
    shows(screen, "1 of 1 green")
    shows(screen, OFFER)
    assert "next chapter" not in screen.before
    screen.send("q")
    assert ends(screen) == 0


def test_a_save_stops_a_check_that_runs(learner: Learner, screen: pexpect.spawn) -> None:
    shows(screen, OFFER)
    learner.knows("hang")
    shows(screen, "0 of 4")
    shows(screen, "Ctrl-C stops")
    learner.knows("one", "two", "three", "four")
    shows(screen, "4 of 4 green")
    screen.send("q")
    assert ends(screen) == 0


def test_q_stops_a_check_that_runs(learner: Learner, screen: pexpect.spawn) -> None:
    shows(screen, OFFER)
    learner.knows("hang")
    shows(screen, "0 of 4")
    shows(screen, "Ctrl-C stops")
    screen.send("q")
    assert ends(screen) == 0


def test_ctrl_c_ends_it_and_the_terminal_is_as_before(
    learner: Learner, screen: pexpect.spawn
) -> None:
    shows(screen, OFFER)
    screen.sendintr()
    shows(screen, "kata: stopped")
    assert ends(screen) == 130
    shell = pexpect.spawn(
        "sh",
        cwd=str(learner.clone.root),
        env={**learner.environment, "PS1": "prompt "},
        timeout=SECONDS,
        encoding="utf-8",
    )
    shell.expect("prompt ")
    shell.sendline(f"stty -a | md5sum; {' '.join(kata('watch', '3.1'))}; stty -a | md5sum")
    shell.expect("([0-9a-f]{32})")
    before = shell.match[1]
    shows(shell, OFFER)
    shell.sendintr()
    shell.expect("([0-9a-f]{32})")
    assert shell.match[1] == before
    shell.close(force=True)


def test_a_program_that_does_not_import_is_told_and_watched_on(
    learner: Learner, screen: pexpect.spawn
) -> None:
    shows(screen, OFFER)
    learner.writes("words.py", "KNOWN = {\n")
    shows(screen, "mydocker/words.py, line 1")
    shows(screen, OFFER)
    learner.knows("one", "two", "three", "four")
    shows(screen, "4 of 4 green")


def test_the_package_may_be_put_there_anew(learner: Learner, screen: pexpect.spawn) -> None:
    """As `kata goto` does in another window."""
    shows(screen, OFFER)
    package = learner.clone.learner
    package.rename(learner.clone.root / "away")
    shows(screen, "No module named mydocker")
    shows(screen, OFFER)
    (learner.clone.root / "away").rename(package)
    screen.send("r")
    shows(screen, "1 of 4 green")
    shows(screen, OFFER)
    learner.knows("one", "two")
    shows(screen, "2 of 4 green")


def test_without_a_keyboard_it_watches_too(learner: Learner) -> None:
    learner.knows("one")
    words = " ".join(kata("watch", "3.1"))
    child = pexpect.spawn(
        "sh",
        ["-c", f"{words} < /dev/null | cat"],
        cwd=str(learner.clone.root),
        env={**learner.environment, "PYTHONUNBUFFERED": "1"},
        timeout=SECONDS,
        encoding="utf-8",
    )
    shows(child, "1 of 4 green")
    shows(child, OFFER)
    learner.knows("one", "two")
    shows(child, "2 of 4 green")
    assert "\x1b[" not in child.before
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()


def test_what_python_and_editors_put_there_is_no_save(tmp_path: Path) -> None:
    events: Events = Events()
    saves = _Saves([tmp_path], events)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x.pyc").write_text("")
    (tmp_path / ".x.py.swp").write_text("")
    (tmp_path / "x.py").write_text("")
    assert events.get(timeout=SECONDS) == Saved()
    saves.stop()


def test_a_folder_that_cannot_be_watched_is_told(tmp_path: Path) -> None:
    _Saves([tmp_path], Events()).stop()
    missing = tmp_path / "missing"
    with pytest.raises(KataError, match=f"watch {missing}: "):
        _Saves([missing], Events())


def test_the_chapter_of_the_keys_is_the_catalogues(learner: Learner) -> None:
    catalogue = Catalogue(learner.clone)
    following = catalogue.after(catalogue.chapter("3.1"))
    assert following is not None
    assert following.number == "3.2"
