"""What an x-ray reads, piece by piece: from lines, directories and groups that are made here."""

import io
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dojo.xray import drawing, finding, kernel, layers, limits, pages, picture, walls
from dojo.xray.descriptors import Descriptor
from dojo.xray.kernel import Environment, Mount, Namespace, Process, Rights
from dojo.xray.layers import AufsMarks, Changes, OverlayMarks, Root
from dojo.xray.limits import Groups, Limit
from dojo.xray.network import Interface
from dojo.xray.picture import Mounted, Xray
from dojo.xray.walls import Wall

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes whiteouts")
NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1)


def mangled(text: str, escaped: str) -> str:
    """As the kernel writes it, see mangle_path() in fs/seq_file.c."""
    return "".join(f"\\{ord(c):03o}" if c in escaped else c for c in text)


# mountinfo ---------------------------------------------------------------------------------------


@given(name=NAMES, source=NAMES)
def test_any_name_in_mountinfo(name: str, source: str) -> None:
    point = mangled(f"/{name}", " \t\n\\#")
    device = mangled(source, " \t\n\\#")
    line = (
        f"36 35 98:0 /top {point} ro,relatime master:1 shared:7 - ext4 {device} rw,errors=continue"
    )
    mount = kernel.mount_of(line)
    assert (mount.point, mount.source) == (f"/{name}", source)
    assert (mount.of, mount.kind, mount.device) == ("/top", "ext4", "98:0")
    assert (mount.number, mount.peers, mount.is_read_only) == (36, 7, True)


def test_an_escape_is_read_once() -> None:
    assert kernel.unescaped(r"a\040b\134040") == r"a b\040"


def test_names_with_what_python_takes_for_the_end_of_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "36 35 98:0 / /a\x0b\x85\u2028b rw - tmpfs none rw"
    monkeypatch.setattr(kernel, "_read", lambda *_: f"{line}\n{line}\n")
    assert [mount.point for mount in kernel.mounts(1)] == ["/a\x0b\x85\u2028b"] * 2


@given(lowers=st.lists(NAMES, min_size=1, max_size=4), upper=NAMES)
def test_any_names_of_an_overlay(lowers: list[str], upper: str) -> None:
    """As mount(8) is told them, so the kernel shows them: seen with 6.18."""

    def told(name: str) -> str:
        quoted = f"/{name}".replace("\\", "\\\\").replace(":", "\\:")
        return mangled(quoted, ", \t\n\\")

    options = f"rw,lowerdir={':'.join(map(told, lowers))},upperdir={told(upper)},workdir=/w,uuid=on"
    found = layers.directories_of_overlay(options)
    assert found == ([f"/{name}" for name in lowers], f"/{upper}")


def test_lower_directories_one_by_one() -> None:
    options = "rw,lowerdir+=/top,lowerdir+=/low,upperdir=/up,workdir=/w"
    assert layers.directories_of_overlay(options) == (["/top", "/low"], "/up")


def test_an_overlay_that_is_read_only_has_no_upper_directory() -> None:
    assert layers.directories_of_overlay("ro,lowerdir=/a:/b") == (["/a", "/b"], None)


def mount(point: str, of: str = "/", device: str = "8:1", **more: object) -> Mount:
    return Mount(1, point, of, "ext4", "/dev/sda1", device, "rw", "rw", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("its", "mine", "outside"),
    [
        (mount("/data", "/srv/data"), [mount("/")], "/srv/data"),
        (mount("/data", "/srv/data"), [mount("/", "/srv")], "/data"),
        (mount("/data", "/srv/data"), [mount("/"), mount("/mnt", "/srv")], "/mnt/data"),
        (mount("/data", "/srv"), [mount("/mnt", "/srv")], "/mnt"),
        (mount("/data", "/srv-2"), [mount("/mnt", "/srv")], None),
        (mount("/data", "/"), [mount("/")], "/"),
        (mount("/data", "/srv"), [mount("/", device="8:2")], None),
    ],
)
def test_where_a_mount_is_seen_outside(its: Mount, mine: list[Mount], outside: str | None) -> None:
    assert picture.place_outside(its, mine) == outside


# The top layer -----------------------------------------------------------------------------------


def lay(top: Path, *names: str) -> Path:
    """A layer with these files; a name that ends in "/" is a directory."""
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if name.endswith("/") else path.write_text(f"of {top.name}")
    return top


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def opaque(path: Path) -> None:
    os.setxattr(path, "trusted.overlay.opaque", b"y")


@ROOT_ONLY
def test_changes_of_an_overlay(tmp_path: Path) -> None:
    lower = lay(tmp_path / "lower", "etc/passwd", "etc/group", "usr/a/b", "usr/a/c", "usr/d", "x")
    top = lay(tmp_path / "top", "etc/passwd", "etc/new", "usr/a/b", "usr/a/n/m", "x/")
    whiteout(top / "etc/group")
    whiteout(top / "never")  # of what no image has: it hides nothing
    opaque(top / "usr/a")
    opaque(top / "usr/a/n")  # of what was not there: it replaces nothing
    assert layers.changes_of(top, [lower], OverlayMarks()) == Changes(
        added=("/etc/new", "/usr/a/n", "/usr/a/n/m"),
        changed=("/etc/passwd", "/usr/a/b", "/x"),
        deleted=("/etc/group", "/usr/a/c"),
        replaced=("/usr/a",),
    )


@ROOT_ONLY
def test_below_a_replaced_directory_all_is_hidden(tmp_path: Path) -> None:
    lower = lay(tmp_path / "lower", "a/b/c/gone", "a/b/kept", "a/other/")
    top = lay(tmp_path / "top", "a/b/c/", "a/b/kept")
    opaque(top / "a")
    found = layers.changes_of(top, [lower], OverlayMarks())
    assert found.deleted == ("/a/b/c/gone", "/a/other")
    assert found.changed == ("/a/b/kept",)
    assert found.added == ()


@ROOT_ONLY
def test_what_one_layer_of_an_image_hides_from_the_next(tmp_path: Path) -> None:
    first = lay(tmp_path / "first", "gone", "dir/file", "was/file", "opaque/file", "kept")
    second = lay(tmp_path / "second", "was", "opaque/")
    whiteout(second / "gone")
    whiteout(second / "dir")
    opaque(second / "opaque")
    top = lay(tmp_path / "top", "gone", "dir/file", "was/file", "opaque/file", "kept")
    found = layers.changes_of(top, [second, first], OverlayMarks())
    assert found.added == ("/dir", "/dir/file", "/gone", "/opaque/file", "/was/file")
    assert found.changed == ("/kept", "/was")


def test_changes_of_aufs(tmp_path: Path) -> None:
    lower = lay(tmp_path / "lower", "etc/passwd", "etc/group", "usr/a/b", "usr/a/c")
    top = lay(tmp_path / "top", "etc/passwd", "etc/new", "etc/.wh.group", "usr/a/.wh..wh..opq")
    lay(top, "usr/a/b", ".wh..wh.aufs", ".wh..wh.plnk/", ".wh..wh.orph/", ".wh.never")
    assert layers.changes_of(top, [lower], AufsMarks()) == Changes(
        added=("/etc/new",),
        changed=("/etc/passwd", "/usr/a/b"),
        deleted=("/etc/group", "/usr/a/c"),
        replaced=("/usr/a",),
    )


def test_branches_of_aufs(tmp_path: Path) -> None:
    for number, line in enumerate(["/w=rw", "/to\\040p=ro", "/low=ro+wh"]):
        lay(tmp_path, f"si_1f/br{number}").joinpath(f"si_1f/br{number}").write_text(f"{line}\n")
    lay(tmp_path, "si_1f/br10", "si_1f/brid0").joinpath("si_1f/br10").write_text("/lowest=ro\n")
    found = layers.branches_of_aufs("rw,si=1f", tmp_path)
    assert found == ([Path("/w")], [Path("/to p"), Path("/low"), Path("/lowest")])
    assert layers.branches_of_aufs("rw,si=2f", tmp_path) == ([], [])


def test_branches_of_aufs_are_found_on_a_mount_of_their_own(tmp_path: Path) -> None:
    """The kernel leaves out where the mount is: the container does not have it any more."""
    for point in ("other", "disk", "images"):
        lay(tmp_path, f"{point}/layer/", f"{point}/image/")
    lay(tmp_path, "disk/layer/.wh..wh.aufs", "images/another/")
    points = [Path("/"), tmp_path / "other", tmp_path / "disk", tmp_path / "images"]
    branches = [Path("/layer")], [Path("/image"), Path("/another"), Path("/nowhere")]
    assert layers.placed_branches(*branches, points) == (
        [tmp_path / "disk/layer"],
        [tmp_path / "disk/image", tmp_path / "images/another", Path("/nowhere")],
    )
    whole = [tmp_path / "disk/layer"], [tmp_path / "disk/image"]
    assert layers.placed_branches(*whole, points) == whole
    assert layers.placed_branches([Path("/nowhere")], [], points) == ([Path("/nowhere")], [])


def test_a_root_of_aufs_on_a_mount_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, "disk/layer/.wh..wh.aufs", "disk/layer/new", "disk/image/old", "layer/", "image/")
    for number, line in enumerate(["/layer=rw", "/image=ro"]):
        lay(tmp_path, f"si_1f/br{number}").joinpath(f"si_1f/br{number}").write_text(f"{line}\n")
    mounts = {
        7: ["1 0 0:9 / / rw - aufs none rw,si=1f"],
        6: ["2 0 8:1 / / rw - ext4 /dev/sda1 rw"],
        "self": [
            "2 0 8:1 / / rw - ext4 /dev/sda1 rw",
            f"3 2 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw",
            f"4 3 0:8 / {tmp_path}/disk rw - tmpfs none rw",
        ],
    }
    monkeypatch.setattr(layers, "SYS_AUFS", tmp_path)
    monkeypatch.setattr(kernel, "mounts", lambda pid: [*map(kernel.mount_of, mounts[pid])])
    monkeypatch.setattr(kernel, "has_its_own_root", lambda pid: True)
    monkeypatch.setattr(kernel, "environment", lambda pid: {"MYDOCKER_ROOT": f"{tmp_path}/disk"})
    monkeypatch.setattr(kernel, "working_directory", lambda pid: "/")
    found = layers.root_of(7, 6)
    assert (found.kind, found.upper) == ("aufs", f"{tmp_path}/disk/layer")
    assert found.lowers == (f"{tmp_path}/disk/image",)
    assert found.changes == Changes(added=("/new",))


def test_a_directory_is_changed_where_its_mode_is_another(tmp_path: Path) -> None:
    lower = lay(tmp_path / "lower", "same/a", "other/a")
    top = lay(tmp_path / "top", "same/a", "other/a")
    (top / "other").chmod(0o700)
    found = layers.changes_of(top, [lower], OverlayMarks())
    assert found.changed == ("/other", "/other/a", "/same/a")


def test_a_link_in_the_way_leads_nowhere(tmp_path: Path) -> None:
    lower = lay(tmp_path / "lower", "real/file")
    (lower / "dir").symlink_to("real")
    top = lay(tmp_path / "top", "dir/file")
    (top / "link").symlink_to("/")
    found = layers.changes_of(top, [lower], OverlayMarks())
    assert (found.added, found.changed) == (("/dir/file", "/link"), ("/dir",))


def test_a_very_deep_directory(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        assert layers.changes_of(tmp_path, [], OverlayMarks()).added[0] == "/d"
    finally:
        os.close(here)
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # Python 3.11 cannot


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST", 3)
    lay(tmp_path, *"abc")
    assert layers.changes_of(tmp_path, [], OverlayMarks()).is_whole
    lay(tmp_path, "d")
    found = layers.changes_of(tmp_path, [], OverlayMarks())
    assert (len(found.added), found.is_whole) == (3, False)


# Control groups ----------------------------------------------------------------------------------

VERSION_1 = {
    "memory.limit_in_bytes": "67108864",
    "memory.usage_in_bytes": "16777216",
    "pids.max": "10",
    "pids.current": "3",
    "cpu.shares": "512",
    "cpu.cfs_quota_us": "150000",
    "cpu.cfs_period_us": "100000",
    "cpuacct.usage": "2500000000",
    "cpuset.effective_cpus": "0",
}
VERSION_2 = {
    "memory.max": "67108864",
    "memory.current": "16777216",
    "pids.max": "10",
    "pids.current": "3",
    "cpu.weight": "50",
    "cpu.max": "150000 100000",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    "cpuset.cpus.effective": "0",
}
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "cpuset")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A group that process 7 is in, of all controllers; the looker is in the one above."""
    group = tmp_path / "box"
    group.mkdir()
    (group / "cgroup.procs").write_text("7\n8\n")
    (tmp_path / "cpuset.cpus.effective").write_text("0-1")

    def groups_of(pid: int) -> dict[str, Path]:
        return dict.fromkeys(CONTROLLERS, group if pid == 7 else tmp_path)

    monkeypatch.setattr(limits.groups, "groups_of", groups_of)
    monkeypatch.setattr(kernel, "groups", lambda pid: {"": "/box" if pid == 7 else "/"})
    return group


@pytest.mark.parametrize(
    ("files", "setting"),
    [(VERSION_1, "shares 512"), (VERSION_2, "weight 50")],
    ids=["version 1", "version 2"],
)
def test_limits_and_use(group: Path, files: dict[str, str], setting: str) -> None:
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")
    found = limits.groups_of(7, {7, 8})
    assert found.is_own
    assert found.limits == (
        Limit("memory", 64 << 20, 16 << 20, "/box"),
        Limit("pids", 10, 3, "/box"),
    )
    assert [each.share for each in found.limits] == [0.25, 0.3]
    assert (found.cpu_weight, found.cpu_most, found.cpu_seconds) == (0.5, 1.5, 2.5)
    assert found.cpu_setting == setting
    assert (found.cpus, found.all_cpus) == ("0", "0-1")
    assert found.limited == ("memory", "pids", "CPU time", "CPUs")


@pytest.mark.parametrize(
    "files",
    [
        {"memory.limit_in_bytes": "9223372036854771712", "pids.max": "max", "cpu.shares": "1024"},
        {"memory.max": "max", "pids.max": "max", "cpu.max": "max 100000", "cpu.weight": "100"},
        {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
        {},
    ],
    ids=["version 1", "version 2", "version 1, no quota", "no controller handed down"],
)
def test_no_limit(group: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")
    found = limits.groups_of(7, {7, 8})
    assert found.is_own
    assert found.limited == ()
    assert [each.share for each in found.limits] == [None, None]


def test_a_group_with_others_in_it_is_theirs(group: Path) -> None:
    assert not limits.groups_of(7, {7}).is_own


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("python -m mydocker run -d --name box busybox sh", "box"),
        ("/usr/bin/mydocker run --rm --name=box busybox", "box"),
        ("mydocker run -m 64m -v /a:/b --name box busybox", "box"),
        ("mydocker run -e A=B --pids-limit 5 -it --name box busybox", "box"),
        ("mydocker run busybox sh --name other", ""),
        ("mydocker run -m --name busybox sh --name other", ""),
        ("mydocker run --name", ""),
        ("mydocker logs box", ""),
        ("docker run --name box busybox", ""),
        ("", ""),
    ],
)
def test_the_name_that_a_container_was_started_with(typed: str, name: str) -> None:
    assert finding.name_typed(typed.split()) == name


IDS = [digit * 64 for digit in "abc"]


@pytest.mark.parametrize(
    ("its", "mine", "uts", "identity"),
    [
        (f"/docker/{IDS[0]}", "/", "its", IDS[0]),
        (f"/mydocker-{IDS[0]}", "/", "its", IDS[0]),
        (f"/docker/{IDS[0]}/docker/{IDS[1]}", f"/docker/{IDS[0]}", "its", IDS[1]),
        (f"/docker/{IDS[0]}", f"/docker/{IDS[0]}", "its", "0123456789ab"),
        (f"/docker/{IDS[0]}", f"/docker/{IDS[0]}", "mine", ""),
        (f"/{IDS[0]}0", "/", "mine", ""),
    ],
)
def test_the_id_of_a_container(
    monkeypatch: pytest.MonkeyPatch, its: str, mine: str, uts: str, identity: str
) -> None:
    monkeypatch.setattr(kernel, "groups", lambda pid: {"": mine if pid == "self" else its})
    inodes = {"self": 1, 7: 2 if uts == "its" else 1}
    monkeypatch.setattr(kernel, "inode_of_namespace", lambda pid, kind: inodes[pid])
    assert picture.identity_of(7, "0123456789ab") == identity


# Walls -------------------------------------------------------------------------------------------

HOST = Root("host", "/dev/sda1", False)
LAYERS = Root("overlay", "overlay", False, ("/image",), "/top", Changes(added=("/new",)))
ALL = kernel.CAPABILITIES
ALL_RIGHTS = Rights(ALL, "none", False, 0, ((0, 0, 4294967295),))


def namespaces(*own: str) -> tuple[Namespace, ...]:
    return tuple(Namespace(kind, 2 if kind in own else 1, 1) for kind in kernel.KINDS)


def walls_of(**given: object) -> dict[str, Wall]:
    nothing = {
        "namespaces": namespaces(),
        "proc": 1,
        "shared": (),
        "root": HOST,
        "groups": Groups(False, {}),
        "environment": Environment(("A",), ("A",), 1),
        "descriptors": (Descriptor(3, "/secret", True),),
        "rights": ALL_RIGHTS,
    }
    found = walls.walls_of(**{**nothing, **given})  # type: ignore[arg-type]
    return {wall.what: wall for wall in found}


CHAPTERS = {
    "hostname": "3.1",
    "process numbers": "3.1",
    "/proc": "3.1",
    "mounts": "3.1",
    "network": "3.1",
    "System V IPC": "3.1",
    "memory, CPU, pids": "3.2",
    "descriptors": "3.3",
    "root file system": "4.1",
    "image": "4.2",
    "environment": "5.8",
    "view of groups": walls.LATER,
    "root's powers": walls.LATER,
    "system calls": walls.LATER,
    "users": walls.LATER,
}


def test_without_any_wall_each_names_its_chapter() -> None:
    found = walls_of()
    assert {what: wall.chapter for what, wall in found.items()} == CHAPTERS
    assert not any(wall.is_up for wall in found.values())


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("hostname", {"namespaces": namespaces("uts")}),
        ("process numbers", {"namespaces": namespaces("pid")}),
        ("/proc", {"proc": None}),
        ("mounts", {"namespaces": namespaces("mnt")}),
        ("network", {"namespaces": namespaces("net")}),
        ("System V IPC", {"namespaces": namespaces("ipc")}),
        ("memory, CPU, pids", {"groups": Groups(True, {}, (Limit("pids", 5, 1, "/b"),))}),
        ("descriptors", {"descriptors": (Descriptor(3, "/its", False),)}),
        ("root file system", {"root": Root("ext4", "/dev/sda1", False)}),
        ("image", {"root": LAYERS}),
        ("environment", {"environment": Environment(("A",), ("A",), 2)}),
        ("view of groups", {"namespaces": namespaces("cgroup")}),
        ("system calls", {"rights": Rights(ALL, "a filter", True, 0, ((0, 0, 9),))}),
        ("root's powers", {"rights": Rights(("chown",), "none", False, 0, ((0, 0, 9),))}),
    ],
)
def test_each_wall_goes_up_by_itself(what: str, given: dict[str, object]) -> None:
    up = {name for name, wall in walls_of(**given).items() if wall.is_up}
    assert up - {"root file system"} == {what} - {"root file system"}
    assert what in up


def test_a_mount_namespace_that_passes_its_mounts_on_is_no_wall() -> None:
    wall = walls_of(namespaces=namespaces("mnt"), shared=("/",))["mounts"]
    assert not wall.is_up
    assert "shared" in wall.why


def test_a_group_without_a_limit_is_no_wall() -> None:
    wall = walls_of(groups=Groups(True, {}, (Limit("pids", None, 1, "/b"),)))["memory, CPU, pids"]
    assert not wall.is_up
    assert "no limit" in wall.why


def test_a_user_namespace() -> None:
    mapped = Rights(ALL, "none", False, 0, ((0, 100000, 65536),))
    found = walls_of(namespaces=namespaces("user"), rights=mapped)
    assert found["users"].is_up
    assert found["root's powers"].is_up
    same = walls_of(namespaces=namespaces("user"))
    assert not same["users"].is_up


# Drawing -----------------------------------------------------------------------------------------

NASTY = "\x1b]0;owned\x07[red]\u202e\n\udcff{x}</text>"


def xray_with(text: str) -> Xray:
    """An x-ray in which all that a container may name is called so."""
    first = Process((70, 1), 60, "S", 0, text, 1)
    root = Root("overlay", text, False, (text,), text, Changes((text,), (text,), (text,), (text,)))
    groups = Groups(True, {"memory": text}, (Limit("memory", 64 << 20, 60 << 20, text),), cpus="0")
    descriptors = (Descriptor(0, text, False), Descriptor(3, text, True))
    environment = Environment((text,), (text,), 1)
    mounts = (
        Mounted(Mount(1, text, text, "ext4", text, "8:1", "ro", text), text),
        Mounted(Mount(2, text, text, text, text, "8:1", "ro", text), None),
    )
    return Xray(
        first=first,
        identity="",
        hostname=text,
        starter=Process((60,), 1, "S", 0, text, 1),
        namespaces=namespaces("uts", "pid"),
        processes=tuple((min(n, 5), first) for n in range(40)),
        root=root,
        mounts=mounts,
        groups=groups,
        rights=ALL_RIGHTS,
        environment=environment,
        descriptors=descriptors,
        interfaces=(Interface(text, text, True, ("10.0.0.2/24",)),),
        walls=tuple(walls_of(descriptors=descriptors, root=root, environment=environment).values()),
    )


def drawn(xray: Xray, width: int, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    console.print(drawing.Picture(xray))
    file.flush()
    return file.buffer.getvalue().decode(encoding).split("\n")  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("width", [40, 80, 100])
def test_it_fits(width: int) -> None:
    assert {len(line) for line in drawn(xray_with("word " * 60), width)} <= {*range(width + 1)}


def test_nothing_that_a_container_is_called_is_taken_for_more_than_a_name() -> None:
    lines = "\n".join(drawn(xray_with(NASTY), 100))
    assert r"\x1b]0;owned\x07[red]\u202e\n\udcff" in lines
    assert not any(sign in lines for sign in "\x1b\x07\u202e\udcff")


def test_a_terminal_that_has_ascii_only() -> None:
    lines = "\n".join(drawn(xray_with("x"), 100, "ascii"))
    assert "OPEN" in lines
    assert "?" not in lines
    assert "#" in lines


def test_pictures_are_whole_and_fetch_nothing() -> None:
    xray = xray_with(NASTY)
    for draw in (pages.svg, pages.html):
        text = draw(xray, "kata xray <b>{box}</b>")
        text.encode()
        assert "&lt;b&gt;{box}&lt;/b&gt;" in text.replace("&#160;", " ").replace("&#x27;", "'")
        assert "@font-face" not in text
        assert "url(http" not in text
        assert "<script" not in text
    import xml.etree.ElementTree

    assert xml.etree.ElementTree.fromstring(pages.svg(xray, "kata")).tag.endswith("svg")
