"""mydocker exec: another command in a container that runs."""

import os

from mydocker import join
from mydocker.cli import ExecRequest
from mydocker.container import find
from mydocker.errors import FAILED, MydockerError


def exec_(request: ExecRequest) -> int:
    """Run the command in all that the container's own is in. Returns its exit status."""
    if request.interactive and request.tty and not os.isatty(0):
        raise MydockerError("exec -it", "stdin is not a terminal", FAILED)
    tried = f"exec {request.container}"
    return join.run(find(request.container, tried), request, tried)
