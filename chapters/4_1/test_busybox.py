"""Chapter 4.1: the container's root is the image."""

import os
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

from dojo import clone
from dojo.testkit import rootfs
from dojo.testkit.callers import in_a_chroot
from dojo.testkit.containers import drawn, first_process, started
from dojo.testkit.crash_points import crash_points, killed_at
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import mounts_in
from dojo.testkit.testing import check, expect, needs, ours, task, vm
from dojo.testkit.trees import describe, differences

MOUNTS = {
    "/proc": "proc",
    "/sys": "sysfs",
    "/dev": "tmpfs",
    "/dev/pts": "devpts",
    "/dev/shm": "tmpfs",
}
# What other engines mount or make for the name service, and to say who they are.
OF_OTHER_ENGINES = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv"}
AT_FIRST = ("/proc", "/dev")  # the others come with task 4
DEVICES = {
    "null": "1:3",
    "zero": "1:5",
    "full": "1:7",
    "random": "1:8",
    "urandom": "1:9",
    "tty": "5:0",
    "ptmx": "5:2",
}
STRICT = ("sh", "-c", 'umask 077; exec "$@"', "sh")  # a caller who shares nothing


def run(mydocker: Mydocker, script: str, *options: str, image: str = "busybox", **more):
    """Run a script in a container; status 99 where it finds itself among the host's files."""
    return mydocker("run", "--rm", *options, image, "sh", "-c", safe(mydocker, script), **more)


def safe(mydocker: Mydocker, script: str) -> str:
    """Until there is a root of its own, a script would change the files of this machine."""
    here = shlex.quote(str(mydocker.root))
    return f"test ! -e {here} || {{ echo these are the files of the host >&2; exit 99; }}; {script}"


def names_at_the_top() -> list[str]:
    """What the image has in its root directory."""
    with tarfile.open(rootfs.ensure(clone.here())) as archive:
        return sorted({member.name.split("/")[0] for member in archive} - {"."})


def listed(text: str) -> list[str]:
    return sorted({*text.split()} - {name[1:] for name in OF_OTHER_ENGINES})


# Task 1: An image has a name


@task(1)
def test_an_unknown_image_is_named(mydocker):
    """Who misspells the name of an image wants to read the name that was looked for."""
    words = ("echo", "started")
    expect(mydocker("run", "--rm", "busybox", *words), status=0, out="started\n")
    call = mydocker("run", "--rm", "bussybox", *words)
    expect(call, status=125, out="")
    check("bussybox" in call.errors, "a message that names 'bussybox'", call.errors, call)
    expect(mydocker("run", "--rm", "busybox", "true"), status=0)


@task(1)
@ours
def test_an_unknown_image_is_told_in_one_line(mydocker):
    """Nothing has been started, so there is nothing else to say; and nothing is left to remove."""
    words = ("echo", "started")
    expect(mydocker("run", "--rm", "busybox", *words), status=0, out="started\n")
    before = sorted(os.listdir(mydocker.root / "images"))
    call = mydocker("run", "--rm", "no-such-image", *words)
    expect(call, status=125, out="", complaint=["no-such-image"])
    after = sorted(os.listdir(mydocker.root / "images"))
    check(after == before, f"the images are {before}, as before", after, call)


# Task 2: The image is the root


@task(2)
def test_the_files_are_those_of_the_image(mydocker):
    """`/` is the image's directory: what is listed there is what the image has, and no more."""
    call = expect(run(mydocker, "ls -A /"), status=0, err="")
    check(listed(call.text) == names_at_the_top(), " ".join(names_at_the_top()), call.text, call)


@task(2)
def test_the_shell_is_that_of_the_image(mydocker):
    """`sh` is found in the image: there it is a link to busybox, whatever the host has."""
    expect(run(mydocker, "readlink -f /bin/sh"), status=0, out="/bin/busybox\n")


@task(2)
def test_a_file_of_the_host_is_not_there(mydocker, tmp_path):
    """The same path names another file, or none, in a container."""
    secret = tmp_path / "secret"
    secret.write_text("of the host\n")
    expect(run(mydocker, "cat /etc/passwd"), status=0)
    call = expect(mydocker("run", "--rm", "busybox", "cat", str(secret)), out="")
    check(str(secret) in call.errors, f"cat does not find {secret}", call.errors, call)


@task(2)
def test_a_program_of_the_host_is_not_found(mydocker, tmp_path):
    """The command is looked up after the root has changed: what only the host has is no command."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho started\n")
    program.chmod(0o755)
    expect(mydocker("run", "--rm", "busybox", "/bin/echo", "started"), status=0, out="started\n")
    call = mydocker("run", "--rm", "busybox", str(program))
    expect(call, status=127, out="", complaint=[str(program)])


@task(2)
@pytest.mark.parametrize("place", ["an empty one", "/", "the image"])
def test_the_working_directory_is_the_root(mydocker, place):
    """Wherever `run` is called, the command starts in `/`, and `/` is the same one.

    A `pivot_root` with relative paths takes whatever directory it happens to be in.
    """
    places = {"an empty one": mydocker.directory, "/": Path("/")}
    image = mydocker.root / "images/busybox"
    call = run(mydocker, "pwd; readlink /proc/self/cwd; ls -A", cwd=places.get(place, image))
    expect(call, status=0, err="")
    told, names = call.text.split("\n")[:2], call.text.split("\n", 2)[-1]
    check(told == ["/", "/"], "the working directory is /", told, call)
    check(listed(names) == names_at_the_top(), " ".join(names_at_the_top()), names, call)


@task(2)
@ours
def test_a_link_of_the_image_does_not_lead_to_the_host(mydocker, tmp_path):
    """A symbolic link is followed from the root of whoever follows it: that is the container's."""
    (tmp_path / "secret").write_text("of the host\n")
    image = mydocker.root / "images/busybox"
    (image / "etc/to-the-host").symlink_to(tmp_path / "secret")
    (image / "etc/to-itself").symlink_to("/etc/passwd")
    inside = (image / "etc/passwd").read_text()
    expect(run(mydocker, "cat /etc/to-itself"), status=0, out=inside)
    call = expect(run(mydocker, "cat /etc/to-the-host"), out="")
    check("No such file" in call.errors, "cat finds nothing there", call.errors, call)


@task(2)
@ours
def test_what_lies_in_the_directory_of_an_image_is_the_image(mydocker):
    """An image is a directory of files below MYDOCKER_ROOT, and its name is that of the directory.

    Two of them have nothing to do with each other.
    """
    images = mydocker.root / "images"
    subprocess.run(["cp", "-a", str(images / "busybox"), str(images / "other")], check=True)
    (images / "other/which").write_text("the other one\n")
    (images / "busybox/which").write_text("this one\n")
    expect(run(mydocker, "cat /which"), status=0, out="this one\n")
    expect(run(mydocker, "cat /which", image="other"), status=0, out="the other one\n")


@task(2)
@ours
def test_two_roots_do_not_see_each_other(mydocker, tmp_path):
    """MYDOCKER_ROOT is where everything is: with another one, there are other images."""
    images = tmp_path / "new" / "root" / "images"
    images.mkdir(parents=True)
    subprocess.run(
        ["cp", "-a", str(mydocker.root / "images/busybox"), str(images / "fresh")], check=True
    )
    (images / "fresh" / "version").write_text("elsewhere\n")
    root = {"MYDOCKER_ROOT": str(images.parent)}
    expect(run(mydocker, "cat /version", image="fresh", env=root), status=0, out="elsewhere\n")
    call = mydocker("run", "fresh", "cat", "/version")
    expect(call, status=125, out="", complaint=["fresh"])
    call = mydocker("run", "busybox", "true", env=root)
    expect(call, status=125, out="", complaint=["busybox"])


@task(2)
@ours
def test_an_image_may_lie_behind_a_link(mydocker, tmp_path):
    """Whoever has moved an image, or all of them, to a larger disk leaves a link in its place."""
    image, disk = mydocker.root / "images/busybox", tmp_path / "a-larger-disk"
    subprocess.run(["cp", "-a", str(image), str(disk)], check=True)
    (disk / "version").write_text("moved\n")
    expect(run(mydocker, "test ! -e /version"), status=0)
    links = {"root/images/busybox": disk, "other/images": tmp_path / "root/images", "link": "other"}
    for path, target in links.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(target)
    for top in ("root", "other", "link"):
        root = {"MYDOCKER_ROOT": str(tmp_path / top)}
        expect(run(mydocker, "cat /version", env=root), status=0, out="moved\n", err="")


@task(2)
@vm
def test_there_is_one_root(mydocker):
    """`pivot_root` leaves the old root somewhere: over or below the new one it is still a way."""
    call = expect(run(mydocker, "cat /proc/self/mountinfo"), status=0)
    roots = [mount.line for mount in mounts_in(call) if mount.point == "/"]
    check(len(roots) == 1, "one mount on /", f"{len(roots)}: {roots}", call)


@task(2)
def test_only_root_puts_files_into_dev(mydocker):
    """A tmpfs begins as a directory for everybody, unless `mode=` says something else."""
    expect(run(mydocker, "stat -c %a /dev"), status=0, out="755\n")


@task(2)
def test_nobody_breaks_out_with_chroot(mydocker, tmp_path):
    """The oldest way out: chroot into a directory below, stay outside of it, and go up.

    `..` ends at the root of the process or at that of the mount namespace. A process whose working
    directory is outside its root only meets the second: it must be the container's own.
    """
    break_out(mydocker, tmp_path)


def break_out(mydocker: Mydocker, tmp_path: Path, **more) -> None:
    __tracebackhide__ = True
    (tmp_path / "secret").write_text("of the host\n")
    up = "../" * 30
    look = f"ls -A /; cat /of-the-host {tmp_path}/secret 2>/dev/null; exit 0"
    script = f"cd / && nsenter --root=/etc bin/busybox chroot {up} /bin/sh -c {shlex.quote(look)}"
    call = expect(run(mydocker, script, **more), status=0, err="")
    check("of the host" not in call.text, "the secret of the host is not found", call.text, call)
    check(listed(call.text) == names_at_the_top(), " ".join(names_at_the_top()), call.text, call)


@task(2)
def test_the_root_of_pid_1_is_the_root(mydocker):
    """/proc/PID/root and cwd are doors to where a process lives: PID 1 must not live outside."""
    script = "readlink /proc/1/root; readlink /proc/1/cwd"
    expect(run(mydocker, script), status=0, out="/\n/\n")
    for door in ("root", "cwd"):
        call = expect(run(mydocker, f"ls -A /proc/1/{door}/"), status=0)
        check(listed(call.text) == names_at_the_top(), "the image's files", call.text, call)


@task(2)
@ours
def test_the_image_is_not_touched_by_a_start_that_failed(mydocker):
    """The command is not there: by then the root had been built already."""
    image = mydocker.root / "images/busybox"
    before = describe(image)
    expect(run(mydocker, "exit 0"), status=0)
    call = mydocker("run", "--rm", "busybox", "no-such-command")
    expect(call, status=127, out="", complaint=["no-such-command"])
    unchanged(before, image)


@task(2)
@ours
@needs("unotify")
def test_a_crash_is_not_in_the_way_of_the_next_start(mydocker):
    """Killed in the middle, `run` cannot clean up. What it left must not stop the next one."""
    mydocker.may_leave("cgroup")  # until 5.6, nothing clears these away after a crash
    image = mydocker.root / "images/busybox"
    before = describe(image)
    expect(run(mydocker, "echo started"), out="started\n")
    script = safe(mydocker, "echo ready; exec sleep 1000")
    for number, crash_point in enumerate(crash_points(8)):
        running = mydocker.start("run", "busybox", "sh", "-c", script, crash_point=crash_point)
        killed_at(crash_point, running)
        expect(run(mydocker, f"echo {number}"), out=f"{number}\n")
    unchanged(before, image)


@task(2)
@ours
def test_a_running_container_that_is_killed_leaves_the_image_alone(mydocker):
    """The kernel takes the container's mounts away with it, whoever else has died."""
    mydocker.may_leave("cgroup")
    image = mydocker.root / "images/busybox"
    before = describe(image)
    script = safe(mydocker, "echo ready; exec sleep 1000")
    running = started(mydocker.start("run", "busybox", "sh", "-c", script))
    first_process(running)
    running.stop()
    mydocker.host.until(lambda: not mydocker.host.processes())
    expect(run(mydocker, "echo started"), out="started\n")
    unchanged(before, image)


@task(2)
@ours
def test_the_image_is_not_touched(mydocker):
    """Neither a helper directory nor a device file is left in the image, and no time changes."""
    image = mydocker.root / "images/busybox"
    before = describe(image)
    script = "echo x > /dev/null; echo x > /dev/shm/x; mount -t tmpfs none /mnt; echo x > /mnt/x"
    expect(run(mydocker, f"{script}; cat /mnt/x"), status=0, out="x\n")
    unchanged(before, image)


@task(2)
@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in AT_FIRST else task(4)) for point in MOUNTS]
)
def test_each_has_a_file_system_of_its_own(mydocker, point):
    """Programs expect these, and an image has no more than the empty directories for them."""
    call = expect(run(mydocker, "cat /proc/self/mountinfo"), status=0)
    found = [mount.kind for mount in mounts_in(call) if mount.point == point]
    check(found == [MOUNTS[point]], f"a {MOUNTS[point]} on {point}", found or "no mount", call)


@task(2)
@ours
@pytest.mark.parametrize("name", ["proc", "dev", pytest.param("sys", marks=task(4))])
def test_a_link_in_the_place_of_dev_is_followed_inside(mydocker, name):
    """Whoever made the image made its links. From outside, one leads to a path of the host's.

    So what is mounted on a path of the image is mounted from inside, when the image is the root.
    """
    image = mydocker.root / "images/busybox"
    (image / "of-the-image").mkdir()
    (image / name).rename(image / "of-the-image" / name)
    (image / name).symlink_to(f"/of-the-image/{name}")
    look = {"proc": "test -e /proc/1/status", "sys": "test -d /sys/kernel"}
    script = f"{look.get(name, 'test -c /dev/null')} && readlink -f /{name}"
    expect(run(mydocker, script), status=0, out=f"/of-the-image/{name}\n", err="")


@task(2)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=task(4) if name == "ptmx" else ()) for name in DEVICES]
)
def test_each_device_is_there(mydocker, name):
    """A device file is a pair of numbers, by which the kernel finds the driver (mknod(2)).

    An ordinary file of that name would swallow what is written to it, and keep it.
    """
    call = run(mydocker, f"stat -L -c '%F %t:%T %a' /dev/{name}", before=STRICT)
    expect(call, status=0, out=f"character special file {DEVICES[name]} 666\n")


@task(2)
def test_the_devices_work(mydocker):
    """Nothing comes out of null, zeros out of zero, and full is always full."""
    script = (
        "echo x > /dev/null && cat /dev/null; head -c 3 /dev/zero | xxd -p; "
        "head -c 5 /dev/urandom | wc -c; echo x > /dev/full"
    )
    call = expect(run(mydocker, script), out="000000\n5\n")
    check("No space left" in call.errors, "writing to /dev/full fails", call.errors, call)


@task(2)
@ours
def test_no_disk_of_the_host_is_there(mydocker):
    """Whoever can open the disk can read every file of the host, whatever its root is."""
    script = "test -c /dev/null && find /dev -type b && echo all of it"
    expect(run(mydocker, script), status=0, out="all of it\n", err="")


@task(2)
def test_the_terminal_that_was_handed_on_can_be_opened(mydocker):
    """/dev/tty is the terminal of whoever opens it: passwords are asked for there."""
    number, computed = drawn()
    script = safe(mydocker, f"test -c /dev/null && echo {computed} > /dev/tty")
    call = mydocker.start("run", "-it", "busybox", "sh", "-c", script, terminal=True).wait()
    expect(call, status=0)
    wrote = number in call.text.splitlines()
    check(wrote, f"{number} appears on the terminal", call.text, call)


# Task 3: A caller in a chroot


@task(3)
@ours
def test_nobody_breaks_out_of_one_that_was_started_in_a_chroot(mydocker, tmp_path):
    """The caller's root need not be the root of its mount namespace, which lies above that.

    Who swaps the caller's root only leaves the other one there: from the container's root, the same
    trick leads up to it.
    """
    break_out(mydocker, tmp_path, before=in_a_chroot(mydocker, tmp_path / "top"))


@task(3)
@ours
@pytest.mark.parametrize("kind", ["mount point", "plain directory"])
def test_a_start_in_a_chroot_leaves_the_callers_mounts_alone(mydocker, tmp_path, kind):
    """Mounts that are still shared pass on to the caller what happens to them.

    In a chroot, `/` is not the top of them: who makes private what is below `/` leaves out what is
    above, and the old root that is unmounted in the container is unmounted for the caller, too. And
    if that root is a plain directory, it is no mount that could be made private.
    """
    caller = in_a_chroot(mydocker, tmp_path / "top", kind, watched=True)
    expect(run(mydocker, "echo started", before=caller), status=0, out="started\n", err="")


# Task 4: /sys and the rest of /dev


@task(4)
@vm
def test_no_mount_of_the_host_is_left(mydocker):
    """The mount namespace began as a copy of the host's mounts. In the end it has its own only."""
    call = expect(run(mydocker, "cat /proc/self/mountinfo"), status=0)
    own = ("/proc", "/sys", "/dev")
    points = [mount.point for mount in mounts_in(call)]
    others = [
        point
        for point in points
        if point not in ("/", *own, *OF_OTHER_ENGINES) and not point.startswith(own)
    ]
    check(not others, "mount points: /, /proc, /sys, /dev and below these", others, call)
    missing = ", ".join(point for point in own if point not in points)
    check(not missing, f"a mount on each of {', '.join(own)}", f"none on {missing}", call)


@task(4)
@pytest.mark.parametrize("name", ["fd", "stdin", "stdout", "stderr"])
def test_the_links_of_dev_are_there(mydocker, name):
    """Scripts write `> /dev/stderr`; shells make `<(command)` with /dev/fd."""
    targets = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}
    target = targets.get(name, "/proc/self/fd/2")
    expect(run(mydocker, f"readlink /dev/{name}"), status=0, out=f"{target}\n")


@task(4)
def test_the_links_of_dev_work(mydocker):
    """They lead each process to its own descriptors."""
    script = (
        "echo in | cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr; "
        "cat /dev/fd/3 3</etc/shells"
    )
    call = run(mydocker, script)
    expect(call, status=0, out="in\nout\n/bin/sh\n/bin/ash\n", err="err\n")


@task(4)
def test_terminals_are_made_in_there(mydocker):
    """Opening ptmx makes a new pseudo terminal; it shows up in the container's own /dev/pts."""
    call = expect(run(mydocker, "exec 3<>/dev/ptmx; ls /dev/pts"), status=0)
    check("0" in call.text.split(), "its first terminal is /dev/pts/0", call.text, call)


@task(4)
def test_others_read_no_terminal_and_can_make_one(mydocker):
    """A terminal is its user's, and group tty (5) may write to it, as wall(1) does: mode 620.

    Everybody may open ptmx, that is, make one: mode 666.
    """
    script = "exec 3<>/dev/ptmx; stat -c '%a %g' /dev/pts/0; stat -c %a /dev/pts/ptmx"
    expect(run(mydocker, script), status=0, out="620 5\n666\n")


@task(4)
def test_shared_memory_can_be_written(mydocker):
    """shm_open(3) makes files in /dev/shm, for everybody: 1777, as /tmp has it."""
    script = "stat -c %a /dev/shm; echo kept > /dev/shm/file; cat /dev/shm/file"
    expect(run(mydocker, script), status=0, out="1777\nkept\n")


@task(4)
def test_sys_shows_the_network_of_the_container(mydocker):
    """A sysfs shows the network namespace in which it was mounted."""
    call = expect(run(mydocker, "ls /sys/class/net"), status=0, err="")
    fresh = set(mydocker.host.interfaces())  # some kernels put tunnels into each new namespace
    found = set(call.text.split())
    check("lo" in found and found <= fresh, "lo, and nothing of the host's", call.text, call)


@task(4)
@ours
def test_sys_is_read_only(mydocker):
    """/sys is where the machine itself is set up, and root in a container is root."""
    call = run(mydocker, "test -d /sys/kernel && echo there; touch /sys/kernel")
    expect(call, out="there\n")
    check("Read-only" in call.errors, "touch: Read-only file system", call.errors, call)


# What the tests are made of


def unchanged(before, image: Path) -> None:
    """Expect the image to be what it was, to the byte, the mode, the time."""
    __tracebackhide__ = True
    found = differences(before, describe(image))
    check(not found, "the image is what it was, to the byte, the mode, the time", lines(found))


def lines(found: list[str]) -> str:
    return "\n".join(found[:10])
