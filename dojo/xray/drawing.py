"""An x-ray as people see it: panels on a terminal, or the same as SVG or HTML."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from dojo.screens import counted, of
from dojo.xray.kernel import CAPABILITIES, Process
from dojo.xray.layers import Root
from dojo.xray.limits import Groups, Limit
from dojo.xray.picture import Mounted, Xray
from dojo.xray.texts import cut, cut_inside, printable
from dojo.xray.walls import Wall

UP, MISSING, LATER = "green", "bold red", "yellow"
WIDTH = 100  # columns at most, and of a picture
WIDE = 92  # from here on two panels fit side by side
SHOWN = 6  # of many paths, how many are named
PROCESSES = 16
BAR = 18

# Mounts that are no part of any file system that a person keeps files in.
OF_THE_KERNEL = {"proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "securityfs"}

# For a terminal that has no more than ASCII: each sign by one that is as wide.
PLAIN = str.maketrans("━─→·…▌└├│╭╮╰╯■□○", "=->.~|`||....#.o")


class Picture:
    """An x-ray, drawn as wide as there is room. Can be printed by rich.

    moving: what changes comes first, for a screen that may not have room for all of it.
    """

    def __init__(self, xray: Xray, moving: bool = False) -> None:
        self.xray = xray
        self.draw = _moving if moving else _panels

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_wide = options.max_width >= WIDE
        for segment in console.render(self.draw(self.xray, is_wide), options):
            if options.ascii_only and not segment.control:
                plain = segment.text.translate(PLAIN).encode("ascii", "replace").decode()
                yield Segment(plain, segment.style)
            else:
                yield segment


def wide_enough(console: Console) -> None:
    """Make it no wider than is good to read."""
    console.width = min(console.width, WIDTH)


def _panels(xray: Xray, is_wide: bool) -> RenderableType:
    """The walls first: what is up, what is missing. Then what the container is made of."""
    return Group(
        _head(xray),
        _panel("walls", _walls(xray.walls), "which chapter builds it"),
        *_middle(xray, is_wide),
        _processes_panel(xray),
        _layers_panel(xray),
        _panel("mounts", _mounts(xray), "and where each comes from"),
        _panel("descriptors and environment", _inherited(xray)),
    )


def _moving(xray: Xray, is_wide: bool) -> RenderableType:
    return Group(
        _head(xray),
        _groups_panel(xray),
        _processes_panel(xray),
        _layers_panel(xray),
        _panel("walls", _walls(xray.walls), "which chapter builds it"),
    )


def _middle(xray: Xray, is_wide: bool) -> Iterable[RenderableType]:
    """Namespaces beside groups and rights, or above them."""
    namespaces = _panel("namespaces", _namespaces(xray), "inode, of the container and the host")
    groups, rights = _groups_panel(xray), _panel("rights", _rights(xray))
    if is_wide:
        grid = Table.grid(expand=True, padding=0)
        grid.add_column(ratio=49)
        grid.add_column(ratio=51)
        grid.add_row(namespaces, Group(groups, rights))
        yield grid
    else:
        yield from (namespaces, groups, rights)
    yield _panel("network", _network(xray))


def _groups_panel(xray: Xray) -> Panel:
    return _panel("control groups", _groups(xray.groups), "use of limit")


def _processes_panel(xray: Xray) -> Panel:
    return _panel("processes", _processes(xray), "PID inside, PID outside")


def _layers_panel(xray: Xray) -> Panel:
    return _panel("layers", _layers(xray.root), "lowest first")


def _panel(title: str, content: RenderableType, subtitle: str = "") -> Panel:
    return Panel(
        content,
        title=Text(title, "bold cyan"),
        title_align="left",
        subtitle=Text(subtitle, "dim") if subtitle else None,
        subtitle_align="right",
        border_style="dim cyan",
        padding=(0, 1),
    )


# Head and walls ----------------------------------------------------------------------------------


def _head(xray: Xray) -> RenderableType:
    name = xray.identity[:12] or f"process {xray.first.pid}"
    walls = [wall for wall in xray.walls if wall.is_of_a_chapter]
    up = sum(wall.is_up for wall in walls)
    verdict = Text.assemble(
        ("■" * up, UP),
        ("□" * (len(walls) - up), MISSING),
        "  ",
        (f"{of(up, len(walls))} walls are up ", UP if up == len(walls) else MISSING),
    )
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text(f" {name}", "bold"), Text(cut(xray.first.command, 60), "dim"), verdict)
    return Group("", grid)


def _walls(walls: Iterable[Wall]) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1, no_wrap=True)
    grid.add_column(width=6, no_wrap=True)
    grid.add_column(min_width=18, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    for wall in walls:
        mark, style = _mark(wall)
        chapter = Text(wall.chapter, "dim") if wall.is_up else Text(f"→ {wall.chapter}", style)
        why = Text(printable(wall.why), "" if wall.is_up else style.replace("bold ", ""))
        grid.add_row(Text("▌", style), Text(mark, style), Text(wall.what, style), why, chapter)
    return grid


def _mark(wall: Wall) -> tuple[str, str]:
    if wall.is_up:
        return "up", UP
    return ("OPEN", MISSING) if wall.is_of_a_chapter else ("open", LATER)


# Namespaces, groups, rights, network -------------------------------------------------------------


def _namespaces(xray: Xray) -> Table:
    grid = Table.grid(padding=(0, 2))
    for each in xray.namespaces:
        own = each.is_own
        grid.add_row(
            Text(each.kind, UP if own else LATER),
            Text(str(each.inode), UP if own else "dim"),
            Text(str(each.host), "dim"),
            Text("its own", UP) if own else Text("the host's", LATER),
        )
    if xray.hostname:
        grid.add_row(Text("called", "dim"), Text(cut(xray.hostname, 20)))
    return grid


def _groups(groups: Groups) -> RenderableType:
    if not groups.is_own:
        return Text("none of its own: no limit but those of whoever started it", MISSING)
    grid = Table.grid(padding=(0, 1))
    for limit in groups.limits:
        grid.add_row(limit.what, _bar(limit), _figures(limit))
    cpu = [groups.cpu_setting] if groups.cpu_setting else []
    cpu += [] if groups.cpu_most is None else [f"at most {groups.cpu_most:g} CPUs"]
    cpu += [] if groups.cpu_seconds is None else [f"used {groups.cpu_seconds:.1f} s"]
    rows: list[RenderableType] = [grid]
    if cpu:
        rows.append(Text.assemble("CPU    ", ", ".join(cpu)))
    if groups.cpus:
        of_all = f" of {groups.all_cpus}" if groups.all_cpus else ""
        rows.append(Text.assemble("CPUs   ", groups.cpus, (of_all, "dim")))
    path = groups.limits[0].group if groups.limits else max(groups.paths.values(), key=len)
    rows.append(Text(cut_inside(path, 44), "dim"))
    return Group(*rows)


def _bar(limit: Limit) -> Text:
    share = limit.share
    if share is None:
        return Text("─" * BAR, "dim")
    full = max(1, round(BAR * share))
    style = UP if share < 0.6 else LATER if share < 0.85 else MISSING
    return Text.assemble(("━" * full, style), ("─" * (BAR - full), "dim"))


def _figures(limit: Limit) -> Text:
    use = "?" if limit.use is None else _amount(limit, limit.use)
    if limit.limit is None:
        return Text.assemble(use, (", no limit", LATER))
    return Text.assemble((use, "bold"), f" of {_amount(limit, limit.limit)}")


def _amount(limit: Limit, number: int) -> str:
    if limit.what != "memory":
        return str(number)
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def _rights(xray: Xray) -> RenderableType:
    rights = xray.rights
    maps = [f"{inside} inside is {outside} outside" for inside, outside, _ in rights.maps]
    powers = f"seccomp {rights.seccomp}" + (
        ", no new privileges" if rights.no_new_privileges else ""
    )
    return Group(
        Text.assemble(("user ", "dim"), str(rights.user), (f"; {', '.join(maps)}", "dim")),
        Text.assemble(("caps ", "dim"), _capabilities(rights.capabilities)),
        Text.assemble(("     ", "dim"), powers),
    )


def _capabilities(has: tuple[str, ...]) -> Text:
    """By name: those that it has, or those that it has not, whichever are fewer."""
    lacking = [name for name in CAPABILITIES if name not in has]
    count = of(len(has), len(CAPABILITIES))
    if not has or not lacking:
        return Text(count)
    if len(has) <= len(lacking):
        return Text.assemble(f"{count}: ", (", ".join(has), "magenta"))
    return Text.assemble((count, LATER), f", all but {', '.join(lacking)}")


def _network(xray: Xray) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for each in xray.interfaces[:SHOWN]:
        state = Text("up", UP) if each.is_up else Text("down", "dim")
        addresses = Text("  ".join(each.addresses))
        grid.add_row(
            Text(printable(each.name), "bold"), state, addresses, Text(printable(each.kind), "dim")
        )
    if len(xray.interfaces) > SHOWN:
        grid.add_row(Text(f"… {len(xray.interfaces) - SHOWN} more", "dim"))
    return grid if xray.interfaces else Text("no interface at all", "dim")


# Processes ---------------------------------------------------------------------------------------


def _processes(xray: Xray) -> RenderableType:
    tree = Tree(_starter(xray.starter), guide_style="dim")
    places = [tree]
    for depth, process in xray.processes[:PROCESSES]:
        del places[depth + 1 :]
        places.append(places[depth].add(_process(process)))
    if len(xray.processes) > PROCESSES:
        tree.add(Text(f"… {len(xray.processes) - PROCESSES} more", "dim"))
    return tree


def _starter(starter: Process | None) -> Text:
    if starter is None:
        return Text("started by a process that cannot be seen from here", "dim")
    command = cut(starter.command, 60)
    return Text.assemble((f"outside {starter.pid}", "dim"), "  ", (command, "dim"))


def _process(process: Process) -> Text:
    if len(process.pids) > 1:
        inside = Text.assemble("PID ", (str(process.inner), f"bold {UP}"), "  ")
    else:
        inside = Text("no PID of its own  ", MISSING)
    outside = Text(f"outside {process.pid}  ", "dim")
    state = Text("  a zombie: nobody has waited for it", LATER) if process.state == "Z" else ""
    return Text.assemble(inside, outside, cut(process.command, 52), state)


# Files -------------------------------------------------------------------------------------------


def _layers(root: Root) -> RenderableType:
    if root.kind == "host":
        return Text("none: / is the host's, every file of the host can be seen in there", MISSING)
    if root.kind == "chroot":
        return Text("none: / is a directory of the host's, by chroot only", MISSING)
    if not root.has_layers and not root.lowers:
        kept = "read-only" if root.is_read_only else "what is written stays in it"
        return Text(f"none: / is one file system ({root.kind}), {kept}", LATER)
    grid = Table.grid(padding=(0, 2))
    for number, lower in enumerate(root.lowers, start=1):
        grid.add_row(str(number), Text("image", "cyan"), Text(cut_inside(lower, 66)))
    if root.upper is None:
        return Group(grid, Text("no writable layer: nothing can be written", "dim"))
    top = Text(cut_inside(root.upper, 66))
    grid.add_row(str(len(root.lowers) + 1), Text("writable layer", "bold magenta"), top)
    return Group(grid, *_changes(root))


def _changes(root: Root) -> Iterable[RenderableType]:
    changes = root.changes
    if changes is None:
        yield Text("its writable layer cannot be seen from here", "dim")
        return
    if not (changes.added or changes.changed or changes.deleted or changes.replaced):
        yield Text("   nothing written yet", "dim")
        return
    yield from _paths("+", changes.added, UP, "added")
    yield from _paths("~", changes.changed, LATER, "changed: copied up, the image keeps its own")
    if root.kind == "aufs":
        why = "deleted: a whiteout .wh.NAME hides what the image has"
        opaque = "replaced: .wh..wh..opq hides all that the image has there"
    else:
        why = "deleted: a whiteout, a device 0/0, hides what the image has"
        opaque = "replaced: opaque, hides all that the image has there"
    yield from _paths("-", changes.deleted, "red", why)
    yield from _paths("○", changes.replaced, "red", opaque)
    if not changes.is_whole:
        yield Text("   and more: too many to look at all of them", "dim")


def _paths(sign: str, paths: tuple[str, ...], style: str, why: str) -> Iterable[Text]:
    if paths:
        yield Text(f"   {len(paths):>3} {why}", "dim")
    for path in paths[:SHOWN]:
        yield Text(f"       {sign} {cut_inside(path, 60)}", style)
    if len(paths) > SHOWN:
        yield Text(f"       {sign} … {len(paths) - SHOWN} more", style)


def _mounts(xray: Xray) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for mounted in xray.mounts:
        if mounted.mount.point != "/":
            how = "read-only" if mounted.mount.is_read_only else ""
            point = Text(cut_inside(mounted.mount.point, 30), "bold")
            grid.add_row(point, _origin(mounted), Text(how, "dim"))
    if not grid.row_count:
        return Text("none but those of the host", "dim")
    return grid


def _origin(mounted: Mounted) -> Text:
    """Where the same files are out here, if they are; else what they are of."""
    mount = mounted.mount
    if mount.kind in OF_THE_KERNEL or mounted.outside is None:
        text = mount.kind if mount.kind in OF_THE_KERNEL or mount.kind == "tmpfs" else mount.source
        return Text(printable(text), "dim")
    outside = cut_inside(mounted.outside, 46)
    return Text.assemble((outside, "magenta"), (f" on the host, {printable(mount.kind)}", "dim"))


def _inherited(xray: Xray) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for each in xray.descriptors[: 3 * SHOWN]:
        style = MISSING if each.is_from_outside else ""
        leak = Text("inherited, leads outside", style) if each.is_from_outside else Text("")
        grid.add_row(Text(str(each.number), style), Text(cut_inside(each.target, 60), style), leak)
    environment = xray.environment
    told = Text.assemble(
        ("environment  ", "dim"),
        counted(len(environment.names), "variable"),
        (f", {len(environment.inherited)} as whoever started it has them", "dim")
        if environment.inherited
        else "",
        style=MISSING if environment.is_let_in else "",
    )
    return Group(grid, told)
