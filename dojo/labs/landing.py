"""What comes first to the lab's machine: it says what is there and takes in the working tree.

It is sent as text and runs before anything else of ours is there, under whatever Python is there:
so it imports nothing of ours, and is written in words that an old Python knows, which can then say
that it is too old.

Both sides talk in JSON, a message a line. One that has `bytes` is followed by that many bytes.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import platform
import shutil
import sys
from typing import Any

OLDEST = (3, 11)
MODULES = ("pytest", "hypothesis", "pexpect", "rich", "click")
LINK = 0o120000  # the mode of a symbolic link


class Channel:
    """The lines from the other side, and those to it."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing
        self._ahead = b""

    def read(self) -> dict[str, Any] | None:
        """The next message; None when there is nobody on the other side any more."""
        while not self.has_line():
            if not self._read_more():
                return None
        line, _, self._ahead = self._ahead.partition(b"\n")
        message: dict[str, Any] = json.loads(line.decode())
        return message

    def has_line(self) -> bool:
        """Whether there is a message that was already read from the descriptor."""
        return b"\n" in self._ahead

    def read_bytes(self, size: int) -> bytes:
        """That many bytes, or fewer if the other side ends before."""
        while len(self._ahead) < size and self._read_more():
            pass
        content, self._ahead = self._ahead[:size], self._ahead[size:]
        return content

    def _read_more(self) -> bool:
        chunk = os.read(self.reading, 1 << 20)
        self._ahead += chunk
        return bool(chunk)

    def say(self, **message: Any) -> None:
        """Send one message. Raises BrokenPipeError where nobody listens any more."""
        write_all(self.writing, json.dumps(message, default=str).encode() + b"\n")


def write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


# What is there -------------------------------------------------------------------------------


def hello(clone: str) -> dict[str, Any]:
    """What this machine is, and which files of the working tree it has."""
    place = clone
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    return {
        "python": list(sys.version_info[:3]),
        "interpreter": sys.executable,
        "clone": clone,
        "lacking": [name for name in MODULES if importlib.util.find_spec(name) is None],
        "kernel": platform.system() + " " + platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "root": os.geteuid() == 0,
        "free": shutil.disk_usage(place).free,
        "files": files_there(clone),
    }


def files_there(clone: str) -> dict[str, list[Any]]:
    """What the list of files says of those that are as it says: path to [hash, mode]."""
    there = {}
    for path, (digest, mode, size, changed) in read_list(clone).items():
        try:
            found = os.lstat(os.path.join(clone, path))
        except OSError:
            continue
        if (found.st_size, found.st_mtime_ns) == (size, changed):
            there[path] = [digest, mode]
    return there


def read_list(clone: str) -> dict[str, Any]:
    """The list of files as they were written: path to [hash, mode, size, time]."""
    try:
        with open(list_of(clone)) as file:
            listed: dict[str, Any] = json.load(file)
    except (OSError, ValueError):  # there is none yet, or it was being written when all ended
        return {}
    return listed


def list_of(clone: str) -> str:
    return clone + ".files"


# Taking files in -----------------------------------------------------------------------------


def take_in(channel: Channel, message: dict[str, Any], clone: str) -> None:
    """Make files what they are on the other side; say how that went.

    message: `remove`, paths; `files`, each [path, mode, size, hash]; their contents follow.
    """
    content = channel.read_bytes(message["bytes"])
    if len(content) < message["bytes"]:
        return
    try:
        os.makedirs(clone, exist_ok=True)
        with open(list_of(clone) + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            listed = read_list(clone)
            for path in message["remove"]:
                listed.pop(path, None)
                remove(clone, path)
            place = 0
            for path, mode, size, digest in message["files"]:
                written = write(clone, path, mode, content[place : place + size])
                place += size
                listed[path] = [digest, mode, written.st_size, written.st_mtime_ns]
            with open(list_of(clone), "w") as file:
                json.dump(listed, file)
    except OSError as error:
        channel.say(failed=f"write {error.filename or clone}: {error.strerror}")
    else:
        channel.say(taken=len(message["files"]))


def write(clone: str, path: str, mode: int, content: bytes) -> os.stat_result:
    """Write a file, in the place of whatever is there."""
    whole = os.path.join(clone, path)
    make_directory(clone, os.path.dirname(path))
    clear(whole)
    if mode == LINK:
        os.symlink(content, whole)
    else:
        descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            write_all(descriptor, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, whole) from error
        finally:
            os.close(descriptor)
        os.chmod(whole, mode)
    return os.lstat(whole)


def make_directory(clone: str, path: str) -> None:
    """Make a directory; what stands in its way and is none was one of our files before."""
    above = clone
    for name in path.split("/") if path else []:
        above = os.path.join(above, name)
        if not os.path.isdir(above) or os.path.islink(above):
            clear(above)
            os.mkdir(above)


def clear(whole: str) -> None:
    if os.path.isdir(whole) and not os.path.islink(whole):
        shutil.rmtree(whole)
    elif os.path.lexists(whole):
        os.unlink(whole)


def remove(clone: str, path: str) -> None:
    """Remove a file, and each directory above it that then has none: Python imports empty ones."""
    clear(os.path.join(clone, path))
    above = os.path.dirname(path)
    while above:
        whole = os.path.join(clone, above)
        if not os.path.isdir(whole) or set(os.listdir(whole)) - {"__pycache__"}:
            return
        shutil.rmtree(whole)
        above = os.path.dirname(above)


# The beginning -------------------------------------------------------------------------------


def main(clone: str) -> tuple[Channel, str, dict[str, Any]] | None:
    """Talk on stdin and stdout until the agent is to take over, or the other side is gone.

    Returns what the agent's `serve` takes; None where there is nothing to take over.
    """
    os.umask(0o022)
    channel = Channel(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # whatever else is printed must not come between the messages
    channel.say(**hello(clone))
    if sys.version_info < OLDEST:
        return None
    sys.path.insert(0, clone)
    while True:
        message = channel.read()
        if message is None:
            return None
        if "files" not in message:
            return channel, clone, message
        take_in(channel, message, clone)
