"""How the reference holds on to processes, on kernels that this machine's may be newer than."""

import errno
import importlib
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

UNTIL_LINUX_6_16 = errno.EINVAL  # what pidfd_open(2) said of a process that was being waited for


@pytest.fixture
def process(reference: ModuleType) -> ModuleType:
    return importlib.import_module("mydocker.process")


@pytest.fixture
def cgroups(reference: ModuleType) -> ModuleType:
    return importlib.import_module("mydocker.cgroups.groups")


@pytest.fixture(params=[errno.ESRCH, UNTIL_LINUX_6_16], ids=["ESRCH", "EINVAL"])
def at_this_moment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever process is opened has ended between two looks at it."""
    have_it_fail(monkeypatch, request.param)


def have_it_fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def pidfd_open(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)


@pytest.mark.usefixtures("at_this_moment")
def test_one_that_is_gone_has_ended(process: ModuleType) -> None:
    mine = process.Process.of(os.getpid())
    assert mine.ends_within(0)
    with pytest.raises(ProcessLookupError), mine.held():
        pass


@pytest.mark.usefixtures("at_this_moment")
def test_one_that_is_gone_need_not_be_killed(cgroups: ModuleType) -> None:
    cgroups.Group("mydocker-0123", []).kill(os.getpid())


def test_a_process_of_another_pid_namespace_is_not_waited_for_for_ever(
    cgroups: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In version 2 it is a 0 in cgroup.procs: nobody can kill it there, or see it end."""
    monkeypatch.setattr(cgroups, "UNSEEN_SECONDS", 0.1)
    (tmp_path / "mydocker-0123").mkdir()
    (tmp_path / "mydocker-0123" / "cgroup.procs").write_text("0\n")
    group = cgroups.Group("mydocker-0123", [SimpleNamespace(top=str(tmp_path))])
    with pytest.raises(TimeoutError, match="another PID namespace"):
        group.end()
    assert (tmp_path / "mydocker-0123").is_dir()


def test_another_failure_is_one(process: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = process.Process.of(os.getpid())
    assert not mine.ends_within(0)
    have_it_fail(monkeypatch, errno.EMFILE)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        mine.ends_within(0)
