"""What makes test hosts, and PID 1 of each: builds it, starts programs in it, reaps in it.

Run as `python -I -S inside.py SOCKET`, as root, once for all hosts of a test run: a fork of what
has everything imported starts five times as fast as an interpreter. It imports nothing of the
project. SOCKET is the number of an inherited SOCK_SEQPACKET socket. A packet asks for a host, and
comes with that host's own socket; when the socket is closed at the other end, all of them end. A
packet is a JSON object, the plan:

    doors    files that take whoever is to be in this host's cgroups, one in each hierarchy
    cgroups  mounts to make for them inside: [mount point, file system, data]
    leaf     the door of the group below a v2 group that the host's own processes sit in, or null
    writable the directories that can be written to; all other files of this machine cannot
    guarded  system calls that programs ask before, as in "held" below; or none. With them comes
             another socket, for their numbers and the listener

What is asked and answered on the socket of a host, a JSON object a packet:

    unasked, at the beginning                  ->  {"ready": PID out here} or {"error": TEXT}
    {"start": true}                            ->  {"started": PID} or {"error": TEXT}
    {"facts": true}                            ->  {"facts": {…}}
    unasked, when a started program has ended  ->  {"ended": PID, "status": N}

With "start" come descriptors: a file that holds {"argv", "env", "cwd", "tty", "held"} as JSON (a
packet is too small for a long command line); where "held" has system calls, a socket for their
numbers and the listener that tells of each, seccomp_unotify(2); then the program's 0, 1, 2, …
Each of "held" is a name, the number of an argument, and the bits that must be set in that.

All other PIDs are the test host's own.
"""

import array
import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND = 0x20, 0x1000
KEPT_OPTIONS = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
MS_REC, MS_PRIVATE, MS_SHARED = 0x4000, 1 << 18, 1 << 20
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
NETLINK_NETFILTER, NLM_F_REQUEST = 12, 1
NFT_MSG_NEWGEN, NFT_MSG_GETGEN, NFTA_GEN_ID = 0xA0F, 0xA10, 1
SCMP_ACT_ALLOW, SCMP_ACT_NOTIFY = 0x7FFF0000, 0x7FC00000
SCMP_FLTATR_ACT_BADARCH, SCMP_FLTATR_CTL_NNP = 2, 3
SCMP_CMP_MASKED_EQ = 7
WITH_NOTIFICATIONS = 5  # of the levels of seccomp_api_get(3)
PACKET = 1 << 16
DESCRIPTORS = 64

libc = ctypes.CDLL(None, use_errno=True)

Programs = dict[int, "subprocess.Popen[bytes]"]  # that run, by PID


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    os.chdir("/")
    set_default_actions()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # hosts are nobody's to wait for
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    while True:
        packet, ancillary, _, _ = orders.recvmsg(PACKET, socket.CMSG_SPACE(8))
        if not packet:
            return
        descriptors = descriptors_in(ancillary)
        call("unshare", CLONE_NEWPID)  # for the child: no process changes its own PID
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            orders.close()
            os.close(own)
            link, *doors = map(out_of_the_way, descriptors)
            be_a_host(socket.socket(fileno=link), json.loads(packet), doors)
            os._exit(0)
        call("setns", own, CLONE_NEWPID)
        for descriptor in descriptors:
            os.close(descriptor)


def set_default_actions() -> None:
    """Ignore nothing: what is ignored here, by nohup or by Python, would be so in every program.

    Once, and not at each start of a program: to look at all signals takes half a millisecond.
    """
    for each in signal.valid_signals():
        if signal.getsignal(each) not in (signal.SIG_DFL, None):
            signal.signal(each, signal.SIG_DFL)


def be_a_host(link: socket.socket, plan: dict[str, Any], doors: list[int]) -> None:
    """Be PID 1 of a new host until the other end of the link is closed."""
    die_with_parent()
    try:
        enter(plan)
        out_here = int(os.readlink("/proc/self"))  # while /proc is still that of outside
        build(plan)
        starter = Starter(plan["guarded"], doors)
        link.send(json.dumps({"ready": out_here}).encode())
        serve(link, starter)
    except OSError as error:
        link.send(json.dumps({"error": f"{error.filename or 'test host'}: {error}"}).encode())


def enter(plan: dict[str, Any]) -> None:
    """Move into the test's cgroups, so that they are the top of what is seen from here on."""
    for door in plan["doors"]:
        pass_through(door)
    call("unshare", CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
    if plan["leaf"]:  # a v2 group with processes of its own cannot hand controllers down
        pass_through(plan["leaf"])


def pass_through(door: str) -> None:
    handle = os.open(door, os.O_WRONLY)
    os.write(handle, b"0")
    os.close(handle)


def build(plan: dict[str, Any]) -> None:
    """Mount what a freshly booted systemd machine has; all mounts are shared there."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    protect_the_files(plan["writable"])
    while os.path.ismount("/sys"):
        call("umount2", b"/sys", MNT_DETACH)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    while os.path.ismount("/proc"):
        call("umount2", b"/proc", MNT_DETACH)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for point, kind, data in plan["cgroups"]:
        os.makedirs(point, exist_ok=True)
        mount(kind, point, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, data)
    mount(None, "/", None, MS_REC | MS_SHARED)
    socket.sethostname("test-host")
    set_loopback_up()


def protect_the_files(writable: list[str]) -> None:
    """Let nothing in here change or remove a file of the real machine.

    What runs here is not known to be a container: before 4.1 none has files of its own, and what a
    test writes or deletes in a wrong one would be the machine's.
    """
    for directory in writable:
        mount(directory, directory, None, MS_BIND)
    for line in mounts():
        point = line[4].encode().decode("unicode_escape").encode("latin-1").decode()
        kept = sum(flag for name, flag in KEPT_OPTIONS.items() if name in line[5].split(","))
        of_a_session = line[-3:-1] == ["tmpfs", "kata"]  # see place.py
        try:
            if is_of_somebody_else(point, writable, of_a_session):
                call("umount2", os.fsencode(point), MNT_DETACH)  # it may go at any moment
            elif point not in writable:
                mount(None, point, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
        except OSError:
            # It is covered by another mount; or it is gone: who removes a mount point in one
            # namespace unmounts what is mounted there in all others.
            if reaches(point, line[2]) and any(line[0] == other[0] for other in mounts()):
                raise


def mounts() -> list[list[str]]:
    """The fields of each line of mountinfo: first the mount's ID."""
    with open("/proc/self/mountinfo") as file:
        return [line.split() for line in file]


def is_of_somebody_else(point: str, writable: list[str], of_a_session: bool) -> bool:
    """Whether something is mounted there beside ours, or by another session of tests."""
    beside = any(point.startswith(f"{os.path.dirname(directory)}/") for directory in writable)
    return (beside or of_a_session) and not any(
        f"{point}/".startswith(f"{directory}/") or directory.startswith(f"{point}/")
        for directory in writable
    )


def reaches(point: str, device: str) -> bool:
    """Whether a path leads to the mount that mountinfo lists there, and not to one above it."""
    try:
        found = os.stat(point).st_dev
    except OSError:
        return False
    return f"{os.major(found)}:{os.minor(found)}" == device


def serve(link: socket.socket, starter: "Starter") -> None:
    """Answer until the other end is gone."""
    os.umask(0o022)
    wake_read, wake_write = map(out_of_the_way, os.pipe2(os.O_NONBLOCK))
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    programs: Programs = {}
    while True:
        ready = select.select([link.fileno(), wake_read], [], [])[0]
        if wake_read in ready:
            os.read(wake_read, 4096)
            reap(link, programs)
        if link.fileno() in ready:
            try:
                packet, ancillary, _, _ = link.recvmsg(PACKET, socket.CMSG_SPACE(4 * DESCRIPTORS))
            except ConnectionResetError:  # it was closed, and not all that we said was read
                return
            if not packet:
                return
            answer(link, json.loads(packet), descriptors_in(ancillary), programs, starter)


def answer(
    link: socket.socket,
    asked: dict[str, Any],
    descriptors: list[int],
    programs: Programs,
    starter: "Starter",
) -> None:
    if "facts" in asked:
        link.send(json.dumps({"facts": facts()}).encode())
        return
    reply: dict[str, object]
    descriptors = [out_of_the_way(descriptor) for descriptor in descriptors]
    try:
        with open(descriptors[0], closefd=False) as file:
            file.seek(0)
            program = json.load(file)
        # What is held up is guarded as well, by who holds it up: a program has one listener.
        action = partial(start, program, descriptors[1:])
        started = action() if program["held"] else starter.do(action)
        programs[started.pid] = started
        reply = {"started": started.pid}
    except OSError as error:
        reply = {"error": f"{error.strerror or error}"}
    for descriptor in descriptors:
        os.close(descriptor)
    link.send(json.dumps(reply).encode())


def out_of_the_way(descriptor: int) -> int:
    """Move a descriptor to where it is in the way of none that a program is to have."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(descriptor)
    return high


def start(program: dict[str, Any], descriptors: list[int]) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own. Raises OSError where it cannot be.

    subprocess does so with vfork(2): to copy this interpreter takes longer than many a program.
    """
    door = descriptors.pop(0) if program["held"] else None
    streams, holding = descriptors[:3], descriptors[3:]
    held = Held(program["held"]) if program["held"] else None

    def prepare() -> None:
        if program["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # stdin is the controlling terminal: ioctl_tty(2)
        if held and door is not None:
            held.begin(door)

    kept = [os.dup2(descriptor, number) for number, descriptor in enumerate(holding, 3)]
    try:
        return subprocess.Popen(
            program["argv"],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            pass_fds=kept,
            cwd=program["cwd"],
            env=program["env"],
            start_new_session=True,
            preexec_fn=prepare if program["tty"] or held else None,
        )
    finally:
        for descriptor in kept:
            os.close(descriptor)


class Starter:
    """A thread that starts programs, which ask before they make certain system calls.

    A filter of seccomp(2) belongs to a thread, and goes to its children; no other one can be taken
    off, or have a second listener. So this process has none itself.
    """

    def __init__(self, guarded: list[tuple[str, int, int]], doors: list[int]) -> None:
        self.orders: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self.results: SimpleQueue[tuple[Any, OSError | None]] = SimpleQueue()
        threading.Thread(target=self.work, args=(guarded, doors), daemon=True).start()
        self.results.get()

    def do(self, action: Callable[[], Any]) -> Any:
        """Do something in that thread. Raises the OSError that it raises there."""
        self.orders.put(action)
        result, error = self.results.get()
        if error is not None:
            raise error
        return result

    def work(self, guarded: list[tuple[str, int, int]], doors: list[int]) -> None:
        for door in doors:
            # A kernel or machine without it: `kata doctor` tells.
            with contextlib.suppress(OSError):
                Held(guarded).begin(door)
        self.results.put((None, None))
        while True:
            try:
                self.results.put((self.orders.get()(), None))
            except OSError as error:
                self.results.put((None, error))


class Condition(ctypes.Structure):
    """struct scmp_arg_cmp: see seccomp_rule_add(3)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


class Held:
    """System calls before which the kernel asks somebody else, and waits: libseccomp's functions.

    calls: a name, an argument's number, and bits of it; not every architecture has each.
    """

    def __init__(self, calls: list[tuple[str, int, int]]) -> None:
        self.library = library = ctypes.CDLL("libseccomp.so.2")
        library.seccomp_reset(None, 0)  # it gives no second listener to a process, nor to its child
        if library.seccomp_api_get() < WITH_NOTIFICATIONS:
            raise OSError("no user notifications of seccomp: Linux has them from 5.0 on")
        library.seccomp_init.restype = ctypes.c_void_p
        self.rules = ctypes.c_void_p(library.seccomp_init(SCMP_ACT_ALLOW))
        self.check(library.seccomp_attr_set(self.rules, SCMP_FLTATR_CTL_NNP, 0))  # as without
        foreign = SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW
        self.check(library.seccomp_attr_set(self.rules, *foreign))  # 32-bit programs run
        self.numbers: dict[str, int] = {}
        for name, argument, bits in calls:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                self.numbers[name] = number
                condition = Condition(argument, SCMP_CMP_MASKED_EQ, bits, bits)
                words = self.rules, SCMP_ACT_NOTIFY, number, 1, ctypes.byref(condition)
                self.check(library.seccomp_rule_add_array(*words))

    def begin(self, door: int) -> None:
        """Hold up this process, and all that it starts, from now on."""
        self.check(self.library.seccomp_load(self.rules))
        with socket.socket(fileno=door) as link:
            listener = self.library.seccomp_notify_fd(self.rules)
            socket.send_fds(link, [json.dumps(self.numbers).encode()], [listener])

    def check(self, error: int) -> None:
        if error:
            raise OSError(-error, f"libseccomp: {os.strerror(-error)}")


def reap(link: socket.socket, programs: Programs) -> None:
    """Collect every process that has ended: programs are told, orphans are not."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if pid in programs:
            code = os.waitstatus_to_exitcode(status)
            programs.pop(pid).returncode = code  # or it would be waited for a second time
            link.send(json.dumps({"ended": pid, "status": code}).encode())


def facts() -> dict[str, object]:
    """What only a process of this host sees of it."""
    found: dict[str, object] = {"hostname": socket.gethostname()}
    found["firewall generation"] = firewall_generation()
    for kind in ("msg", "sem", "shm"):
        try:
            with open(f"/proc/sysvipc/{kind}") as file:
                found[kind] = [line.split() for line in file.readlines()[1:]]
        except OSError:
            found[kind] = []
    return found


def firewall_generation() -> int | None:
    """How often the nftables rules of this network were changed, counted from 1.

    None where the kernel does not tell. See linux/netfilter/nf_tables.h: NFT_MSG_GETGEN.
    """
    header = struct.pack("=IHHII", 20, NFT_MSG_GETGEN, NLM_F_REQUEST, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as handle:
            handle.send(header + bytes(4))  # of no protocol family
            reply = handle.recv(PACKET)
    except OSError:
        return None
    length, kind, _, _, _ = struct.unpack_from("=IHHII", reply)
    attribute, number = struct.unpack_from("=HH", reply, 20) if length >= 28 else (0, 0)
    if kind != NFT_MSG_NEWGEN or (attribute, number) != (8, NFTA_GEN_ID):
        return None
    return int.from_bytes(reply[24:28], "big")


def descriptors_in(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)


def set_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = b"lo".ljust(16, b"\0") + IFF_UP.to_bytes(2, sys.byteorder)
        fcntl.ioctl(handle, SIOCSIFFLAGS, request.ljust(40, b"\0"))


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    call("mount", *encoded, ctypes.c_ulong(flags), os.fsencode(data))


def die_with_parent() -> None:
    call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


def call(name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"{name}{arguments}")


main()
