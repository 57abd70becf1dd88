"""What `pip install -e .` leaves out: packages of the groups that pyproject.toml calls extras."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from dojo.errors import KataError


def require(extra: str, modules: Sequence[str], what: str) -> None:
    """Raise KataError, with what to type, where one of an extra's modules is not installed.

    what: what needs them, such as `site`.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise KataError(
            f"{what}: {' and '.join(missing)} not installed here:"
            f" {sys.executable} -m pip install -e '.[{extra}]'"
        )
