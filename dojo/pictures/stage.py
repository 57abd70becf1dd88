"""Where things stand, the same in every picture: what stays, stays in its place.

    the host's processes | the container in its walls | the kernel's objects
    ----------------------------------------------------------------------
    what lies on the disk                             | the host's files

Left of the container are two rows: its monitor, and below that a command that looks
at it, joins it or ends it. In the container, PID 1 stands in the upper row, another process in the
lower one, and the file tree that they see lies at the bottom.
"""

from dojo.pictures.shapes import (
    Arrow,
    ControlGroup,
    Document,
    Environment,
    Mount,
    Pipe,
    Place,
    Process,
    Slab,
    Terminal,
    Volume,
    Walls,
    Words,
)

WIDTH = 830
MIDDLE = 460  # the middle of the container's file tree, and of the layers below it

HOST = Words(24, 84, ["ON THE HOST"], "zone start")
KERNEL = Words(735, 84, ["IN THE KERNEL"], "zone")
DISK = Place(20, 430, 620, 190, "ON THE DISK: /var/lib/mydocker")
KINDS = ("UTS", "PID", "mount", "network", "IPC")
WALLS = Walls(300, 96, 320, 308, KINDS, "hostname 1f3a9c27be04, interface lo")


def terminal(*lines: str) -> Terminal:
    return Terminal(24, 96, 192, 56, lines)


def parent(name: str, note: str) -> Process:
    return Process(24, 176, 192, 50, name, note)


STARTS = Arrow([(120, 152), (120, 176)])


def forks(*label: str) -> Arrow:
    """From the parent to PID 1."""
    return Arrow([(216, 201), (320, 201)], label, (258, 190))


def upper_pipe(label: str, *, inwards: bool) -> Pipe:
    return _pipe(189, label, 178, inwards)


def lower_pipe(label: str, *, inwards: bool) -> Pipe:
    return _pipe(213, label, 233, inwards)


def _pipe(y: int, label: str, label_y: int, inwards: bool) -> Pipe:
    begin, end = ((216, y), (320, y)) if inwards else ((320, y), (216, y))
    return Pipe(begin, end, label, (258, label_y))


def first(name: str) -> Process:
    return Process(320, 176, 150, 50, name, "PID 1")


def second(name: str, note: str) -> Process:
    return Process(350, 252, 120, 46, name, note)


BEGETS = Arrow([(335, 226), (335, 275), (350, 275)])


def group(*limits: str) -> ControlGroup:
    outline = (312, 166, 168, 142)
    tie = [(480, 240), (660, 240)]
    return ControlGroup(660, 170, 150, 140, "mydocker-1f3a…", limits, outline, tie)


def root(note: str = "") -> Slab:
    """The file tree as the container sees it."""
    return Slab(320, 346, 280, 42, "/", note)


def mount(index: int, source: str, point: str) -> Mount:
    """What is mounted in the container's tree, from left to right."""
    return Mount((410 + 52 * index, 350), source, point)


def command(name: str, note: str = "") -> Process:
    """A command of mydocker's that is run beside the container."""
    return Process(60, 252, 126, 46, name, note)


def below_root(label: str, begin: int) -> Arrow:
    """What the container's tree is made of."""
    label_at = (MIDDLE + 12 + len(label) * 3, 421)
    return Arrow([(MIDDLE, begin), (MIDDLE, 388)], [label], label_at)


def image(note: str) -> Slab:
    return Slab(320, 512, 280, 42, "images/busybox/", note)


def layer(path: str) -> Slab:
    return Slab(320, 464, 176, 42, path)


def work(path: str) -> Slab:
    return Slab(500, 464, 100, 42, path)


TAR = Document(490, 572, 110, 36, "busybox.tar", kind="files")
UNPACKED = Arrow([(545, 572), (545, 556)])
NEW_TAR = Document(320, 572, 110, 36, "web.tar", kind="files")

HOST_FILES = Slab(664, 566, 146, 42, "/ of the host")
VOLUME = Volume(664, 446, 146, 92, "/home/you/site", "the host's own")
VOLUME_MOUNT = Mount(
    (600, 367), "the same files", line=[(737, 446), (737, 367)], label_at=(680, 357)
)


def record(*lines: str) -> Document:
    return Document(32, 462, 90, 94, "config.json", lines)


LOG = Document(126, 462, 102, 94, "container.log", ["stdout", "stderr"], kind="log")
RECORD_PATH = Words(32, 576, ["containers/web/"])
WRITES_RECORD = Arrow([(42, 226), (42, 462)], ["writes"], (66, 420))
WRITES_LOG = Arrow([(204, 226), (204, 462)], ["writes"], (228, 420))
READS_RECORD = Arrow([(100, 462), (100, 298)], ["reads"], (122, 420))
READS_LOG = Arrow([(154, 462), (154, 298)], ["reads"], (176, 420))


PTS = Terminal(502, 254, 92, 42, ["pts/0"])


def environment(*lines: str) -> Environment:
    return Environment(492, 142, 120, 86, lines)


def note_beside_first(*lines: str) -> Words:
    return Words(492, 196, lines)


# Several containers side by side, each in a column of its own.

COLUMN_WIDTH = 240
COLUMNS = (24, 292, 560)


def monitor_above(column: int) -> Process:
    return Process(COLUMNS[column], 94, 118, 46, "monitor")


def monitors_below(column: int) -> Arrow:
    x = COLUMNS[column] + 40
    return Arrow([(x, 140), (x, 206)])


def group_above(column: int) -> ControlGroup:
    x = COLUMNS[column]
    outline = (x + 12, 198, 150, 60)
    tie = [(x + 200, 140), (x + 200, 228), (x + 162, 228)]
    return ControlGroup(x + 134, 94, 106, 46, "its group", (), outline, tie)


def walls_in(column: int, *kinds: str) -> Walls:
    return Walls(COLUMNS[column], 176, COLUMN_WIDTH, 164, kinds)


def first_in(column: int, name: str) -> Process:
    return Process(COLUMNS[column] + 20, 206, 134, 44, name, "PID 1")


def root_in(column: int, label: str, width: int = 200) -> Slab:
    return Slab(COLUMNS[column] + 20, 282, width, 42, label)


def union_in(column: int) -> Arrow:
    x = COLUMNS[column] + 70
    return Arrow([(x, 396), (x, 324)])


def layer_in(column: int, path: str, width: int = COLUMN_WIDTH) -> Slab:
    return Slab(COLUMNS[column], 396, width, 40, path)


def files_in(column: int, name: str) -> tuple[Document, Document, Words]:
    """A record and a log, at the bottom of the column, and where they lie."""
    x = COLUMNS[column]
    return (
        Document(x, 508, 114, 40, "config.json"),
        Document(x + 126, 508, 114, 40, "container.log", kind="log"),
        Words(x, 568, [f"containers/{name}/"]),
    )
