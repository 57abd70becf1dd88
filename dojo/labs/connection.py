"""The way to the lab's machine: one process, such as ssh, with our agent at its other end.

The process gets no terminal and shares no connection with another one, so that it is the same on
every system; it is out of the reach of Ctrl-C, because what runs over there has to be told first.
"""

import contextlib
import json
import os
import queue
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.labs.tree import Change, files_of
from dojo.testkit import program

PYTHON = "/opt/kata/python"  # made when the virtual machine is provisioned
CLONE = "/opt/kata/clone"  # our own place over there, root's
HELLO_SECONDS = 120.0
STOP_SECONDS = 60.0  # for tests that are stopped to clean up; a fixture ends many processes
LEAST_FREE = 64 << 20  # bytes of disk

PROVISION = "type `vagrant provision`"


class Unreachable(KataError):
    """Nothing of ours could be started over there. The text says why, without what to do."""


class Lost(KataError):
    """The machine or the way to it has gone while it was needed."""


@dataclass(frozen=True)
class Hello:
    """What the lab's machine says of itself.

    interpreter: its Python. clone: where the working tree is there. files: what it has of that,
    [hash, mode] by path.
    """

    kernel: str
    cpus: int
    interpreter: str
    clone: str
    files: dict[str, Any]


class Connection:
    """An agent that waits for something to do.

    way: the words of a command that has a line run by a shell over there, the line as one more
    word. name: what the lab is called. Raises Unreachable, or KataError that says what to do.
    """

    def __init__(self, way: Sequence[str], clone: Clone, name: str = "vagrant") -> None:
        self.name = name
        self._clone = clone
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._said: deque[str] = deque(maxlen=20)
        self.shows_output = False
        self.changed = 0  # files, so far
        self._is_warm = False
        begin = time.monotonic()
        self._process = _start([*way, _LINE])
        for reader in (self._hear, self._listen):
            threading.Thread(target=reader, daemon=True).start()
        try:
            self._send({"first": True}, _landing())
            self.hello = self._read_hello()
        except BaseException:
            self.close()
            raise
        self.connect_seconds = time.monotonic() - begin

    # The beginning

    def _read_hello(self) -> Hello:
        message = self._next(HELLO_SECONDS)
        if message is None:
            raise self._why_not()
        python = ".".join(map(str, message["python"]))
        if message["python"] < [3, 11]:
            raise KataError(
                f"lab {self.name}: its Python is {python}, older than 3.11: {PROVISION}"
            )
        if message["lacking"]:
            lacking = ", ".join(message["lacking"])
            raise KataError(f"lab {self.name}: its Python has no {lacking}: {PROVISION}")
        if not message["root"]:
            raise KataError(f"lab {self.name}: our agent is not root there: {PROVISION}")
        if message["free"] < LEAST_FREE:
            raise KataError(self._no_room(f"{message['free'] >> 20} MiB are free"))
        return Hello(**{each.name: message[each.name] for each in fields(Hello)})

    def _why_not(self) -> KataError:
        """Why no agent of ours has answered, by how the process ended."""
        status = self._ended()
        said = self.last_words()
        if status in (126, 127):
            return KataError(f"lab {self.name}: there is no {PYTHON}: {PROVISION}")
        if status == 255:
            return Unreachable(said or "ssh ended with status 255")
        reason = said or f"exit status {status}"
        return KataError(f"lab {self.name}: {PYTHON} does not start ({reason}): {PROVISION}")

    def _no_room(self, detail: str) -> str:
        return (
            f"lab {self.name}: its disk is full ({detail}): `kata lab reset`, or make room there "
            "with `kata lab ssh`"
        )

    # What it is asked to do

    def begin(self, mydocker: str | None) -> None:
        """Have over there the working tree as it is here, and all imported that tests will need.

        mydocker: the program under test. It may be done again, for what has changed since. Raises
        Lost where what was imported is not what is here any more, too.
        """
        change = self._send_tree(self._left_out_in(mydocker))
        self.changed += len(change.paths)
        if not self._is_warm:
            self._send({"do": "warm up"})
        elif any(path.startswith("dojo/") for path in change.paths):
            raise Lost(f"lab {self.name}: dojo/ has changed, begin again")
        self._is_warm = True

    def _send_tree(self, also: Sequence[str]) -> Change:
        """Have the working tree over there as it is here. Returns what had to change.

        also: directories that go over whatever their names are.
        """
        here = {file.path: file for file in files_of(self._clone.root, also)}
        change = Change.between(here, self.hello.files)
        if change:
            message, content = change.as_message()
            self._send(message, content)
            answer = self._next(None)
            if answer is None:
                raise self._lost()
            if "failed" in answer:
                raise KataError(self._no_room(str(answer["failed"])))
            files = {path: [file.digest, file.mode] for path, file in here.items()}
            self.hello = replace(self.hello, files=files)
        return change

    def trouble(self, mydocker: str | None) -> list[tuple[str, str]] | None:
        """Why the program under test does not start over there, see `program.trouble_of`."""
        typed = self.translated(mydocker, Path.cwd())
        try:
            events = list(self.run({"do": "trouble", "mydocker": typed}))
        except KeyboardInterrupt:
            self.stop()
            raise
        for event in events:
            if "refused" in event:
                raise KataError(event["refused"])
            if "trouble" in event:
                rows = event["trouble"]
                return rows if rows is None else [(name, text) for name, text in rows]
        raise KataError(f"lab {self.name}: the program could not be tried: {self.last_words()}")

    def run(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Have something done, and hear what comes of it until it has ended. Raises Lost."""
        self._send(message)
        while True:
            event = self._next(None)
            if event is None:
                raise self._lost()
            yield event
            if "ended" in event:
                return

    def stop(self) -> None:
        """End what runs over there, and wait until it has cleaned up."""
        with contextlib.suppress(Lost):
            self._send({"do": "stop"})
            deadline = time.monotonic() + STOP_SECONDS
            while (left := deadline - time.monotonic()) > 0:
                event = self._next(left)
                if event is None or "ended" in event:
                    return

    def close(self) -> None:
        """Go away: whatever still runs over there ends, as nobody is there to hear of it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # Talking

    def translated(self, mydocker: str | None, directory: Path) -> str | None:
        """The command of a program under test as it is called over there.

        Files of this clone are in the other place, and this Python is the Python there. directory:
        where it was typed. Raises KataError where its quotes have no end.
        """
        if not mydocker:
            return None
        words = program.split(mydocker)
        here = str(self._clone.root)
        if "/" in words[0]:
            words[0] = os.path.abspath(directory / words[0])
        return shlex.join(
            self.hello.interpreter
            if word == sys.executable
            else word.replace(here, self.hello.clone)
            for word in words
        )

    def _left_out_in(self, mydocker: str | None) -> list[str]:
        """The directories that the command of a program under test names and that are left out."""
        pattern = re.escape(str(self._clone.root)) + r"/(\.kata/[^\s:=]+)"
        found = re.findall(pattern, mydocker or "")
        return [path for path in found if (self._clone.root / path).is_dir()]

    def _send(self, message: dict[str, Any], content: bytes = b"") -> None:
        stdin = self._process.stdin
        assert stdin is not None
        first = b"" if message == {"first": True} else json.dumps(message).encode() + b"\n"
        try:
            stdin.write(first + content)
            stdin.flush()
        except (OSError, ValueError) as error:
            if first:
                raise self._lost() from error
            # Why it did not begin, it says itself.

    def _next(self, seconds: float | None) -> dict[str, Any] | None:
        """The next message, None when there are no more. Raises KataError when time is up."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                # In small steps: on Windows, Ctrl-C is not heard in between.
                return self._messages.get(timeout=_STEP_SECONDS)
            except queue.Empty:
                if deadline is not None and time.monotonic() > deadline:
                    raise Lost(f"lab {self.name}: no answer within {seconds:.0f} s") from None

    def _listen(self) -> None:
        """Read messages as they come."""
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            with contextlib.suppress(ValueError):  # one that was cut, where something has died
                self._messages.put(json.loads(line))
        self._messages.put(None)

    def _hear(self) -> None:
        """Read what is said beside the messages."""
        stderr = self._process.stderr
        assert stderr is not None
        for line in stderr:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._said.append(text)
            if self.shows_output:
                sys.stderr.write(text + "\n")

    def _lost(self) -> Lost:
        self._ended()
        said = self.last_words()
        return Lost(
            f"lab {self.name}: the connection is lost{f' ({said})' if said else ''}: see "
            "`kata lab status`, type `vagrant up` if it is off, and run the tests again"
        )

    def _ended(self) -> int | None:
        try:
            return self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        time.sleep(_STEP_SECONDS)  # the thread that hears them may be a little behind
        return self._said[-1] if self._said else ""


_STEP_SECONDS = 0.2
_CLOSE_SECONDS = 20.0

# The first line that comes is the program. It is read without a byte of what follows it.
_LINE = f"""sudo -n {PYTHON} -c "exec(eval(open(0,'rb',0,closefd=False).readline()))" {CLONE}"""


def _landing() -> bytes:
    program = Path(__file__).with_name("landing.py").read_text("utf-8")
    return repr(program + _BEGIN).encode("ascii", "backslashreplace") + b"\n"


# The agent imports the landing, so it is not the landing that imports the agent.
_BEGIN = """
taken_over = main(sys.argv[1])
if taken_over:
    from dojo.labs.agent import serve

    serve(*taken_over)
"""


def _start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the process in a group of its own, so that Ctrl-C is not for it."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ),
            **apart,
        )
    except OSError as error:
        raise KataError(
            f"lab: start {argv[0]}: {error.strerror}: install OpenSSH's client"
        ) from error
