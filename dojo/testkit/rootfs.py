"""The root file system that containers of the kata live in: busybox, as one tar file.

No network is needed where a static busybox is: it is one program that is `sh`, `ls`, `mount` and
three hundred others, by the name of the link through which it is called. The tar is the same to the
byte for the same busybox, so that whatever is cached by its hash stays valid.
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from dojo.clone import Clone
from dojo.errors import KataError

Say = Callable[[str], object]


def _on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def ensure(clone: Clone, say: Say = _on_stderr) -> Path:
    """The tar file of the root file system, made now if it is not there yet.

    It comes from $KATA_ROOTFS (a tar file or a directory), or is the one made before, or is made
    from a static busybox on this machine, from one that apt installs (as root), or from the busybox
    image of a Docker engine. Two processes may ask at once; what an interrupted one leaves is made
    anew.

    say: gets one line before anything that takes long or changes the machine.
    Raises KataError that names every way to get one.
    """
    folder = clone.state / "rootfs"
    given = os.environ.get("KATA_ROOTFS")
    if given:
        return _given(clone, Path(given).absolute(), folder / "given.tar")
    tar = folder / "busybox.tar"
    if tar.is_file():
        return tar
    with _one_at_a_time(clone, folder):
        if not tar.is_file():  # else another process made it while this one waited
            tree = _first_that_works(say)
            _put(clone, tar, lambda file: _write(tree, file))
    return tar


def unpack(tar: Path, directory: Path) -> None:
    """Unpack a root file system into an existing directory, as root, with owners by number.

    Raises KataError with tar's own reason.
    """
    argv = ["tar", "--extract", "--file", str(tar), "--directory", str(directory)]
    argv += ["--numeric-owner", "--same-owner", "--preserve-permissions"]
    _tar(argv, f"unpack {tar} into {directory}")


# What $KATA_ROOTFS names ---------------------------------------------------------------------


def _given(clone: Clone, given: Path, packed: Path) -> Path:
    """The tar file that was given, or the directory that was given, packed.

    A directory is packed at every call: it may have changed since the last one.
    """
    if given.is_file():
        _check_that_it_is_a_root(given)
        return given
    if not given.is_dir():
        raise KataError(f"KATA_ROOTFS={given}: no such tar file or directory")
    if not any(os.path.lexists(given / shell) for shell in _SHELLS):
        raise KataError(f"KATA_ROOTFS={given}: not a root file system, it has no bin/sh")
    with _one_at_a_time(clone, packed.parent):
        _put(clone, packed, lambda file: _pack(given, Path(file.name)))
    return packed


_SHELLS = ("bin/sh", "usr/bin/sh")


def _check_that_it_is_a_root(tar: Path) -> None:
    try:
        with tarfile.open(tar) as archive:
            if any(_plain(member.name) in _SHELLS for member in archive):
                return
    except (tarfile.TarError, EOFError, OSError) as error:
        raise KataError(f"KATA_ROOTFS={tar}: not a tar file that can be read: {error}") from error
    raise KataError(f"KATA_ROOTFS={tar}: not a root file system, it has no bin/sh")


def _pack(directory: Path, tar: Path) -> None:
    argv = ["tar", "--create", "--file", str(tar), "--directory", str(directory)]
    argv += ["--numeric-owner", "--one-file-system", "--sort=name", "."]
    _tar(argv, f"pack KATA_ROOTFS={directory}")


def _tar(argv: Sequence[str], tried: str) -> None:
    """Run GNU tar. tried: how an error names what was tried. Raises KataError."""
    environment = {name: value for name, value in os.environ.items() if name != "TAR_OPTIONS"}
    try:
        result = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise KataError(f"{tried}: no tar on this machine (Debian: apt install tar)") from error
    if result.returncode != 0:
        # Its last line only says that it ends.
        reason = result.stderr.decode(errors="replace").partition("\n")[0]
        raise KataError(f"{tried}: {reason}")


# Where a busybox comes from ------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One file of a root file system.

    kind: its tarfile type (DIRTYPE, REGTYPE, SYMTYPE, LNKTYPE). target: where a link points.
    """

    kind: bytes
    mode: int = 0o777
    content: bytes = b""
    target: str = ""


Tree = dict[str, Entry]


class _ClosedError(Exception):
    """A way to a busybox that is closed; the text says why."""


def _first_that_works(say: Say) -> Tree:
    reasons = []
    for way in (_from_this_machine, _from_apt, _from_docker):
        try:
            return way(say)
        except _ClosedError as error:
            reasons.append(str(error))
    on_this_machine, apt, docker = reasons
    raise KataError(
        "there is no busybox to make a root file system from. Any of these will do:\n"
        f"  sudo apt-get install busybox-static   ({on_this_machine}; {apt})\n"
        f"  a Docker engine that has the image busybox, or can pull it   ({docker})\n"
        "  KATA_ROOTFS=PATH in the environment: a tar file or a directory that holds bin/sh"
    )


def _from_this_machine(say: Say) -> Tree:
    """The root file system of the first static busybox found here."""
    on_path = shutil.which("busybox")
    candidates = dict.fromkeys(path for path in (on_path, _BIN_BUSYBOX) if path)
    refused = []
    for candidate in candidates:
        try:
            return _tree_of(Path(candidate))
        except _ClosedError as error:
            refused.append(str(error))
    raise _ClosedError("; ".join(refused))


_BIN_BUSYBOX = "/bin/busybox"


def _from_apt(say: Say) -> Tree:
    apt = shutil.which("apt-get")
    if apt is None:
        raise _ClosedError("no apt-get here")
    if os.geteuid() != 0:
        raise _ClosedError("apt-get needs root")
    say("installing busybox-static with apt-get, to make a root file system of it")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "-qq", "-y", "-oDPkg::Lock::Timeout=60", "install", "busybox-static"]
    try:
        _ask(install, _APT_SECONDS, environment)
    except _ClosedError:  # a fresh container has no package lists
        _ask([apt, "-qq", "update"], _APT_SECONDS, environment)
        _ask(install, _APT_SECONDS, environment)
    return _from_this_machine(say)


_APT_SECONDS = 300.0


def _from_docker(say: Say) -> Tree:
    """The image busybox, as a Docker engine that answers exports it."""
    docker = shutil.which("docker")
    if docker is None:
        raise _ClosedError("no docker command here")
    _ask([docker, "version", "--format", "{{.Server.Version}}"], _DOCKER_SECONDS)
    say("exporting the image busybox from Docker, to make a root file system of it")
    name = f"kata-rootfs-{os.getpid()}"
    try:
        _ask([docker, "create", "--name", name, "busybox"], _DOCKER_PULL_SECONDS)
        exported = _ask([docker, "export", name], _DOCKER_SECONDS)
    finally:
        with suppress(_ClosedError):
            _ask([docker, "rm", "-f", name], _DOCKER_SECONDS)
    return _tree_of_export(exported)


_DOCKER_SECONDS = 10.0
_DOCKER_PULL_SECONDS = 60.0


def _ask(
    argv: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> bytes:
    """Run a command that may never answer, and return what it printed.

    It gets a session of its own, so that its children end with it when its time is up. Raises
    _ClosedError.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise _ClosedError(f"{argv[0]}: {error.strerror}") from error
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise _ClosedError(f"{_call(argv)}: no answer in {seconds:g} s") from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise _ClosedError(f"{_call(argv)}: {_why(errors.read(), process.returncode)}")
        return output.read()


def _call(argv: Sequence[str]) -> str:
    """A command as a person would name it: `docker create`, `busybox --list-full`."""
    verb = next((word for word in argv[1:] if not word.startswith("-")), argv[1])
    return f"{argv[0]} {verb}"


def _why(errors: bytes, status: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    if lines:
        return lines[-1].strip()
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"


# What a root file system consists of ---------------------------------------------------------


def _tree_of(busybox: Path) -> Tree:
    """The root file system of one static busybox. Raises _ClosedError if it is not one."""
    try:
        program = busybox.read_bytes()
    except OSError as error:
        raise _ClosedError(f"{busybox}: {error.strerror}") from error
    if not is_static(program):
        raise _ClosedError(f"{busybox} is not a static program")
    applets = _ask([str(busybox), "--list-full"], 10.0).decode().split()
    if "bin/sh" not in applets:
        raise _ClosedError(f"{busybox} --list-full names no bin/sh")
    links: Tree = {}
    for applet in applets:
        if "/" in applet and ".." not in applet.split("/"):  # linuxrc, at the top, is for a boot
            above = "../" * applet.count("/")
            target = "busybox" if applet.startswith("bin/") else f"{above}bin/busybox"
            links[applet] = Entry(tarfile.SYMTYPE, target=target)
    return _skeleton() | links | {"bin/busybox": Entry(tarfile.REGTYPE, 0o755, program)}


def is_static(program: bytes) -> bool:
    """Whether this is an ELF program that needs no dynamic linker, so runs in any root."""
    if program[:4] != b"\x7fELF" or len(program) < 64:
        return False
    wide = program[4] == 2
    order = "<" if program[5] == 1 else ">"
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), program, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", program, 54 if wide else 42)
    if count == 0 or table + size * count > len(program):
        return False
    kinds = [struct.unpack_from(order + "I", program, table + size * i)[0] for i in range(count)]
    return _PT_INTERP not in kinds


_PT_INTERP = 3  # elf(5): the segment that names the dynamic linker


def _tree_of_export(exported: bytes) -> Tree:
    """What `docker export` gave, with the engine's own traces left out and our files put in."""
    tree: Tree = {}
    try:
        with tarfile.open(fileobj=BytesIO(exported)) as archive:
            for member in archive:
                name = _plain(member.name)
                parts = name.split("/")
                if parts[0] in ("", ".dockerenv", "dev", "proc", "sys") or ".." in parts:
                    continue
                if member.type in (tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE):
                    stream = archive.extractfile(member) if member.isreg() else None
                    content = stream.read() if stream else b""
                    tree[name] = Entry(member.type, member.mode, content, member.linkname)
                elif member.islnk():
                    tree[name] = Entry(tarfile.LNKTYPE, member.mode, b"", _plain(member.linkname))
    except (tarfile.TarError, EOFError) as error:
        raise _ClosedError(f"docker export: not a tar file that can be read: {error}") from error
    if "bin/sh" not in tree:
        raise _ClosedError("docker export: the image busybox has no bin/sh")
    ours = {
        name: entry
        for name, entry in _skeleton().items()
        if name not in tree or entry.kind == tree[name].kind == tarfile.DIRTYPE
    }
    return tree | ours


def _plain(name: str) -> str:
    return str(PurePosixPath("/", name))[1:]


def _skeleton() -> Tree:
    """What every root file system has beside its programs."""
    tree = {name: Entry(tarfile.DIRTYPE, 0o755) for name in _DIRECTORIES.split()}
    tree["root"] = Entry(tarfile.DIRTYPE, 0o700)
    tree["tmp"] = tree["var/tmp"] = Entry(tarfile.DIRTYPE, 0o1777)
    for name, text in _FILES.items():
        tree[name] = Entry(tarfile.REGTYPE, 0o644, text.encode())
    return tree


_DIRECTORIES = "bin dev etc home mnt proc run sbin sys usr usr/bin usr/lib usr/sbin var var/log"

_FILES = {
    "etc/group": """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
utmp:x:43:
users:x:100:
nogroup:x:65534:
""",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/passwd": """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
""",
    "etc/resolv.conf": "",
    "etc/shells": "/bin/sh\n/bin/ash\n",
}


# Writing it ----------------------------------------------------------------------------------


def _write(tree: Tree, file: IO[bytes]) -> None:
    """Write a tree as a tar file: the same tree gives the same bytes, whoever writes it."""
    # GNU tar's format, fixed here because Python's default has changed before.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        # The root itself comes first, for its mode: it is unpacked into a directory made by
        # mkdtemp, which only root may enter.
        archive.addfile(_header(".", Entry(tarfile.DIRTYPE, 0o755)))
        for name in sorted(tree, key=lambda name: (tree[name].kind == tarfile.LNKTYPE, name)):
            entry = tree[name]
            archive.addfile(_header(name, entry), BytesIO(entry.content))


def _header(name: str, entry: Entry) -> tarfile.TarInfo:
    """A tar header of root's (TarInfo's uid and gid are 0, its names empty)."""
    header = tarfile.TarInfo(name)
    header.type = entry.kind
    header.mode = entry.mode
    header.size = len(entry.content)
    header.linkname = entry.target
    header.mtime = _MOMENT
    return header


_MOMENT = 1577836800  # 2020-01-01: any moment does, as long as it is always the same


def _put(clone: Clone, path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    """Make a file whole or not at all, and the clone's owner's."""
    unfinished = path.with_name(path.name + ".new")
    try:
        with unfinished.open("wb") as file:
            fill(file)
        unfinished.chmod(0o644)
        clone.give_back(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise KataError(f"write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(clone: Clone, folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock: whoever comes second waits, and finds the work done."""
    try:
        for directory in (folder.parent, folder):
            if not directory.is_dir():
                directory.mkdir(exist_ok=True)
                clone.give_back(directory)
        with (folder / "lock").open("ab") as lock:
            clone.give_back(folder / "lock")
            _wait_for(lock)
            yield
    except OSError as error:
        raise KataError(f"write into {folder}: {error.strerror}") from error


def _wait_for(lock: IO[bytes]) -> None:
    if sys.platform != "win32":  # where no tests run, so that nobody comes second
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
