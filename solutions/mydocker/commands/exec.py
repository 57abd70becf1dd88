"""mydocker exec: another command in a container that runs."""

import os

from mydocker import join
from mydocker.container import find
from mydocker.errors import FAILED, MydockerError
from mydocker.spec import ExecSpec


def exec_(spec: ExecSpec) -> int:
    """Run the command in all that the container's own is in. Returns its exit status."""
    if spec.interactive and spec.tty and not os.isatty(0):
        raise MydockerError("exec -it", "stdin is not a terminal", FAILED)
    tried = f"exec {spec.container}"
    return join.run(find(spec.container, tried), spec, tried)
