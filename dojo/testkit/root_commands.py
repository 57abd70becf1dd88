"""Programs that are asked while a root file system is made."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence


class ClosedError(Exception):
    """A way to a busybox that is closed; the text says why."""


def ask(argv: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> bytes:
    """Run a command that may never answer, and return what it printed.

    It gets a session of its own, so that its children end with it when its time is up. Raises
    ClosedError.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise ClosedError(f"{argv[0]}: {error.strerror}") from error
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ClosedError(f"{_call(argv)}: no answer in {seconds:g} s") from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise ClosedError(f"{_call(argv)}: {_why(errors.read(), process.returncode)}")
        return output.read()


def _call(argv: Sequence[str]) -> str:
    """A command as a person would name it: `docker create`, `busybox --list-full`."""
    verb = next((word for word in argv[1:] if not word.startswith("-")), argv[1])
    return f"{argv[0]} {verb}"


def _why(errors: bytes, status: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    if lines:
        return lines[-1].strip()
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"
