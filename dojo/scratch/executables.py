"""Programs that somebody has typed: why one cannot be started, as its file shows."""

import errno
import os
import shutil
import stat


def why_not(typed: str, failure: str = "") -> str:
    """What is wrong with a program; nothing where that cannot be told, or it is all right.

    typed: its name, looked up in PATH, or its path. failure: what the kernel has said to it, where
    it was started.
    """
    path = shutil.which(typed) or shutil.which(typed, os.F_OK) or typed
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            return f"it is a link to {os.readlink(path)}, which is not there"
        return "no such program"
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISDIR(mode):
        return "it is a directory" if "/" in typed else "no such program"
    if not os.access(path, os.X_OK):
        return f"it is a file that may not be executed: chmod +x {path}"
    return _wrong_with(path, failure)


def _wrong_with(path: str, failure: str) -> str:
    """What is wrong with what is in an executable file."""
    try:
        with open(path, "rb") as file:
            head = file.read(_SEEN)
    except OSError:  # it may be executed, and not be read
        return ""
    if head.startswith(b"#!"):
        return _wrong_with_interpreter(os.fsdecode(head[2:].partition(b"\n")[0]))
    if failure == os.strerror(errno.ENOENT) and head.startswith(b"\x7fELF"):
        return "the loader that it names is not there: `readelf -l` shows it; a static one has none"
    if failure == os.strerror(errno.ENOEXEC):
        return "it is neither a program of this machine's nor a script that begins with #!"
    return ""


_SEEN = 256  # bytes, of which the kernel takes the first line for that of a script


def _wrong_with_interpreter(line: str) -> str:
    words = line.split(None, 1) or [""]
    interpreter = words[0]
    if line.endswith("\r"):
        return "its first line ends as on Windows, with a \\r that Linux takes for part of a name"
    if not interpreter:
        return "its first line names no interpreter after the #!"
    if not os.path.exists(interpreter):
        return f"its first line names an interpreter that is not there: {interpreter}"
    if os.path.isdir(interpreter) or not os.access(interpreter, os.X_OK):
        return f"its first line names an interpreter that may not be executed: {interpreter}"
    return ""
