"""The working tree on its way to the lab: what goes, what does not, what is gone there."""

import json
import os
from pathlib import Path

import pytest

from dojo.errors import KataError
from dojo.labs import landing, tree
from dojo.labs.tree import LINK, Change, File, files_of


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working tree with one program and one module."""
    root = tmp_path / "here"
    (root / "mydocker").mkdir(parents=True)
    (root / "mydocker/launch.py").write_text("launch = 1\n")
    (root / "kata").write_text("#!/bin/sh\n")
    (root / "kata").chmod(0o755)
    return root


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def go_over(here: Path, there: Path, *also: str) -> Change:
    """Send the tree as a run does. Returns what went."""
    files = {file.path: file for file in files_of(here, also)}
    change = Change.between(files, landing.files_there(str(there)))
    message, content = change.as_message()
    answer = take(there, message, content)
    assert answer == {"taken": len(change.write)}
    return change


def take(there: Path, message: dict[str, object], content: bytes) -> dict[str, object]:
    reading, to_there = os.pipe()
    from_there, writing = os.pipe()
    with os.fdopen(to_there, "wb") as pipe:
        assert len(content) < 60000
        pipe.write(content)
    landing.take_in(landing.Channel(reading, writing), message, str(there))
    answer: dict[str, object] = json.loads(os.read(from_there, 4096))
    for descriptor in (reading, writing, from_there):
        os.close(descriptor)
    return answer


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_it_arrives_as_it_is_and_only_once(here: Path, there: Path) -> None:
    (here / "link").symlink_to("mydocker/launch.py")
    (here / "bytes").write_bytes(bytes(range(256)))
    (here / "empty").touch()
    assert len(go_over(here, there).write) == 5
    assert contents(there) == contents(here)
    assert (there / "link").readlink() == Path("mydocker/launch.py")
    assert not go_over(here, there)


def test_only_what_has_changed_goes(here: Path, there: Path) -> None:
    go_over(here, there)
    before = (there / "kata").stat().st_mtime_ns
    (here / "mydocker/launch.py").write_text("launch = 2\n")
    assert go_over(here, there).paths == {"mydocker/launch.py"}
    assert contents(there) == contents(here)
    assert (there / "kata").stat().st_mtime_ns == before


def test_a_file_that_was_only_touched_stays(here: Path, there: Path) -> None:
    go_over(here, there)
    os.utime(here / "kata", (1, 1))
    assert not go_over(here, there)


def test_modes_are_kept_and_follow(here: Path, there: Path) -> None:
    go_over(here, there)
    assert (there / "kata").stat().st_mode & 0o777 == 0o755
    assert (there / "mydocker/launch.py").stat().st_mode & 0o777 == 0o644
    (here / "kata").chmod(0o600)
    (here / "mydocker/launch.py").chmod(0o700)
    assert len(go_over(here, there).write) == 2
    assert (there / "kata").stat().st_mode & 0o777 == 0o644
    assert (there / "mydocker/launch.py").stat().st_mode & 0o777 == 0o755


def test_what_is_deleted_here_is_gone_there(here: Path, there: Path) -> None:
    (here / "mydocker/commands").mkdir()
    (here / "mydocker/commands/run.py").write_text("")
    go_over(here, there)
    compiled = there / "mydocker/commands/__pycache__/run.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    (here / "mydocker/commands/run.py").unlink()
    (here / "mydocker/commands").rmdir()
    assert go_over(here, there).remove == ["mydocker/commands/run.py"]
    assert not (there / "mydocker/commands").exists()  # it would be a package still
    assert (there / "mydocker/launch.py").exists()


def test_a_file_becomes_a_directory_and_back(here: Path, there: Path) -> None:
    (here / "it").write_text("a file")
    go_over(here, there)
    (here / "it").unlink()
    (here / "it").mkdir()
    (here / "it/inner").write_text("inner")
    go_over(here, there)
    assert contents(there) == contents(here)
    (here / "it/inner").unlink()
    (here / "it").rmdir()
    (here / "it").symlink_to("mydocker")
    go_over(here, there)
    assert (there / "it").is_symlink()
    (here / "it").unlink()
    (here / "it").mkdir()
    (here / "it/inner").write_text("inner")
    go_over(here, there)
    assert contents(there) == contents(here)
    assert not (there / "mydocker/inner").exists()


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        ".venv/bin/python",
        ".kata/progress.json",
        ".vagrant/machines/default/libvirt/id",
        "mydocker/__pycache__/launch.cpython-311.pyc",
        "chapters/.pytest_cache/x",
        ".mypy_cache/x",
        "build/lib/x",
        "mydocker.egg-info/PKG-INFO",
        "mydocker/.launch.py.swp",
        "mydocker/launch.py~",
    ],
)
def test_what_is_not_the_learners_stays_here_and_is_let_alone_there(
    here: Path, there: Path, path: str
) -> None:
    for root in (here, there):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(str(root))
    assert go_over(here, there).paths == {"kata", "mydocker/launch.py"}
    assert (there / path).read_text() == str(there)


def test_a_package_called_build_goes_over(here: Path, there: Path) -> None:
    (here / "mydocker/build").mkdir()
    (here / "mydocker/build/x.py").touch()
    assert "mydocker/build/x.py" in go_over(here, there).paths


def test_a_directory_that_is_asked_for_goes_over_and_goes_away_again(
    here: Path, there: Path
) -> None:
    (here / ".kata/states/one").mkdir(parents=True)
    (here / ".kata/states/one/x.py").touch()
    assert ".kata/states/one/x.py" in go_over(here, there, ".kata/states/one").paths
    assert go_over(here, there).remove == [".kata/states/one/x.py"]


def test_what_is_no_file_stays_here(here: Path, there: Path) -> None:
    os.mkfifo(here / "fifo")
    go_over(here, there)
    assert not (there / "fifo").exists()


def test_a_file_that_is_another_there_is_sent_again(here: Path, there: Path) -> None:
    go_over(here, there)
    (there / "mydocker/launch.py").write_text("somebody was here\n")
    (there / "kata").unlink()
    assert go_over(here, there).paths == {"kata", "mydocker/launch.py"}
    assert contents(there) == contents(here)


@pytest.mark.parametrize("text", ["", '{"kata": ', "\0"])
def test_a_torn_list_does_no_harm(here: Path, there: Path, text: str) -> None:
    go_over(here, there)
    Path(landing.list_of(str(there))).write_text(text)
    assert len(go_over(here, there).write) == 2
    assert not go_over(here, there)


def test_a_tree_that_is_too_large_is_refused_with_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(list(files_of(here))) == 2
    monkeypatch.setattr(tree, "MOST_BYTES", 1 << 20)
    (here / "mydocker/huge").write_bytes(bytes(2 << 20))
    with pytest.raises(KataError, match=r"larger than 1 MiB, see mydocker/huge: move out"):
        list(files_of(here))


def test_a_full_disk_is_told_with_the_file(here: Path, there: Path) -> None:
    assert go_over(here, there)
    message, content = Change([File("full", 0o644, b"x")], []).as_message()
    answer = take(Path("/dev/full/x"), message, content)
    assert "/dev/full" in str(answer["failed"])


def test_what_was_cut_is_not_written(here: Path, there: Path) -> None:
    """The connection ends in the middle of the bytes."""
    go_over(here, there)
    reading, to_there = os.pipe()
    os.write(to_there, b"lau")
    os.close(to_there)
    message, _ = Change([File("mydocker/launch.py", 0o644, b"launch = 3")], []).as_message()
    landing.take_in(landing.Channel(reading, 1), message, str(there))
    os.close(reading)
    assert contents(there) == contents(here)


def test_a_link_is_not_a_file(here: Path) -> None:
    (here / "link").symlink_to("nowhere")
    (link,) = (file for file in files_of(here) if file.path == "link")
    assert (link.mode, link.content) == (LINK, b"nowhere")
