"""The process that makes test hosts: it is started once, and forks each of them."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

INSIDE = str(Path(__file__).with_name("inside.py"))


class Maker:
    """The process that test hosts are forked from. It ends when this process does."""

    def __init__(self) -> None:
        self._orders, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", INSIDE, str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests, and they end it
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def make(self, plan: dict[str, Any], descriptors: list[int]) -> None:
        """Ask for a host; what comes of it is told on its link, the first of the descriptors."""
        socket.send_fds(self._orders, [json.dumps(plan).encode()], descriptors)


_makers: list[Maker] = []


def make_host(plan: dict[str, Any], descriptors: list[int]) -> None:
    """Have a test host made. descriptors: what `Maker.make` takes."""
    if not _makers or not _makers[-1].is_alive():
        _makers[:] = [Maker()]
    _makers[-1].make(plan, descriptors)
