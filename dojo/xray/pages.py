"""A picture of a container as a file: SVG, or a page of its own."""

import html as markup
import io
import re

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from dojo.xray.drawing import WIDTH, Picture
from dojo.xray.picture import Xray

# Background, foreground, then the eight colours of a terminal and their bright ones.
THEME = TerminalTheme(
    (24, 26, 34),
    (216, 222, 233),
    [
        (59, 66, 82),
        (240, 96, 110),
        (135, 205, 130),
        (238, 196, 110),
        (110, 160, 230),
        (200, 150, 225),
        (105, 195, 215),
        (216, 222, 233),
    ],
)

PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="UTF-8">
<title></title>
<style>
body {{ background: {background}; color: {foreground}; margin: 2em; }}
pre {{ font: 14px/1.25 "Fira Code", Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
</style>
</head>
<body><pre><code>{code}</code></pre></body>
</html>
"""


def svg(xray: Xray, title: str) -> str:
    """A picture that needs nothing from elsewhere: rich's own would fetch a font."""
    drawn = _recorded(xray).export_svg(title=title, theme=THEME)
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def html(xray: Xray, title: str) -> str:
    """A page that needs nothing from elsewhere."""
    drawn = _recorded(xray).export_html(theme=THEME, code_format=PAGE, inline_styles=True)
    return drawn.replace("<title></title>", f"<title>{markup.escape(title)}</title>", 1)


def _recorded(xray: Xray) -> Console:
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Picture(xray))
    return console
