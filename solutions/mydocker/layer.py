"""The layer that a container writes to, above its image.

Each container has its own: `writeLayer/NAME` is what it writes, `mnt/NAME` where both are seen as
one, in the container's own mount namespace. Both stay when it ends, until it is removed.
"""

import os

from mydocker import paths, storage

WRITE_LAYER = "writeLayer"
WORK = "work"
MOUNT_POINT = "mnt"


class Layer:
    """name: the container's. image: the directory below its layer. driver: a storage driver's."""

    def __init__(self, name: str, image: str, driver: str) -> None:
        self.name = name
        self.image = image
        self.driver = storage.known(driver)

    def make(self) -> None:
        """Make it, empty. Raises MydockerError where the driver cannot work."""
        remove(self.name)  # what was left below a name that is free is nobody's
        for name in (WRITE_LAYER, WORK, MOUNT_POINT):
            paths.make_directory(f"{paths.root()}/{name}", 0o700)
            paths.remove_leftovers(f"{paths.root()}/{name}")
        os.mkdir(self.place(WRITE_LAYER))
        look_like(self.image, self.place(WRITE_LAYER))  # its top is the container's "/"
        self.driver.prepare(self.place(WORK))
        os.mkdir(self.place(MOUNT_POINT), 0o700)

    def mount(self) -> str:
        """Mount image and layer as one, in this mount namespace. Returns where."""
        os.chdir(paths.root())  # from here paths are short, and have no character to escape
        upper, work, target = (f"{name}/{self.name}" for name in (WRITE_LAYER, WORK, MOUNT_POINT))
        self.driver.mount(relative(self.image), upper, work, target)
        return os.path.abspath(target)

    def mount_read_only(self) -> str:
        """The same for whoever only wants to look, while the container does not run."""
        os.chdir(paths.root())
        upper, work, target = (f"{name}/{self.name}" for name in (WRITE_LAYER, WORK, MOUNT_POINT))
        self.driver.mount_read_only(relative(self.image), upper, work, target)
        return os.path.abspath(target)

    def place(self, name: str) -> str:
        return f"{paths.root()}/{name}/{self.name}"


def remove(name: str) -> None:
    """Remove the layer of a container, if there is one."""
    for kind in (MOUNT_POINT, WRITE_LAYER, WORK):
        if os.path.isdir(f"{paths.root()}/{kind}"):
            paths.remove_tree(f"{paths.root()}/{kind}/{name}")


def look_like(original: str, directory: str) -> None:
    """Give a directory the owner, mode, attributes and times of another."""
    found = os.stat(original)
    os.chown(directory, found.st_uid, found.st_gid)
    os.chmod(directory, found.st_mode & 0o7777)
    for attribute in os.listxattr(original):
        os.setxattr(directory, attribute, os.getxattr(original, attribute))
    os.utime(directory, ns=(found.st_atime_ns, found.st_mtime_ns))


def relative(path: str) -> str:
    """A path as seen from MYDOCKER_ROOT, where it lies below."""
    return os.path.realpath(path).removeprefix(f"{os.path.realpath(paths.root())}/")
