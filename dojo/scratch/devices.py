"""Which devices the programs of a test host can open: no disk, whatever path leads to it.

A device file is a pair of numbers that root can make anywhere, so no mount keeps a disk away. In
cgroups version 1 there is a controller for that; in version 2 a small program, which the kernel
asks at each open: see linux/bpf.h and `man 7 cgroups`.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

# Character devices, by major and minor number; None: all minors.
HARMLESS: tuple[tuple[int, int | None], ...] = (
    *((1, minor) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    (5, None),  # tty, console, ptmx
    *((major, None) for major in range(136, 144)),  # pseudo terminals
    (10, 200),  # tun
    (10, 229),  # fuse
)
CALL = {"x86_64": 321, "aarch64": 280}  # of bpf(2)
BPF_PROG_LOAD, BPF_PROG_ATTACH = 5, 8
BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI = 15, 6, 2
BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_DEV_CHAR = 1, 2
# Instructions, by what they do with a number, or load from struct bpf_cgroup_dev_ctx.
LOAD, AND, SHIFT_RIGHT, MOVE, COPY = 0x61, 0x57, 0x77, 0xB7, 0xBF
JUMP_IF_EQUAL, JUMP_IF_NOT_EQUAL, EXIT = 0x15, 0x55, 0x95


def allow_harmless_ones(group: Path) -> None:
    """Let the processes of a group make all device files, and open those of HARMLESS only.

    Does nothing in a hierarchy that has no say in it, or where the kernel was built without.
    """
    with contextlib.suppress(OSError):
        if (group / "devices.deny").exists():
            (group / "devices.deny").write_text("a")
            for rule in _rules():
                (group / "devices.allow").write_text(rule)
        elif (group / "cgroup.controllers").exists():
            _attach(group, _load(b"".join(_program())))


def _rules() -> Iterator[str]:
    yield from ("c *:* m", "b *:* m")
    for major, minor in HARMLESS:
        yield f"c {major}:{'*' if minor is None else minor} rwm"


def _program() -> Iterator[bytes]:
    """1 if the access is allowed, 0 if not. The context is in register 1."""
    allow = _one(MOVE, 0, 1) + _one(EXIT)
    yield _one(LOAD, 2, source=1) + _one(COPY, 3, source=2)
    yield _one(AND, 2, 0xFFFF) + _one(SHIFT_RIGHT, 3, 16)  # the type; the access
    yield _one(JUMP_IF_NOT_EQUAL, 3, BPF_DEVCG_ACC_MKNOD, jump=2) + allow
    yield _one(JUMP_IF_EQUAL, 2, BPF_DEVCG_DEV_CHAR, jump=2) + _one(MOVE, 0, 0) + _one(EXIT)
    yield _one(LOAD, 4, source=1, jump=4) + _one(LOAD, 5, source=1, jump=8)  # major; minor
    for major, minor in HARMLESS:
        if minor is None:
            yield _one(JUMP_IF_NOT_EQUAL, 4, major, jump=2) + allow
        else:
            yield _one(JUMP_IF_NOT_EQUAL, 4, major, jump=3)
            yield _one(JUMP_IF_NOT_EQUAL, 5, minor, jump=2) + allow
    yield _one(MOVE, 0, 0) + _one(EXIT)


def _one(
    operation: int, register: int = 0, number: int = 0, *, source: int = 0, jump: int = 0
) -> bytes:
    return struct.pack("=BBhi", operation, register | source << 4, jump, number)


def _load(program: bytes) -> int:
    code, license = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
    kind, count = BPF_PROG_TYPE_CGROUP_DEVICE, len(program) // 8
    places = ctypes.addressof(code), ctypes.addressof(license)
    return _bpf(BPF_PROG_LOAD, struct.pack("=IIQQ", kind, count, *places))


def _attach(group: Path, program: int) -> None:
    handle = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        numbers = handle, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI
        _bpf(BPF_PROG_ATTACH, struct.pack("=IIII", *numbers))
    finally:
        os.close(handle)
        os.close(program)


def _bpf(command: int, attributes: bytes) -> int:
    number = CALL.get(os.uname().machine)
    if number is None:
        raise OSError("bpf(2): not known on this architecture")
    attributes = attributes.ljust(128, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
