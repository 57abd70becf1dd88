"""Chapter 5.7: as many containers as wanted, each with files of its own."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dojo.scratch import Call, CrashPoint, Process, Running
from dojo.testkit.callers import ELSEWHERE
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    first_process,
    monitor_of,
    started,
    wait_for_text,
)
from dojo.testkit.crash_points import as_far_as_it_can, beside, crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import first_words, same_mounts
from dojo.testkit.records import listed
from dojo.testkit.testing import check, expect, guard, layers, needs, ours, task, vm
from dojo.testkit.trees import describe, differences

STAY = ("sleep", "1000")
MEBIBYTE = 1024 * 1024
OF_CONTAINERS = ("containers", "writeLayer", "work", "mnt")  # the directories of MYDOCKER_ROOT
MANY = 20
FIRST_LOOKS = 6  # at what others change: in these, a command finds its container
CRASH_POINTS = 5  # at most, at which processes are killed


# Task 1: A layer for each


@task(1)
def test_two_containers_run_at_once(mydocker):
    """Two of one image, at the same time: neither is in the other's way."""
    box(mydocker, "one")
    box(mydocker, "two")
    names = sorted(row["Names"] for row in listed(mydocker))
    check(names == ["one", "two"], "`ps` lists one and two", names)
    for name in names:
        expect(inside(mydocker, name, "pwd; ls -d /etc/passwd"), status=0, out="/\n/etc/passwd\n")
    clear(mydocker, *names)


@task(1)
@vm
@layers
def test_two_write_the_same_path_and_never_see_each_others_file(mydocker):
    """One layer to write to for both, and each would read what the other one wrote last."""
    for name in ("one", "two"):
        box(mydocker, name)
        expect(inside(mydocker, name, f"echo {name} > /mine; echo > /only-{name}"), status=0)
    for name, other in (("one", "two"), ("two", "one")):
        call = inside(mydocker, name, f"cat /mine; ls -d /only-*; ls /{other}; exit 7")
        expect(call, status=7, out=f"{name}\n/only-{name}\n")
    clear(mydocker, "one", "two")


@task(1)
@layers
def test_each_can_change_and_delete_files_of_the_image(mydocker):
    """Two unions over one upper directory break: a change fails with EPERM, a deletion with ENOENT.

    So each container has a layer of its own, and does what it could do if it were alone.
    """
    first = """set -e; echo {0} >> /etc/group; chmod 600 /etc/passwd
        mv /etc/shells /etc/{0}; rm -r /var"""
    then = """set -e; mkdir /var; echo {0} > /var/new
        rm /etc/group; mkdir /etc/group; rmdir /etc/group"""
    see = "tail -n 1 /etc/group; stat -c %a /etc/passwd; ls -d /etc/one /etc/two /etc/shells /var"
    for name in ("one", "two"):
        box(mydocker, name)
    for name in ("one", "two"):
        change(mydocker, name, first.format(name))
    for name in ("two", "one"):
        wanted = f"{name}\n600\n/etc/{name}\n"
        expect(inside(mydocker, name, f"{see}; exit 7"), status=7, out=wanted)
    for name in ("two", "one"):
        change(mydocker, name, then.format(name))
    for name in ("one", "two"):
        expect(inside(mydocker, name, "ls /var; cat /var/new"), status=0, out=f"new\n{name}\n")
    clear(mydocker, "one", "two")


@task(1)
@layers
def test_two_work_at_the_same_moment(mydocker):
    """Not one after the other, but both at work on the same paths: nothing gets lost or mixed."""
    script = """set -e; n=0
        while test $n -lt 200; do
            n=$((n+1)); echo NAME $n >> /log; echo NAME > /etc/passwd; rm /etc/passwd
            mkdir /made; echo > /made/file; rm -r /made
        done; grep -c NAME /log; grep -vc NAME /log || true; ls -d /made /etc/passwd || true"""
    names = ("one", "two", "three")
    for name in names:
        box(mydocker, name)
    at_work = [
        mydocker.start("exec", name, "sh", "-c", script.replace("NAME", name)) for name in names
    ]
    for running in at_work:
        expect(running.wait(), status=0, out="200\n0\n")
    clear(mydocker, *names)


@task(1)
def test_foreground_containers_run_at_once_too(mydocker):
    """It is not a matter of `-d`: two shells in two terminals are two containers as well."""
    script = "echo $0 > /mine; echo ready; read line; cat /mine; exit $1"
    both = []
    for name, status in (("one", "3"), ("two", "4")):
        words = ("run", "--rm", "-i", "--name", name, "busybox", "sh", "-c", script, name, status)
        both.append(started(mydocker.start(*words, stdin=None)))
    for running in both:
        running.type(b"\n")
    for running, name, status in zip(both, ("one", "two"), (3, 4), strict=True):
        expect(running.wait(), status=status, out=f"ready\n{name}\n")


@task(1)
@ours
@layers
def test_what_one_wrote_lies_in_a_directory_of_its_own(mydocker):
    """`writeLayer/NAME` is what a container has changed, and `mnt/NAME` where its union goes."""
    box(mydocker, "one")
    identity = box(mydocker, None)
    for name in ("one", identity[:12]):
        expect(inside(mydocker, name, f"echo {name} > /mine; echo > /only-{name}"), status=0)
    for name in ("one", identity[:12]):
        layer = mydocker.root / "writeLayer" / name
        wanted = {"mine": f"{name}\n", f"only-{name}": "\n"}
        found = {path.name: path.read_text() for path in layer.glob("[!.]*") if path.is_file()}
        check(found == wanted, f"in {layer}: {wanted}", found)
        mount_point = mydocker.root / "mnt" / name
        check(mount_point.is_dir(), f"a directory {mount_point}", names_in(mydocker, "mnt"))
    for name in ("writeLayer", "mnt"):
        wanted = sorted(["one", identity[:12]])
        found = names_in(mydocker, name)
        check(found == wanted, f"in {name}/, a directory for each container and no other", found)
    clear(mydocker, "one", identity)


@task(1)
@ours
def test_no_user_of_the_host_walks_in(mydocker):
    """A container can leave a setuid program in its layer: who reaches it becomes root."""
    box(mydocker, "one")
    for name in ("writeLayer", "work", "mnt"):
        if (mydocker.root / name).exists():
            mode = (mydocker.root / name).stat().st_mode & 0o7777
            check(mode == 0o700, f"{name}/ with mode 0700", oct(mode))
    check((mydocker.root / "writeLayer").is_dir(), "writeLayer/ is there", names_in(mydocker, "."))
    clear(mydocker, "one")


@task(1)
@ours
@layers
def test_the_image_is_not_touched(mydocker):
    """It lies below all of them, and none may write to it: not a byte, not a mode, not a time."""
    image = mydocker.root / "images" / "busybox"
    before = describe(image)
    for name in ("one", "two"):
        box(mydocker, name)
        script = "echo >> /etc/passwd; rm -r /etc/shells /var; chmod 700 /tmp; echo > /new"
        change(mydocker, name, script)
    changed = differences(before, describe(image))
    clear(mydocker, "one", "two")
    check(not changed, "images/busybox as it was", changed)


@task(1)
@vm
@ours
@layers
def test_the_union_is_not_seen_on_the_host(mydocker):
    """A union that the host has mounted stays there when its monitor is killed.

    One in the container's own mount namespace goes with it, whatever dies: the kernel sees to that.
    """
    before = mydocker.host.mountinfo()
    identities = [box(mydocker, name) for name in ("one", "two", "three")]
    for identity in identities:
        where = Path(f"/proc/{container_process(mydocker, identity).pid}/mountinfo")
        root = [row for row in where.read_text().splitlines() if row.split()[4:5] == ["/"]]
        kind = "".join(root).rpartition(" - ")[2].partition(" ")[0] if len(root) == 1 else root
        check(kind in ("overlay", "aufs"), "in the container, a union is mounted at /", root)
    no_new_mount(mydocker, before, "while they run")
    expect(mydocker("stop", "-t", "0", "one"), status=0)
    kill_monitor(mydocker, identities[1])
    no_new_mount(mydocker, before, "when one was stopped and one was killed")
    clear(mydocker, "one", "two", "three")
    no_new_mount(mydocker, before, "when all are gone")


def no_new_mount(mydocker: Mydocker, before: list[str], when: str) -> None:
    __tracebackhide__ = True
    new = [line for line in mydocker.host.mountinfo() if line not in before]
    check(not new, f"{when}, no mount on the host that was not there before", new)


@task(1)
@layers
def test_the_image_has_the_files_of_that_container_only(mydocker):
    """Two containers, two images: not an empty one, and not one with a stranger's files."""
    names = ("one", "two")
    for name in names:
        box(mydocker, name)
        script = f"echo {name} > /mine; echo {name} >> /etc/group; mv /etc/shells /etc/{name}"
        change(mydocker, name, script)
    for name in names:
        expect(mydocker("commit", name, f"of-{name}"), status=0, err="")
    for name in names:
        see = "cat /mine; tail -n 1 /etc/group; ls -d /etc/one /etc/two /etc/shells; exit 7"
        call = run(mydocker, f"of-{name}", see)
        expect(call, status=7, out=f"{name}\n{name}\n/etc/{name}\n")
    call = run(mydocker, "busybox", "ls /mine /etc/one /etc/two /etc/shells; exit 7")
    expect(call, status=7, out="/etc/shells\n")
    clear(mydocker, *names)


@task(1)
@ours
def test_twenty_starts_of_an_image_that_is_not_unpacked(mydocker):
    """In the same second, and each finds a tar without its files. One of them unpacks it."""
    (mydocker.root / "images" / "bare.tar").write_bytes(tar_of_busybox(mydocker))
    words = ("run", "--rm", "bare", "cat", "/which/of/them")
    for running in [mydocker.start(*words) for _ in range(MANY)]:
        expect(running.wait(60), status=0, out="this one\n", err="")


@task(1)
def test_their_logs_are_apart(mydocker):
    """What one says is not what another one says, with a name and without."""
    script = "n=0; while test $n -lt 300; do n=$((n+1)); echo $0 $n; echo $0! >&2; done"
    words = {name: run_words(name, f"{script}; exec sleep 1000", name) for name in ("one", "two")}
    known = {name: identity_of(mydocker.start(*detach(words[name]))) for name in words}
    for name in ("three", "four"):  # which have no name
        words[name] = ("run", "busybox", "sh", "-c", f"{script}; exec sleep 1000", name)
        known[name] = identity_of(mydocker.start(*detach(words[name])))
    for name, identity in known.items():
        out = "".join(f"{name} {number}\n" for number in range(1, 301))
        mydocker.host.until(lambda i=identity, o=out: len(mydocker("logs", i).out) >= len(o))
        expect(mydocker("logs", identity), status=0, out=out, err=f"{name}!\n" * 300)
    clear(mydocker, *known.values())


@task(1)
def test_each_keeps_its_own_exit_status(mydocker):
    """Ten that end at about the same time: `ps -a` knows of each how it ended."""
    wanted = {f"box-{status}": status for status in (0, 1, 3, 42, 100, 125, 200, 255)}
    running = []
    for name, status in wanted.items():
        running.append(mydocker.start(*run_words(name, f"sleep 0.1; exit {status}")))
    for name, status in wanted.items():
        words = ("--name", f"{name}-d", "busybox", "sh", "-c", f"sleep 0.1; exit {status}")
        detached(mydocker, *words)
    calls = [process.wait() for process in running]
    for call, status in zip(calls, wanted.values(), strict=True):
        expect(call, status=status, out="", err="")
    names = {f"{name}{end}": status for name, status in wanted.items() for end in ("", "-d")}
    mydocker.host.until(lambda: not listed(mydocker))
    found = {row["Names"]: exit_status(row) for row in listed(mydocker, "-a")}
    check(found == names, f"`ps -a` says {names}", found)
    clear(mydocker, *names)


@task(1)
def test_of_one_name_exactly_one_starts(mydocker):
    """Several ask for the same name at the same moment. One gets it, the others are told."""
    box(mydocker, "other")
    for _ in range(2):
        asking = [
            mydocker.start("run", "-d", "--name", "same", "busybox", "sleep", f"100{number}")
            for number in range(6)
        ]
        calls = [running.wait() for running in asking]
        statuses = sorted(call.status for call in calls if call.status is not None)
        check(statuses == [0] + [125] * 5, "one ends with 0, the others with 125", statuses)
        won = next(number for number, call in enumerate(calls) if call.status == 0)
        for call in calls:
            if call.status != 0:
                expect(call, out="", complaint=["same"])
        seen = [(row["Names"], row["ID"]) for row in listed(mydocker)]
        wanted = [("same", calls[won].text.strip())]
        check([row for row in seen if row[0] == "same"] == wanted, f"{wanted}", seen, calls[won])
        command = expect(inside(mydocker, "same", "tr '\\0' ' ' < /proc/1/cmdline"), status=0).text
        check(command == f"sleep 100{won} ", "the one whose `run` has ended with 0", command)
        alive = len(container_processes(mydocker))
        check(alive == 2, "two containers, this one and the one called other", f"{alive}")
        clear(mydocker, "same")
    expect(inside(mydocker, "other", "echo still here"), status=0, out="still here\n")
    clear(mydocker, "other")


@task(1)
@ours
@pytest.mark.needs("unotify")
def test_an_image_is_whole_when_the_second_starts(mydocker):
    """The first unpacks it. At whatever moment another one comes, it waits for all of the image."""
    images = mydocker.root / "images"
    few = ["bin/busybox", "bin/sh", "bin/cat", "usr/bin/wc", "bin/ls", "etc/passwd", "etc/group"]
    packing = ["tar", "-C", str(images / "busybox"), "-cf", str(images / "fresh.tar"), *few]
    subprocess.run(packing, check=True)  # each file more has crash points of its own
    for number, crash_point in enumerate(crash_points(6)):
        name = f"fresh-{number}"
        shutil.copyfile(images / "fresh.tar", images / f"{name}.tar")
        words = ("run", "--rm", name, "sh", "-c", "cat /etc/passwd /etc/group | wc -l; ls /bin/ls")
        first = mydocker.start(*words, crash_point=crash_point)
        second = beside(mydocker, crash_point, *words)
        for call in (expect(first.wait(), status=0, err=""), expect(second, status=0, err="")):
            check("/bin/ls" in call.text, "all of the image", call.text, call)


@task(1)
@pytest.mark.needs("cgroup")
def test_twenty_started_together_see_their_own_files_only(mydocker, tmp_path):
    """Half of them have limits and volumes. Some are stopped, committed, removed all the while.

    Each must go on as if it were the only one.
    """
    names = [f"box-{number:02}" for number in range(MANY)]
    script = """set -e; echo $0 > /same; echo > /only-$0; echo $0 >> /etc/passwd
        mv /etc/shells /etc/of-$0; test ! -d /data || echo $0 > /data/file
        echo ready; exec sleep 1000"""
    starting = []
    for number, name in enumerate(names):
        more = ("-m", "64m", "--pids-limit", "20", "-v", f"{tmp_path}/{name}:/data")
        options = more if number % 2 else ()
        words = ("run", "-d", "--name", name, *options, "busybox", "sh", "-c", script, name)
        starting.append(mydocker.start(*words))
    identities = [identity_of(running) for running in starting]
    check(len(set(identities)) == MANY, "twenty different ids", identities)
    for name in names:
        mydocker.host.until(lambda n=name: mydocker("logs", n).out)
    ends = {
        "stop": ["stop", "-t", "0", *names[0:4]],
        "commit": ["commit", names[4], "of-box"],
        "commit another": ["commit", names[5], "of-another"],
        "remove": ["rm", "-f", *names[8:12]],
        "remove one more": ["rm", "-f", names[12]],
    }
    at_work = [mydocker.start(*words) for words in ends.values()]
    staying = [*names[6:8], *names[13:]]
    for name in staying:
        goes_on(mydocker, name, has_volume=names.index(name) % 2 == 1)
    for running in at_work:
        expect(running.wait(), status=0, err="")
    for name in names[4:6]:
        goes_on(mydocker, name, has_volume=names.index(name) % 2 == 1)
    staying += names[4:6]
    states = {row["Names"]: row["State"] for row in listed(mydocker, "-a")}
    wanted_states = dict.fromkeys(staying, "running") | dict.fromkeys(names[0:4], "exited")
    check(states == wanted_states, f"`ps -a` says {wanted_states}", states)
    for image, name in (("of-box", names[4]), ("of-another", names[5])):
        call = run(mydocker, image, "cat /same; ls -d /only-* /etc/of-*; ls /data")
        expect(call, out=f"{name}\n/etc/of-{name}\n/only-{name}\n")
    clear(mydocker, *names)
    for name in names[1::2]:
        path = tmp_path / name / "file"
        content = path.read_text() if path.is_file() else "no such file"
        check(content == f"{name}\n", f"on the host, what {name} wrote into its volume", content)


def goes_on(mydocker: Mydocker, name: str, has_volume: bool) -> None:
    """One of the twenty runs and has its own files, all of them, and no others."""
    see = "cat /same; ls -d /only-* /etc/of-*; tail -n 1 /etc/passwd"
    wanted = f"{name}\n/etc/of-{name}\n/only-{name}\n{name}\n"
    if has_volume:
        see, wanted = f"{see}; cat /data/*", f"{wanted}{name}\n"
    expect(inside(mydocker, name, see), status=0, out=wanted, err="")


@task(1)
@ours
@pytest.mark.parametrize("whom", ["monitor", "run and monitor"])
@needs("unotify")
def test_killed_at_any_moment(mydocker, whom):
    """`run -d` is killed while it starts a container, or later, and so is its monitor.

    `ps -a` then tells the truth, those that were not meant go on, and `rm -f` clears all away.
    """
    box(mydocker, "good")
    expect(inside(mydocker, "good", "echo kept > /mine"), status=0)
    box(mydocker, "other")
    names = ["good", "other"]
    for crash_point in crash_points(CRASH_POINTS):
        names.append(f"box-{len(names)}")
        there = {process.pid for process in mydocker.host.processes()}
        words = ["run", "-d", "--name", names[-1], "busybox", *STAY]
        running = mydocker.start(*words, crash_point=crash_point)
        spared = set() if whom == "run and monitor" else {running.inner}
        with crash_point:
            for process in mydocker.host.processes():
                new = process.pid not in there and not process.is_first_of_a_container()
                if new and process.inner not in spared:
                    kill(process)
        call = running.wait()
        told = mydocker.host.until(lambda: is_true(mydocker)) or truth(mydocker)
        check(told is True, "`ps -a` shows as running what runs, and nothing else", told, call)
        if call.status == 0:
            known = [row["Names"] for row in listed(mydocker, "-a")]
            check(names[-1] in known, f"{names[-1]}: `run` has printed its ID", known, call)
        elif call.status != -signal.SIGKILL:
            expect(call, status=125, out="", complaint=[])
    expect(inside(mydocker, "good", "cat /mine"), status=0, out="kept\n")
    seen = {row["Names"]: row["State"] for row in listed(mydocker, "-a")}
    wanted = {"good": "running", "other": "running"}
    check(seen.items() >= wanted.items(), "the others are still running", seen)
    for name in [name for name in names[2:] if seen.get(name) == "exited"]:
        status = [exit_status(row) for row in listed(mydocker, "-a") if row["Names"] == name]
        check(status == [137], f"{name} has ended with 137", status)
    clear(mydocker, *names)
    check(not listed(mydocker, "-a"), "`rm -f` has cleared all away", listed(mydocker, "-a"))
    alive = container_processes(mydocker)
    check(not alive, "no process of a container", alive)


@task(1)
@layers
@pytest.mark.parametrize("how", ["by itself", "stop", "rm -f", "run --rm"])
def test_one_goes_and_the_others_stay(mydocker, tmp_path, how):
    """What is cleaned up is the one's own: not another's root, never what lies in a volume."""
    volume = ("-v", f"{tmp_path}:/data")
    for name in ("one", "two"):
        box(mydocker, name, *volume)
        change(mydocker, name, f"echo {name} > /mine; echo {name} > /data/{name}")
    script = "echo going > /mine; echo going > /data/going; rm /etc/shells"
    options = ("--rm",) if how == "run --rm" else ()
    more = "exec sleep 1000" if how in ("stop", "rm -f") else "exit 3"
    words = ("--name", "going", *volume, "busybox", "sh", "-c", f"{script}; {more}")
    detached(mydocker, *options, *words)
    wait_for_text(mydocker, tmp_path / "going")
    if how in ("stop", "rm -f"):
        ending = ("stop", "-t", "0", "going") if how == "stop" else ("rm", "-f", "going")
        expect(mydocker(*ending), status=0, out="going\n")
    else:
        mydocker.host.until(lambda: len(listed(mydocker)) == 2)
        mydocker.host.until(lambda: len(container_processes(mydocker)) == 2)
    for name in ("one", "two"):
        see = "cat /mine /etc/shells | head -n 1; cat /data/*; echo more >> /mine; rm /etc/shells"
        call = inside(mydocker, name, see)
        expect(call, status=0, out=f"{name}\ngoing\none\ntwo\n", err="")
    running = sorted(row["Names"] for row in listed(mydocker))
    check(running == ["one", "two"], "one and two run", running)
    clear(mydocker, "one", "two", "going")
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    wanted = {name: f"{name}\n" for name in ("one", "two", "going")}
    check(left == wanted, "the volume, with all that was written into it", left)


@task(1)
def test_a_volume_in_use_is_not_emptied(mydocker, tmp_path):
    """Somebody works in the volume, so it cannot be unmounted: then its files must not be deleted.

    Whoever deletes a mount point with all below it deletes through the mount.
    """
    (tmp_path / "kept").write_text("kept\n")
    box(mydocker, "one", "-v", f"{tmp_path}:/data")
    box(mydocker, "two", "-v", f"{tmp_path}:/data")
    busy = mydocker.host.start(["sh", "-c", "echo ready; exec sleep 1000"], cwd=tmp_path)
    working = mydocker.start("exec", "two", "sh", "-c", "cd /data; echo ready; exec sleep 1000")
    for running in (busy, working):
        started(running)
    expect(mydocker("rm", "-f", "one"), status=0)
    expect(mydocker("stop", "-t", "0", "two"), status=0)
    working.wait()
    clear(mydocker, "two")
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    busy.stop()
    check(left == {"kept": "kept\n"}, "the file in the volume", left)


# Task 2: Kept until rm


@task(2)
@ours
@layers
def test_its_directories_stay_until_rm(mydocker):
    """Its layer is on the disk while there is a record of it, and not one moment longer."""
    for name in ("one", "two"):
        call = mydocker(*run_words(name, f"echo {name} > /mine; mkdir /made; rm -r /var"))
        expect(call, **GOOD)
    for name in ("one", "two"):
        path = mydocker.root / "writeLayer" / name / "mine"
        content = path.read_text() if path.is_file() else "no such file"
        check(content == f"{name}\n", f"{path}, as it was written", content)
        call = expect(mydocker("rm", name), status=0, out=f"{name}\n")
        left = {top: names_in(mydocker, top) for top in OF_CONTAINERS}
        wanted = {top: ["two"] if name == "one" else [] for top in ("containers", "writeLayer")}
        found = {top: left[top] for top in wanted}
        check(found == wanted, f"after `rm {name}`, {wanted}", found, call)
        check(not any(name in there for there in left.values()), f"nothing of {name}", left, call)


@task(2)
@guard  # before this task nothing is kept in any case
@ours
def test_with_rm_nothing_of_it_is_kept(mydocker):
    """`--rm` says that nobody will ask for it. What others have beside it stays."""
    box(mydocker, "one")
    expect(inside(mydocker, "one", "echo one > /mine"), status=0)
    before = paths(mydocker)
    call = mydocker("run", "--rm", "--name", "two", "busybox", "sh", "-c", "echo two > /mine")
    expect(call, **GOOD)
    after = mydocker.host.until(lambda: paths(mydocker) == before) or paths(mydocker)
    check(after is True, "what was there before, and no more", difference(before, after), call)
    expect(inside(mydocker, "one", "cat /mine"), status=0, out="one\n")
    clear(mydocker, "one")


@task(2)
@guard  # before this task nothing is kept in any case
@ours
def test_nothing_is_left_of_a_start_that_failed(mydocker, tmp_path):
    """No mount, no layer, no record. What was there before is as it was, and the name is free."""
    box(mydocker, "one", "-v", f"{tmp_path}:/data")
    expect(mydocker(*run_words("ended", "echo > /mine")), status=0)
    before, mounts = paths(mydocker), mydocker.host.mountinfo()
    failing = {
        ("busybox", "no-such-command"): (127, "no-such-command"),
        ("busybox", "/etc"): (126, "/etc"),
        ("-v", f"{tmp_path}:/proc", "busybox", "true"): (125, "/proc"),
        ("-v", f"{tmp_path}:/etc/passwd", "busybox", "true"): (125, "/etc/passwd"),
        ("no-such-image", "true"): (125, "no-such-image"),
    }
    for words, (status, named) in failing.items():
        for options in ((), ("-d",)):
            call = mydocker("run", *options, "--name", "two", *words)
            expect(call, status=status, out="", complaint=[named])
            check(
                paths(mydocker) == before, "nothing new", difference(before, paths(mydocker)), call
            )
            same_mounts(mydocker, mounts, call)
    expect(mydocker(*run_words("two", "exit 5")), status=5)
    expect(inside(mydocker, "one", "ls -d /data"), status=0)
    clear(mydocker, "one", "two", "ended")


@task(2)
@ours
def test_one_that_cannot_be_removed_is_in_nobodys_way(mydocker):
    """A file that is immutable: `rm` says that it cannot, and all other containers still start."""
    expect(mydocker("run", "--name", "box", "busybox", "sh", "-c", "echo x > /kept"), status=0)
    kept = mydocker.root / "writeLayer/box/kept"
    check(kept.exists(), "what it wrote in writeLayer/box", "no /kept there")
    with immutable(kept):
        call = mydocker("rm", "box")
        expect(call, status=1, out="", complaint=["rm box", "not permitted"])
        words = ("run", "--rm", "busybox", "echo", "hello")
        expect(mydocker(*words), status=0, out="hello\n", err="")
    expect(mydocker("rm", "box"), status=0, out="box\n")
    expect(mydocker(*words), status=0, out="hello\n", err="")


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    """A file that nobody can change, rename or remove: FS_IMMUTABLE_FL of ioctl_iflags(2)."""
    import fcntl  # not where the tests are only looked for

    get, change, flag = 0x80086601, 0x40086602, 0x10
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            before = int.from_bytes(fcntl.ioctl(handle, get, bytes(8)), "little")
            fcntl.ioctl(handle, change, (before | flag).to_bytes(8, "little"))
        except OSError as error:
            pytest.skip(f"no file can be made immutable here: {error.strerror}")
        try:
            yield
        finally:
            fcntl.ioctl(handle, change, before.to_bytes(8, "little"))
    finally:
        os.close(handle)


@task(2)
@ours
@pytest.mark.parametrize("what", ["a file", "a link"])
def test_what_lies_in_the_place_of_a_layer_is_removed(mydocker, tmp_path, what):
    """Somebody has moved a layer to look at it, and left a link to it, or a note. It goes alone."""
    box(mydocker, "box")
    change(mydocker, "box", "echo kept > /kept")
    expect(mydocker("stop", "-t", "0", "box"), status=0)
    place, elsewhere = mydocker.root / "writeLayer" / "box", tmp_path / "elsewhere"
    check(place.is_dir(), f"the layer of one that has ended, {place}", "it is not there")
    shutil.move(place, elsewhere)
    if what == "a file":
        place.write_text("not here any more\n")
    else:
        place.symlink_to(elsewhere)
    call = expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    check(
        not os.path.lexists(place), f"{what} in the place of a layer is gone", "it is there", call
    )
    check((elsewhere / "kept").exists(), f"what was moved to {elsewhere} stays", "it is gone", call)
    expect(run(mydocker, "busybox", "ls /kept"), status=1, out="")


@task(2)
@guard  # it is told by the ID in its record since 5.6
@ours
@pytest.mark.parametrize("options", [(), ("--rm",)], ids=["", "--rm"])
def test_an_old_monitor_leaves_the_new_one_of_its_name_alone(mydocker, options):
    """A container's monitor may be held up, by a caller that does not read, say. When it goes on,
    its container is removed, and another one has the name: nothing of that is its to change.
    """
    words = ("--name", "one", "busybox", "sh", "-c", "echo ready; exec sleep 1000")
    old = started(mydocker.start("run", *options, *words))
    first = first_process(old)
    old.send(signal.SIGSTOP)
    os.kill(first.pid, signal.SIGKILL)
    expect(mydocker("rm", "one", seconds=40), status=0, out="one\n", err="")
    identity = detached(mydocker, *words)
    old.send(signal.SIGCONT)
    call = expect(old.wait(), status=128 + signal.SIGKILL, out="ready\n", err="")
    found = [(row["ID"], row["State"]) for row in listed(mydocker, "-a")]
    check(found == [(identity, "running")], f"the new one, {identity[:12]}, running", found, call)
    clear(mydocker, "one")


@task(2)
@ours
def test_an_old_monitor_leaves_the_layer_of_the_new_one_alone(mydocker):
    """With --rm it removes what was its own. By the time that it hears of the end, a new container
    can have the name, and below it what that one has written.
    """
    words = ("--name", "one", "busybox", "sh", "-c", "echo ready; exec sleep 1000")
    old = started(mydocker.start("run", "--rm", *words))
    first = first_process(old)
    old.send(signal.SIGSTOP)
    kill(first)
    expect(mydocker("rm", "one", seconds=40), status=0, out="one\n", err="")
    box(mydocker, "one")
    change(mydocker, "one", "echo new > /mine")
    old.send(signal.SIGCONT)
    expect(old.wait(), status=128 + signal.SIGKILL, out="ready\n", err="")
    expect(inside(mydocker, "one", "cat /mine"), status=0, out="new\n", err="")
    path = mydocker.root / "writeLayer" / "one" / "mine"
    content = path.read_text() if path.is_file() else "no such file"
    check(content == "new\n", f"{path}, as the new one has written it", content)
    clear(mydocker, "one")


# Task 3: Commit one that has ended


@task(3)
@layers
def test_what_it_wrote_is_kept_when_it_has_ended(mydocker):
    """A container that failed in the night has left its files for you to look at."""
    call = mydocker(*run_words("one", "echo one > /mine; rm /etc/shells; exit 3"))
    expect(call, status=3, out="", err="")
    identity = detached(mydocker, "--name", "two", "busybox", "sh", "-c", "echo two > /mine")
    until_ended(mydocker, "two")
    for name, shells in (("one", ""), ("two", "/etc/shells\n")):
        expect(mydocker("commit", name, f"of-{name}"), status=0, err="")
        call = run(mydocker, f"of-{name}", "cat /mine; ls /etc/shells; exit 7")
        expect(call, status=7, out=f"{name}\n{shells}")
    clear(mydocker, "one", identity)


@task(3)
@layers
def test_a_name_that_is_used_again_starts_clean(mydocker):
    """The layer of the last one of that name would be a surprise, and somebody else's secret."""
    for round_ in ("first", "second", "third"):
        script = "ls -d /mine /etc/shells /made 2>/dev/null; echo of-$0 > /mine; rm /etc/shells"
        call = mydocker(*run_words("one", f"{script}; mkdir /made", round_))
        expect(call, status=0, out="/etc/shells\n")
        expect(mydocker("commit", "one", "copy"), status=0)
        expect(run(mydocker, "copy", "cat /mine"), status=0, out=f"of-{round_}\n")
        clear(mydocker, "one")


@task(3)
@vm
@layers
def test_a_stopped_container_can_be_committed(mydocker):
    """Its union went with it, its layer did not: the image is the same as if it still ran."""
    script = "mkdir -p /srv/made; echo one > /srv/made/mine; rm -r /var; rm /etc/shells; mkdir /var"
    box(mydocker, "one")
    box(mydocker, "two")
    change(mydocker, "one", f"{script}; chmod 700 /srv; ln /srv/made/mine /srv/again")
    expect(mydocker("commit", "one", "running"), status=0)
    expect(mydocker("stop", "-t", "0", "one"), status=0)
    expect(mydocker("commit", "one", "stopped"), status=0, err="")
    look = """cd /; ls -A / /var /srv /srv/made; stat -c '%n %a %h %Y' /srv /srv/again /var
        cat /srv/made/mine; ls /etc/shells; exit 7"""
    first, second = (
        expect(run(mydocker, image, look), status=7) for image in ("running", "stopped")
    )
    its_own = "one\n" in first.text and "/etc/shells" not in first.text
    check(its_own, "what the container had when it ran", first.text, first)
    check(second.text == first.text, f"the same as when it ran: {first.text}", second.text, second)
    clear(mydocker, "one", "two")


@task(3)
@ours
def test_without_a_name_the_image_is_called_as_the_container(mydocker):
    """As in the story of this chapter: `commit one` makes an image called one."""
    identity = box(mydocker, "one")
    box(mydocker, "two")
    for name in ("one", "two"):
        expect(inside(mydocker, name, f"echo {name} > /mine"), status=0)
    expect(mydocker("stop", "-t", "0", "two"), status=0)
    for typed, name in ((identity[:16], "one"), ("two", "two")):
        expect(mydocker("commit", typed), status=0, out=f"{name}\n", err="")
        expect(run(mydocker, name, "cat /mine"), status=0, out=f"{name}\n")
    seen = images(mydocker)
    check(seen == ["busybox", "one", "two"], "busybox, one and two", seen)
    clear(mydocker, "one", "two")


@task(3)
@ours
def test_a_name_that_no_image_can_have_is_refused(mydocker):
    """Containers may have capitals in their names, images may not: then a name must be given."""
    box(mydocker, "one")
    box(mydocker, "Box")
    expect(mydocker("commit", "one"), status=0, out="one\n")
    expect(mydocker("commit", "Box"), status=125, out="", complaint=["Box"])
    expect(mydocker("commit", "Box", "box"), status=0, err="")
    seen = images(mydocker)
    check(seen == ["box", "busybox", "one"], "box, busybox and one", seen)
    clear(mydocker, "one", "Box")


@task(3)
@ours
@layers
def test_the_union_of_a_stopped_one_is_not_seen_on_the_host(mydocker):
    """It is mounted once more, to be read: where nobody sees it, or has to unmount it."""
    box(mydocker, "one")
    change(mydocker, "one", "echo one > /mine")
    expect(mydocker("stop", "-t", "0", "one"), status=0)
    before = mydocker.host.mountinfo()
    expect(mydocker("commit", "one", "copy"), status=0, err="")
    no_new_mount(mydocker, before, "when a stopped one was committed")
    expect(run(mydocker, "copy", "cat /mine"), status=0, out="one\n")
    clear(mydocker, "one")


@task(3)
@layers
def test_of_a_stopped_container_volumes_do_not_come_along(mydocker, tmp_path):
    """Its volumes are not mounted any more: their mount points are empty, as they have to be."""
    (tmp_path / "secret").write_text("of the host\n")
    box(mydocker, "other")
    box(mydocker, "one", "-v", f"{tmp_path}:/data/below", "-v", f"{tmp_path}/secret:/srv/settings")
    call = inside(mydocker, "one", "cat /data/below/secret; echo > /data/beside; echo > /dev/file")
    expect(call, status=0, out="of the host\n")
    expect(mydocker("stop", "-t", "0", "one"), status=0)
    expect(mydocker("commit", "one", "copy"), status=0, err="")
    call = run(mydocker, "copy", "ls -A /data /data/below; cat /srv/settings; ls /dev/file; exit 7")
    expect(call, status=7, out="/data:\nbelow\nbeside\n\n/data/below:\n")
    check((tmp_path / "secret").read_text() == "of the host\n", "the volume as it was", "changed")
    clear(mydocker, "other", "one")


@task(3)
@ours
@pytest.mark.parametrize("caller", ELSEWHERE.values(), ids=ELSEWHERE)
def test_one_that_has_ended_can_be_committed_from_another_pid_namespace(mydocker, caller):
    """There is no process to look for: its files are where they are, whoever looks."""
    expect(mydocker("run", "--name", "box", "busybox", "sh", "-c", "echo one > /mine"), status=0)
    expect(mydocker("commit", "box", "copy", before=caller), status=0, out="copy\n", err="")
    expect(run(mydocker, "copy", "cat /mine"), status=0, out="one\n")
    clear(mydocker, "box")


@task(3)
@ours
@layers
def test_one_that_was_killed_with_its_monitor_can_be_committed(mydocker):
    """A crash takes the container, not what it has written: nobody's work is lost."""
    identity = box(mydocker, "one")
    box(mydocker, "two")
    change(mydocker, "one", "echo one > /mine; rm /etc/shells")
    kill_monitor(mydocker, identity)
    expect(inside(mydocker, "two", "echo still here"), status=0, out="still here\n")
    expect(mydocker("commit", "one", "copy"), status=0, err="")
    call = run(mydocker, "copy", "cat /mine; ls /etc/shells; exit 7")
    expect(call, status=7, out="one\n")
    clear(mydocker, "one", "two")


@task(3)
@ours
def test_one_whose_image_is_a_link_of_somebody(mydocker):
    """What can be run can be committed, also when it has ended, and wherever the image lies."""
    images = mydocker.root / "images"
    shutil.copytree(images / "busybox", mydocker.root.parent / "here/elsewhere", symlinks=True)
    (images / "linked").symlink_to(mydocker.root.parent / "here/elsewhere")
    words = ("run", "--name", "box", "linked", "sh", "-c", "echo mine > /mine")
    expect(mydocker(*words), status=0)
    expect(mydocker("commit", "box", "copy"), status=0, out="copy\n", err="")
    expect(mydocker("run", "--rm", "copy", "cat", "/mine"), status=0, out="mine\n", err="")
    expect(mydocker("rm", "box"), status=0)
    (images / "linked").unlink()
    shutil.rmtree(mydocker.root.parent / "here/elsewhere")


@task(3)
def test_several_commits_at_once(mydocker):
    """Of several containers, and of the same one, running and stopped: each image is whole."""
    names = ("one", "two", "three")
    for name in names:
        box(mydocker, name)
        change(mydocker, name, f"echo {name} > /mine; rm /etc/shells")
    expect(mydocker("stop", "-t", "0", "three"), status=0)
    committing = {
        f"{name}-{number}": mydocker.start("commit", name, f"{name}-{number}")
        for name in names
        for number in range(2)
    }
    same = [mydocker.start("commit", name, "same") for name in names]
    for running in (*committing.values(), *same):
        expect(running.wait(), status=0, err="")
    for image in committing:
        call = run(mydocker, image, "cat /mine; ls /etc/shells; exit 7")
        expect(call, status=7, out=f"{image[:-2]}\n")
    call = expect(run(mydocker, "same", "cat /mine; ls /etc/shells; exit 7"), status=7)
    check(call.text.strip() in names, "under one name, the image of one of them", call.text, call)
    clear(mydocker, *names)


@task(3)
def test_a_container_that_is_not_there_is_told(mydocker):
    """After `rm` there is nothing left to make an image of. The image of that name stays."""
    box(mydocker, "one")
    box(mydocker, "two")
    expect(mydocker("stop", "-t", "0", "one"), status=0)
    expect(mydocker("commit", "one", "copy"), status=0)
    clear(mydocker, "one")
    for words in (("one", "copy"), ("one", "fresh"), ("no-such-box", "fresh")):
        call = mydocker("commit", *words)
        expect(call, status=1, out="", complaint=[words[0]])
    seen = images(mydocker)
    check(seen == ["busybox", "copy"], "busybox and copy", seen)
    expect(run(mydocker, "copy", "true"), status=0)
    clear(mydocker, "two")


@task(3)
@layers
def test_an_image_in_use_is_replaced(mydocker):
    """Who runs on the old image goes on with what it had; who starts now gets the new one.

    The old one may not be changed or deleted under the feet of those who stand on it.
    """
    script = "for n in version old kept unread; do echo old > /$n; done"
    make_image(mydocker, "copy", script)
    box(mydocker, "one", image="copy")
    box(mydocker, "two", image="copy")
    change(mydocker, "one", "echo new > /version; rm /old; echo new > /new")
    expect(mydocker("commit", "one", "copy"), status=0, err="")
    see = "cat /version /kept; ls -d /old /new; exit 7"
    expect(inside(mydocker, "two", see), status=7, out="old\nold\n/old\n")
    change(mydocker, "two", "set -e; rm /old; echo two >> /kept; cat /etc/group > /a")
    expect(inside(mydocker, "one", see), status=7, out="new\nold\n/new\n")
    box(mydocker, "three", image="copy")
    expect(inside(mydocker, "three", see), status=7, out="new\nold\n/new\n")
    expect(inside(mydocker, "two", see), status=7, out="old\nold\ntwo\n")
    clear(mydocker, "one", "three")
    expect(inside(mydocker, "two", see), status=7, out="old\nold\ntwo\n")
    # What it has read before, the kernel may still remember: a file that it has not looked at yet.
    expect(inside(mydocker, "two", "cat /unread"), status=0, out="old\n")
    expect(run(mydocker, "copy", see), status=7, out="new\nold\n/new\n")
    clear(mydocker, "two")


@task(3)
@layers
def test_one_is_removed_while_another_is_committed(mydocker):
    """The commit takes its time, and takes what it was asked for, whatever goes on beside it."""
    names = ["one", "two", "three", "four"]
    for name in names:
        box(mydocker, name)
        script = f"echo {name} > /mine; head -c 8000000 /dev/zero | tr '\\0' {name[0]} > /big"
        change(mydocker, name, script)
    expect(mydocker("stop", "-t", "0", "two"), status=0)
    working = [mydocker.start("commit", name, f"of-{name}") for name in ("one", "two")]
    removing = [mydocker.start("rm", "-f", name) for name in ("three", "four")]
    for running in (*removing, *working):
        expect(running.wait(), status=0, err="")
    for name in ("one", "two"):
        see = f"cat /mine; tr -d {name[0]} < /big | wc -c; wc -c < /big"
        expect(run(mydocker, f"of-{name}", see), status=0, out=f"{name}\n0\n8000000\n")
    seen = sorted(row["Names"] for row in listed(mydocker, "-a"))
    check(seen == ["one", "two"], "one and two are left", seen)
    clear(mydocker, "one", "two")


@task(3)
@layers
@pytest.mark.parametrize("state", ["running", "stopped"])
@needs("unotify")
def test_the_one_that_is_being_committed_is_removed(mydocker, state):
    """Whoever comes first: there is a whole image, or none and a message. Never half of one."""

    def one_to_commit(number: int) -> str:
        identity = box(mydocker, "one")
        script = f"head -c 8000000 /dev/zero > /big; echo {number} > /mine"
        change(mydocker, "one", script)
        if state == "stopped":
            expect(mydocker("stop", "-t", "0", "one"), status=0)
        return identity

    def is_whole(number: int) -> None:
        call = run(mydocker, f"copy-{number}", "cat /mine; wc -c < /big")
        expect(call, status=0, out=f"{number}\n8000000\n", err="")

    box(mydocker, "other")
    one_to_commit(0)  # with nobody in between it works: what fails later fails for the removal
    expect(mydocker("commit", "one", "copy-0"), status=0, err="")
    clear(mydocker, "one")
    is_whole(0)
    for number, crash_point in enumerate(crash_points(3), start=1):
        identity = one_to_commit(number)
        committing = mydocker.start("commit", "one", f"copy-{number}", crash_point=crash_point)
        removing = beside(mydocker, crash_point, "rm", "-f", "one")
        expect(removing, status=0, out="one\n", err="")
        call = committing.wait()
        if call.status == 0:
            is_whole(number)
        else:
            expect(call, status=1, out="", complaint=[])
            named = "one" in call.errors or identity[:12] in call.errors
            check(named, "a message that names the container", call.errors, call)
            seen = images(mydocker)
            check(f"copy-{number}" not in seen, "no image of a commit that failed", seen, call)
    expect(inside(mydocker, "other", "ls -d /etc/passwd"), status=0, out="/etc/passwd\n")
    clear(mydocker, "other")


@task(3)
@ours
@needs("unotify")
def test_never_the_files_of_another_one_of_its_name(mydocker):
    """Between the moment in which a container is found and that in which its files are read, its
    name can have become another one's. An image of that one is the image of a stranger.
    """
    for number in range(FIRST_LOOKS):
        crash_point = CrashPoint(number, looks=True)
        identity = box(mydocker, "one")
        change(mydocker, "one", "echo old > /mine")
        expect(mydocker("stop", "-t", "0", "one"), status=0)
        if number == 0:  # with nobody in between, it works
            expect(mydocker("commit", identity, "copy"), status=0, err="")
        committing = mydocker.start("commit", identity, f"copy-{number}", crash_point=crash_point)
        with crash_point:
            removing = as_far_as_it_can(mydocker, "rm", "one")
            if removing.has_ended():
                box(mydocker, "one")
                change(mydocker, "one", "echo new > /mine")
                expect(mydocker("stop", "-t", "0", "one"), status=0)
        call = committing.wait()
        expect(removing.wait(), status=0, out="one\n", err="")
        if call.status == 0:
            found = run(mydocker, f"copy-{number}", "cat /mine")
            expect(found, status=0, out="old\n", err="")
        else:
            expect(call, status=1, out="", complaint=[])
        clear(mydocker, "one")


# Task 4: The image that it started from


@task(4)
@layers
def test_a_container_of_a_replaced_image_can_be_committed(mydocker):
    """What it has is the image that it started from and its layer, even when it has ended."""
    make_image(mydocker, "copy", "echo old > /version; echo old > /old")
    for name in ("running", "stopped"):
        box(mydocker, name, image="copy")
        change(mydocker, name, f"echo {name} > /mine; rm /etc/shells")
    expect(mydocker("stop", "-t", "0", "stopped"), status=0)
    for version in ("newer", "newest"):
        make_image(mydocker, "copy", f"echo {version} > /version; rm -f /old", base="copy")
    for name in ("running", "stopped"):
        expect(mydocker("commit", name, f"of-{name}"), status=0, err="")
        call = run(mydocker, f"of-{name}", "cat /version /old /mine; ls /etc/shells; exit 7")
        expect(call, status=7, out=f"old\nold\n{name}\n")
    expect(run(mydocker, "copy", "cat /version; ls /old; exit 7"), status=7, out="newest\n")
    clear(mydocker, "running", "stopped")
    for name in ("running", "stopped"):
        call = run(mydocker, f"of-{name}", "cat /version /old /mine")
        expect(call, status=0, out=f"old\nold\n{name}\n")


@task(4)
def test_a_stopped_container_keeps_the_image_that_it_started_from(mydocker):
    """It holds no lock on the old files, since it has no process: its record says what it needs.

    Nobody else uses them here. Without them, its layer alone is no file system.
    """
    make_image(mydocker, "copy", "echo old > /version; echo old > /old")
    box(mydocker, "box", image="copy")
    change(mydocker, "box", "echo box > /mine")
    expect(mydocker("stop", "-t", "0", "box"), status=0)
    for version in ("newer", "newest"):
        make_image(mydocker, "copy", f"echo {version} > /version; rm -f /old", base="busybox")
        expect(run(mydocker, "copy", "cat /version; exit 7"), status=7, out=f"{version}\n")
    expect(mydocker("commit", "box", "of-box"), status=0, err="")
    call = run(mydocker, "of-box", "cat /version /old /mine; exit 7")
    expect(call, status=7, out="old\nold\nbox\n")
    clear(mydocker, "box")


@task(4)
@guard  # before this task an image goes earlier than it should
@ours
def test_what_nobody_uses_any_more_goes(mydocker):
    """An old image stays for those who stand on it. With the last of them it goes from the disk."""
    make_image(mydocker, "copy", "echo > /version-0")
    names = [f"box-{version}" for version in range(3)]
    for version, name in enumerate(names):
        box(mydocker, name, image="copy")
        change(mydocker, name, f"rm /version-{version}; echo > /version-{version + 1}")
        expect(mydocker("commit", name, "copy"), status=0)
    expect(mydocker("stop", "-t", "0", names[0]), status=0)
    expect(inside(mydocker, names[2], "ls -d /version-*"), status=0, out="/version-3\n")
    clear(mydocker, *names)
    expect(run(mydocker, "copy", "ls -d /version-*"), status=0, out="/version-3\n")
    found = unpacked_versions(mydocker)
    last = [path.rpartition("/")[2] for path in found]
    check(last == ["version-3"], "of the unpacked images called copy, the last one only", found)


@task(4)
@guard  # the files go even too early: nobody keeps them so far
@ours
@pytest.mark.parametrize("end", ["rm", "the end of run --rm"])
def test_the_last_container_takes_a_replaced_image_along(mydocker, end):
    """When it goes, and not when somebody happens to start the next one."""
    make_image(mydocker, "copy", "echo > /version-0")
    box(mydocker, "box", *([] if end == "rm" else ["--rm"]), image="copy")
    change(mydocker, "box", "rm /version-0; echo > /version-1")
    expect(mydocker("commit", "box", "copy"), status=0)
    expect(inside(mydocker, "box", "ls -d /version-*"), status=0, out="/version-1\n")
    if end == "rm":
        clear(mydocker, "box")
    else:
        expect(mydocker("stop", "-t", "0", "box"), status=0)
        mydocker.host.until(lambda: not expect(mydocker("ps", "-aq"), status=0).out)
    left = [path for path in unpacked_versions(mydocker) if path.endswith("version-0")]
    check(not left, "nothing of the image that was replaced, and that nobody uses", left)


@task(4)
@guard  # see above
@ours
def test_a_replaced_image_that_nobody_uses_goes_with_the_next_start(mydocker):
    """Then the name leads to the new files, and there is nobody left for the old ones."""
    make_image(mydocker, "copy", "echo > /version-0")
    expect(run(mydocker, "copy", "ls -d /version-*"), status=0, out="/version-0\n")
    check(unpacked_versions(mydocker), "the files of the image copy", "there are none")
    box(mydocker, "box")
    change(mydocker, "box", "echo > /version-1")
    expect(mydocker("commit", "box", "copy"), status=0)
    expect(run(mydocker, "copy", "ls -d /version-*"), status=0, out="/version-1\n")
    left = [path for path in unpacked_versions(mydocker) if path.endswith("version-0")]
    check(not left, "nothing of the image that was replaced, and that nobody uses", left)
    clear(mydocker, "box")


# Helpers

GOOD = {"status": 0, "out": "", "err": ""}


def unpacked_versions(mydocker: Mydocker) -> list[str]:
    """Where below MYDOCKER_ROOT there are files called version-N of images."""
    return sorted(
        str(Path(folder, name).relative_to(mydocker.root))
        for folder, _, files in os.walk(mydocker.root / "images")
        for name in files
        if name.startswith("version-")
    )


def tar_of_busybox(mydocker: Mydocker) -> bytes:
    """The image as a tar, with a file of its own at the end."""
    image = mydocker.root / "images" / "busybox"
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(image, arcname=".")
        member = tarfile.TarInfo("./which/of/them")
        member.size = len(b"this one\n")
        archive.addfile(member, io.BytesIO(b"this one\n"))
    return file.getvalue()


def box(mydocker: Mydocker, name: str | None, *options: str, image: str = "busybox") -> str:
    """A container that goes on running. Returns its ID."""
    named = ("--name", name) if name else ()
    return detached(mydocker, *named, *options, image, *STAY)


def run_words(name: str, script: str, *arguments: str) -> tuple[str, ...]:
    return ("run", "--name", name, "busybox", "sh", "-c", script, *arguments)


def detach(words: tuple[str, ...]) -> tuple[str, ...]:
    return (words[0], "-d", *words[1:])


def run(mydocker: Mydocker, image: str, script: str) -> Call:
    """Look into an image, with a container that leaves nothing."""
    return mydocker("run", "--rm", image, "sh", "-c", script)


def inside(mydocker: Mydocker, name: str, script: str) -> Call:
    return mydocker("exec", name, "sh", "-c", script)


def change(mydocker: Mydocker, name: str, script: str) -> None:
    """Run a script inside that has nothing to say, and must not fail."""
    expect(inside(mydocker, name, script), **GOOD)


def clear(mydocker: Mydocker, *names: str) -> None:
    expect(mydocker("rm", "-f", *names), status=0)


def make_image(mydocker: Mydocker, image: str, script: str, base: str = "busybox") -> None:
    """An image of what a container has after a script."""
    words = ("run", "--name", "of-an-image", base, "sh", "-c", script)
    expect(mydocker(*words), **GOOD)
    expect(mydocker("commit", "of-an-image", image), status=0, err="")
    clear(mydocker, "of-an-image")


def images(mydocker: Mydocker) -> list[str]:
    """The names of the images that are listed, in order."""
    return first_words(expect(mydocker("images"), status=0, err=""))


def identity_of(running: Running) -> str:
    """What `run -d` has printed, once it has ended."""
    call = expect(running.wait(), status=0, err="")
    identity = call.text.strip()
    check(re.fullmatch("[0-9a-f]{64}", identity), "an ID, and nothing else", call.text, call)
    return identity


def exit_status(row: dict) -> int | None:
    """The N of `Exited (N) 5 seconds ago`."""
    found = re.match(r"Exited \((\d+)\)", row["Status"])
    return int(found[1]) if found else None


def until_ended(mydocker: Mydocker, name: str) -> None:
    """Wait until `ps` does not show it any more."""
    running = mydocker.host.until(lambda: name not in [row["Names"] for row in listed(mydocker)])
    check(running, f"{name} ends, and `ps` shows it no more", listed(mydocker))


def names_in(mydocker: Mydocker, directory: str) -> list[str]:
    """What lies in a directory of MYDOCKER_ROOT."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir(mydocker.root / directory))
    return []


def paths(mydocker: Mydocker) -> set[str]:
    """All that lies below MYDOCKER_ROOT, but for the images and what stays when they are empty."""
    found = set()
    for top in set(os.listdir(mydocker.root)) - {"images"}:
        for folder, directories, files in os.walk(mydocker.root / top):
            found.update(os.path.join(folder, name) for name in [*directories, *files])
    return found


def difference(before: set[str], after: object) -> list[str]:
    return sorted(before ^ after) if isinstance(after, set) else []


def kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def kill_monitor(mydocker: Mydocker, identity: str) -> None:
    """Kill a container's monitor, and wait until the container has gone with it."""
    process = container_process(mydocker, identity)
    os.kill(monitor_of(mydocker, process).pid, signal.SIGKILL)

    def gone() -> bool:
        return process.pid not in [other.pid for other in container_processes(mydocker)]

    ended = mydocker.host.until(gone)
    check(ended, "a container ends with its monitor", "it goes on running")


def truth(mydocker: Mydocker) -> dict[str, tuple[str, bool]]:
    """For each container that `ps -a` lists, what it says, and whether it has a process.

    A process of a container that is not listed is there under its own name.
    """
    groups = {}
    for process in container_processes(mydocker):
        with contextlib.suppress(OSError):  # it has ended
            groups[str(process)] = Path(f"/proc/{process.pid}/cgroup").read_text()
    found = {}
    for row in listed(mydocker, "-a"):
        own = [name for name, text in groups.items() if row["ID"] in text]
        found[row["Names"]] = (row["State"], bool(own))
        for name in own:
            del groups[name]
    return found | dict.fromkeys(groups, ("not listed", True))


def is_true(mydocker: Mydocker) -> bool:
    pairs = truth(mydocker).values()
    return all(alive == (state == "running") and state != "not listed" for state, alive in pairs)
