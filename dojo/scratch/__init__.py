"""A test host: namespaces and cgroups that stand for a machine, one for each test.

`inside.py` is its PID 1, `host.py` is how a test handles it, `crash_points.py` holds a program up
before what it does next, `leaks.py` says what was left behind.
"""

from dojo.scratch.calls import Call
from dojo.scratch.crash_points import CrashPoint
from dojo.scratch.host import Running, TestHost
from dojo.scratch.processes import Process

__all__ = ["Call", "CrashPoint", "Process", "Running", "TestHost"]
