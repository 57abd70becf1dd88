"""Which lab the tests run in: this machine, or the virtual one."""

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.labs import vagrant
from dojo.labs.connection import Connection
from dojo.testkit import machine

LABS = ("auto", "here", "vagrant")
NEEDED = ("linux", "root", "namespaces")


def is_elsewhere(wanted: str) -> bool:
    """Whether tests run in the virtual machine. wanted: one of LABS."""
    return wanted == "vagrant" or (wanted == "auto" and machine.missing(NEEDED) is not None)


def connect(wanted: str, clone: Clone, as_root: str) -> Connection:
    """Reach the virtual machine.

    wanted: one of LABS. as_root: what to type to run the tests on this machine instead. Raises
    KataError, which names both ways where none was asked for.
    """
    if wanted == "vagrant":
        return vagrant.connect(clone)
    refusal = refusal_here(as_root)
    if not vagrant.may_be_there(clone):
        raise KataError(f"{refusal}, or type `vagrant up`: they will run in that virtual machine")
    try:
        return vagrant.connect(clone)
    except KataError as error:
        raise KataError(f"{refusal}, or use the virtual machine: {error}") from error


def refusal_here(as_root: str) -> str | None:
    """Why tests cannot run on this machine, and what to type instead; None if they can.

    as_root: what to type to run them as root.
    """
    if machine.missing(["linux"]) is not None:
        return "the tests start containers, which takes Linux: run them on a Linux machine"
    if machine.missing(["root"]) is not None:
        return f"the tests start containers, which takes root: type `{as_root}`"
    reason = machine.missing(NEEDED)
    return None if reason is None else f"the tests cannot run here: {reason}"
