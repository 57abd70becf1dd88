"""mydocker commit: the files of a container become an image."""

import contextlib
import fcntl
import os

from mydocker import archive, image, linux, progress, rootfs
from mydocker.container import Container, find
from mydocker.errors import FAILED, MydockerError, complain, say
from mydocker.layer import Layer
from mydocker.process import Process


def commit(container: str, name: str) -> int:
    """Make an image of that name from a container's files, and print the name.

    If it runs, it goes on meanwhile; it cannot be removed. Raises MydockerError where there is
    none, or where its files cannot be written; then all is as before.
    """
    tried = f"commit {container} {name}"
    try:
        found = find(container, tried)
        found.refuse_unseen(tried)
        with found.locked(fcntl.LOCK_SH):
            files = take_files(found)
            with image.replacing(name) as tar, progress.shown(tried, archive.size_of(tar)):
                changed = archive.pack(files, tar)
    except archive.ArchiveError as error:
        raise MydockerError(tried, str(error), FAILED) from error
    except OSError as error:
        raise MydockerError(tried, error.strerror or str(error), FAILED) from error
    if changed:
        complain(f"{tried}: some files changed while they were read: {changed}")
    say(f"{name}\n", tried)
    return 0


def take_files(container: Container) -> int:
    """A descriptor of the container's root, as a mount of its own: what is mounted below is not."""
    while container.state() == "running" and container.process:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            return take_files_of(container.process)
    linux.unshare(linux.CLONE_NEWNS)  # so that the kernel unmounts it, whatever becomes of us
    rootfs.make_mounts_private()
    layer = Layer(container.name, container.image_directory(), container.driver)
    return os.open(layer.mount_read_only(), os.O_RDONLY | os.O_DIRECTORY)


def take_files_of(first: Process) -> int:
    """Those that PID 1 of a container sees. Raises ProcessLookupError where it has ended."""
    here, root = os.open(".", os.O_PATH), os.open("/", os.O_PATH)
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    with first.held():
        theirs = os.open(f"/proc/{first.pid}/ns/mnt", os.O_RDONLY)
    try:
        linux.setns(theirs, linux.CLONE_NEWNS)
        return linux.open_tree("/", linux.OPEN_TREE_CLONE | linux.OPEN_TREE_CLOEXEC)
    finally:
        linux.setns(ours, linux.CLONE_NEWNS)
        os.fchdir(root)
        os.chroot(".")  # where our root was, which need not be that of the namespace
        os.fchdir(here)
        for descriptor in (here, root, ours, theirs):
            os.close(descriptor)
