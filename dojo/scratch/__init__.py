"""A scratch host: namespaces and cgroups that stand for a machine, one for each test.

`inside.py` is its PID 1, `host.py` is how a test handles it, `leaks.py` says what was left behind.
"""

from dojo.scratch.calls import Call
from dojo.scratch.host import Process, Running, ScratchHost

__all__ = ["Call", "Process", "Running", "ScratchHost"]
