"""What a container may use at most, as the options say it."""

MEGABYTE = 1024 * 1024
MEMORY_UNITS = {"b": 1, "k": 1024, "m": MEGABYTE, "g": 1024 * MEGABYTE}
MEMORY_LEAST = 6 * MEGABYTE  # Docker's own: with less, not even an init gets going
MEMORY_MOST = 2**63 - 1  # what the kernel counts in
SHARES_LEAST, SHARES_MOST = 2, 262144  # cpu.shares, kernel/sched/sched.h
PIDS_MOST = 1 << 22  # PID_MAX_LIMIT, linux/threads.h
CPUS_MOST = 8191  # CONFIG_NR_CPUS is 8192 at most


class Limits:
    """The limits of one container; None where it has none.

    memory: in bytes, swap included. cpu_shares: a weight beside other containers' weights.
    cpus: the numbers of the CPUs that it may run on. pids: how many processes and threads.
    """

    def __init__(
        self,
        memory: int | None = None,
        cpu_shares: int | None = None,
        cpus: frozenset[int] | None = None,
        pids: int | None = None,
    ) -> None:
        self.memory = memory
        self.cpu_shares = cpu_shares
        self.cpus = cpus
        self.pids = pids

    def controllers(self) -> frozenset[str]:
        """The cgroup controllers that these limits need."""
        limits = {
            "memory": self.memory,
            "cpu": self.cpu_shares,
            "cpuset": self.cpus,
            "pids": self.pids,
        }
        return frozenset(name for name, limit in limits.items() if limit is not None)


def read_memory(text: str) -> int | None:
    """The bytes that "64m" means; None for 0, no limit. Raises ValueError."""
    number, unit = text, 1
    if text[-1:].lower() in MEMORY_UNITS:
        number, unit = text[:-1], MEMORY_UNITS[text[-1].lower()]
    size = whole_number(number, "a size is a number and b, k, m or g") * unit
    if 0 < size < MEMORY_LEAST:
        raise ValueError("the minimum is 6m")
    if size > MEMORY_MOST:
        raise ValueError("more than the kernel can count")
    return size or None


def read_cpu_shares(text: str) -> int | None:
    """The weight, None for 0, the default. Raises ValueError."""
    shares = whole_number(text, "CPU shares are a whole number")
    if shares and not SHARES_LEAST <= shares <= SHARES_MOST:
        raise ValueError(f"CPU shares are {SHARES_LEAST} to {SHARES_MOST}, or 0 for the default")
    return shares or None


def read_pids_limit(text: str) -> int | None:
    """The number of processes, None for 0 and -1, no limit. Raises ValueError."""
    if text == "-1":
        return None
    limit = whole_number(text, "a limit on processes is a whole number, -1 for none")
    if limit > PIDS_MOST:
        raise ValueError(f"there can be {PIDS_MOST} processes at most, -1 is no limit")
    return limit or None


def read_cpus(text: str) -> frozenset[int] | None:
    """The CPUs that a list such as "0-2,5" names, None for an empty text. Raises ValueError."""
    if not text:
        return None
    wrong = "a list of CPUs is like 0-2,5"
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = whole_number(first, wrong)
        end = whole_number(last, wrong) if dash else start
        if end < start or end > CPUS_MOST:
            raise ValueError(wrong)
        cpus.update(range(start, end + 1))
    return frozenset(cpus)


def write_cpus(cpus: frozenset[int]) -> str:
    """The kernel's spelling of a set of CPUs."""
    return ",".join(str(cpu) for cpu in sorted(cpus))


def whole_number(text: str, wrong: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(wrong)
    return int(text)
