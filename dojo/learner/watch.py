"""`kata watch`: save, see, go on.

The check runs as a process of its own, so that it can be stopped when a file is saved meanwhile.
The next check stands by: it has started all that takes long (on this machine pytest and its
workers; or it has reached the virtual one), and waits for the save. It runs first what was red.

Three threads tell the loop what happens: one hears of saves, one of keys, one of the check's end.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from dojo.course.catalogue import Catalogue, Chapter
from dojo.errors import KataError
from dojo.labs import choice, vagrant
from dojo.learner.run import GREEN
from dojo.screens import command, console, say


@dataclass(frozen=True)
class Saved:
    """Files in mydocker/ or in the chapter's folder were changed."""


@dataclass(frozen=True)
class Key:
    letter: str


@dataclass(frozen=True)
class Ended:
    """The check with this number has ended."""

    number: int
    status: int


Events = queue.Queue[Saved | Key | Ended]

KEYS = {"n": "next chapter", "r": "run again", "h": "hint", "l": "list", "q": "quit"}


def watch(catalogue: Catalogue, chapter: Chapter, lab: str = "auto") -> int:
    """Check a chapter now and at every save, until `q` or Ctrl-C. Returns the exit status.

    lab: where the tests run. Raises KataError where they can run nowhere.
    """
    again = command("watch", chapter.number, as_root=True)
    elsewhere = choice.is_elsewhere(lab)
    if not elsewhere and (refusal := choice.refusal_here(again)):
        raise KataError(refusal)
    if elsewhere and lab == "auto" and not vagrant.may_be_there(catalogue.clone):
        choice.connect(lab, catalogue.clone, again)  # says what to do
    with _keys_as_they_are_typed() as has_keys:
        return _Watch(catalogue, chapter, lab, has_keys).loop()


class _Watch:
    def __init__(self, catalogue: Catalogue, chapter: Chapter, lab: str, has_keys: bool) -> None:
        self._catalogue = catalogue
        self._chapter = chapter
        self._lab = lab
        self._has_keys = has_keys
        self._console = console()
        self._events: Events = queue.Queue()
        self._saves: _Saves | None = None
        self._check: subprocess.Popen[bytes] | None = None
        self._next: _Next | None = None
        self._number = 0
        self._green = False

    def loop(self) -> int:
        if self._has_keys:
            _in_background(_tell_of_keys, self._events)
        try:
            self._start()
            while True:
                match self._events.get():
                    case Key("q"):
                        return GREEN
                    case Key(letter):
                        self._obey(letter)
                    case Saved():
                        self._start()
                    case Ended(number, status) if number == self._number:
                        self._check = None
                        self._green = status == GREEN
                        self._offer()
                        self._let_the_next_stand_by()
        finally:
            self._stop()
            self._dismiss_the_next()

    def _obey(self, letter: str) -> None:
        following = self._next_chapter()
        if letter == "r":
            self._start()
        elif self._check is not None:
            return  # nothing may come between the lines of a check
        elif letter == "n" and following is not None:
            self._chapter = following
            self._start()
        elif letter == "h":
            self._call("hint", self._chapter.number)
        elif letter == "l":
            self._call("status")

    def _next_chapter(self) -> Chapter | None:
        """The chapter that `n` goes on to; None as long as this one is not green."""
        return self._catalogue.after(self._chapter) if self._green else None

    def _start(self) -> None:
        """Check from the beginning; what is saved from now on starts it once more."""
        self._stop()
        if self._saves is not None:
            self._saves.stop()
        # Anew each time: `kata goto` may have put other folders where these were.
        folders = (self._catalogue.clone.learner, self._chapter.folder)
        self._saves = _Saves([folder for folder in folders if folder.is_dir()], self._events)
        if self._console.is_terminal:
            self._console.clear()
        self._green = False
        self._number += 1
        self._check = self._begin_the_next() or self._spawn(subprocess.DEVNULL)
        _in_background(_tell_of_end, self._check, self._number, self._events)

    def _spawn(self, stdin: int, *options: str) -> "subprocess.Popen[bytes]":
        """Start a check, in a process group: Ctrl-C is for this process, which hands it on once."""
        chosen = [self._chapter.number, f"--lab={self._lab}", "--red-first"]
        words = _kata("check", *chosen, *options)
        apart: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        return subprocess.Popen(words, cwd=self._catalogue.clone.root, stdin=stdin, **apart)

    def _let_the_next_stand_by(self) -> None:
        self._dismiss_the_next()
        process = self._spawn(subprocess.PIPE, "--standby")
        self._next = _Next(self._chapter, process)

    def _begin_the_next(self) -> "subprocess.Popen[bytes] | None":
        """Let the check that stands by begin, if it is one of this chapter and still there."""
        if self._next is None or self._next.chapter != self._chapter:
            self._dismiss_the_next()
            return None
        process, self._next = self._next.process, None
        assert process.stdin is not None
        try:
            with process.stdin as stdin:
                stdin.write(b"begin\n")
        except OSError:
            return None
        return process

    def _dismiss_the_next(self) -> None:
        if self._next is not None:
            with suppress(OSError):
                assert self._next.process.stdin is not None
                self._next.process.stdin.close()
            self._next.process.wait()
            self._next = None

    def _stop(self) -> None:
        """Stop the check as Ctrl-C does, so that it clears away what it has started."""
        if self._check is not None:
            if self._check.poll() is None:
                _interrupt(self._check)
            self._check.wait()
            self._check = None

    def _call(self, *words: str) -> None:
        say(self._console, "")
        root = self._catalogue.clone.root
        subprocess.run(_kata(*words), cwd=root, stdin=subprocess.DEVNULL, check=False)
        self._offer()

    def _offer(self) -> None:
        """Say what happens next, and which keys do something now."""
        line = Text("Waiting for a save.", "dim")
        if self._has_keys:
            keys = [key for key in KEYS if key != "n" or self._next_chapter() is not None]
            for key in keys:
                line.append_text(Text.assemble("   ", (key, "bold cyan"), f" {KEYS[key]}"))
        say(self._console, "", line)


@dataclass(frozen=True)
class _Next:
    """A check of a chapter that waits for its stdin to say that it may begin."""

    chapter: Chapter
    process: "subprocess.Popen[bytes]"


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        os.killpg(process.pid, signal.SIGINT)


def _kata(*words: str) -> list[str]:
    return [sys.executable, "-m", "dojo", *words]


# What tells the loop -------------------------------------------------------------------------


class _Saves:
    """Tells of every save in these folders, from the moment that it is made, until stopped.

    Raises KataError where the system does not let us watch them.
    """

    def __init__(self, folders: Sequence[Path], events: Events) -> None:
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        ready = threading.Event()
        _in_background(self._tell, folders, events, ready)
        ready.wait()
        if self._failure is not None:
            raise KataError(f"watch {', '.join(map(str, folders))}: {self._failure}")

    def stop(self) -> None:
        self._stopped.set()

    def _tell(self, folders: Sequence[Path], events: Events, ready: threading.Event) -> None:
        from watchfiles import watch

        stopped = self._stopped
        try:
            # At a timeout it yields nothing: the first one says that it has begun to watch.
            for changes in watch(
                *folders, step=20, stop_event=stopped, rust_timeout=100, yield_on_timeout=True
            ):
                ready.set()
                if changes and not stopped.is_set():
                    events.put(Saved())
        except (OSError, RuntimeError) as error:  # such as: no more inotify watches
            self._failure = error
        finally:
            ready.set()


def _tell_of_keys(events: Events) -> None:
    while typed := os.read(sys.stdin.fileno(), 1):
        events.put(Key(typed.decode(errors="replace")))


def _tell_of_end(check: subprocess.Popen[bytes], number: int, events: Events) -> None:
    events.put(Ended(number, check.wait()))


def _in_background(action: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=action, args=arguments, daemon=True).start()


@contextmanager
def _keys_as_they_are_typed() -> Iterator[bool]:
    """Read keys without waiting for Enter. Yields whether there is a keyboard at all."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        yield False
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
