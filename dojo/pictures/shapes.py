"""The visual language: one shape for each kind of thing.

A shape knows how to draw itself; in what colours, the style sheet of the picture decides by two
class names: the kind of the thing, and its state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from xml.sax.saxutils import escape

# new: this chapter's own. old: it was there before. gone: it is there no more.
State = Literal["new", "old", "gone"]
Point = tuple[int, int]


class Shape(Protocol):
    def draw(self, state: State) -> str:
        """The shape as SVG elements."""


@dataclass(frozen=True)
class Process:
    """A rounded box. note: a line below its name."""

    x: int
    y: int
    width: int
    height: int
    name: str
    note: str = ""

    def draw(self, state: State) -> str:
        return _group("process", state, *_named_box(self, radius=14))


@dataclass(frozen=True)
class Interface:
    """A square box: what packets come from and go to. note: a line below its name."""

    x: int
    y: int
    width: int
    height: int
    name: str
    note: str = ""

    def draw(self, state: State) -> str:
        return _group("interface", state, *_named_box(self, radius=0))


@dataclass(frozen=True)
class Walls:
    """A dashed wall around what is in the namespaces; their kinds stand on its upper edge.

    facts: a line below that edge, of what is different inside.
    """

    x: int
    y: int
    width: int
    height: int
    kinds: Sequence[str]
    facts: str = ""

    def draw(self, state: State) -> str:
        box = _box(self.x, self.y, self.width, self.height, radius=10)
        widths = [len(kind) * 7 + 14 for kind in self.kinds]
        gap = (self.width - sum(widths)) // (len(widths) + 1)
        parts, left = [box], self.x + gap
        for kind, width in zip(self.kinds, widths, strict=True):
            cover = f'<rect class="card" x="{left}" y="{self.y - 9}" width="{width}" height="18"/>'
            parts += [cover, _text(left + width // 2, self.y + 4, kind, "kind")]
            left += width + gap
        if self.facts:
            parts.append(_text(self.x + self.width // 2, self.y + 32, self.facts, "note"))
        return _group("walls", state, *parts)


@dataclass(frozen=True)
class ControlGroup:
    """An octagon with the limits, tied to an outline around the processes in the group."""

    x: int
    y: int
    width: int
    height: int
    name: str
    limits: Sequence[str]
    members: tuple[int, int, int, int]  # x, y, width, height of the outline
    tie: Sequence[Point]
    cut: int = 14

    def draw(self, state: State) -> str:
        x, y, right, bottom = self.x, self.y, self.x + self.width, self.y + self.height
        cut = self.cut
        corners = (
            f"{x + cut},{y} {right - cut},{y} {right},{y + cut} {right},{bottom - cut}"
            f" {right - cut},{bottom} {x + cut},{bottom} {x},{bottom - cut} {x},{y + cut}"
        )
        left, top, width, height = self.members
        outline = (
            f'<rect class="line" x="{left}" y="{top}" width="{width}" height="{height}" rx="18"/>'
        )
        tie = f'<path class="line" d="{_path(self.tie)}"/>'
        octagon = f'<polygon class="shape" points="{corners}"/>'
        centre = x + self.width // 2
        head = y + 28 if self.limits else (y + bottom) // 2 + 4
        words = [_text(centre, head, self.name, "name")]
        words += [
            _text(centre, y + 50 + 18 * i, line, "note") for i, line in enumerate(self.limits)
        ]
        tied = (outline, tie) if self.tie else ()
        return _group("cgroup", state, *tied, octagon, *words)


@dataclass(frozen=True)
class Slab:
    """A directory tree: a flat slab, so that layers lie on each other. label: below which path."""

    x: int
    y: int
    width: int
    height: int
    label: str
    note: str = ""

    def draw(self, state: State) -> str:
        x, y, right, bottom = self.x, self.y, self.x + self.width, self.y + self.height
        depth = 10
        top = f"M{x} {y + depth}L{x + depth} {y}H{right}L{right - depth} {y + depth}Z"
        side = (
            f"M{right - depth} {y + depth}L{right} {y}V{bottom - depth}L{right - depth} {bottom}Z"
        )
        front = f"M{x} {y + depth}H{right - depth}V{bottom}H{x}Z"
        faces = "".join(f'<path class="shape" d="{face}"/>' for face in (top, side, front))
        baseline = (y + depth + bottom) // 2 + 4
        words = _text(x + 12, baseline, self.label, "name start")
        if self.note:
            words += _text(right - depth - 10, baseline, self.note, "note end")
        return _group("files", state, faces, words)


@dataclass(frozen=True)
class Document:
    """A single file: a sheet with a folded corner. kind: "record", "log" or "files"."""

    x: int
    y: int
    width: int
    height: int
    name: str
    lines: Sequence[str] = ()
    kind: str = "record"

    def draw(self, state: State) -> str:
        x, y, right, bottom, fold = self.x, self.y, self.x + self.width, self.y + self.height, 12
        sheet = f"M{x} {y}H{right - fold}L{right} {y + fold}V{bottom}H{x}Z"
        corner = f"M{right - fold} {y}V{y + fold}H{right}"
        paths = f'<path class="shape" d="{sheet}"/><path class="line" d="{corner}"/>'
        centre = (x + right) // 2
        if not self.lines:
            words = _text(centre, (y + bottom) // 2 + 4, self.name, "name")
        else:
            words = _text(centre, y + 28, self.name, "name")
            for i, line in enumerate(self.lines):
                words += _text(centre, y + 48 + 16 * i, line, "note")
        return _group(self.kind, state, paths, words)


@dataclass(frozen=True)
class Volume:
    """A drum: files of the host's that outlive every container."""

    x: int
    y: int
    width: int
    height: int
    name: str
    note: str

    def draw(self, state: State) -> str:
        x, y, right, bottom = self.x, self.y, self.x + self.width, self.y + self.height
        half, bend = self.width // 2, 9
        arc = f"a{half} {bend} 0 0 0 {self.width} 0"
        body = f"M{x} {y + bend}V{bottom - bend}{arc}V{y + bend}"
        lid = f'<ellipse class="shape" cx="{x + half}" cy="{y + bend}" rx="{half}" ry="{bend}"/>'
        paths = f'<path class="shape" d="{body}"/>{lid}'
        middle = (y + bottom) // 2 + bend
        words = _text((x + right) // 2, middle - 4, self.name, "name")
        words += _text((x + right) // 2, middle + 14, self.note, "note")
        return _group("volume", state, paths, words)


@dataclass(frozen=True)
class Terminal:
    """A window with lines of text."""

    x: int
    y: int
    width: int
    height: int
    lines: Sequence[str]

    def draw(self, state: State) -> str:
        box = _box(self.x, self.y, self.width, self.height, radius=6)
        bar = f'<path class="line" d="M{self.x} {self.y + 14}H{self.x + self.width}"/>'
        dots = "".join(
            f'<circle class="line" cx="{self.x + 10 + 9 * i}" cy="{self.y + 7}" r="2.5"/>'
            for i in range(3)
        )
        words = "".join(
            # SVG drops spaces at the beginning.
            _text(self.x + 10, self.y + 30 + 16 * i, line.replace(" ", "\u00a0"), "typed start")
            for i, line in enumerate(self.lines)
        )
        return _group("terminal", state, box, bar, dots, words)


@dataclass(frozen=True)
class Mount:
    """An arrow onto a directory: what is seen there. source: above it. at: its end. point: below.

    line: where the arrow comes from, if not from right above.
    """

    at: Point
    source: str = ""
    point: str = ""
    line: Sequence[Point] = ()
    label_at: Point = (0, 0)

    def draw(self, state: State) -> str:
        x, y = self.at
        line = (*self.line, self.at) if self.line else ((x, y - 16), (x, y))
        parts = [_arrow(line)]
        if self.source and self.line:
            parts.append(_text(*self.label_at, self.source, "note"))
        elif self.source:
            parts.append(_text(x, y - 22, self.source, "note"))
        if self.point:
            parts.append(_text(x, y + 27, self.point, "name"))
        return _group("mount", state, *parts)


@dataclass(frozen=True)
class Arrow:
    """What one thing does to another. label: in lines, beginning at label_at."""

    line: Sequence[Point]
    label: Sequence[str] = ()
    label_at: Point = (0, 0)
    cut: Point | None = None

    def draw(self, state: State) -> str:
        parts = [_arrow(self.line)]
        if self.cut:
            x, y = self.cut
            parts.append(
                f'<path class="cut" d="M{x - 6} {y - 6}L{x + 6} {y + 6}M{x - 6} {y + 6}'
                f'L{x + 6} {y - 6}"/>'
            )
        x, y = self.label_at
        parts += [_text(x, y + 14 * i, line, "note") for i, line in enumerate(self.label)]
        return _group("action", state, *parts)


@dataclass(frozen=True)
class Pipe:
    """A tube from one process to another, with an arrow in it. label: above it."""

    begin: Point
    end: Point
    label: str
    label_at: Point

    def draw(self, state: State) -> str:
        (x, y), (to, _) = self.begin, self.end
        left, width = min(x, to), abs(to - x)
        tube = f'<rect class="shape" x="{left}" y="{y - 5}" width="{width}" height="10" rx="5"/>'
        step = 8 if to > x else -8
        arrow = _arrow(((x + step, y), (to - step, y)))
        return _group("pipe", state, tube, arrow, _text(*self.label_at, self.label, "note"))


@dataclass(frozen=True)
class Environment:
    """A plate with variables."""

    x: int
    y: int
    width: int
    height: int
    lines: Sequence[str]

    def draw(self, state: State) -> str:
        box = _box(self.x, self.y, self.width, self.height, radius=2)
        band = f'<path class="line" d="M{self.x + 6} {self.y}V{self.y + self.height}"/>'
        words = "".join(
            _text(self.x + 14, self.y + 19 + 16 * i, line, "note start")
            for i, line in enumerate(self.lines)
        )
        return _group("environment", state, box, band, words)


@dataclass(frozen=True)
class Place:
    """A region that others lie in, with its name in the lower left corner."""

    x: int
    y: int
    width: int
    height: int
    name: str

    def draw(self, state: State) -> str:
        box = (
            f'<rect class="region" x="{self.x}" y="{self.y}" width="{self.width}"'
            f' height="{self.height}" rx="10"/>'
        )
        return (
            f"<g>{box}{_text(self.x + 12, self.y + self.height - 10, self.name, 'zone start')}</g>"
        )


@dataclass(frozen=True)
class Words:
    """Text alone. style: the class names of its style and of where it is anchored."""

    x: int
    y: int
    lines: Sequence[str]
    style: str = "note start"

    def draw(self, state: State) -> str:
        words = [
            _text(self.x, self.y + 15 * i, text, self.style) for i, text in enumerate(self.lines)
        ]
        return _group("words", state, *words)


@dataclass(frozen=True)
class Number:
    """A number in a disc: the order in which things happen."""

    x: int
    y: int
    number: int

    def draw(self, state: State) -> str:
        disc = f'<circle class="shape" cx="{self.x}" cy="{self.y}" r="10"/>'
        return _group("number", state, disc, _text(self.x, self.y + 4, str(self.number), "name"))


def _named_box(shape: Process | Interface, radius: int) -> list[str]:
    """A box with the name in its middle, and the note, if there is one, below that."""
    box = _box(shape.x, shape.y, shape.width, shape.height, radius)
    centre = shape.x + shape.width // 2
    middle = shape.y + shape.height // 2
    if not shape.note:
        return [box, _text(centre, middle + 4, shape.name, "name")]
    name = _text(centre, middle - 4, shape.name, "name")
    return [box, name, _text(centre, middle + 13, shape.note, "note")]


def _box(x: int, y: int, width: int, height: int, radius: int) -> str:
    rounded = min(radius, height // 3)
    return f'<rect class="shape" x="{x}" y="{y}" width="{width}" height="{height}" rx="{rounded}"/>'


def _text(x: int, y: int, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(text)}</text>'


def _arrow(line: Sequence[Point]) -> str:
    """A line through the points, with a head at its end."""
    (bx, by), (ex, ey) = line[-2:]
    if ex == bx:
        side = 7 if ey > by else -7
        head = f"M{ex} {ey}L{ex - 4} {ey - side}H{ex + 4}Z"
    else:
        side = 7 if ex > bx else -7
        head = f"M{ex} {ey}L{ex - side} {ey - 4}V{ey + 4}Z"
    return f'<path class="line" d="{_path(line)}"/><path class="head" d="{head}"/>'


def _path(line: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in line)


def _group(kind: str, state: State, *parts: str) -> str:
    return f'<g class="{kind} {state}">{"".join(parts)}</g>'
