"""Images go from mydocker to Docker and back, and lose nothing on the way."""

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dojo.scratch import Call
from dojo.testkit.containers import end, first_process, started
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import check, expect

if TYPE_CHECKING:
    from docker.models.containers import Container

    from tests.engines.conftest import Engine

tools = pytest.importorskip("pytest_docker_tools", reason="see pyproject.toml: its extra `dev`")

CHANGES = r"""
set -e
mkdir /kata /kata/private
chmod 700 /kata/private
echo 'not in the image' > /kata/new
echo 'kata:x:1000:' >> /etc/group
chmod 600 /etc/passwd
rm /etc/shells
rm -r /home
rm -r /var/log
mkdir /var/log
chmod 1777 /var/log
echo 'what was here is gone' > /var/log/only
ln -s new /kata/link
ln -s /nowhere /kata/dangling
ln /kata/new /kata/hard
mkfifo /kata/fifo
mknod /kata/null c 1 3
mknod /kata/disk b 7 200
cp /bin/busybox /kata/setuid
chown 12:34 /kata/setuid
chmod 4755 /kata/setuid
: > /kata/empty
touch -d '2001-02-03 04:05:06' /kata/old
long=$(printf %0200d 1)
mkdir /kata/$long
echo long > /kata/$long/$long
echo odd > "/kata/$(printf 'two\nlines and \377')"
"""
XATTRS = {
    "user.kata": b"kept\0whole",
    # vfs_cap_data of revision 2: cap_net_bind_service, permitted and effective.
    "security.capability": bytes.fromhex("0100000200040000000000000000000000000000"),
}
# Not the image's: what is mounted, and what Docker lays into each of its containers.
NOT_OF_THE_IMAGE = {b"dev", b"proc", b"sys", b".dockerenv"} | {
    b"etc/hosts",
    b"etc/hostname",
    b"etc/mtab",
    b"etc/resolv.conf",
}
TOUCHED = {b".", b"etc"}  # by that, at each start


@dataclass(frozen=True)
class File:
    """All that a file is. links: how many names it has; a directory has none but its own."""

    mode: str
    owner: tuple[int, int]
    mtime: int
    links: int
    content: str
    xattrs: tuple[tuple[str, bytes], ...] = ()


Files = dict[bytes, File]


def files_below(root: Path) -> Files:
    """Every file of a container, by its name: "etc/passwd"."""
    found: Files = {}
    top = os.fsencode(root)
    for folder, directories, files in os.walk(os.path.join(top, b".")):
        for name in [b".", *directories, *files]:
            path = os.path.join(folder, name)
            short = os.path.relpath(path, top)
            if short in NOT_OF_THE_IMAGE:
                if name in directories:
                    directories.remove(name)
            elif short not in found:
                file = file_at(path)
                found[short] = replace(file, mtime=0) if short in TOUCHED else file
    return found


def file_at(path: bytes) -> File:
    facts = os.lstat(path)
    links = 1 if stat.S_ISDIR(facts.st_mode) else facts.st_nlink
    content = ""
    if stat.S_ISREG(facts.st_mode):
        content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    elif stat.S_ISLNK(facts.st_mode):
        content = os.fsdecode(os.readlink(path))
    elif stat.S_ISBLK(facts.st_mode) or stat.S_ISCHR(facts.st_mode):
        content = f"{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}"
    xattrs = [
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(os.listxattr(path, follow_symlinks=False))
        if name in XATTRS
    ]
    owner = (facts.st_uid, facts.st_gid)
    mode = stat.filemode(facts.st_mode)
    return File(mode, owner, int(facts.st_mtime), links, content, tuple(xattrs))


def differences(left: Files, right: Files) -> dict[bytes, tuple[File | None, File | None]]:
    names = sorted(left.keys() | right.keys())
    pairs = {name: (left.get(name), right.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# The containers ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Committed:
    """An image of ours. files: what its container saw."""

    tar: Path
    files: Files


@pytest.fixture
def committed(ours: Mydocker) -> Committed:
    """A container in which a lot was changed, as the image `copy`."""
    script = f"echo started; read word; test $word = change || exit 1; {CHANGES}"
    script += "echo ready; exec sleep 1000"
    words = ["run", "-i", "--name", "box", "busybox", "sh", "-c", script]
    box = ours.start(*words, stdin=None)
    root = Path(f"/proc/{first_process(started(box, b'started')).pid}/root")
    # Of a program that cannot change its root, all that follows would change this machine.
    check(not root.samefile("/"), "the image as the container's root", "the root of this machine")
    box.type(b"change\n")
    started(box)
    for name, value in XATTRS.items():
        with suppress(OSError):  # a file system without them
            os.setxattr(root / "kata/setuid", name, value)
    files = files_below(root)
    expect(ours("commit", "box", "copy"), status=0)
    end(box)
    assert b"kata/disk" in files
    assert b"etc/shells" not in files
    return Committed(ours.root / "images/copy.tar", files)


@pytest.fixture
def of_ours(engine: "Engine", committed: Committed) -> Iterator[str]:
    """That image, taken by Docker: its name there."""
    engine.take(committed.tar, "copy")
    yield "copy"
    engine.client.images.remove("copy", force=True)


@pytest.fixture
def busybox(engine: "Engine", ours: Mydocker) -> str:
    """The image from which all begins, taken by Docker."""
    engine.take(ours.root / "images/busybox.tar", "busybox")
    return "busybox"


class Alone(tools.wrappers.Container):  # type: ignore[misc,name-defined]
    """A container without a network, for which pytest-docker-tools would wait in vain."""

    @property
    def itself(self) -> "Container":
        return self._container

    def ready(self) -> bool:
        self.itself.reload()
        return self.itself.status == "running"


SLEEP = {"command": ["sleep", "1000"], "network_mode": "none", "wrapper_class": Alone}
in_docker = tools.container(image="{of_ours}", **SLEEP)
another = tools.container(image="{busybox}", **SLEEP)


def files_in_ours(ours: Mydocker, image: str) -> Files:
    """Run an image with mydocker, and see what is in it."""
    running = ours.start("run", image, "sh", "-c", "echo ready; exec sleep 1000")
    files = files_below(Path(f"/proc/{first_process(started(running)).pid}/root"))
    end(running)
    return files


# The tests -----------------------------------------------------------------------------------


def test_docker_takes_our_image_to_the_byte(
    engine: "Engine", committed: Committed, of_ours: str
) -> None:
    """The one layer that Docker makes of it has the checksum of our tar."""
    checksum = hashlib.sha256(committed.tar.read_bytes()).hexdigest()
    layers = engine.client.images.get(of_ours).attrs["RootFS"]["Layers"]
    assert layers == [f"sha256:{checksum}"]


def test_docker_runs_our_image(engine: "Engine", of_ours: str) -> None:
    show = "cat /kata/new /var/log/only; ls -l /kata/setuid; ls /home /etc/shells 2>&1 || echo gone"
    said = engine.client.containers.run(
        of_ours, ["sh", "-c", show], network_mode="none", remove=True
    ).decode()
    assert "not in the image\nwhat was here is gone\n" in said
    assert "-rwsr-xr-x    1 12       34" in said
    assert said.endswith("gone\n")


def test_docker_sees_what_our_container_saw(
    engine: "Engine", committed: Committed, in_docker: Alone
) -> None:
    """Contents, modes, owners, times, links, devices, xattrs; and nothing that was deleted."""
    files = files_below(engine.root_of(in_docker.itself))
    assert not differences(committed.files, files)


def test_what_docker_exports_runs_here(
    engine: "Engine", ours: Mydocker, another: Alone, tmp_path: Path
) -> None:
    done = another.exec_run(["sh", "-c", CHANGES])
    assert done.exit_code == 0, done.output.decode()
    files = files_below(engine.root_of(another.itself))
    exported = write(another.itself.export(), tmp_path / "exported.tar")

    expect(ours("import", str(exported), "exported"), status=0)
    expect(ours("run", "exported", "cat", "/kata/new"), status=0, out="not in the image\n")
    assert not differences(files, files_in_ours(ours, "exported"))


def test_what_docker_saves_runs_here(
    engine: "Engine", ours: Mydocker, committed: Committed, of_ours: str, tmp_path: Path
) -> None:
    """The one layer of an image that was saved, which is a tar of its own."""
    saved = write(engine.client.images.get(of_ours).save(), tmp_path / "saved.tar")
    layer = write(iter([only_layer(saved)]), tmp_path / "layer.tar")

    expect(ours("import", str(layer), "saved"), status=0)
    assert not differences(committed.files, files_in_ours(ours, "saved"))


def test_tar_lists_our_image_without_a_warning(committed: Committed) -> None:
    """As a person would look into it, with the system's own tar."""
    listed = subprocess.run(["tar", "-tvf", committed.tar], capture_output=True, check=False)
    call = Call(f"tar -tvf {committed.tar.name}", listed.returncode, listed.stdout, listed.stderr)
    expect(call, status=0, err="")
    assert b"kata/setuid" in call.out
    assert b"etc/shells" not in call.out


def write(chunks: Iterator[bytes], path: Path) -> Path:
    with path.open("wb") as file:
        file.writelines(chunks)
    return path


def only_layer(saved: Path) -> bytes:
    """The content of the layer of an image that `docker save` wrote."""
    with tarfile.open(saved) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (image,) = json.load(io.BytesIO(read("manifest.json")))
        (layer,) = image["Layers"]
        return read(layer)
