"""What is mounted in this mount namespace: /proc/self/mountinfo, see proc(5)."""

from mydocker.files import read


class Mount:
    """One of the mounts.

    device: the number of its file system, "MAJOR:MINOR". root: which directory of that is mounted.
    point: where. options: of this mount. kind: which file system it
    is. file_system_options: that one's own.
    """

    def __init__(self, line: str) -> None:
        place, _, file_system = line.partition(" - ")
        _, _, self.device, self.root, point, options = place.split(" ")[:6]
        self.point = unescaped(point)
        self.options = options.split(",")
        self.kind, _, own = file_system.split(" ", 2)
        self.file_system_options = own.split(",")


def mounts(mountinfo: str = "/proc/self/mountinfo") -> list[Mount]:
    return [Mount(line) for line in read(mountinfo).split("\n") if line]


def unescaped(path: str) -> str:
    """A path of mountinfo, where blanks, tabs, newlines and backslashes stand in octal."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(octal, character)
    return path
