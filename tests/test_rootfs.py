"""The root file system: what is in it, and where it comes from on machines of every kind."""

import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path, PurePosixPath

import pytest

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.testkit import busybox, root_tree, rootfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="root file systems are for Linux")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, chroot")

BUSYBOX = shutil.which("busybox")
with_busybox = pytest.mark.skipif(BUSYBOX is None, reason="no busybox here: apt install it")

APPLETS = "bin/busybox bin/sh bin/ls sbin/init usr/bin/env usr/sbin/chroot linuxrc"


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KATA_ROOTFS", raising=False)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "a clone"
    root.mkdir()
    return Clone(root)


class Machine:
    """A machine on whose PATH there is only what a test puts there.

    said: what `ensure` said. calls: what the stand-ins were called with.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.log = directory / "calls"
        self.said: list[str] = []
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(busybox, "_BIN_BUSYBOX", str(self.bin / "busybox"))

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def command(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "{name} $*" >>{self.log}\n{body}\n')
        path.chmod(0o755)

    def busybox(self, program: bytes) -> None:
        path = self.bin / "busybox"
        path.write_bytes(program)
        path.chmod(0o755)

    def ensure(self, clone: Clone) -> Path:
        return rootfs.ensure(clone, self.said.append)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def root(clone: Clone, tmp_path: Path) -> Path:
    """The root file system of this machine's busybox, unpacked under the strictest umask."""
    directory = tmp_path / "root"
    directory.mkdir(0o700)
    before = os.umask(0o077)
    try:
        rootfs.unpack(rootfs.ensure(clone, print), directory)
    finally:
        os.umask(before)
    return directory


# What is in it --------------------------------------------------------------------------------


@with_busybox
def test_it_is_made_once(clone: Clone) -> None:
    said: list[str] = []
    tar = rootfs.ensure(clone, said.append)
    assert tar == clone.root / ".kata" / "rootfs" / "busybox.tar"
    assert said == []
    first = tar.stat()
    assert stat.S_IMODE(first.st_mode) == 0o644
    assert rootfs.ensure(clone, said.append) == tar
    assert tar.stat().st_ino == first.st_ino
    assert sorted(os.listdir(tar.parent)) == ["busybox.tar", "lock"]


@with_busybox
def test_the_same_busybox_gives_the_same_bytes(clone: Clone, tmp_path: Path) -> None:
    first = rootfs.ensure(clone).read_bytes()
    other = Clone(tmp_path)
    before = os.umask(0o077)
    try:
        second = rootfs.ensure(other)
    finally:
        os.umask(before)
    assert second.read_bytes() == first
    assert stat.S_IMODE(second.stat().st_mode) == 0o644


@with_busybox
def test_all_of_it_is_roots_by_number_sorted_and_of_one_moment(clone: Clone) -> None:
    with tarfile.open(rootfs.ensure(clone)) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[0] == "."
    assert names[1:] == sorted(names[1:])
    assert len(set(names)) == len(names)
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, "", "")
    }
    assert len({member.mtime for member in members}) == 1


@with_busybox
def test_every_applet_is_a_link_that_stays_inside(clone: Clone) -> None:
    with tarfile.open(rootfs.ensure(clone)) as archive:
        members = {member.name: member for member in archive}
    listed = subprocess.run([BUSYBOX or "", "--list-full"], capture_output=True, check=True)
    applets = {name for name in listed.stdout.decode().split() if "/" in name}
    assert "bin/sh" in applets
    for name in applets - {"bin/busybox"}:
        member = members[name]
        assert member.issym(), name
        assert not member.linkname.startswith("/"), name
        target = os.path.normpath(PurePosixPath(name).parent / member.linkname)
        assert target == "bin/busybox", name
    assert members["bin/busybox"].isreg()
    assert members["bin/busybox"].mode == 0o755


@as_root
@with_busybox
def test_modes_are_right_under_any_umask(root: Path) -> None:
    special = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
    directories = "bin dev etc home mnt proc root run sbin sys tmp usr usr/bin usr/lib usr/sbin var"
    for name in [".", *directories.split(), "var/log", "var/tmp"]:
        found = (root / name).lstat()
        assert stat.S_ISDIR(found.st_mode), name
        assert stat.S_IMODE(found.st_mode) == special.get(name, 0o755), name
        assert (found.st_uid, found.st_gid) == (0, 0), name
    for name in ("group", "hosts", "passwd", "resolv.conf", "shells"):
        assert stat.S_IMODE((root / "etc" / name).lstat().st_mode) == 0o644, name


@as_root
@with_busybox
def test_a_shell_runs_in_it(root: Path) -> None:
    script = "id -un; id -gn; ls -ld /root | cut -c1-10; /usr/bin/env true; echo $0"
    argv = ["chroot", str(root), "/bin/sh", "-c", script]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.split() == ["root", "root", "drwx------", "/bin/sh"]


@as_root
@with_busybox
def test_nobody_can_use_it_too(root: Path, tmp_path: Path) -> None:
    chroot = ["chroot", "--userspec=65534:65534", str(root), "/bin/sh", "-c"]
    result = subprocess.run([*chroot, "id -un; id -gn; cd /tmp && touch mine"], capture_output=True)
    assert result.stdout.decode().split() == ["nobody", "nogroup"], result.stderr.decode()
    assert (root / "tmp" / "mine").stat().st_uid == 65534


@with_busybox
def test_unpacking_into_no_directory_names_it(clone: Clone, tmp_path: Path) -> None:
    tar = rootfs.ensure(clone)
    if os.geteuid() == 0:
        (tmp_path / "there").mkdir()
        rootfs.unpack(tar, tmp_path / "there")
    with pytest.raises(KataError, match=r"unpack .*busybox.tar into .*/gone: .*gone: Cannot open"):
        rootfs.unpack(tar, tmp_path / "gone")


@as_root
@with_busybox
def test_tar_options_of_the_user_change_nothing(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAR_OPTIONS", "--strip-components=1")
    rootfs.unpack(rootfs.ensure(clone), tmp_path)
    assert (tmp_path / "bin" / "busybox").exists()


# A busybox on this machine --------------------------------------------------------------------


@with_busybox
def test_a_busybox_on_path_comes_before_apt_and_docker(clone: Clone, bare: Machine) -> None:
    bare.busybox(Path(BUSYBOX or "").read_bytes())
    bare.command("apt-get", "exit 1")
    bare.command("docker", "exit 1")
    assert bare.ensure(clone).is_file()
    assert (bare.said, bare.calls) == ([], [])


@with_busybox
def test_bin_busybox_is_found_where_path_has_none(
    clone: Clone, bare: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busybox, "_BIN_BUSYBOX", BUSYBOX)
    assert bare.ensure(clone).is_file()


def test_a_program_is_static_when_it_names_no_dynamic_linker() -> None:
    for wide in (True, False):
        for order in "<>":
            assert root_tree.is_static(elf(wide, order, [1, 2, 6]))
            assert not root_tree.is_static(elf(wide, order, [6, 3, 1]))
    assert not root_tree.is_static(elf(True, "<", []))
    assert not root_tree.is_static(elf(True, "<", [1, 2])[:-60])
    assert not root_tree.is_static(b"#!/bin/sh\n" * 20)
    assert not root_tree.is_static(b"")


def elf(wide: bool, order: str, segments: list[int]) -> bytes:
    """An ELF header and its table of segments, of these types."""
    size = 56 if wide else 32
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    address = "QQQ" if wide else "III"
    numbers = (2, 62, 1, 0, 64, 0, 0, 64, size, len(segments), 0, 0, 0)
    header = ident + struct.pack(f"{order}HHI{address}IHHHHHH", *numbers)
    table = b"".join(struct.pack(order + "I", kind) + bytes(size - 4) for kind in segments)
    return header.ljust(64, b"\0") + table


@as_root
def test_a_dynamic_busybox_is_refused_and_apt_is_next(clone: Clone, bare: Machine) -> None:
    bare.busybox(Path(sys.executable).resolve().read_bytes())
    bare.command("apt-get", "echo 'E: no network' >&2; exit 100")
    with pytest.raises(KataError) as caught:
        bare.ensure(clone)
    assert f"{bare.bin}/busybox is not a static program" in str(caught.value)
    assert "apt-get update: E: no network" in str(caught.value)


def test_a_static_program_that_is_no_busybox_is_refused(clone: Clone, bare: Machine) -> None:
    bare.busybox(elf(True, "<", [1, 2]))
    with pytest.raises(KataError, match=r"/bin/busybox --list-full: "):
        bare.ensure(clone)


# apt ------------------------------------------------------------------------------------------


@as_root
@with_busybox
def test_apt_installs_one_and_says_so(clone: Clone, bare: Machine) -> None:
    bare.command("apt-get", f"cp {BUSYBOX} {bare.bin}/busybox")
    bare.command("docker", "exit 1")
    assert bare.ensure(clone).is_file()
    assert bare.said == ["installing busybox-static with apt-get, to make a root file system of it"]
    (call,) = bare.calls
    assert call.startswith("apt-get -qq -y")
    assert call.endswith("install busybox-static")


@as_root
@with_busybox
def test_apt_is_given_package_lists_where_it_has_none(clone: Clone, bare: Machine) -> None:
    bare.command(
        "apt-get",
        'case "$*" in *update) touch $0.lists; exit ;; esac\n'
        f"test -e $0.lists && cp {BUSYBOX} {bare.bin}/busybox",
    )
    assert bare.ensure(clone).is_file()
    assert [call.split()[-1] for call in bare.calls] == [
        "busybox-static",
        "update",
        "busybox-static",
    ]


# Docker ---------------------------------------------------------------------------------------

ENGINE = """
case $1 in
    version) echo 28.2.2 ;;
    create) echo 0123456789ab ;;
    export) cat {exported} ;;
    rm) ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """What an engine exports: hard links, its own traces, other owners, no sorting."""
    path = tmp_path / "exported.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, mode, target in (
            ("usr/", tarfile.DIRTYPE, 0o755, ""),
            ("usr/bin/", tarfile.DIRTYPE, 0o755, ""),
            ("bin/", tarfile.DIRTYPE, 0o755, ""),
            ("bin/[", tarfile.REGTYPE, 0o755, ""),
            ("bin/sh", tarfile.LNKTYPE, 0o755, "bin/["),
            ("bin/busybox", tarfile.LNKTYPE, 0o755, "bin/["),
            ("usr/bin/env", tarfile.SYMTYPE, 0o777, "../../bin/env"),
            (".dockerenv", tarfile.REGTYPE, 0o755, ""),
            ("dev/", tarfile.DIRTYPE, 0o755, ""),
            ("dev/console", tarfile.REGTYPE, 0o755, ""),
            ("tmp/", tarfile.DIRTYPE, 0o755, ""),
            ("etc/passwd", tarfile.REGTYPE, 0o644, ""),
            ("../evil", tarfile.REGTYPE, 0o644, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname = kind, mode, target
            member.uid = member.gid = 501
            archive.addfile(member)
    return path


def test_an_engine_that_answers_exports_one(clone: Clone, bare: Machine, exported: Path) -> None:
    bare.command("docker", ENGINE.format(exported=exported))
    with tarfile.open(bare.ensure(clone)) as archive:
        members = {member.name: member for member in archive}
    assert bare.said == [
        "exporting the image busybox from Docker, to make a root file system of it"
    ]
    assert [call.split()[1] for call in bare.calls] == ["version", "create", "export", "rm"]
    assert members["bin/sh"].islnk()
    assert members["bin/sh"].linkname == "bin/["
    assert list(members).index("bin/sh") > list(members).index("bin/[")
    assert members["usr/bin/env"].linkname == "../../bin/env"
    assert members["tmp"].mode == 0o1777
    assert members["dev"].isdir()
    assert members["etc/passwd"].size == 0, "the image's own"
    assert members["etc/group"].size > 0, "ours, where the image has none"
    assert not {".dockerenv", "dev/console", "../evil", "evil"} & set(members)
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}


def test_an_engine_that_cannot_pull_is_not_waited_for(clone: Clone, bare: Machine) -> None:
    fails = "echo 'Error: pull access denied' >&2; exit 1"
    bare.command("docker", f"case $1 in create) {fails} ;; esac")
    with pytest.raises(KataError, match="docker create: Error: pull access denied"):
        bare.ensure(clone)
    assert [call.split()[1] for call in bare.calls] == ["version", "create", "rm"]


def test_an_engine_that_does_not_answer_is_given_up(
    clone: Clone, bare: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busybox, "_DOCKER_SECONDS", 0.3)
    bare.command("docker", f"sleep 61 & echo $! >{bare.bin}/sleeping; wait")
    begin = time.monotonic()
    with pytest.raises(KataError, match=r"docker version: no answer in 0.3 s"):
        bare.ensure(clone)
    assert time.monotonic() - begin < 30
    assert bare.said == []
    wait_until_gone(int((bare.bin / "sleeping").read_text()))


def wait_until_gone(process: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            return
        if state == "Z":  # dead; whether init reaps it is not ours to see
            return
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    raise AssertionError(f"process {process} was left behind")


def test_rubbish_from_an_engine_is_refused(clone: Clone, bare: Machine, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"rubbish" * 200)
    bare.command("docker", ENGINE.format(exported=rubbish))
    with pytest.raises(KataError, match="docker export: not a tar file"):
        bare.ensure(clone)
    assert os.listdir(clone.state / "rootfs") == ["lock"]


# No way at all --------------------------------------------------------------------------------


def test_where_there_is_no_way_all_are_named(clone: Clone, bare: Machine) -> None:
    with pytest.raises(KataError) as caught:
        bare.ensure(clone)
    text = str(caught.value)
    assert "sudo apt-get install busybox-static" in text
    assert f"{bare.bin}/busybox: No such file or directory; no apt-get here" in text
    assert "Docker engine" in text
    assert "no docker command here" in text
    assert "KATA_ROOTFS=PATH" in text
    assert os.listdir(clone.state / "rootfs") == ["lock"]


# KATA_ROOTFS ----------------------------------------------------------------------------------


@with_busybox
def test_a_tar_file_that_is_given_is_used_as_it_is(
    clone: Clone, bare: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given.tar.gz"
    with tarfile.open(given, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("./usr/bin/sh"))
    monkeypatch.setenv("KATA_ROOTFS", str(given))
    assert bare.ensure(clone) == given
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KATA_ROOTFS", "given.tar.gz")
    assert bare.ensure(clone) == given
    assert not clone.state.exists()


def test_a_directory_that_is_given_is_packed_as_it_is_now(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    (given / "bin").mkdir(parents=True)
    (given / "bin" / "sh").symlink_to("/nowhere")
    monkeypatch.setenv("KATA_ROOTFS", str(given))
    for name in ("one", "two"):
        (given / name).write_text(name)
        tar = rootfs.ensure(clone)
        with tarfile.open(tar) as archive:
            assert f"./{name}" in archive.getnames()
            assert archive.getmember("./bin/sh").linkname == "/nowhere"
    assert sorted(os.listdir(tar.parent)) == ["given.tar", "lock"]


def test_what_is_given_and_cannot_be_used_is_named(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text"
    text.write_text("no tar file\n" * 100)
    no_shell = tmp_path / "no-shell.tar"
    with tarfile.open(no_shell, "w") as archive:
        archive.addfile(tarfile.TarInfo("bin/ls"))
    for given, reason in (
        (tmp_path / "gone", "no such tar file or directory"),
        (empty, "it has no bin/sh"),
        (text, "not a tar file that can be read"),
        (no_shell, "it has no bin/sh"),
    ):
        monkeypatch.setenv("KATA_ROOTFS", str(given))
        with pytest.raises(KataError) as caught:
            rootfs.ensure(clone)
        assert f"KATA_ROOTFS={given}: " in str(caught.value)
        assert reason in str(caught.value)


# Interruptions, others at the same time, other owners -----------------------------------------


@with_busybox
def test_interrupted_half_way_it_leaves_nothing(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "addfile", interrupt_after(20))
        with pytest.raises(KeyboardInterrupt):
            rootfs.ensure(clone)
    assert os.listdir(clone.state / "rootfs") == ["lock"]
    assert rootfs.ensure(clone).is_file()


def interrupt_after(calls: int) -> object:
    real = tarfile.TarFile.addfile
    left = iter(range(calls))

    def addfile(self: tarfile.TarFile, *arguments: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        real(self, *arguments)  # type: ignore[arg-type]

    return addfile


@with_busybox
def test_what_a_killed_process_left_is_not_taken_for_a_root(clone: Clone) -> None:
    (clone.state / "rootfs").mkdir(parents=True)
    (clone.state / "rootfs" / "busybox.tar.new").write_text("half a tar file")
    with tarfile.open(rootfs.ensure(clone)) as archive:
        assert "bin/busybox" in archive.getnames()
    assert sorted(os.listdir(clone.state / "rootfs")) == ["busybox.tar", "lock"]


@with_busybox
def test_of_several_at_once_one_makes_it(clone: Clone, bare: Machine, exported: Path) -> None:
    bare.command("docker", "sleep 0.2" + ENGINE.format(exported=exported))
    tars: list[Path] = []
    threads = [threading.Thread(target=lambda: tars.append(bare.ensure(clone))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tars == [clone.state / "rootfs" / "busybox.tar"] * 3
    assert [call.split()[1] for call in bare.calls] == ["version", "create", "export", "rm"]


@as_root
@with_busybox
def test_it_belongs_to_the_owner_of_the_clone(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(clone.root, 1000, 1000)
    tar = rootfs.ensure(clone)
    for path in (clone.state, tar.parent, tar, tar.parent / "lock"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1000), path
    with tarfile.open(tar) as archive:
        assert {member.uid for member in archive} == {0}


@as_root
def test_a_clone_that_cannot_be_written_to_is_named() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        os.seteuid(1000)
        try:
            with pytest.raises(KataError, match=r"write into .*/\.kata/rootfs: Permission denied"):
                rootfs.ensure(Clone(Path(directory)))
        finally:
            os.seteuid(0)
