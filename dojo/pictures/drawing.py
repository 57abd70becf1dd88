"""A frame as an SVG file.

It is looked at on GitHub in light and dark, on paper, and as an `<img>`: so it has a card of its
own to stand on, asks for no font and for nothing from elsewhere, and has its text as text.
"""

from collections.abc import Callable
from xml.sax.saxutils import escape

from dojo.pictures.frames import Frame
from dojo.pictures.shapes import (
    ControlGroup,
    Document,
    Interface,
    Mount,
    Pipe,
    Process,
    Shape,
    Slab,
    Walls,
)
from dojo.pictures.stage import WIDTH

FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def draw(frame: Frame) -> str:
    """The SVG of a frame."""
    legend_at = frame.bottom + 20
    key = _key_of_networks if _has_interfaces(frame) else _key
    height = legend_at + 38
    tells_new = any(frame.state(name) != "new" for name in frame.things)
    shapes = "\n".join(shape.draw(frame.state(name)) for name, shape in frame.things.items())
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" \
height="{height}" role="img" aria-labelledby="title desc">
<title id="title">{escape(frame.title)}</title>
<desc id="desc">{escape(frame.line)} {escape(frame.says)}</desc>
<style>
{_STYLE}</style>
<rect class="card edge" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="12"/>
<text class="headline start" x="24" y="34">{escape(frame.title)}</text>
<text class="line-below start" x="24" y="56">{escape(frame.line)}</text>
{shapes}
{_legend(legend_at, key, tells_new)}
</svg>
"""


def _has_interfaces(frame: Frame) -> bool:
    return any(isinstance(shape, Interface) for shape in frame.things.values())


def _legend(top: int, key: Callable[[int], list["Explained"]], tells_new: bool) -> str:
    middle = top + 18
    parts = [f'<path class="rule" d="M24 {top}H{WIDTH - 24}"/>']
    for x, shape, word in key(middle):
        parts.append(shape.draw("new"))
        parts.append(f'<text class="note start" x="{x}" y="{middle + 4}">{word}</text>')
    if tells_new:
        parts.append(
            f'<text class="note end" x="{WIDTH - 24}" y="{middle + 4}">in colour: new</text>'
        )
    return f'<g class="legend">{"".join(parts)}</g>'


# where the word begins, the shape before it, the word
Explained = tuple[int, Shape, str]


def _key(y: int) -> list[Explained]:
    octagon = ControlGroup(240, y - 9, 26, 18, "", (), (0, 0, 0, 0), [], cut=5)
    return [
        (54, Process(24, y - 8, 24, 16, ""), "process"),
        (150, Walls(120, y - 8, 24, 16, ()), "namespaces"),
        (272, octagon, "control group"),
        (400, Slab(368, y - 10, 26, 18, ""), "files"),
        (466, Document(444, y - 10, 16, 20, ""), "record"),
        (538, Document(516, y - 10, 16, 20, "", kind="log"), "log"),
        (600, Mount((594, y), line=[(570, y)]), "mount"),
        (678, Pipe((648, y), (672, y), "", (0, 0)), "pipe"),
    ]


def _key_of_networks(y: int) -> list[Explained]:
    return [
        (54, Process(24, y - 8, 24, 16, ""), "process"),
        (150, Walls(120, y - 8, 24, 16, ()), "namespaces"),
        (272, Interface(242, y - 8, 24, 16, ""), "interface"),
        (378, Document(356, y - 10, 16, 20, ""), "record"),
    ]


# Each kind: its line and its face, in light and in dark.
_COLOURS = {
    "process": ("#0550ae", "#ddf4ff", "#79c0ff", "#0c2d6b"),
    "interface": ("#3b3fb6", "#e4e5ff", "#a5a9ff", "#22246b"),
    "walls": ("#8250df", "none", "#d2a8ff", "none"),
    "cgroup": ("#1a7f37", "#dafbe1", "#7ee787", "#0f3d1f"),
    "files": ("#9a6700", "#fff8c5", "#e3b341", "#4b3600"),
    "record": ("#bf3989", "#ffeff7", "#ff9bce", "#5e103e"),
    "log": ("#bf3989", "#ffeff7", "#ff9bce", "#5e103e"),
    "volume": ("#bc4c00", "#fff1e5", "#ffa657", "#5a1e02"),
    "terminal": ("#24292f", "#f6f8fa", "#e6edf3", "#21262d"),
    "mount": ("#9a6700", "#9a6700", "#e3b341", "#e3b341"),
    "action": ("#0550ae", "#0550ae", "#79c0ff", "#79c0ff"),
    "pipe": ("#0a6e78", "#d7f5f7", "#56d4dd", "#083c42"),
    "environment": ("#6639ba", "#fbefff", "#d2a8ff", "#3c1e70"),
    "number": ("#a40e26", "#ffebe9", "#ff7b72", "#67060c"),
    "words": ("#24292f", "none", "#e6edf3", "none"),
}


def _style() -> str:
    light = _theme("#ffffff", "#d0d7de", "#1f2328", "#59636e", "#8c959f", "#f6f8fa", dark=False)
    dark = _theme("#0d1117", "#3d444d", "#f0f6fc", "#9198a1", "#656c76", "#151b23", dark=True)
    return f"""\
text {{ font-family: {FONT}; font-size: 12px; text-anchor: middle; }}
.start {{ text-anchor: start; }}
.end {{ text-anchor: end; }}
.headline {{ font-size: 20px; font-weight: 700; }}
.line-below {{ font-size: 14px; }}
.name {{ font-weight: 600; }}
.note, .zone {{ font-size: 11px; }}
.zone {{ font-weight: 600; letter-spacing: 0.5px; }}
.typed {{ font-family: {MONO}; font-size: 11px; }}
.kind {{ font-size: 11px; font-weight: 600; }}
.shape, .line, .cut {{ stroke-width: 1.2; stroke-linejoin: round; }}
.line, .cut {{ fill: none; }}
.new .shape, .new .line {{ stroke-width: 2; }}
.new .cut {{ stroke-width: 3; }}
.walls .shape {{ fill: none; stroke-dasharray: 7 5; }}
.gone .shape, .gone .line {{ fill: none; stroke-dasharray: 1.5 4; }}
.files .shape, .record .shape, .log .shape {{ stroke-width: 1.2; }}
{light}@media (prefers-color-scheme: dark) {{
{dark}}}
@media print {{
{light}}}
"""


def _theme(
    card: str, edge: str, text: str, muted: str, faint: str, face: str, *, dark: bool
) -> str:
    rules = [
        f".card {{ fill: {card}; }}",
        f".edge, .rule {{ stroke: {edge}; fill: {card}; }}",
        f".region {{ fill: {face}; stroke: {edge}; }}",
        f"text {{ fill: {muted}; }}",
        f".headline, .line-below {{ fill: {text}; }}",
        f".shape {{ stroke: {muted}; fill: {face}; }}",
        f".line, .cut {{ stroke: {muted}; }}",
        f".head {{ fill: {muted}; }}",
        f".gone .shape, .gone .line {{ stroke: {faint}; }}",
        f".gone .head {{ fill: {faint}; }}",
        f".new text, .legend text {{ fill: {text}; }}",
    ]
    for kind, colours in _COLOURS.items():
        line, fill = colours[2:] if dark else colours[:2]
        rules += [
            f".{kind}.new .shape {{ stroke: {line}; fill: {fill}; }}",
            f".{kind}.new .line, .{kind}.new .cut {{ stroke: {line}; }}",
            f".{kind}.new .head {{ fill: {line}; }}",
        ]
    return "".join(f"{rule}\n" for rule in rules)


_STYLE = _style()
