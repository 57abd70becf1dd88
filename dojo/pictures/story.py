"""What each chapter adds, takes away, or shows as gone: the pictures, one after the other."""

from collections.abc import Mapping, Sequence

from dojo.pictures import stage
from dojo.pictures.frames import NOT_IN_THE_WHOLE, THE_CONTAINER, Frame
from dojo.pictures.shapes import (
    Arrow,
    Document,
    Interface,
    Number,
    Place,
    Process,
    Shape,
    Slab,
    State,
    Words,
)


def frames() -> Mapping[str, Frame]:
    """The picture of each chapter, by its number, in their order."""
    return _Film().shot()


def whole_container() -> Frame:
    """All that a container consists of in the end, all of it in colour."""
    last = frames()["5.9"]
    things = {name: shape for name, shape in last.things.items() if name not in NOT_IN_THE_WHOLE}
    return Frame(
        "What a container is",
        "Processes in walls and in a group, a tree of files made of layers, and a monitor.",
        "A container of the finished mydocker. In five namespaces run PID 1 and a process that"
        " `mydocker exec` has brought in; both are in a control group with limits, and have an"
        " environment of their own. Their / is a union of a writable layer and a read-only image,"
        " with proc, sysfs, a /dev and a volume of the host's mounted in it. Outside, a monitor"
        " waits for PID 1, writes its record and its log.",
        things,
        last.bottom,
        dict.fromkeys(things, "new"),
    )


_BOTTOM_WITHOUT_A_DISK = 500


class _Film:
    """The pictures are made one after the other, each from the one before."""

    def __init__(self) -> None:
        self._things: dict[str, Shape] = {}
        self._frames: dict[str, Frame] = {}

    def shot(self) -> Mapping[str, Frame]:
        self._part_3()
        self._part_4()
        self._part_5()
        self._part_6()
        return self._frames

    def _frame(
        self,
        title: str,
        line: str,
        says: str,
        *,
        adds: Mapping[str, Shape],
        without: Sequence[str] = (),
        gone: Sequence[str] = (),
    ) -> None:
        """The next picture: the one before, and what the chapter adds.

        without: what is not shown any more. gone: what is shown as taken away.
        """
        for name in without:
            del self._things[name]
        for name, shape in adds.items():
            self._things[name] = shape
        states: dict[str, State] = dict.fromkeys(adds, "new")
        states.update(dict.fromkeys(gone, "gone"))
        number = title.split()[0]
        self._frames[number] = Frame(title, line, says, dict(self._things), self._bottom(), states)

    def _bottom(self) -> int:
        disk = self._things.get("disk")
        return disk.y + disk.height if isinstance(disk, Place) else _BOTTOM_WITHOUT_A_DISK

    def _part_3(self) -> None:
        self._things = {
            "host": stage.HOST,
            "host files": Slab(320, 452, 280, 42, "/ of the host"),
            "terminal": stage.terminal("# mydocker run -it \\", "    busybox sh"),
        }
        self._frame(
            "3.1 run",
            "A process in five new namespaces. It still sees the host's files.",
            "On the host, a terminal has started `mydocker run`, the parent. It forks PID 1, the"
            " command, which stands inside walls: new UTS, PID, mount, network and IPC namespaces,"
            " with a hostname and an interface lo of its own. A new proc is mounted on /proc. The"
            " rest of the container's file tree is still the host's.",
            adds={
                "walls": stage.WALLS,
                "starts": stage.STARTS,
                "parent": stage.parent("mydocker run", "waits, hands signals on"),
                "to PID 1": stage.forks("fork,", "", "signals"),
                "first": stage.first("sh"),
                "root": stage.root(),
                "proc": stage.mount(0, "proc", "/proc"),
                "what root is": stage.below_root("the same files", 452),
            },
        )
        self._frame(
            "3.2 limits",
            "The command and all its children are in a control group, with limits.",
            "As in 3.1. New: a control group, mydocker-1f3a…, with limits for memory, processes,"
            " CPU shares and CPUs. PID 1 and its child PID 7 are in it; the parent is not.",
            adds={
                "kernel": stage.KERNEL,
                "group": stage.group("memory 64m", "pids 20", "cpu shares 256", "cpus 0-1"),
                "begets": stage.BEGETS,
                "second": stage.second("dd", "PID 7, a child"),
            },
        )
        self._frame(
            "3.3 pipe",
            "The command goes down a pipe, what failed comes back. Nothing else gets in.",
            "As in 3.2. New: between the parent and PID 1 lie two pipes. One takes the command"
            " inwards, the other brings a failure back, and both close when the command runs. The"
            " command holds the descriptors 0, 1 and 2 and no other, and has a PATH of the"
            " container's own.",
            adds={
                "down": stage.upper_pipe("command", inwards=True),
                "up": stage.lower_pipe("failure", inwards=False),
                "descriptors": stage.note_beside_first(
                    "holds 0, 1, 2", "and no other;", "own PATH"
                ),
            },
            without=["to PID 1"],
        )

    def _part_4(self) -> None:
        self._things["host files"] = stage.HOST_FILES
        self._frame(
            "4.1 busybox",
            "The image is the root. No path leads to the host's files any more.",
            "New: below /var/lib/mydocker lies the image, the directory images/busybox/. By"
            " pivot_root this directory is the container's /. A proc is mounted on /proc, a"
            " read-only sysfs on /sys, a tmpfs on /dev. The host's files lie outside, and the way"
            " to them is cut.",
            adds={
                "disk": stage.DISK,
                "image": stage.image("read-only"),
                "what root is": stage.below_root("pivot_root", 512),
                "root": stage.root(),
                "proc": stage.mount(0, "proc", "/proc"),
                "sys": stage.mount(1, "sysfs, ro", "/sys"),
                "dev": stage.mount(2, "tmpfs", "/dev"),
                "no way": Arrow(
                    [(600, 367), (737, 367), (737, 566)],
                    ["no path", "leads there"],
                    (737, 340),
                    cut=(660, 367),
                ),
            },
            without=["what root is"],
        )
        self._frame(
            "4.2 layers",
            "What the container writes goes to a layer above the image.",
            "New: above images/busybox/ lie writeLayer/, which takes what the container writes, and"
            " work/, which an overlay needs. Layer and image together, as a union that is mounted"
            " on mnt/, are the container's /. There is room for one container.",
            adds={
                "layer": stage.layer("writeLayer/"),
                "work": stage.work("work/"),
                "what root is": stage.below_root("a union on mnt/", 464),
            },
            without=["what root is"],
        )
        self._frame(
            "4.3 volumes",
            "A directory of the host shows in the container, and outlives it.",
            "New: a volume, the directory /home/you/site of the host, is mounted on /www in the"
            " container. Both sides see the same files, and no cleaning up deletes them.",
            adds={
                "volume": stage.VOLUME,
                "volume mount": stage.VOLUME_MOUNT,
                "volume point": Words(566, 377, ["/www"], "name"),
            },
            without=["no way"],
        )
        self._frame(
            "4.4 commit",
            "The files of the running container become an image.",
            "New: `mydocker commit` reads the container's / as the container sees it, but nothing"
            " that is mounted in it, and writes images/web.tar, which appears as a whole or not at"
            " all.",
            adds={
                "command": stage.command("mydocker", "commit"),
                "commit reads": Arrow(
                    [(320, 372), (150, 372), (150, 298)], ["/ alone"], (250, 362)
                ),
                "writes": Arrow(
                    [(90, 298), (90, 590), (320, 590)], ["as a whole, or not"], (206, 580)
                ),
                "new image": stage.NEW_TAR,
            },
        )
        self._frame(
            "4.5 store",
            "A tar file becomes an image, whole or not at all.",
            "New: `mydocker import` reads a tar file, looks at every member, and writes"
            " images/busybox.tar, which appears as a whole or not at all. images/busybox/ is what"
            " it was unpacked to. Containers of the image before it go on with the old files.",
            adds={
                "command": stage.command("mydocker", "import"),
                "writes": Arrow(
                    [(90, 298), (90, 590), (270, 590), (270, 614), (545, 614), (545, 608)],
                    ["as a whole, or not"],
                    (180, 580),
                ),
                "tar": stage.TAR,
                "unpacked": stage.UNPACKED,
            },
            without=["commit reads"],
        )

    def _part_5(self) -> None:
        self._frame(
            "5.1 detach",
            "The container lives on; a monitor in a session of its own waits for it.",
            "New: `mydocker run -d` has printed the ID and ended. The container's parent is now the"
            " monitor, in a session of its own: nothing ties it to the terminal, and it waits"
            " for the container's end and clears up after it. If the monitor is killed, the"
            " container dies, too.",
            adds={
                "terminal": stage.terminal("# mydocker run -d …", "1f3a9c27be04c85…"),
                "parent": stage.parent("monitor", "waits, then clears up"),
                "first": stage.first("httpd"),
                "no tie": Arrow([(120, 152), (120, 176)], cut=(120, 163)),
            },
            without=["command", "writes", "starts"],
        )
        self._frame(
            "5.2 ps",
            "A record of each container, and a command that tells the truth by it.",
            "New: the monitor writes a record, containers/web/config.json: id, PID and start time,"
            " boot id, later the exit status. `mydocker ps` reads it, and asks the kernel whether"
            " that very process still lives.",
            adds={
                "record": stage.record("PID, start", "boot id"),
                "record path": stage.RECORD_PATH,
                "writes record": stage.WRITES_RECORD,
                "command": stage.command("mydocker ps"),
                "ps reads": stage.READS_RECORD,
            },
        )
        self._frame(
            "5.3 logs",
            "The monitor keeps what the container writes, both streams, to the byte.",
            "New: stdout and stderr of the container are pipes to the monitor, which writes what"
            " comes to containers/web/container.log and, in the foreground, to the caller as well."
            " `mydocker logs` reads the log, while the container runs and after.",
            adds={
                "down": stage.upper_pipe("stdout", inwards=False),
                "up": stage.lower_pipe("stderr", inwards=False),
                "log": stage.LOG,
                "writes log": stage.WRITES_LOG,
                "command": stage.command("mydocker logs"),
                "logs reads": stage.READS_LOG,
            },
            without=["ps reads", "command"],
        )
        self._frame(
            "5.4 exec",
            "One more process in the container.",
            "New: `mydocker exec` has entered the container's namespaces by setns and forked a"
            " process there, PID 9, which is in the container's group, too.",
            adds={
                "command": stage.command("mydocker exec"),
                "exec reads": stage.READS_RECORD,
                "enters": Arrow([(186, 275), (350, 275)], ["setns, fork"], (258, 267)),
                "second": stage.second("sh", "PID 9"),
            },
            without=["logs reads", "command", "begets", "second"],
        )
        self._frame(
            "5.5 stop",
            "Ask, wait, kill: the right process, and never a stranger.",
            "New: `mydocker stop` finds PID 1 by the record, by PID, start time and boot id, holds"
            " it by a pidfd, sends SIGTERM, and after ten seconds SIGKILL. It returns when the"
            " monitor has recorded the end.",
            adds={
                "command": stage.command("mydocker stop"),
                "stop reads": stage.READS_RECORD,
                "signals": Arrow(
                    [(186, 275), (335, 275), (335, 226)],
                    ["by a pidfd:", "SIGTERM,", "SIGKILL"],
                    (252, 293),
                ),
            },
            without=["exec reads", "command", "enters", "second"],
        )
        self._frame(
            "5.6 rm",
            "All that the container was is gone. Images and volumes stay.",
            "New: `mydocker rm -f` takes away, in this order: first the processes and the control"
            " group; second the layer; third record and log, in one rename. The image and the"
            " files of the volume stay.",
            adds={
                "command": stage.command("mydocker rm -f"),
                "one": Number(660, 170, 1),
                "two": Number(320, 474, 2),
                "three": Number(34, 464, 3),
            },
            without=["stop reads", "command", "signals"],
            gone=THE_CONTAINER,
        )
        before = dict(self._things)
        self._things = {}
        self._isolation()
        self._things = {
            name: shape
            for name, shape in before.items()
            if name not in ("one", "two", "three", "command", "descriptors", "layer", "work")
        }
        self._things["what root is"] = stage.below_root("a union on mnt/web/", 464)
        self._things |= {
            "layer": stage.layer("writeLayer/web/"),
            "work": stage.work("work/web/"),
            "command": stage.command("mydocker exec"),
            "exec reads": stage.READS_RECORD,
            "enters": Arrow([(186, 275), (350, 275)], ["setns, fork"], (258, 267)),
            "second": stage.second("sh", "PID 9"),
        }
        self._frame(
            "5.8 env",
            "The environment is what was asked for, and nothing of the caller's.",
            "New: PID 1 has PATH, HOME, HOSTNAME and what -e and --env-file have asked for, here"
            " MODE=night. The record keeps it, so that a process of `mydocker exec` sees the same."
            " A SECRET in the caller's environment does not get in. Other containers beside this"
            " one, as in 5.7, are not drawn.",
            adds={
                "terminal": stage.terminal("# mydocker run -d \\", "    -e MODE=night …"),
                "keeps out": Arrow([(216, 126), (290, 126)], ["SECRET"], (252, 116), (282, 126)),
                "environment": stage.environment(
                    "PATH=/usr/…", "HOME=/root", "HOSTNAME=1f…", "MODE=night"
                ),
                "record": stage.record("PID, start", "boot id", "variables"),
            },
        )
        self._frame(
            "5.9 terminal",
            "A terminal of the container's own, its master outside.",
            "New: with -t the process has a terminal pts/0 from the container's own devpts. The"
            " master of that pair is in the hands of `mydocker exec`, outside, which copies keys"
            " and output to and fro and keeps the caller's terminal raw meanwhile.",
            adds={
                "command": stage.command("mydocker exec -it"),
                "pts": stage.PTS,
                "on pts": Arrow([(470, 275), (502, 275)]),
            },
            without=["command"],
        )

    def _part_6(self) -> None:
        self._things = {
            "host": stage.HOST,
            "outside": Words(640, 92, ["the world outside"]),
            "eth0": Interface(640, 140, 150, 44, "eth0", "192.0.2.2/24"),
            "to outside": Arrow([(715, 140), (715, 100)]),
            "disk": Place(12, 356, 806, 146, "ON THE DISK: /var/lib/mydocker"),
        }
        self._frame(
            "6.1 bridge",
            "A network is a switch in the kernel, an address in it, a route, and a record.",
            "New: `mydocker network create web` has made a bridge, which is called br- and the"
            " beginning of the network's ID. It has an address, 172.17.0.1, so the host itself is"
            " plugged into it, and the kernel has added a route: packets to 172.17.0.0/16 go there."
            " The record networks/web/config.json says which ID, name and subnet the network has."
            " Nothing is plugged in yet.",
            adds={
                "command": Process(30, 232, 176, 46, "mydocker network", "create web"),
                "asks": Arrow([(206, 255), (250, 255)], ["netlink"], (228, 246)),
                "bridge": Interface(250, 232, 330, 60, "br-89fe6c545e1d", "a switch in the kernel"),
                "address": Words(256, 152, ["the host's own plug:", "172.17.0.1/16"]),
                "plugged in": Arrow([(310, 176), (310, 232)]),
                "route": Words(450, 152, ["a route:", "172.17.0.0/16"]),
                "leads to": Arrow([(490, 176), (490, 232)]),
                "record": Document(380, 400, 120, 74, "config.json", ["ID, name", "subnet"]),
                "record path": Words(250, 440, ["networks/web/"]),
                "of": Arrow([(440, 400), (440, 292)], ["says what it is"], (492, 330)),
            },
        )

    def _isolation(self) -> None:
        old, web, db = range(3)
        things: dict[str, Shape] = {
            "host": stage.HOST,
            "disk": Place(12, 356, 806, 246, "ON THE DISK: /var/lib/mydocker"),
        }
        for column, name, program in ((web, "web", "httpd"), (db, "db", "sh")):
            things |= {
                f"{name} walls": stage.walls_in(column, "namespaces"),
                f"{name} monitor": stage.monitor_above(column),
                f"{name} group": stage.group_above(column),
                f"{name} monitors": stage.monitors_below(column),
                f"{name} first": stage.first_in(column, program),
                f"{name} root": stage.root_in(column, "/"),
                f"{name} union": stage.union_in(column),
            }
        adds: dict[str, Shape] = {
            "ended": Words(
                24, 108, ["old has ended: no process, no group.", "Its files stay until rm."]
            ),
            "commit walls": stage.walls_in(old, "mount"),
            "commit": Process(44, 206, 200, 44, "mydocker commit", "old copy"),
            "commit root": stage.root_in(old, "/, read-only", 130),
            "commit reads": Arrow([(110, 286), (110, 250)]),
            "commit union": stage.union_in(old),
        }
        for column, name in ((old, "old"), (web, "web"), (db, "db")):
            record, log, path = stage.files_in(column, name)
            things |= {f"{name} record": record, f"{name} log": log, f"{name} path": path}
            width = 160 if column == old else stage.COLUMN_WIDTH
            adds[f"{name} layer"] = stage.layer_in(column, f"writeLayer/{name}/", width)
        things["image"] = Slab(24, 450, 776, 42, "images/busybox/", "read-only, one for all")
        adds["copy"] = Document(200, 392, 64, 44, "copy.tar", kind="files")
        adds["commit writes"] = Arrow([(232, 250), (232, 392)])
        self._things = things
        self._frame(
            "5.7 isolation",
            "A layer for each container, kept until rm; an image of any of them.",
            "Three containers of one image. web and db run, each with walls, a monitor and a"
            " control group of its own; old has ended, only its files are there. New: each has a"
            " layer of its own, writeLayer/web/, writeLayer/db/, writeLayer/old/, above the one"
            " read-only image. `mydocker commit` mounts the union of old once more, read-only and"
            " in a mount namespace of its own, and makes images/copy.tar of it.",
            adds=adds,
        )
