"""What the root file system of a container consists of."""

import struct
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from dojo.testkit.root_commands import ClosedError, ask

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


# What a root file system consists of ---------------------------------------------------------


def tree_of(busybox: Path) -> Tree:
    """The root file system of one static busybox. Raises ClosedError if it is not one."""
    try:
        program = busybox.read_bytes()
    except OSError as error:
        raise ClosedError(f"{busybox}: {error.strerror}") from error
    if not is_static(program):
        raise ClosedError(f"{busybox} is not a static program")
    applets = ask([str(busybox), "--list-full"], 10.0).decode().split()
    if "bin/sh" not in applets:
        raise ClosedError(f"{busybox} --list-full names no bin/sh")
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


def tree_of_export(exported: bytes) -> Tree:
    """What `docker export` gave, with the engine's own traces left out and our files put in."""
    tree: Tree = {}
    try:
        with tarfile.open(fileobj=BytesIO(exported)) as archive:
            for member in archive:
                name = plain(member.name)
                parts = name.split("/")
                if parts[0] in ("", ".dockerenv", "dev", "proc", "sys") or ".." in parts:
                    continue
                if member.type in (tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE):
                    stream = archive.extractfile(member) if member.isreg() else None
                    content = stream.read() if stream else b""
                    tree[name] = Entry(member.type, member.mode, content, member.linkname)
                elif member.islnk():
                    tree[name] = Entry(tarfile.LNKTYPE, member.mode, b"", plain(member.linkname))
    except (tarfile.TarError, EOFError) as error:
        raise ClosedError(f"docker export: not a tar file that can be read: {error}") from error
    if "bin/sh" not in tree:
        raise ClosedError("docker export: the image busybox has no bin/sh")
    ours = {
        name: entry
        for name, entry in _skeleton().items()
        if name not in tree or entry.kind == tree[name].kind == tarfile.DIRTYPE
    }
    return tree | ours


def plain(name: str) -> str:
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
