"""Chapter 3.2: a process that gets no more than its share."""

import os
import signal
from pathlib import Path

import pytest

from dojo.scratch import Call, CrashPoint
from dojo.scratch.groups import groups_of, limits_of
from dojo.testkit.containers import end, first_process, sleeping, started
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import check, expect, needs, ours, task, vm

pytestmark = vm  # all: control groups of version 2 are there only
MEGABYTE = 1024 * 1024
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
TAKE_64M = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")


def limits_with(mydocker: Mydocker, *options: str):
    """What the kernel holds a container with these options to."""
    running = sleeping(mydocker, "--rm", *options)
    limits = limits_of(first_process(running).pid)
    end(running)
    return limits


# Task 1: A group for each container


@task(1)
@ours
@needs("unotify")
@pytest.mark.parametrize(
    "options", [(), pytest.param(("--pids-limit", "20"), marks=task(2))], ids=["free", "limited"]
)
def test_the_command_is_in_its_group_from_the_first_instruction(mydocker, options):
    """A command that begins before it is in its group takes what it wants meanwhile.

    To see that, whoever is about to move into a group is held up here, and nobody else: a command
    must not begin meanwhile.
    """
    outside = memory_group(mydocker.host.run(["cat", "/proc/self/cgroup"], env=mydocker.env))
    crash_point = CrashPoint(0, alone=True)
    words = ["run", "--rm", *options, "busybox", "cat", "/proc/self/cgroup"]
    running = mydocker.start(*words, crash_point=crash_point)
    for _ in crash_point.steps():
        if crash_point.before.endswith(("/cgroup.procs", "/tasks")):
            crash_point.let_others_go_on()
    call = expect(running.wait(), status=0)
    found = memory_group(call)
    check(found != outside, f"a group of its own, and not {outside}", found, call)


def memory_group(call: Call) -> str:
    """The group that holds its memory, of what /proc/self/cgroup says."""
    __tracebackhide__ = True
    for line in call.text.splitlines():
        _, names, path = [*line.split(":", 2), "?", "?"][:3]
        if names == "" or "memory" in names.split(","):
            return path
    check(False, "a group for the controller memory", call.text or "nothing", call)
    raise AssertionError


@task(1)
def test_the_group_goes_when_the_container_ends(mydocker):
    """A group that stays is a leak of the kernel's memory. It is removed as a directory is."""
    running = sleeping(mydocker, "--rm")
    group = groups_of(first_process(running).pid)["memory"]
    check(group.exists(), "a group while it runs", group)
    end(running)
    check(not group.exists(), "no group once `run` has returned", group)


# Task 2: A limit on processes

FORK_20 = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & done; "


@task(2)
def test_a_fork_bomb_ends_at_the_limit(mydocker):
    """Processes are a resource, too: with none left, nobody can even log in to stop the bomb."""
    script = f"{FORK_20} echo all started"
    enough = mydocker("run", "--rm", "--pids-limit", "40", "busybox", "sh", "-c", script)
    expect(enough, status=0, out="all started\n")
    call = mydocker("run", "--rm", "--pids-limit", "8", "busybox", "sh", "-c", script)
    check("all started" not in call.text, "the shell cannot start 20 processes", call.text, call)
    check("fork" in call.errors.lower(), "the shell says that it cannot fork", call.errors, call)


@task(2)
def test_the_limit_on_processes_can_be_read(mydocker):
    """The kernel says what it holds the group to."""
    limits = limits_with(mydocker, "--pids-limit", "17")
    check(limits.pids == 17, "a limit of 17", limits)


@task(2)
@pytest.mark.parametrize("text", ["0", "-1"])
def test_no_limit_on_processes(mydocker, text):
    """As with docker, 0 and -1 say that there is none."""
    limited = limits_with(mydocker, "--pids-limit", "17")
    limits = limits_with(mydocker, "--pids-limit", text)
    check(limited.pids == 17, "with a number a limit", limited)
    check(limits.pids is None, f"with {text} none", limits)


# Task 3: A limit on memory


@task(3)
def test_over_its_memory_the_command_is_killed(mydocker):
    """The kernel kills what asks for more than its group may have: SIGKILL, 137."""
    enough = mydocker("run", "--rm", "-m", "128m", "busybox", *TAKE_64M)
    expect(enough, status=0)
    call = mydocker("run", "--rm", "-m", "32m", "busybox", *TAKE_64M)
    expect(call, status=128 + signal.SIGKILL)


@task(3)
def test_the_limit_holds_for_the_children_of_the_command(mydocker):
    """A limit that a fork escapes from is none: children are born into their parent's group."""
    script = f"{' '.join(TAKE_64M)} 2>/dev/null; echo ended with $?"
    enough = mydocker("run", "--rm", "--memory=128m", "busybox", "sh", "-c", script)
    expect(enough, status=0, out="ended with 0\n")
    call = mydocker("run", "--rm", "--memory=32m", "busybox", "sh", "-c", script)
    expect(call, status=0, out="ended with 137\n")


@task(3)
@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8388608", 8 * MEGABYTE),
        ("16777216b", 16 * MEGABYTE),
        ("32768k", 32 * MEGABYTE),
        ("64M", 64 * MEGABYTE),
        ("1g", 1024 * MEGABYTE),
        ("6m", 6 * MEGABYTE),
    ],
)
def test_sizes_are_understood(mydocker, text, size):
    """A number of bytes, or of kilo-, mega- or gigabytes, in either case. The host can read it."""
    limits = limits_with(mydocker, "-m", text)
    check(limits.memory == size, f"with -m {text} a limit of {size} bytes", limits)


@task(3)
@ours
def test_swap_is_not_a_way_out(mydocker):
    """Memory that is swapped out is not counted as memory. Both together must be limited, too."""
    limits = limits_with(mydocker, "-m", "64m")
    together = limits.memory_and_swap
    check(together == 64 * MEGABYTE, "64 MiB for memory and swap together", limits)


@task(3)
def test_0_is_no_limit(mydocker):
    """As with docker, `-m 0` says that there is none."""
    limited = limits_with(mydocker, "-m", "64m")
    limits = limits_with(mydocker, "-m", "0")
    check(limited.memory == 64 * MEGABYTE, "with -m 64m a limit", limited)
    check(limits.memory is None, "with -m 0 none", limits)


@task(3)
def test_two_containers_have_two_limits(mydocker):
    """A group that all containers share would give each of them the limit of the last."""
    small = sleeping(mydocker, "--rm", "-m", "32m")
    large = sleeping(mydocker, "--rm", "-m", "64m", env=mydocker.another_root())
    found = tuple(limits_of(first_process(running).pid).memory for running in (small, large))
    check(found == (32 * MEGABYTE, 64 * MEGABYTE), "32 MiB for one, 64 MiB for the other", found)
    end(small)
    end(large)


# Task 4: CPU time and CPUs


@task(4)
def test_cpu_shares_become_a_weight(mydocker):
    """1024 is the default of `--cpu-shares`; 2048 weighs twice as much, 512 half as much.

    Version 2 of cgroups has weights around 100 instead, and rounds.
    """
    half, one, two = (
        limits_with(mydocker, "--cpu-shares", shares).cpu_weight
        for shares in ("512", "1024", "2048")
    )
    check(1.8 < one / half < 2.2, "1024 weighs twice as much as 512", (half, one))
    check(1.8 < two / one < 2.2, "2048 weighs twice as much as 1024", (one, two))


@task(4)
def test_0_shares_are_the_default(mydocker):
    """As with docker, `--cpu-shares 0` changes nothing."""
    half = limits_with(mydocker, "--cpu-shares", "512").cpu_weight
    check(half < 1.0, "512 weighs less than the default", half)
    default = limits_with(mydocker, "--cpu-shares", "0").cpu_weight
    check(default == 1.0, "0 is the default weight", default)


@task(4)
def test_cpu_shares_divide_a_busy_cpu(mydocker):
    """Two containers on one CPU, 1024 shares beside 256: the first gets four times as much."""
    cpu = ("--cpuset-cpus", str(CPUS[0]))
    words = (*cpu, "busybox", "sh", "-c", "echo ready; while :; do :; done")
    large = started(mydocker.start("run", "--rm", "--cpu-shares", "1024", *words))
    large_pid = first_process(large).pid
    other = mydocker.another_root()
    small = started(mydocker.start("run", "--rm", "--cpu-shares", "256", *words, env=other))
    small_pid = first_process(small).pid
    before = cpu_seconds(large_pid), cpu_seconds(small_pid)

    def used() -> tuple[float, float]:
        return cpu_seconds(large_pid) - before[0], cpu_seconds(small_pid) - before[1]

    mydocker.host.until(lambda: sum(used()) > 0.8, seconds=30)
    large_used, small_used = used()
    end(large)
    end(small)
    found = f"{large_used:.2f} s and {small_used:.2f} s of CPU time"
    check(2.5 < large_used / max(small_used, 0.01) < 6, "about four times as much", found)


@task(4)
@pytest.mark.parametrize("spelling", ["one", "list", "range"])
def test_the_command_runs_on_these_cpus_only(mydocker, spelling):
    """Every process of the container is kept on the CPUs of the list, whatever else is free."""
    first, last = CPUS[0], CPUS[-1]
    text, cpus = {
        "one": (f"{last}", {last}),
        "list": (f"{first},{last}", {first, last}),
        "range": (f"{last}-{last}", {last}),
    }[spelling]
    if len(CPUS) < 2:
        pytest.skip("this machine has one CPU only")
    running = sleeping(mydocker, "--rm", "--cpuset-cpus", text)
    found = os.sched_getaffinity(first_process(running).pid)
    end(running)
    check(found == cpus, f"CPUs {sorted(cpus)}", sorted(found))


@task(4)
def test_without_an_option_there_is_no_limit_of_another_container(mydocker):
    """Who did not ask for a limit gets none, even beside a container that has all of them."""
    options = ("-m", "64m", "--pids-limit", "20", "--cpu-shares", "256")
    limited = sleeping(mydocker, "--rm", *options, "--cpuset-cpus", str(CPUS[-1]))
    free = sleeping(mydocker, "--rm", env=mydocker.another_root())
    there = limits_of(first_process(limited).pid)
    check(there.memory == 64 * MEGABYTE, "a limit of 64 MiB for the one that asked", there)
    limits = limits_of(first_process(free).pid)
    no_limit = (limits.memory, limits.pids, limits.cpu_weight) == (None, None, 1.0)
    check(no_limit, "no limit on memory and processes, the default weight", limits)
    all_of_them = set(range(CPUS[0], CPUS[-1] + 1)) == set(CPUS)
    if all_of_them and len(CPUS) > 1:
        check(limits.cpus == f"{CPUS[0]}-{CPUS[-1]}", "all CPUs", limits)
    end(limited)
    end(free)


# Task 5: A hierarchy that is mounted twice


@task(5)
@ours
def test_a_hierarchy_may_be_mounted_twice(mydocker):
    """`mount --rbind /sys …`, as people do for a chroot: then each hierarchy is there twice.

    It is one all the same. To make a group in it a second time fails: it is there already.
    """
    twice = 'mkdir -p sys && mount --rbind /sys sys && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", twice, "sh")
    words = ("run", "--rm", "-m", "32m", "busybox")
    expect(mydocker(*words, "echo", "hello", before=before), status=0, out="hello\n", err="")
    call = mydocker(*words, *TAKE_64M, before=before)
    check("copied" not in call.errors, "dd is killed, and copies nothing", call.errors, call)
    (mydocker.directory / "sys").rmdir()


# Task 6: The group goes, however it ends


@task(6)
@ours
def test_the_groups_that_the_container_made_go_too(mydocker):
    """A container can make groups in its own. One that is not empty cannot be removed."""
    running = sleeping(mydocker, "--rm", "-m", "64m")
    pid = first_process(running).pid
    group = groups_of(pid)["memory"]
    check(limits_of(pid).memory == 64 * MEGABYTE, "a limit while it runs", limits_of(pid))
    (group / "inner").mkdir()
    (group / "inner/most").mkdir()
    end(running)
    check(not group.exists(), "no group once `run` has returned", group)


@task(6)
def test_no_group_is_left_of_a_start_that_failed(mydocker):
    """What was made before the step that failed has to be taken back."""
    limits = ("-m", "64m", "--pids-limit", "20")
    expect(mydocker("run", *limits, "busybox", "true"), status=0)
    unprivileged = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    call = mydocker("run", *limits, "busybox", "echo", "started", before=unprivileged)
    expect(call, status=125, out="", complaint=["not permitted"])
    left = mydocker.host.groups.below()
    check(not left, "no group", left, call)


# Task 7: Values that are out of range


@task(7)
@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("-m", "64m", "5m"),
        ("--cpu-shares", "2", "1"),
        ("--cpu-shares", "262144", "262145"),
        ("--cpuset-cpus", str(CPUS[0]), "8000"),
        ("--pids-limit", "17", "4194305"),  # one more than the kernel can number
        *((option, "64m", "9" * 19) for option in ("-m", "--memory")),
        *((option, "2", "9" * 19) for option in ("--cpu-shares", "--pids-limit")),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_starts(mydocker, option, good, bad):
    """The kernel takes some of them for another value, and knows no option that it could name."""
    refused(mydocker, option, good, bad)


# Each option refuses in its own task what is no value at all.


@task(2)
@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        *[("--pids-limit", "17", bad) for bad in ("x", "1.5")],
        *[
            pytest.param("-m", "64m", bad, marks=task(3))
            for bad in ("lots", "-1", "64x", "", "99999999999999999999g")
        ],
        pytest.param("--memory", "64m", "m", marks=task(3)),
        pytest.param("--cpu-shares", "512", "x", marks=task(4)),
        pytest.param("--cpu-shares", "0", "-5", marks=task(4)),
        *[
            pytest.param("--cpuset-cpus", str(CPUS[0]), bad, marks=task(4))
            for bad in ("1-0", f"{CPUS[0]},", "0-99999999999", "all")
        ],
    ],
)
def test_a_wrong_value_is_refused_before_anything_starts(mydocker, option, good, bad):
    """A limit that is not set, and nobody told: the worst of all. Better not to start at all."""
    refused(mydocker, option, good, bad)


def refused(mydocker: Mydocker, option: str, good: str, bad: str) -> None:
    __tracebackhide__ = True
    expect(mydocker("run", "--rm", option, good, "busybox", "echo", "x"), status=0, out="x\n")
    call = mydocker("run", "--rm", option, bad, "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=[option, bad])


def cpu_seconds(pid: int) -> float:
    """How much CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
