"""What the project's own tests run: all but what takes very long, which `--whole` adds.

And all but what has been proven of the same files before, see `dojo.teeth.proofs`.
"""

import functools
import importlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dojo import clone
from dojo.course.git import Git
from dojo.teeth import proofs
from dojo.testkit import surroundings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="also what takes very long")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "whole: takes very long, runs with --whole only")
    marker = "proof(of): its result follows from what this function makes of its parameters"
    config.addinivalue_line("markers", marker)


TAKEN_OVER = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--whole"):
        return
    long = [item for item in items if item.get_closest_marker("whole")]
    usual = [item for item in items if item not in long]
    proven = [item for item in usual if is_proven(item)]
    drawn = [item for item in proven if proofs.is_drawn(item.nodeid, commit_of_the_clone())]
    taken_over = [item for item in proven if item not in drawn]
    config.stash[TAKEN_OVER] = len(taken_over)
    items[:] = [item for item in usual if item not in taken_over]
    config.hook.pytest_deselected(items=long + taken_over)


def is_proven(item: pytest.Item) -> bool:
    """Whether it has passed when all that goes into it was as it is now."""
    key = key_of(item)
    if key is None:
        return False
    item.user_properties.append(("proof", key))  # the report takes it to whoever keeps it
    return proofs.read(clone.here().root).get(item.nodeid) == key


def key_of(item: pytest.Item) -> str | None:
    """The hash of all that goes into a test; None where that is not known."""
    marker = item.get_closest_marker("proof")
    if marker is None or not isinstance(item, pytest.Function):
        return None
    parts = marker.kwargs["of"](**item.callspec.params)
    return proofs.key(clone.here().root, [Path(item.path), Path(__file__), *parts])


@functools.cache
def commit_of_the_clone() -> str:
    git = Git(clone.here())
    return (git.commit("HEAD") if git.is_repository() else None) or ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Have a worker of xdist tell how many results it took over; all of them take the same."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["taken over"] = session.config.stash.get(TAKEN_OVER, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    taken_over = getattr(node, "workeroutput", {}).get("taken over", 0)  # none where it crashed
    node.config.stash[TAKEN_OVER] = max(node.config.stash.get(TAKEN_OVER, 0), taken_over)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Keep what this run has proven, and say what it took over from earlier ones."""
    root = clone.here().root
    kept = proofs.read(root)
    now = dict(kept)
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if key := dict(getattr(report, "user_properties", ())).get("proof"):
                now.pop(report.nodeid, None)
                now |= {report.nodeid: key} if outcome == "passed" else {}
    if now != kept:
        proofs.write(root, now)
        clone.here().give_back(root / proofs.FILE)
    if taken_over := terminalreporter.config.stash.get(TAKEN_OVER, 0):
        terminalreporter.write_line(
            f"{taken_over} results were taken over from {proofs.FILE}: nothing that goes into them"
            " has changed. --whole proves them all."
        )


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
