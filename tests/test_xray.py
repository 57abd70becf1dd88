"""`kata xray` on real containers, started on a test host by what starts containers."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.scratch import Call, Process, Running, TestHost, groups
from dojo.testkit import machine, rootfs
from dojo.xray import command, descriptors, finding, kernel, layers, network, picture
from tests.learners import require_lab
from tests.test_lab_portability import ELSEWHERE

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STAY = "echo ready; sleep 1000; :"
BY_3_1 = {"hostname", "process numbers", "/proc", "mounts", "network", "System V IPC"}
BY_4_2 = BY_3_1 | {"descriptors", "root file system", "image"}
LIMITS = "memory, CPU, pids"


@pytest.fixture(autouse=True)
def lab_here(request: pytest.FixtureRequest) -> None:
    require_lab(request)


class Bench:
    """A test host with kata on it.

    directory: where its programs can write; it is gone after the test.
    """

    def __init__(self, host: TestHost, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.env = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "MYDOCKER_ROOT": str(directory / "root"),
            "PYTHONPATH": str(clone.here().root),
            "PYTHONPYCACHEPREFIX": str(directory / "caches"),
        }

    def start(self, *words: str, env: dict[str, str] | None = None, **more: Any) -> Running:
        """Start what starts a container, and wait until it says that it is ready."""
        running = self.host.start(words, env=env or self.env, cwd=self.directory, **more)
        if not running.wait_for_output(b"ready"):
            pytest.fail(f"it does not start: {running.stop()}", pytrace=False)
        return running

    def kata(self, *words: str, before: tuple[str, ...] = ()) -> Call:
        argv = [*before, sys.executable, "-P", "-m", "dojo", *words]
        return self.host.run(argv, env=self.env, cwd=self.directory)

    def xray(self, *words: str) -> dict[str, Any]:
        """What it says as JSON."""
        call = self.kata("xray", *words, "--json")
        assert (call.status, call.errors) == (0, ""), call
        found: dict[str, Any] = json.loads(call.text)
        return found

    def containers(self) -> list[Process]:
        return [each for each in self.host.processes() if each.is_first_of_a_container()]

    def container(self) -> str:
        """The PID of the first process of the only container, on the test host."""
        (first,) = self.containers()
        return str(first.inner)

    def refused(self, *words: str, before: tuple[str, ...] = ()) -> str:
        """The one line that it says instead."""
        call = self.kata("xray", *words, before=before)
        assert (call.status, call.text) == (2, ""), call
        (line,) = call.errors.splitlines()
        assert line.startswith("kata: xray: ")
        return line


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    # The guard's filter of system calls would be seen as a wall of each container.
    host = TestHost(next(groups.unique_names()), machine.patience(), [tmp_path], guarded=False)
    yield Bench(host, tmp_path)
    host.close()


def up(xray: dict[str, Any]) -> set[str]:
    return {wall["what"] for wall in xray["walls"] if wall["up"]}


def own(xray: dict[str, Any]) -> set[str]:
    return {kind for kind, each in xray["namespaces"].items() if each["own"]}


def why(xray: dict[str, Any], what: str) -> str:
    (found,) = [wall["why"] for wall in xray["walls"] if wall["what"] == what]
    return str(found)


# unshare -----------------------------------------------------------------------------------------


def test_a_container_of_unshare(bench: Bench) -> None:
    bench.start("unshare", "-mpuinf", "--mount-proc", "sh", "-c", f"hostname box; {STAY}")
    pid = bench.container()
    seen = bench.xray(pid)
    assert own(seen) == {"mnt", "pid", "uts", "ipc", "net"}
    for kind, each in seen["namespaces"].items():
        inodes = [bench.host.run(["readlink", f"/proc/{p}/ns/{kind}"]).text for p in (pid, "self")]
        assert [f"{kind}:[{inode}]\n" for inode in (each["inode"], each["host"])] == inodes
    assert up(seen) - {"descriptors"} == BY_3_1
    assert seen["hostname"] == "box"
    assert len(seen["processes"]) == 2
    assert seen["processes"][0]["inner"] == 1 < seen["processes"][1]["inner"]
    outside = {each.inner for each in bench.host.processes()}
    assert {each["pid"] for each in seen["processes"]} <= outside
    assert seen["processes"][0]["pid"] == int(pid)
    assert [each["depth"] for each in seen["processes"]] == [0, 1]
    assert seen["starter"]["command"].startswith("unshare -mpuinf")
    assert seen["interfaces"] == [{"name": "lo", "kind": "", "up": False, "addresses": []}]
    assert seen["root"]["kind"] == "host"
    assert [each["point"] for each in seen["mounts"]] == ["/proc"]


def test_namespaces_one_at_a_time(bench: Bench) -> None:
    for option, kind in (("-u", "uts"), ("-i", "ipc"), ("-n", "net"), ("-C", "cgroup")):
        running = bench.start("unshare", option, "sh", "-c", STAY)
        assert own(bench.xray(str(running.inner))) == {kind}
        running.stop()


def test_the_proc_of_the_host_is_no_wall(bench: Bench) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    assert up(bench.xray(bench.container())) & BY_3_1 == {"process numbers"}


def test_mounts_that_are_passed_on_are_no_wall(bench: Bench) -> None:
    running = bench.start("unshare", "-m", "--propagation", "unchanged", "sh", "-c", STAY)
    seen = bench.xray(str(running.inner))
    assert own(seen) == {"mnt"}
    assert "mounts" not in up(seen)
    assert "shared" in why(seen, "mounts")


def test_a_user_namespace(bench: Bench) -> None:
    bench.start("unshare", "-Upf", "sh", "-c", STAY)
    Path(f"/proc/{bench.containers()[0].pid}/uid_map").write_text("0 100000 10")
    seen = bench.xray(bench.container())
    assert own(seen) == {"user", "pid"}
    assert seen["rights"]["users"] == [{"inside": 0, "outside": 100000, "count": 10}]
    assert {"users", "root's powers"} <= up(seen)


def test_chroot_is_no_wall(bench: Bench) -> None:
    root = bench.directory / "chroot"
    root.mkdir()
    rootfs.unpack(rootfs.ensure(clone.here(), say=lambda line: None), root)
    bench.start("unshare", "-mpf", "-R", str(root), "/bin/sh", "-c", STAY)
    seen = bench.xray(bench.container())
    assert seen["root"]["kind"] == "chroot"
    assert "root file system" not in up(seen)
    assert "chroot" in why(seen, "root file system")


def test_capabilities_and_user(bench: Bench) -> None:
    setpriv = ("setpriv", "--bounding-set", "-all,+chown,+kill", "--no-new-privs")
    bench.start("unshare", "-pf", *setpriv, "sh", "-c", STAY)
    rights = bench.xray(bench.container())["rights"]
    assert rights["capabilities"] == ["chown", "kill"]
    assert (rights["user"], rights["seccomp"], rights["no_new_privileges"]) == (0, "none", True)


def test_descriptors_that_are_inherited(bench: Bench) -> None:
    secret = bench.directory / "secret"
    secret.touch()
    held = os.open(secret, os.O_RDONLY)
    try:
        script = f"exec 5</dev/null 6>&1; {STAY}"
        bench.start("unshare", "-mpf", "sh", "-c", script, holding=[held])
    finally:
        os.close(held)
    seen = bench.xray(bench.container())
    leaks = [each for each in seen["descriptors"] if each["from_outside"]]
    assert [(each["number"], each["target"]) for each in leaks] == [(3, str(secret))]
    assert "descriptors" not in up(seen)
    assert str(secret) in why(seen, "descriptors")


def test_volumes_and_where_they_come_from(bench: Bench) -> None:
    source = bench.directory / "my data"
    source.mkdir()
    script = f'mount --bind "$1" /mnt && mount -o remount,bind,ro /mnt; {STAY}'
    bench.start("unshare", "-mpf", "sh", "-c", script, "sh", str(source))
    (seen,) = bench.xray(bench.container())["mounts"]
    assert (seen["point"], seen["outside"], seen["read_only"]) == ("/mnt", str(source), True)


def test_interfaces(bench: Bench) -> None:
    script = (
        "ip link set lo up; ip link add one type veth peer name two; ip link set one up; "
        f"ip address add 10.9.8.7/24 dev one; {STAY}"
    )
    bench.start("unshare", "-npf", "sh", "-c", script)
    interfaces = bench.xray(bench.container())["interfaces"]
    lo, one, two = sorted(interfaces, key=lambda each: str(each["name"]))
    assert (lo["name"], lo["up"]) == ("lo", True)
    assert "127.0.0.1/8" in lo["addresses"]
    assert (one["name"], one["kind"], one["up"]) == ("one", "veth", True)
    assert "10.9.8.7/24" in one["addresses"]
    assert (two["name"], two["up"]) == ("two", False)


def test_the_layers_of_an_overlay(bench: Bench) -> None:
    script = """
        cd "$1" && mkdir low high top work merged && mkdir low/gone low/kept high/replaced
        touch low/gone/file low/kept/file high/replaced/file high/deleted
        mount -t overlay -o lowerdir=high:low,upperdir=top,workdir=work box merged && cd merged
        echo new > new; echo more >> kept/file; rm deleted; rm -r gone replaced; mkdir replaced
        mkdir old bin && mount --bind /bin bin && mount --bind /lib lib
        mount --make-private . ; pivot_root . old && cd / && echo ready; sleep 1000; :
    """
    (bench.directory / "low/lib").mkdir(parents=True)
    (bench.directory / "low/lib64").mkdir()
    (bench.directory / "low").rename(bench.directory / "given")
    script = script.replace("mkdir low high", "mv given low; mkdir high")
    script = script.replace("--bind /lib lib", "--bind /lib lib && mount --bind /lib64 lib64")
    top = str(bench.directory)
    bench.start("unshare", "-mpf", "sh", "-c", script, "sh", top)
    root = bench.xray(bench.container())["root"]
    assert root["kind"] == "overlay"
    assert [Path(lower).name for lower in root["lowers"]] == ["low", "high"]
    assert Path(root["upper"]).name == "top"
    changes = root["changes"]
    assert changes["changed"] == ["/kept/file"]
    assert changes["deleted"] == ["/deleted", "/gone", "/replaced/file"]
    assert changes["replaced"] == ["/replaced"]
    assert changes["added"] == ["/bin", "/new", "/old"]
    shown = bench.kata("xray", bench.container()).text
    for word in ("+ /new", "~ /kept/file", "- /gone", "○ /replaced", "whiteout", "opaque"):
        assert word in shown


PLACES = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
WRITES = st.lists(
    st.tuples(st.sampled_from(["write", "mkdir", "remove", "move"]), PLACES, PLACES), max_size=12
)


@given(given_files=st.lists(PLACES, max_size=5), writes=WRITES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_written_to_an_overlay(
    bench: Bench, given_files: list[str], writes: list[tuple[str, str, str]]
) -> None:
    """Its changes, read from the writable layer, are those between the image and what is seen."""
    assert bench.host.run(["mount", "-t", "tmpfs", "none", "/mnt"]).status == 0
    try:
        here = Path(f"/proc/{bench.host.pid}/root/mnt")
        for name in ("low", "top", "work", "seen"):
            (here / name).mkdir()
        for number, place in enumerate(given_files):
            write("write", here / "low", place, str(number))
        options = "lowerdir=/mnt/low,upperdir=/mnt/top,workdir=/mnt/work"
        mounted = bench.host.run(["mount", "-t", "overlay", "-o", options, "box", "/mnt/seen"])
        assert mounted.status == 0
        before = contents(here / "low")
        for what, place, other in writes:
            write(what, here / "seen", place, other)
        after = contents(here / "seen")
        found = layers.changes_of(here / "top", [here / "low"], layers.OverlayMarks())
    finally:
        bench.host.run(["umount", "-R", "/mnt"])
    assert set(found.added) == set(after) - set(before)
    both = set(before) & set(after)
    assert {path for path in both if before[path] != after[path]} <= set(found.changed) <= both
    gone = set(before) - set(after)
    assert set(found.deleted) <= gone
    explained = [*found.deleted, *found.changed]  # a file in the place of a directory hides it all
    assert {path for path in gone if not is_below(path, explained)} == set()


def write(what: str, top: Path, place: str, other: str) -> None:
    """Do it, if it can be done."""
    path = top / place
    with contextlib.suppress(OSError):
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"written for {other}")
        elif what == "mkdir":
            path.mkdir(parents=True)
        elif what == "remove":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            shutil.move(path, top / other)


def contents(top: Path) -> dict[str, str | None]:
    """All that is below it: what each file holds, None for a directory."""
    found: dict[str, str | None] = {}
    for folder, directories, files in os.walk(top):
        at = Path("/") / Path(folder).relative_to(top)
        found |= {str(at / name): None for name in directories}
        found |= {str(at / name): Path(folder, name).read_text() for name in files}
    return found


def is_below(path: str, tops: Sequence[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)


# The reference -----------------------------------------------------------------------------------


def reference(bench: Bench, chapter: str, *words: str, **more: Any) -> Running:
    """Start `kata solution CHAPTER -- run WORDS`; its state is made out here, where it is kept."""
    catalogue = Catalogue(clone.here())
    Steps(catalogue).state(catalogue.chapter(chapter))
    Steps(catalogue).state(catalogue.chapters[-1])
    rootfs.ensure(clone.here(), say=lambda line: None)
    kata = (sys.executable, "-P", "-m", "dojo", "solution", chapter, "--")
    return bench.start(*kata, "run", *words, "busybox", "sh", "-c", STAY, **more)


def test_the_reference_at_3_1(bench: Bench) -> None:
    reference(bench, "3.1", "--rm", "--name", "box")
    seen = bench.xray("box")
    assert up(seen) - {"descriptors"} == BY_3_1
    assert len(seen["id"]) == 12
    assert seen["hostname"] == seen["id"]
    assert bench.xray(seen["id"][:4])["pid"] == seen["pid"]
    assert bench.xray(seen["id"])["pid"] == seen["pid"]
    shown = bench.kata("xray", "box")
    assert shown.status == 0
    for what, chapter in ((LIMITS, "3.2"), ("root file system", "4.1"), ("image", "4.2")):
        (line,) = [line for line in shown.text.splitlines() if f" OPEN   {what} " in line]
        assert f"→ {chapter}" in line
    assert "of 11 walls are up" in shown.text


def test_the_reference_at_4_2(bench: Bench) -> None:
    limits = ("-m", "64m", "--pids-limit", "20", "--cpu-shares", "512")
    reference(bench, "4.2", "--rm", "--name", "box", *limits)
    seen = bench.xray("box")
    assert up(seen) == BY_4_2 | {LIMITS}
    assert len(seen["id"]) == 64
    assert seen["groups"]["limits"]["memory"]["limit"] == 64 << 20
    assert 0 < seen["groups"]["limits"]["memory"]["use"] < 64 << 20
    assert seen["groups"]["limits"]["pids"]["limit"] == 20
    assert seen["groups"]["limits"]["pids"]["use"] == 2
    assert seen["groups"]["cpu_weight"] == pytest.approx(0.5, abs=0.02)
    assert seen["groups"]["cpu_setting"] in ("shares 512", "weight 20")
    assert f"CPU    {seen['groups']['cpu_setting']}" in bench.kata("xray", "box").text
    root = Path(f"/proc/{bench.containers()[0].pid}/root")
    (root / "new").touch()
    (root / "etc/passwd").write_text("changed")
    (root / "etc/group").unlink()
    found = bench.xray("box")["root"]
    assert found["kind"] == "overlay"
    (lower,) = found["lowers"]
    assert Path(lower).name.startswith("busybox")
    assert (Path(lower) / "bin/busybox").exists()
    assert found["upper"].startswith(str(bench.directory / "root"))
    assert {"/new"} <= set(found["changes"]["added"])
    assert found["changes"]["changed"] == ["/etc/passwd"]
    assert found["changes"]["deleted"] == ["/etc/group"]


def test_the_reference_at_5_8(bench: Bench) -> None:
    (bench.directory / "data").mkdir()
    options = ("--name", "box", "-v", f"{bench.directory}/data:/data:ro", "-m", "64m")
    reference(bench, "5.8", *options, "-e", "LANG", "-it", terminal=True)
    seen = bench.xray("box")
    assert up(seen) == BY_4_2 | {LIMITS, "environment"}
    (data,) = [each for each in seen["mounts"] if each["point"] == "/data"]
    assert (data["outside"], data["read_only"]) == (f"{bench.directory}/data", True)
    assert set(seen["environment"]["names"]) == {"PATH", "HOME", "HOSTNAME", "TERM", "LANG"}
    assert not [each for each in seen["descriptors"] if each["from_outside"]]


def test_the_reference_in_the_background(bench: Bench) -> None:
    catalogue = Catalogue(clone.here())
    state = Steps(catalogue).state(catalogue.chapters[-1])
    env = bench.env | {"PYTHONPATH": str(state)}
    tar = rootfs.ensure(clone.here(), say=lambda line: None)
    mydocker = [sys.executable, "-P", "-m", "mydocker"]
    assert bench.host.run([*mydocker, "import", str(tar), "busybox"], env=env).status == 0
    for name in ("one", "two"):
        run = [*mydocker, "run", "-d", "--name", name, "busybox", "sleep", "1000"]
        assert bench.host.run(run, env=env).status == 0
    identities = [
        bench.host.run([*mydocker, "ps", "-q", "--no-trunc"], env=env).text.split()[1],
        bench.xray("one")["id"],
    ]
    assert identities[0] == identities[1]
    assert bench.xray("two")["pid"] != bench.xray("one")["pid"]
    assert bench.xray(identities[0])["pid"] == bench.xray("one")["pid"]
    listed = bench.kata("xray")
    assert listed.status == 0
    for word in ("one", "two", identities[0][:12], "sleep 1000"):
        assert word in listed.text
    assert "which container?" in bench.refused("--json")
    brought = bench.host.start([*mydocker, "exec", "one", "sh", "-c", STAY], env=env)
    assert brought.wait_for_output(b"ready")
    inside = [each["command"] for each in bench.xray("one")["processes"]]
    assert inside[0] == "sleep 1000"
    assert f"sh -c {STAY}" in inside
    assert bench.host.run([*mydocker, "stop", "-t", "0", "one"], env=env).status == 0
    line = bench.refused("one")
    assert f"does not run, and the kernel shows those that do; see {bench.directory}/root" in line
    line = bench.refused("three")
    assert "no container that runs was started with this name" in line


# runc --------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(bench: Bench) -> Path:
    if bench.host.run(["sh", "-c", "command -v runc"], env=bench.env).status != 0:
        pytest.skip("no runc here (Debian: sudo apt-get install runc)")
    bundle = bench.directory / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    rootfs.unpack(rootfs.ensure(clone.here(), say=lambda line: None), bundle / "rootfs")
    assert bench.host.run(["runc", "spec"], env=bench.env, cwd=bundle).status == 0
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["sh", "-c", STAY]}
    spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    spec["linux"]["seccomp"]["syscalls"] = [
        {"names": ["reboot"], "action": "SCMP_ACT_ERRNO"},
    ]
    (bundle / "config.json").write_text(json.dumps(spec))
    return bundle


def test_a_container_of_runc(bench: Bench, bundle: Path) -> None:
    state = f"--root={bench.directory}/runc"
    bench.start("runc", state, "run", "--bundle", str(bundle), "box")
    seen = bench.xray("box")
    assert BY_4_2 | {LIMITS, "environment", "root's powers", "system calls"} <= up(seen)
    assert seen["hostname"] == "runc"
    assert seen["pid"] == int(bench.container())
    assert seen["groups"]["limits"]["memory"]["limit"] == 64 << 20
    assert sorted(seen["rights"]["capabilities"]) == ["audit_write", "kill", "net_bind_service"]
    assert seen["rights"]["seccomp"] == "a filter"
    assert seen["root"]["read_only"]


# What was typed ----------------------------------------------------------------------------------


def test_without_a_container(bench: Bench) -> None:
    assert "no container" in bench.refused()


def test_without_a_word_the_only_one(bench: Bench) -> None:
    bench.start("unshare", "-puf", "sh", "-c", f"hostname only-one; {STAY}")
    assert bench.xray()["hostname"] == "only-one"
    assert bench.xray("only-one")["hostname"] == "only-one"


def test_any_process_of_a_container_means_the_container(bench: Bench) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)

    def sleeping() -> list[Process]:
        return [each for each in bench.host.processes() if each.command == "sleep 1000"]

    (inner,) = bench.host.until(sleeping)
    assert bench.xray(str(inner.inner))["pid"] == int(bench.container())


def test_a_container_in_a_container(bench: Bench) -> None:
    bench.start("unshare", "-puf", "sh", "-c", f"hostname outer; unshare -puf sh -c '{STAY}'")
    bench.host.until(lambda: len(bench.containers()) == 2)
    (_, inner) = sorted(bench.containers(), key=lambda process: len(process.pids))
    assert len(bench.xray(str(inner.inner))["processes"][0]["pids"]) == 3
    listed = bench.kata("xray")
    assert all(str(each.inner) in listed.text.split() for each in bench.containers())


@pytest.mark.parametrize(
    "typed", ["", "nobody", "99999999", "9" * 30, "/etc", "--", "٣", "0123456789abcdef", "a\nb"]
)
def test_what_is_nowhere(bench: Bench, typed: str) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    words = ("--", typed) if typed.startswith("-") else (typed,)
    line = bench.refused(*words)
    assert " ".join(typed.split("\n")) in line
    assert bench.xray()["pid"] == int(bench.container())


def test_a_process_of_the_host(bench: Bench) -> None:
    running = bench.start("sh", "-c", STAY)
    line = bench.refused(str(running.inner))
    assert str(running.inner) in line
    assert "in no container" in line


def test_two_of_one_name(bench: Bench) -> None:
    for _ in range(2):
        bench.start("unshare", "-puf", "sh", "-c", f"hostname twin; {STAY}")
    line = bench.refused("twin")
    assert all(str(each.inner) in line for each in bench.containers())


def test_without_rights(bench: Bench) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    reach = bench.host.run([*nobody, sys.executable, "-P", "-c", ""], env=bench.env)
    if reach.status != 0 or not os.access(clone.here().root, os.X_OK):
        pytest.skip("others cannot read this clone")
    line = bench.refused(bench.container(), before=nobody)
    assert "root" in line
    weak = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert bench.container() in bench.refused(bench.container(), before=weak)
    assert "Permission denied" in bench.refused(before=weak)


def test_a_proc_that_is_of_another_namespace(bench: Bench) -> None:
    assert "/proc" in bench.refused(before=("unshare", "-pf"))


def test_a_zombie(bench: Bench) -> None:
    """One that has ended, and that its parent looks at but does not wait for."""
    script = """if True:
        import os, time
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        print("ready", flush=True)
        time.sleep(1000)
    """
    bench.start("unshare", "-pf", sys.executable, "-S", "-c", script)
    there = bench.host.processes()
    (zombie,) = [each for each in there if each.state == "Z" and len(each.pids) > 2]
    assert str(zombie.inner) in bench.refused(str(zombie.inner))
    assert "a zombie" in bench.kata("xray", bench.container()).text


# It ends while it is looked at -------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in namespaces of its own, the least that can be looked at."""
    with subprocess.Popen(["unshare", "-un", "sleep", "1000"]) as process:
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert process.poll() is None
        yield process
        process.kill()


QUESTIONS: list[tuple[Any, str]] = [
    (kernel, "namespaces"),
    (kernel, "mounts"),
    (kernel, "rights"),
    (descriptors, "descriptors"),
    (kernel, "environment_of"),
    (kernel, "hostname"),
    (network, "interfaces"),
    (picture, "identity_of"),
]


@pytest.mark.parametrize("is_waited_for", [True, False], ids=["gone", "a zombie"])
@pytest.mark.parametrize(("module", "question"), QUESTIONS, ids=lambda each: str(each))
def test_it_ends_between_two_questions(
    sleeper: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    question: str,
    is_waited_for: bool,
) -> None:
    ask = getattr(module, question)

    def ask_when_it_has_ended(*arguments: Any) -> Any:
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        if is_waited_for:
            sleeper.wait()
        return ask(*arguments)

    first = finding.find(str(sleeper.pid))
    assert picture.take(first).first.pid == sleeper.pid
    monkeypatch.setattr(module, question, ask_when_it_has_ended)
    with pytest.raises(KataError, match="has ended"):
        picture.take(first)


# Files and --live --------------------------------------------------------------------------------


def test_pictures(bench: Bench) -> None:
    bench.start("unshare", "-puf", "sh", "-c", f"hostname box; {STAY}")
    svg, html = bench.directory / "x.svg", bench.directory / "x.html"
    svg.write_text("what was there")
    call = bench.kata("xray", "box", "--svg", str(svg), "--html", str(html))
    assert (call.status, call.errors) == (0, "")
    assert str(svg) in call.text
    assert svg.read_text().startswith("<svg")
    assert svg.read_text().rstrip().endswith("</svg>")
    assert "kata&#160;xray&#160;box" in svg.read_text() or "kata xray box" in svg.read_text()
    assert "<title>kata xray box</title>" in html.read_text()
    for path in (svg, html):
        assert path.stat().st_mode & 0o777 == 0o644
        assert "OPEN" in path.read_text()
    assert not list(bench.directory.glob(".kata*"))


@pytest.mark.parametrize("option", ["--svg", "--html"])
def test_a_file_that_cannot_be_written(bench: Bench, option: str) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    (bench.directory / "a directory").mkdir()
    for path in (f"{bench.directory}/none/x.svg", f"{bench.directory}/a directory", "/etc/x.svg"):
        assert path in bench.refused(bench.container(), option, path)
    assert not list(bench.directory.glob(".kata*"))


def test_a_full_disk_leaves_what_was_there(bench: Bench) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    place = bench.directory / "full"
    place.mkdir()
    assert bench.host.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", place]).status == 0
    svg = bench.host.run(["sh", "-c", f"echo old > {place}/x.svg"])
    assert svg.status == 0
    assert f"{place}/x.svg" in bench.refused(bench.container(), "--svg", f"{place}/x.svg")
    left = bench.host.run(["sh", "-c", f"ls -A {place}; cat {place}/x.svg"])
    assert left.text == "x.svg\nold\n"


def test_a_device_is_written_to_and_not_replaced(bench: Bench) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    call = bench.kata("xray", bench.container(), "--svg", "/dev/stdout")
    assert call.status == 0
    assert call.text.startswith("<svg")
    assert bench.kata("xray", bench.container(), "--svg", "/dev/null").status == 0
    assert bench.host.run(["test", "-c", "/dev/null"]).status == 0


def live(bench: Bench, *words: str, **more: Any) -> Running:
    argv = [sys.executable, "-P", "-m", "dojo", "xray", *words, "--live"]
    env = bench.env | {"TERM": "xterm"}
    return bench.host.start(argv, env=env, cwd=bench.directory, **more)


def test_live_until_it_ends(bench: Bench) -> None:
    """On a terminal it draws again and again, so what has changed is seen."""
    script = f"hostname box; {STAY.replace('sleep 1000', 'read line; sleep 77; read line')}"
    box = bench.start("unshare", "-puf", "sh", "-c", script, stdin=None)
    looking = live(bench, "box", terminal=True)
    assert looking.wait_for_output(b"walls are up")
    assert b"sleep 77  " not in looking.out
    box.type(b"\n")
    assert looking.wait_for_output(b"sleep 77  ")
    os.kill(bench.containers()[0].pid, signal.SIGKILL)
    call = looking.wait()
    assert call.status == 0
    assert "box has ended, at " in call.text
    box.wait()


def test_live_elsewhere_than_on_a_terminal(bench: Bench) -> None:
    box = bench.start("unshare", "-puf", "sh", "-c", f"hostname box; {STAY}")
    looking = live(bench, "box")
    bench.host.until(lambda: _holds_a_pidfd(looking), 20.0)
    os.kill(bench.containers()[0].pid, signal.SIGKILL)
    call = looking.wait()
    assert (call.status, call.errors) == (0, "")
    assert call.text.count("walls are up") == 1
    assert call.text.splitlines()[-1].startswith("box has ended, at ")
    box.wait()


def _holds_a_pidfd(looking: Running) -> bool:
    links = []
    for name in os.listdir(f"/proc/{looking.pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{looking.pid}/fd/{name}"))
        except OSError:
            continue
    return any("pidfd" in link for link in links)


def test_live_is_stopped(bench: Bench) -> None:
    bench.start("unshare", "-puf", "sh", "-c", f"hostname box; {STAY}")
    looking = live(bench, "box", terminal=True)
    assert looking.wait_for_output(b"walls are up")
    looking.type(b"\x03")
    call = looking.wait()
    assert call.status == 130
    assert "Traceback" not in call.text
    assert bench.xray("box")["hostname"] == "box"


def test_live_draws_into_no_file(bench: Bench) -> None:
    bench.start("unshare", "-pf", "sh", "-c", STAY)
    for words in (("--json",), ("--svg", "x"), ("--html", "x")):
        assert "--live" in bench.refused("--live", *words)


# Elsewhere ---------------------------------------------------------------------------------------


def test_where_there_is_no_linux() -> None:
    """One line; and nothing that only Linux has is imported to say it."""
    lines = [
        *("sys.argv = ['kata', 'xray']", "del os.geteuid" if hasattr(os, "geteuid") else ""),
        *("from dojo.cli import main", "assert 'pyroute2' not in sys.modules"),
        *("assert not any(name.startswith('dojo.xray') for name in sys.modules)", "main()"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([ELSEWHERE, *lines])],
        cwd=clone.here().root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "virtual machine" in line


def test_a_follow_that_begins_too_late(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finding.find(str(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    look: Callable[..., Any] = command._look
    with pytest.raises(KataError, match=f"{sleeper.pid}.*has ended"):
        look(first, str(sleeper.pid))


def test_a_new_proc_of_the_hosts_processes_is_no_wall(bench: Bench) -> None:
    running = bench.start("unshare", "-m", "sh", "-c", f"mount -t proc proc /proc; {STAY}")
    seen = bench.xray(str(running.inner))
    assert [each["point"] for each in seen["mounts"]] == ["/proc"]
    assert "/proc" not in up(seen)
