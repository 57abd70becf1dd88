"""What is shown of a call: all that was special about it, so that a learner can do the same."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dojo.scratch.typed import Before, show_call, show_command
from dojo.testkit.callers import FULL

RUN = ("mydocker", "run", "busybox", "true")
UMASK = ("sh", "-c", 'umask 077; exec "$@"', "sh")
PIPED = ("sh", "-c", '"$@" | tr a-z A-Z', "sh")
OWN_PID = ("sh", "-c", 'echo $$ > /tmp/pid; exec "$@"', "sh")
CLOSED = ("sh", "-c", 'exec "$@" <&- 2>&1', "sh")

SHOWN: list[tuple[dict[str, Any], str]] = [
    ({}, "mydocker run busybox true"),
    ({"env": {"A": "b c", "LC_ALL": "C"}}, "A='b c' LC_ALL=C mydocker run busybox true"),
    ({"env": {"A-B": "x y"}}, "env 'A-B=x y' mydocker run busybox true"),
    ({"cwd": Path("/a b")}, "cd '/a b' && mydocker run busybox true"),
    (
        {"stdin": b"it's 5%\n\\\0"},
        "printf 'it'\"'\"'s 5%%\\n\\\\\\000' | mydocker run busybox true",
    ),
    ({"stdin": bytes(1000)}, "mydocker run busybox true  # stdin: a pipe with 1000 bytes"),
    ({"stdin": None}, "mydocker run busybox true  # stdin: a pipe that stays open"),
    ({"terminal": True}, "mydocker run busybox true  # on a terminal of its own"),
    ({"before": FULL}, "mydocker run busybox true > /dev/full"),
    ({"before": FULL, "env": {"A": "b"}}, "A=b mydocker run busybox true > /dev/full"),
    ({"before": CLOSED}, "mydocker run busybox true <&- 2>&1"),
    ({"before": UMASK}, "(umask 077; mydocker run busybox true)"),
    ({"before": PIPED}, "mydocker run busybox true | tr a-z A-Z"),
    (
        {"before": UMASK, "env": {"A": "b"}},
        "A=b sh -c 'umask 077; exec \"$@\"' sh mydocker run busybox true",
    ),
    (
        {"before": OWN_PID},
        "sh -c 'echo $$ > /tmp/pid; exec \"$@\"' sh mydocker run busybox true",
    ),
    (
        {"before": ("unshare", "--mount", *UMASK)},
        "unshare --mount sh -c 'umask 077; exec \"$@\"' sh mydocker run busybox true",
    ),
    ({"before": ("setpriv", "--reuid=1")}, "setpriv --reuid=1 mydocker run busybox true"),
    ({"before": Before(["x"], "in a chroot")}, "mydocker run busybox true  # in a chroot"),
]


@pytest.mark.parametrize(("special", "shown"), SHOWN)
def test_what_is_special_is_shown(special: dict[str, Any], shown: str) -> None:
    assert show_call(RUN, **special) == shown


def test_descriptors_are_shown(tmp_path: Path) -> None:
    mine, other = os.pipe()
    gone, unread = os.pipe()
    os.close(gone)
    os.set_blocking(mine, False)
    path = tmp_path / "a file"
    path.touch()
    read, append = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY | os.O_APPEND)
    full = os.open("/dev/full", os.O_RDWR)
    try:
        shown = show_call(RUN, stdin=mine, holding=[unread, read, append, full])
        redirected = f"4< '{path}' 5>> '{path}' 6<> /dev/full"
        notes = "stdin: a pipe, non-blocking; descriptor 3: a pipe that nobody reads"
        assert shown == f"mydocker run busybox true {redirected}  # {notes}"
        assert show_call(RUN, stdin=read) == f"mydocker run busybox true < '{path}'"
        os.close(other)
        assert show_call(RUN, stdin=mine).endswith("a pipe that nobody writes to, non-blocking")
    finally:
        for descriptor in (mine, unread, read, append, full):
            os.close(descriptor)


WORDS = st.lists(st.binary(max_size=20).map(lambda word: word.replace(b"\0", b"")), max_size=4)


@example(words=[b"-n", b"\n\t'"], stdin=b"-%s\\", value=b"\xff1")
@given(words=WORDS, stdin=st.binary(max_size=30), value=WORDS.map(b" ".join))
def test_a_shell_takes_it_back_to_the_byte(words: list[bytes], stdin: bytes, value: bytes) -> None:
    """What a learner copies from a message does the same as the test did."""
    script = r'for each; do printf "%s\0" "$each"; done; printf "%s\0" "$VALUE"; exec cat'
    env = {"VALUE": os.fsdecode(value)}
    shown = show_call(["sh", "-c", script, "sh", *words], env=env, stdin=stdin)
    done = subprocess.run(
        ["bash", "-c", shown], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stdout == b"".join(word + b"\0" for word in [*words, value]) + stdin
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_the_shortened_scripts_do_the_same() -> None:
    """A script that starts the program is shown without the shell around it."""
    words = ["sh", "-c", "echo $1; umask; echo err >&2", "sh", "it's"]
    for before in (UMASK, PIPED, CLOSED):
        shown = show_call(words, before=before)
        assert '"$@"' not in shown
        results = [
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            for argv in ([*before, *words], ["sh", "-c", shown])
        ]
        assert results[0].stdout == results[1].stdout
        assert results[0].stderr == results[1].stderr


def test_a_long_word_is_cut() -> None:
    assert show_command(["echo", "x" * 5000]).endswith("…(5000 characters)")
    script = f"echo {shlex.quote('a b ' * 100)}"
    assert shlex.split(show_command(["sh", "-c", script])) == ["sh", "-c", script]
