"""Where the tests of a session keep their files: in memory, where there is enough of it.

Each test lays out an image of some four hundred files, and the program under test syncs what it
makes: on a disk, that takes longer than all the containers do.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dojo.scratch import groups

LEAST_AVAILABLE = 4 << 30  # bytes of memory: with less, it is left to the containers
PREFIX = "kata-"


@contextmanager
def session_directory() -> Iterator[Path]:
    """A directory of this process's own, which is gone afterwards, whatever is in it."""
    _remove_stale()
    pid = os.getpid()
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{pid}-{groups.start_time(pid)}-"))
    try:
        _keep_in_memory(directory)
        yield directory
    finally:
        _remove(directory)


def _keep_in_memory(directory: Path) -> None:
    """Mount a tmpfs there, if this is root, memory is plenty, and files can be all they can be."""
    if os.geteuid() != 0 or _available_memory() < LEAST_AVAILABLE:
        return
    options = f"mode=0700,size={_available_memory() // 2}"
    argv = ["mount", "-t", "tmpfs", "-o", options, "kata", str(directory)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        return
    directory.chmod(0o755)
    probe = directory / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.kata", b"1")  # a tmpfs has these since Linux 6.6
    except OSError:
        subprocess.run(["umount", str(directory)], check=True)
    else:
        probe.unlink()


def _available_memory() -> int:
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0


def _remove(directory: Path) -> None:
    if os.path.ismount(directory):
        # Lazily: a test host that is just ending may still hold it.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
    shutil.rmtree(directory)


def _remove_stale() -> None:
    """Remove what sessions that were killed have left in memory."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4])
        owner = re.fullmatch(rf"{PREFIX}(\d+)-(\d+)-\w+", point.name)
        if owner and groups.start_time(int(owner[1])) != owner[2]:
            with suppress(OSError, subprocess.CalledProcessError):
                _remove(point)
