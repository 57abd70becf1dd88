"""An x-ray as data, for a program: what `kata xray --json` prints."""

from typing import Any

from dojo.xray.kernel import Process
from dojo.xray.layers import Root
from dojo.xray.limits import Groups
from dojo.xray.picture import Mounted, Xray


def of(xray: Xray) -> dict[str, Any]:
    """All that is known of a container, in what JSON has.

    Of the environment there are only the names: a value may be a secret.
    """
    return {
        "pid": xray.first.pid,
        "id": xray.identity,
        "hostname": xray.hostname,
        "command": xray.first.command,
        "starter": _process(xray.starter) if xray.starter else None,
        "walls": [
            {"what": wall.what, "up": wall.is_up, "why": wall.why, "chapter": wall.chapter}
            for wall in xray.walls
        ],
        "namespaces": {
            each.kind: {"inode": each.inode, "host": each.host, "own": each.is_own}
            for each in xray.namespaces
        },
        "processes": [{"depth": depth, **_process(process)} for depth, process in xray.processes],
        "root": _root(xray.root),
        "mounts": [_mount(mounted) for mounted in xray.mounts],
        "groups": _groups(xray.groups),
        "rights": {
            "user": xray.rights.user,
            "users": [
                {"inside": inside, "outside": outside, "count": count}
                for inside, outside, count in xray.rights.maps
            ],
            "capabilities": list(xray.rights.capabilities),
            "seccomp": xray.rights.seccomp,
            "no_new_privileges": xray.rights.no_new_privileges,
        },
        "environment": {
            "names": list(xray.environment.names),
            "inherited": list(xray.environment.inherited),
        },
        "descriptors": [
            {"number": each.number, "target": each.target, "from_outside": each.is_from_outside}
            for each in xray.descriptors
        ],
        "interfaces": [
            {
                "name": each.name,
                "kind": each.kind,
                "up": each.is_up,
                "addresses": list(each.addresses),
            }
            for each in xray.interfaces
        ],
    }


def _process(process: Process) -> dict[str, Any]:
    """pids: in each PID namespace that it is in, the looker's first, its own last."""
    return {
        "pid": process.pid,
        "inner": process.inner,
        "pids": list(process.pids),
        "state": process.state,
        "user": process.user,
        "command": process.command,
    }


def _root(root: Root) -> dict[str, Any]:
    changes = root.changes
    return {
        "kind": root.kind,
        "source": root.source,
        "read_only": root.is_read_only,
        "lowers": list(root.lowers),
        "upper": root.upper,
        "changes": None
        if changes is None
        else {
            "added": list(changes.added),
            "changed": list(changes.changed),
            "deleted": list(changes.deleted),
            "replaced": list(changes.replaced),
            "whole": changes.is_whole,
        },
    }


def _mount(mounted: Mounted) -> dict[str, Any]:
    mount = mounted.mount
    return {
        "point": mount.point,
        "kind": mount.kind,
        "source": mount.source,
        "of": mount.of,
        "outside": mounted.outside,
        "read_only": mount.is_read_only,
    }


def _groups(groups: Groups) -> dict[str, Any]:
    return {
        "own": groups.is_own,
        "paths": groups.paths,
        "limits": {
            each.what: {"limit": each.limit, "use": each.use, "group": each.group}
            for each in groups.limits
        },
        "cpu_weight": groups.cpu_weight,
        "cpu_setting": groups.cpu_setting,
        "cpus": groups.cpus,
        "cpu_most": groups.cpu_most,
        "cpu_seconds": groups.cpu_seconds,
    }
