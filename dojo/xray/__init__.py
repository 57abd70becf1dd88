"""`kata xray`: what a container is made of, as the kernel shows it.

Everything is read from `/proc`, the control groups, the mounted layers and netlink, and nothing
from the records of whoever started the container. So it is right about any container: a learner's
first one, one of `unshare`, `runc` or Docker.
"""
