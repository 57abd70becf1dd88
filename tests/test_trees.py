"""Trees of files: how they are described and compared, and what layers may do to them."""

import errno
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dojo.scratch import TestHost, groups
from dojo.testkit import operations, trees
from dojo.testkit.operations import LONG_AGO, Operation
from dojo.testkit.trees import describe, differences
from dojo.testkit.twins import Twins, twins_on
from tests.learners import require_lab

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, devices")
pytestmark = as_root


@pytest.fixture
def base(tmp_path: Path) -> Path:
    operations.lay_base(tmp_path / "base")
    return tmp_path / "base"


# describe -------------------------------------------------------------------------------------


def test_there_is_one_of_everything(base: Path) -> None:
    tree = describe(base)
    assert {entry.kind for entry in tree.values()} == set(trees.KINDS.values())
    assert tree[b"file"].content == r"'of the image\n'"
    assert tree[b"link"].content == "'file'"
    assert tree[b"null"].content == "1:3"
    assert tree[b"program"].mode == 0o4755
    assert tree[b"program"].owner == (1000, 1000)
    assert tree[b"linked-1"].same_as == (b"linked-1", b"sub/linked-2", b"sub/linked-3")
    assert tree[b"file"].same_as == ()
    assert tree[b"file"].xattrs.get("trusted.kata") == b"of the image"
    assert b"\xff\xfe" in tree
    assert all(
        path in tree for path in operations.PATHS if path not in (*operations.NEW, b"way/inner")
    )


def test_a_base_is_the_same_every_time(base: Path, tmp_path: Path) -> None:
    operations.lay_base(tmp_path / "other")
    assert differences(describe(base), describe(tmp_path / "other")) == []


def test_a_hole_is_as_good_as_zeros(base: Path, tmp_path: Path) -> None:
    before = describe(base)[b"sparse"]
    content = (base / "sparse").read_bytes()
    assert len(content) == 8 << 20
    (base / "sparse").write_bytes(content)
    assert describe(base)[b"sparse"].content == before.content
    (base / "sparse").write_bytes(content[:-1])
    assert describe(base)[b"sparse"].content != before.content


def test_what_is_left_out_is_not_looked_into(base: Path) -> None:
    tree = describe(base, without=["sub", "full/x"])
    left_out = {path for path in describe(base) if path.startswith(b"sub")} | {b"full/x"}
    assert set(tree) == set(describe(base)) - left_out


# differences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (("unlink", b"fifo"), "'fifo' is missing: it should be a fifo"),
        (("create", b"new", b""), "'new' should not be there: it is a file"),
        (
            ("overwrite", b"file", b"x"),
            r"'file': its content is 'x', it should be 'of the image\n'",
        ),
        (("chmod", b"empty", 0o4711), "'empty': its mode is 4711, it should be 0000"),
        (("chown", b"link", 5, 6), "'link': its owner is 5:6, it should be 12:34"),
        (("set-time", b"-rf", 7), "'-rf': its time of change is 7.000000000, it should be 10"),
        (("set-xattr", b"sub", "trusted.x", b"y"), "'sub': its xattr trusted.x is 'y', it should"),
        (("remove-xattr", b"sub", "trusted.kata"), "'sub': its xattr trusted.kata is absent, it"),
        (("link", b"file", b"other"), "'file': its set of hard links is 'file' = 'other', it"),
        (("truncate", b"big", 99), "'big': its content is 99 bytes with the sha256 "),
    ],
)
def test_a_difference_is_told_in_words(
    base: Path, operation: tuple[object, ...], sentence: str
) -> None:
    before = describe(base)
    do(base, *operation)
    told = differences(before, describe(base))
    assert [line for line in told if line.startswith(sentence)], told


def test_another_kind_is_told(base: Path) -> None:
    before = describe(base)
    do(base, "unlink", b"link")
    do(base, "mkdir", b"link", 0o777)
    told = differences(before, describe(base))
    assert "'link': its kind is directory, it should be symbolic link" in told
    (base / "link").rmdir()
    do(base, "symlink", b"link", b"elsewhere")
    told = differences(before, describe(base))
    assert "'link': its target is 'elsewhere', it should be 'file'" in told
    do(base, "unlink", b"null")
    do(base, "mknod", b"null", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    told = differences(before, describe(base))
    assert "'null': its number is 1:5, it should be 1:3" in told


def test_times_may_be_apart_by_what_is_asked_for(base: Path) -> None:
    def at(seconds: float) -> trees.Tree:
        os.utime(base / "file", ns=(0, int(seconds * 1e9)))
        return describe(base)

    assert differences(at(1000.25), at(1000.75)) != []
    assert differences(at(1000.25), at(1000.75), whole_seconds=True) == []
    assert differences(at(1000.25), at(1001.25), whole_seconds=True, since=1001) != []
    assert differences(at(1000.25), at(1002.0), since=1000) == []
    assert differences(at(1000.25), at(1003.0), since=1000) != []
    assert differences(at(999.5), at(1000.5), since=1000) != []


# Twins ----------------------------------------------------------------------------------------


class Layers:
    """An overlay of a base on a test host, and a plain copy of that base.

    image, plain: these two. layered: where the overlay is seen from here.
    """

    def __init__(self, host: TestHost, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.image, self.plain, self.point = (directory / n for n in ("lower/t", "plain", "point"))
        self.layered = Path(f"/proc/{host.pid}/root{self.point}/t")
        folders = ("lower", "point", "upper", "work")
        for folder in (directory, *(directory / name for name in folders)):
            folder.mkdir()
        for top in (self.image, self.plain):
            operations.lay_base(top)
        options = f"lowerdir={directory}/lower,upperdir={directory}/upper,workdir={directory}/work"
        self.call("mount", "-t", "overlay", "none", "-o", options, str(self.point))

    def call(self, *argv: str) -> None:
        call = self.host.run(argv, env=ENV)
        assert call.status == 0, call

    def close(self) -> None:
        self.call("umount", str(self.point))
        shutil.rmtree(self.directory)


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestHost]:
    require_lab(request, "overlay")
    host = TestHost(next(groups.unique_names()), writable=[tmp_path])
    yield host
    host.close()


@pytest.fixture
def layers(host: TestHost, tmp_path: Path) -> Iterator[Layers]:
    layers = Layers(host, tmp_path / "layers")
    yield layers
    layers.close()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(operations=operations.sequences())
def test_overlay_differs_in_what_is_named_only(
    host: TestHost, tmp_path: Path, operations: list[Operation]
) -> None:
    layers = Layers(host, tmp_path / "layers")
    try:
        before = describe(layers.image)
        since = time.time() - 1
        with Twins(layers.layered, layers.plain) as twins:
            for operation in operations:
                twins.do(operation)
            assert twins.differences(since) == []
        assert differences(before, describe(layers.image)) == []
    finally:
        layers.close()


def test_a_hard_link_of_the_image_may_become_a_file_of_its_own(layers: Layers) -> None:
    with Twins(layers.layered, layers.plain) as twins:
        twins.do(operation("append", b"linked-1", b"more\n"))
        tree = describe(layers.layered)
        assert tree[b"linked-1"].content != tree[b"sub/linked-2"].content
        assert twins.differences(time.time() - 5) == []
        twins.do(operation("link", b"linked-1", b"again"))
        twins.do(operation("chmod", b"again", 0o700))
        assert twins.differences(time.time() - 5) == []


def test_no_other_hard_link_may(layers: Layers) -> None:
    with Twins(layers.layered, layers.plain) as twins:
        twins.do(operation("link", b"file", b"again"))
        (layers.layered / "again").unlink()  # as if the layers had made a copy of it
        shutil.copy2(layers.layered / "file", layers.layered / "again")
        twins.do(operation("append", b"again", b"more"))
        assert any("hard links" in line for line in twins.differences(time.time() - 5))


def test_a_directory_of_the_image_may_stay_where_it_is(layers: Layers) -> None:
    with Twins(layers.layered, layers.plain) as twins:
        with pytest.raises(OSError, match="cross-device") as caught:
            do(layers.layered, "rename", b"full", b"new")
        assert caught.value.errno == errno.EXDEV
        twins.do(operation("rename", b"full", b"new"))
        twins.do(operation("make-anew", b"full"))
        twins.do(operation("rename", b"full", b"new"))
        assert not (layers.plain / "full").exists()
        assert twins.differences(time.time() - 5) == []


def test_an_old_descriptor_may_show_the_old_file(layers: Layers) -> None:
    old = os.open(layers.image / "file", os.O_RDONLY)  # some kernels go on with it, some do not
    with Twins(layers.layered, layers.plain) as twins:
        twins.do(operation("hold", b"file"))
        twins.do(operation("overwrite", b"file", b"changed\n"))
        assert twins.differences(time.time() - 5) == []
        os.dup2(old, twins.held[0].layered)
        assert twins.differences(time.time() - 5) == []
        twins.do(operation("hold", b"file"))
        os.dup2(old, twins.held[1].layered)
        (line,) = twins.differences(time.time() - 5)
        assert "'file', still open" in line
    os.close(old)


@pytest.mark.parametrize("change", ["overwrite", "append"])
def test_an_old_descriptor_may_follow_a_hard_link_of_the_image(layers: Layers, change: str) -> None:
    old = os.open(layers.image / "linked-1", os.O_RDONLY)
    with Twins(layers.layered, layers.plain) as twins:
        twins.do(operation("hold", b"linked-1"))
        twins.do(operation("hold", b"sub/linked-2"))
        twins.do(operation(change, b"linked-1", b"changed\n"))
        assert twins.differences(time.time() - 5) == []
        os.dup2(old, twins.held[0].layered)
        assert twins.differences(time.time() - 5) == []
        new = os.open(layers.layered / "linked-1", os.O_RDONLY)
        os.dup2(new, twins.held[1].layered)
        (line,) = twins.differences(time.time() - 5)
        assert "'sub/linked-2', still open" in line
    os.close(old)
    os.close(new)


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "file").unlink(),
        lambda top: (top / "void/back").touch(),
        lambda top: (top / "sub").chmod(0o777),
        lambda top: os.utime(top / "full/x", (1, 1)),
    ],
)
def test_any_other_difference_is_noticed(layers: Layers, change) -> None:
    with Twins(layers.layered, layers.plain) as twins:
        twins.do(operation("overwrite", b"full/y", b"changed\n"))
        assert twins.differences(time.time() - 5) == []
        change(layers.layered)
        assert len(twins.differences(time.time() - 5)) >= 1


def test_an_operation_that_fails_in_one_place_is_noticed(layers: Layers) -> None:
    (layers.layered / "void").rmdir()
    with Twins(layers.layered, layers.plain) as twins:
        twins.do(operation("mkdir", b"void/new", 0o755))
        twins.do(operation("mkdir", b"void", 0o755))
    assert twins.unlike == [
        "mkdir 'void/new' 0o755: it fails with 'No such file or directory', it should have worked",
        "mkdir 'void' 0o755: it worked, it should have failed with 'File exists'",
    ]


# AUFS's own ways: few kernels have it, so they are done by hand.


class Copies:
    """Two plain trees, one in the place of the layers. after: what else an operation does there."""

    def __init__(self, directory: Path) -> None:
        self.layered, self.plain = directory / "layered", directory / "plain"
        for top in (self.layered, self.plain):
            operations.lay_base(top)
        self.after: Callable[[Path], object] = lambda top: None


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    copies = Copies(tmp_path)
    really_do = Operation.do

    def do(operation: Operation, top: Path) -> None:
        really_do(operation, top)
        if top == copies.layered:
            copies.after(top)

    monkeypatch.setattr(Operation, "do", do)
    return copies


def differences_on(
    driver: str, copies: Copies, *operations: Operation, after: Callable[[Path], object]
) -> list[str]:
    """What twins find after these operations, the last of which does something else, too."""
    since = time.time() - 1
    with twins_on(driver, copies.layered, copies.plain) as twins:
        for number, each in enumerate(operations, start=1):
            copies.after = after if number == len(operations) else lambda top: None
            twins.do(each)
        return twins.differences(since)


@pytest.mark.parametrize("folder", ["sub/deep", "sub", "."])
def test_on_aufs_a_copy_up_may_change_the_time_of_a_directory(copies: Copies, folder: str) -> None:
    change = operation("chmod", b"sub/deep/leaf", 0o600)
    assert differences_on("aufs", copies, change, after=lambda top: os.utime(top / folder)) == []


def test_no_other_driver_may_do_so(copies: Copies) -> None:
    change = operation("chmod", b"sub/deep/leaf", 0o600)
    (line,) = differences_on("overlay", copies, change, after=lambda top: os.utime(top / "sub"))
    assert line.startswith("'sub': its time of change")


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (b"sub/deep/leaf", lambda top: os.utime(top / "full")),  # the change is not below it
        (b"sub/deep/leaf", lambda top: os.utime(top / "sub", (1, 1))),  # no time of today
        (b"sub/deep/leaf", lambda top: os.utime(top / "sub/inner")),  # no directory
        (b"sub/deep/leaf", lambda top: (top / "sub").chmod(0o700)),  # no time
        (b"full/new", lambda top: os.utime(top / "full")),  # nothing of the image is changed
    ],
)
def test_no_other_time_may_change(
    copies: Copies, change: bytes, after: Callable[[Path], object]
) -> None:
    done = [operation("create", b"full/new", b""), operation("set-time", b"full", LONG_AGO)]
    done.append(operation("chmod", change, 0o600))
    assert len(differences_on("aufs", copies, *done, after=after)) == 1


@pytest.mark.parametrize(
    ("driver", "value", "seen"), [("aufs", b"", 0), ("aufs", b"old", 1), ("overlay", b"", 1)]
)
def test_on_aufs_an_attribute_that_is_removed_may_be_empty(
    copies: Copies, driver: str, value: bytes, seen: int
) -> None:
    if not operations.has_xattrs(copies.layered, "trusted.kata"):
        pytest.skip("the file system of temporary files has no attributes")
    change = operation("remove-xattr", b"file", "trusted.kata")
    found = differences_on(
        driver,
        copies,
        change,
        after=lambda top: os.setxattr(top / "file", "trusted.kata", value),
    )
    assert len(found) == seen
    assert all("xattr trusted.kata" in line for line in found)


@pytest.mark.parametrize(
    ("driver", "truncated", "anew", "seen"),
    [
        ("aufs", b"linked-1", b"sub", 0),
        ("aufs", b"sub/linked-2", b"sub", 1),  # opened by the name that was truncated
        ("aufs", b"linked-1", b"full", 1),  # none of the names was in there
        ("overlay", b"linked-1", b"sub", 1),
    ],
)
def test_on_aufs_a_truncated_hard_link_may_show_the_old_file(
    copies: Copies, driver: str, truncated: bytes, anew: bytes, seen: int
) -> None:
    shutil.copy2(copies.layered / "linked-1", copies.layered / "old")
    shutil.copy2(copies.layered / "old", copies.plain / "old")
    old = os.open(copies.layered / "old", os.O_RDONLY)
    with twins_on(driver, copies.layered, copies.plain) as twins:
        twins.do(operation("overwrite", truncated, b"changed\n"))
        twins.do(operation("hold", b"sub/linked-2"))
        os.dup2(old, twins.held[0].layered)
        assert len(twins.differences(time.time() - 5)) == 1
        twins.do(operation("make-anew", anew))
        assert len(twins.differences(time.time() - 5)) == seen
    os.close(old)


def test_sockets_and_mounts_are_described(host: TestHost, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
    (tmp_path / "point").mkdir()
    call = host.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "point")], env=ENV)
    assert call.status == 0, call
    top = Path(f"/proc/{host.pid}/root{tmp_path}")
    (top / "point/hidden").touch()
    assert set(describe(top)) == {b".", b"s", b"point"}
    assert describe(top)[b"s"].kind == "socket"


def operation(verb: str, path: bytes, *rest: object) -> Operation:
    if verb in ("rename", "link"):
        (other,) = rest
        assert isinstance(other, bytes)
        return Operation(verb, (path, other))
    return Operation(verb, (path,), rest)


def do(top: Path, verb: str, path: bytes, *rest: object) -> None:
    operation(verb, path, *rest).do(top)
