"""Where tests that need root and a Linux kernel run: here. `dojo.labs` is about elsewhere."""

import os
import platform
from collections.abc import Iterable

from dojo.testkit import machine


def cannot(needs: Iterable[str]) -> str | None:
    """Why this machine cannot run tests that need these abilities; None if it can.

    See `dojo.testkit.machine` for the abilities.
    """
    return machine.missing(["linux", "root", *needs])


def known_to_lack() -> set[str]:
    """What KATA_LAB_LACKS names, such as "aufs": abilities that --strict-lab does not insist on."""
    return set(os.environ.get("KATA_LAB_LACKS", "").split(","))


def describe() -> str:
    """This lab in a few words, for the header of a test run."""
    reason = cannot(["namespaces"])
    return name() if reason is None else f"{name()}: {reason}"


def name() -> str:
    """This lab and its kernel, as each report names it."""
    return f"here, {platform.system()} {platform.release()}"
