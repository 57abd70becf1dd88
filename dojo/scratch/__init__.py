"""A scratch host: namespaces and cgroups that stand for a machine, one for each test.

`inside.py` is its PID 1, `host.py` is how a test handles it, `moments.py` holds a program up before
what it does next, `leaks.py` says what was left behind.
"""

from dojo.scratch.calls import Call
from dojo.scratch.host import Running, ScratchHost
from dojo.scratch.moments import Moment
from dojo.scratch.processes import Process

__all__ = ["Call", "Moment", "Process", "Running", "ScratchHost"]
