"""The storage drivers of the reference: what they tell the kernel.

What comes of it is tested by the chapters, on each driver that the kernel has. Few have AUFS, so
its option string is looked at here.
"""

import importlib
import os
import re
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def mounts(reference: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What is mounted: instead of by the kernel, it is written down here."""
    linux = importlib.import_module("mydocker.linux")
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(linux, "mount", lambda *arguments: found.append(arguments))
    return found


def driver(name: str) -> ModuleType:
    return importlib.import_module(f"mydocker.storage.{name}")


def test_aufs_has_the_write_layer_first(mounts: list[tuple[object, ...]]) -> None:
    driver("aufs").mount("images/busybox", "writeLayer/box", "work/box", "mnt/box")
    [(*others, options)] = mounts
    assert others == ["none", "mnt/box", "aufs", 0]
    branches, _, _ = str(options).partition(",xino=")
    assert branches == "br:writeLayer/box=rw:images/busybox=ro"


def test_aufs_monitors_whiteouts_where_nothing_is_written(mounts: list[tuple[object, ...]]) -> None:
    driver("aufs").mount_read_only("images/busybox", "writeLayer/box", "work/box", "mnt/box")
    [(*others, options)] = mounts
    assert others == ["none", "mnt/box", "aufs", 1]
    branches, _, _ = str(options).partition(",xino=")
    assert branches == "br:writeLayer/box=ro+wh:images/busybox=ro"


@pytest.mark.parametrize("mount", ["mount", "mount_read_only"])
def test_nobody_can_be_in_the_way_of_the_file_that_aufs_makes(
    mounts: list[tuple[object, ...]], tmp_path: Path, mount: str
) -> None:
    """It has a new name each time, in a directory that nobody but root can write to.

    Else a user of the host, or the container itself, makes a file of that name, and no mount is
    possible any more. Two commits of a container may mount it at the same time, too.
    """
    work = tmp_path / "work"
    driver("aufs").prepare(str(work))
    assert work.stat().st_mode & 0o777 == 0o700
    assert os.listdir(work) == []
    for _ in range(20):
        places = [f"{tmp_path}/lower", f"{tmp_path}/upper", str(work), f"{tmp_path}/target"]
        getattr(driver("aufs"), mount)(*places)
    files = [re.split("[,=]", str(options))[-1] for *_, options in mounts]
    assert all(re.fullmatch(f"{work}/[0-9a-f]{{16}}", file) for file in files), files
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("path", ["a:b", "a,b", "a=b"])
def test_aufs_has_no_spelling_for_some_paths(
    reference: ModuleType, mounts: list[tuple[object, ...]], path: str
) -> None:
    driver("aufs").mount("a b", "writeLayer/box", "work/box", "mnt/box")
    assert "=rw:a b=ro," in str(mounts.pop())
    errors = importlib.import_module("mydocker.errors")
    with pytest.raises(errors.MydockerError, match=path):
        driver("aufs").mount(path, "writeLayer/box", "work/box", "mnt/box")
    assert mounts == []


def test_overlay_escapes_what_separates(mounts: list[tuple[object, ...]]) -> None:
    driver("overlay").mount("a:b,c\\d", "writeLayer/box", "work/box", "mnt/box")
    options = "lowerdir=a\\:b\\,c\\\\d,upperdir=writeLayer/box,workdir=work/box"
    assert mounts == [("overlay", "mnt/box", "overlay", 0, options)]


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        (["overlay", "aufs"], "", "overlay"),
        (["overlay", "aufs"], "aufs", "aufs"),
        (["aufs"], "auto", "aufs"),
        (["overlay"], "aufs", None),
        ([], "auto", None),
        (["overlay"], "zfs", None),
    ],
)
def test_the_driver_is_chosen_from_what_is_there(
    reference: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    there: list[str],
    wanted: str,
    chosen: str | None,
) -> None:
    storage = importlib.import_module("mydocker.storage")
    linux = importlib.import_module("mydocker.linux")
    errors = importlib.import_module("mydocker.errors")
    monkeypatch.setattr(linux, "has_file_system", there.__contains__)
    monkeypatch.setenv("MYDOCKER_STORAGE_DRIVER", wanted)
    if chosen is not None:
        assert storage.choose() == chosen
    else:
        with pytest.raises(errors.MydockerError, match=wanted):
            storage.choose()
