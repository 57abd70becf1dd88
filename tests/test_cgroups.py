"""The reference's control groups, on a directory tree that looks like cgroupfs.

The kernel of one machine shows one version. What is written where, for the other one too, is tested
on plain directories: a new directory in there is filled with files, as the kernel would fill it.
"""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

V1_FILES = {
    "memory": ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness"],
    "cpu": ["cpu.shares"],
    "cpuset": ["cpuset.cpus", "cpuset.mems"],
    "pids": ["pids.max"],
}
V2_FILES = {
    "memory": ["memory.max", "memory.swap.max"],
    "cpu": ["cpu.weight"],
    "cpuset": ["cpuset.cpus", "cpuset.cpus.effective"],
    "pids": ["pids.max"],
}
NAME = "mydocker-0123"


@pytest.fixture
def cgroups(reference: ModuleType) -> ModuleType:
    return importlib.import_module("mydocker.cgroups.groups")


class FakeKernel:
    """Plain directories in place of cgroupfs. missing: files that this kernel does not have."""

    def __init__(self, top: Path, cgroups: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self.missing: set[str] = set()
        self.lines: list[str] = []
        self.make_directory = os.mkdir
        self.remove_directory = os.rmdir
        monkeypatch.setattr(os, "mkdir", self.mkdir)
        monkeypatch.setattr(os, "rmdir", self.rmdir)
        mounted = cgroups.mounted
        monkeypatch.setattr(cgroups, "mounted", lambda: mounted(str(top / "mountinfo")))

    def mount_v1(self, *controllers: str) -> Path:
        point = self.top / ",".join(controllers)
        self.lines.append(self.line(point, "cgroup", "rw," + ",".join(controllers)))
        self.fill(point, V1_FILES, controllers)
        (point / "tasks").write_text("")
        return point

    def mount_v2(self, *controllers: str, handed_down: str = "") -> Path:
        point = self.top / "unified hierarchy"
        self.lines.append(self.line(point, "cgroup2", "rw,nsdelegate"))
        self.fill(point, V2_FILES, controllers)
        (point / "cgroup.controllers").write_text(" ".join(["io", *controllers]))
        (point / "cgroup.subtree_control").write_text(handed_down)
        return point

    def line(self, point: Path, kind: str, options: str) -> str:
        escaped = str(point).replace(" ", "\\040")
        (self.top / "mountinfo").write_text("")
        self.make_directory(point)
        line = f"30 23 0:26 / {escaped} rw,nosuid shared:9 - {kind} {kind} {options}\n"
        (self.top / "mountinfo").write_text("".join([*self.lines, line]))
        return line

    def fill(self, group: Path, files: dict[str, list[str]], controllers: tuple[str, ...]) -> None:
        for name in ["cgroup.procs", *(file for c in controllers for file in files[c])]:
            if name not in self.missing:
                (group / name).write_text("0-3" if "cpuset.cpus" in name else "0")

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self.make_directory(path, mode)
        above = Path(path).parent
        for file in above.glob("*"):
            name = file.name
            if file.is_file() and not name.startswith(("cgroup.sub", "cgroup.con", "mountinfo")):
                (Path(path) / name).write_text("")

    def rmdir(self, path: str) -> None:
        for file in Path(path).iterdir():
            if file.is_file():  # the kernel's own files are no obstacle
                file.unlink()
        self.remove_directory(path)


@pytest.fixture
def kernel(tmp_path: Path, cgroups: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    return FakeKernel(tmp_path, cgroups, monkeypatch)


def limits(cgroups: ModuleType, **wanted: Any) -> Any:
    return cgroups.Limits(**wanted)


ALL: dict[str, Any] = {
    "memory": 64 * 1024 * 1024,
    "cpu_shares": 512,
    "cpus": frozenset({0, 2, 3}),
    "pids": 20,
}


def test_version_1_has_a_group_in_each_hierarchy(cgroups: ModuleType, kernel: FakeKernel) -> None:
    memory, cpu = kernel.mount_v1("memory"), kernel.mount_v1("cpu")
    cpuset, pids = kernel.mount_v1("cpuset"), kernel.mount_v1("pids")
    group = cgroups.create(NAME, limits(cgroups, **ALL))
    assert (memory / NAME / "memory.limit_in_bytes").read_text() == "67108864"
    assert (memory / NAME / "memory.memsw.limit_in_bytes").read_text() == "67108864"
    assert (cpu / NAME / "cpu.shares").read_text() == "512"
    assert (cpuset / NAME / "cpuset.cpus").read_text().endswith("0,2,3")
    assert (cpuset / NAME / "cpuset.mems").read_text() == "0"
    assert (pids / NAME / "pids.max").read_text() == "20"
    group.join()
    for top in (memory, cpu, cpuset, pids):
        assert (top / NAME / "tasks").read_text() == "0"
    group.remove()
    for top in (memory, cpu, cpuset, pids):
        assert not (top / NAME).exists()


def test_version_1_with_two_controllers_in_one_hierarchy(
    cgroups: ModuleType, kernel: FakeKernel
) -> None:
    both = kernel.mount_v1("cpu", "memory")
    cgroups.create(NAME, limits(cgroups, memory=2**25, cpu_shares=2))
    assert (both / NAME / "memory.limit_in_bytes").read_text() == "33554432"
    assert (both / NAME / "cpu.shares").read_text() == "2"


@pytest.mark.parametrize("version", [1, 2])
def test_a_hierarchy_that_is_mounted_more_than_once_is_one(
    cgroups: ModuleType, kernel: FakeKernel, version: int
) -> None:
    """A part of it may be seen elsewhere, too, and a mount may be covered by another one."""
    made = kernel.mount_v1("memory") if version == 1 else kernel.mount_v2("memory")
    (line,) = kernel.lines
    part = kernel.top / "part"
    part.mkdir()
    for file in ("cgroup.procs", "cgroup.controllers"):
        (part / file).write_text("memory" if file.endswith("controllers") else "")
    (kernel.top / "covered").mkdir()
    seen = {
        point: line.replace(made.name.replace(" ", "\\040"), point) for point in ("part", "covered")
    }
    lines = [seen["covered"], seen["part"].replace(" / ", " /part "), line, line]
    (kernel.top / "mountinfo").write_text("".join(lines))
    group = cgroups.create(NAME, limits(cgroups, memory=2**25))
    assert list(group.directories) == [f"{made}/{NAME}"]
    assert not (part / NAME).exists()


def test_version_1_that_does_not_count_swap_uses_none(
    cgroups: ModuleType, kernel: FakeKernel
) -> None:
    kernel.missing.add("memory.memsw.limit_in_bytes")
    memory = kernel.mount_v1("memory")
    cgroups.create(NAME, limits(cgroups, memory=2**25))
    assert (memory / NAME / "memory.limit_in_bytes").read_text() == "33554432"
    assert (memory / NAME / "memory.swappiness").read_text() == "0"


def test_version_2_has_one_group(cgroups: ModuleType, kernel: FakeKernel) -> None:
    top = kernel.mount_v2("memory", "cpu", "cpuset", "pids", handed_down="memory cpu cpuset pids")
    group = cgroups.create(NAME, limits(cgroups, **ALL))
    assert (top / NAME / "memory.max").read_text() == "67108864"
    assert (top / NAME / "memory.swap.max").read_text() == "0"
    assert (top / NAME / "cpu.weight").read_text() == "20"
    assert (top / NAME / "cpuset.cpus").read_text() == "0,2,3"
    assert (top / NAME / "pids.max").read_text() == "20"
    assert (top / "cgroup.subtree_control").read_text() == "memory cpu cpuset pids"
    group.join()
    assert (top / NAME / "cgroup.procs").read_text() == "0"
    group.remove()
    assert not (top / NAME).exists()


def test_version_2_hands_down_what_is_needed_and_no_more(
    cgroups: ModuleType, kernel: FakeKernel
) -> None:
    top = kernel.mount_v2("memory", "cpu", "cpuset", "pids", handed_down="memory")
    cgroups.create(NAME, limits(cgroups, memory=2**25))
    assert (top / "cgroup.subtree_control").read_text() == "memory"
    cgroups.create(f"{NAME}-2", limits(cgroups, pids=20))
    assert (top / "cgroup.subtree_control").read_text().startswith("+pids")


def test_version_2_without_swap(cgroups: ModuleType, kernel: FakeKernel) -> None:
    kernel.missing.add("memory.swap.max")
    top = kernel.mount_v2("memory", handed_down="memory")
    cgroups.create(NAME, limits(cgroups, memory=2**25))
    assert (top / NAME / "memory.max").read_text() == "33554432"
    assert not (top / NAME / "memory.swap.max").exists()


def test_a_machine_with_both(cgroups: ModuleType, kernel: FakeKernel) -> None:
    unified = kernel.mount_v2("pids", handed_down="pids")
    memory = kernel.mount_v1("memory")
    cgroups.create(NAME, limits(cgroups, memory=2**25, pids=20))
    assert (memory / NAME / "memory.limit_in_bytes").read_text() == "33554432"
    assert (unified / NAME / "pids.max").read_text() == "20"


def test_a_controller_that_is_not_there_is_refused(cgroups: ModuleType, kernel: FakeKernel) -> None:
    memory = kernel.mount_v1("memory")
    cgroups.create(f"{NAME}-good", limits(cgroups, memory=2**25))
    with pytest.raises(Exception, match="pids"):
        cgroups.create(NAME, limits(cgroups, memory=2**25, pids=20))
    assert not (memory / NAME).exists()


@pytest.mark.parametrize("version", [1, 2])
def test_a_cpu_that_is_not_there_is_refused(
    cgroups: ModuleType, kernel: FakeKernel, version: int
) -> None:
    top = kernel.mount_v1("cpuset") if version == 1 else kernel.mount_v2("cpuset")
    cgroups.create(f"{NAME}-good", limits(cgroups, cpus=frozenset({3})))
    with pytest.raises(Exception, match="'4,9'"):
        cgroups.create(NAME, limits(cgroups, cpus=frozenset({3, 4, 9})))
    assert not (top / NAME).exists()


def test_a_value_that_the_kernel_refuses_leaves_no_group(
    cgroups: ModuleType, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, pids = kernel.mount_v1("memory"), kernel.mount_v1("pids")
    write = os.write

    def refuse(descriptor: int, content: bytes) -> int:
        if content == b"4194305":
            raise OSError(22, "Invalid argument")
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", refuse)
    cgroups.create(f"{NAME}-good", limits(cgroups, memory=2**25, pids=20))
    with pytest.raises(OSError, match="Invalid argument") as caught:
        cgroups.create(NAME, limits(cgroups, memory=2**25, pids=4194305))
    assert "pids.max" in str(caught.value.filename)
    assert not (memory / NAME).exists()
    assert not (pids / NAME).exists()


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (256, 10), (1024, 39), (2048, 79), (262144, 10000)]
)
def test_shares_become_weights(cgroups: ModuleType, shares: int, weight: int) -> None:
    assert importlib.import_module("mydocker.cgroups.v2").weight(shares) == weight
