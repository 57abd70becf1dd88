"""What the container sees as its file system. Runs inside, in the container's mount namespace."""

import os

from mydocker import bind, linux
from mydocker.layer import Layer
from mydocker.volume import Volume

# null, zero, ...: what a program finds in /dev wherever it runs, as (major, minor). See null(4).
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
GROUP_TTY = 5


def enter(layer: Layer, volumes: list[Volume]) -> None:
    """Make the image with the layer above it the root, and let go of the host's files for good.

    All that follows is done from inside: no link in the image can lead it to the host.
    """
    os.umask(0)  # modes are as they are written here
    trees = bind.take_sources(volumes)
    pivot_into(layer.mount())
    mount_kernel_file_systems()
    fill_dev()
    bind.mount(volumes, trees)


def pivot_into(new_root: str) -> None:
    """Swap the roots. Unlike after chroot, no path is left that leads to the old one.

    The caller's own root may be one of chroot. What is swapped is the root of the mount namespace,
    or there would be a way up to that, and whoever joins the namespace would find it.
    """
    there = os.open(new_root, os.O_PATH | os.O_CLOEXEC)
    leave_chroot()
    os.fchdir(there)
    os.close(there)
    linux.pivot_root(".", ".")
    linux.umount2(".", linux.MNT_DETACH)
    os.chdir("/")


def leave_chroot() -> None:
    """Have the root of this mount namespace as ours: whoever joins one has, see setns(2)."""
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    linux.setns(ours, linux.CLONE_NEWNS)
    os.close(ours)


def make_mounts_private() -> None:
    """Let no mount of this namespace pass on to the host what happens to it.

    The caller's root may be one of chroot, and no mount. It is our root again in the end: the
    caller's paths are still needed.
    """
    root, directory = (os.open(path, os.O_PATH | os.O_CLOEXEC) for path in ("/", "."))
    leave_chroot()
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(directory)


def mount_kernel_file_systems() -> None:
    """/proc and /sys show the namespaces in which they are mounted, /dev begins empty."""
    for mount_point in ("/proc", "/sys", "/dev"):
        if not os.path.isdir(mount_point):
            os.mkdir(mount_point, 0o755)
    quiet = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("proc", "/proc", "proc", quiet)
    linux.mount("sysfs", "/sys", "sysfs", quiet | linux.MS_RDONLY)
    linux.mount("tmpfs", "/dev", "tmpfs", linux.MS_NOSUID, "mode=755,size=64m")


def fill_dev() -> None:
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"/dev/{name}", 0o20666, os.makedev(major, minor))
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"/dev/{name}", 0o755)
    terminals = f"newinstance,ptmxmode=0666,mode=0620,gid={GROUP_TTY}"
    linux.mount("devpts", "/dev/pts", "devpts", linux.MS_NOSUID | linux.MS_NOEXEC, terminals)
    shared = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("shm", "/dev/shm", "tmpfs", shared, "mode=1777,size=64m")
