"""What the project's own tests run: all but what takes very long, which `--whole` adds."""

import importlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dojo import clone, surroundings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="also what takes very long")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "whole: takes very long, runs with --whole only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--whole"):
        return
    dropped = [item for item in items if item.get_closest_marker("whole")]
    items[:] = [item for item in items if not item.get_closest_marker("whole")]
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Whoever was started in the background of a script ignores it, and so do its children."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_set_for_mydocker_and_tar() -> Iterator[None]:
    """Whoever works on a mydocker of his own may have told it where to keep things, and how."""
    with surroundings.without_those_of_programs():
        yield


@pytest.fixture(scope="session", autouse=True)
def only_what_learners_have_is_loaded() -> Iterator[None]:
    """Where pytest-randomly is installed, every pytest that is started loads it.

    And where selenium is, every hypothesis loads trio, which takes twice as long as itself.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", "-p no:randomly")
        patch.setenv("HYPOTHESIS_NO_PLUGINS", "1")
        yield


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The finished runtime's package, which is called `mydocker` as the learner's is."""
    monkeypatch.syspath_prepend(str(clone.here().solutions))
    _forget_mydocker()
    yield importlib.import_module("mydocker")
    _forget_mydocker()


def _forget_mydocker() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "mydocker"]:
        del sys.modules[name]


@pytest.fixture
def old_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the tool find the oldest git that it supports. Returns the folder where it lies."""
    from tests import old_git

    folder = tmp_path / "old-git"
    old_git.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder
