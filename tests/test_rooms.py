"""The rooms of the tool: who may know whom."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from dojo import clone

ROOT = clone.here().root
# From the ground up. A room knows the rooms before it, never one of its own line or after it.
FLOORS = (
    {"scratch", "course"},
    {"testkit", "engines", "pictures", "xray"},
    {"labs", "site"},
    {"plugin"},
    {"learner", "teeth"},
)
ROOMS = [room for floor in FLOORS for room in floor]


def modules() -> dict[str, Path]:
    """All modules of the tool, by their names: `dojo.course.steps`."""
    found = {}
    for path in sorted((ROOT / "dojo").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the tool that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {name if name in known else node.module for name in inner}


def imports() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def room_of(module: str) -> str | None:
    """The room of a module; None for what lies at ground level."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def test_each_directory_is_a_room() -> None:
    there = {path.parent.name for path in (ROOT / "dojo").glob("*/__init__.py")}
    assert there == set(ROOMS)


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter(imports()).prepare()


def test_a_room_knows_only_those_below_it() -> None:
    level = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    climbing = {
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if room_of(module) is not None  # cli.py, at ground level, calls all of them
        and room_of(other) not in (None, room_of(module))
        and level[room_of(other)] >= level[room_of(module)]
    }
    assert not climbing


def test_what_all_rooms_stand_on_knows_none_of_them() -> None:
    by_all = ("clone", "errors", "rows", "screens", "extras", "callers")
    known = imports()
    assert not [name for name in by_all for other in known[f"dojo.{name}"] if room_of(other)]
