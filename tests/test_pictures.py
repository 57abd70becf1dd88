"""The lessons' pictures: what is committed is what the script draws, and it can be looked at."""

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from dojo import cli, clone, contributing
from dojo.clone import Clone
from dojo.course.catalogue import Catalogue
from dojo.pictures import files, frames, story
from tests.browser import browser, require_browser

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CATALOGUE = Catalogue(clone.here())
PICTURES = files.drawn(CATALOGUE)
FRAMES = list(story.frames().items())
SVG = "{http://www.w3.org/2000/svg}"


def name_of(path: Path) -> str:
    return path.relative_to(CATALOGUE.clone.root).as_posix()


@pytest.fixture(params=PICTURES, ids=name_of)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


# What is committed -------------------------------------------------------------------------------


def test_what_is_committed_is_what_the_script_draws(path: Path) -> None:
    assert path.read_text() == PICTURES[path], "draw them anew: ./kata pictures"


def test_there_is_a_frame_for_each_chapter_and_no_other() -> None:
    assert list(story.frames()) == [chapter.number for chapter in CATALOGUE.chapters]


def test_each_lesson_shows_its_picture_and_says_what_is_on_it() -> None:
    for lesson, text in files.lessons(CATALOGUE).items():
        assert lesson.read_text() == text, "have them show it: ./kata pictures"
        shown = re.findall(r"^!\[([^\]]+)\]\(picture\.svg\)$", text, flags=re.MULTILINE)
        assert len(shown) == 1
        assert len(shown[0]) > 30


def test_the_readme_shows_what_a_container_is() -> None:
    readme = (CATALOGUE.clone.root / "README.md").read_text()
    shown = files.whole(CATALOGUE.clone).relative_to(CATALOGUE.clone.root).as_posix()
    before, line, _ = readme.partition(f"]({shown})")
    assert line
    assert before.rpartition("![")[2], "a picture needs a text for who cannot see it"
    assert before.count("\n\n") == 2, "it stands below the first paragraph"


# A picture as a file -----------------------------------------------------------------------------


def test_a_picture_says_in_words_what_is_to_be_seen(path: Path) -> None:
    root = ElementTree.fromstring(PICTURES[path])
    title, words = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text
    assert words is not None
    assert words.text
    assert len(words.text) > 150
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {words.get('id')}"


def test_a_picture_needs_nothing_from_elsewhere(path: Path) -> None:
    """As an `<img>` it may ask for nothing, and on GitHub nothing in it may run."""
    text = PICTURES[path].replace('xmlns="http://www.w3.org/2000/svg"', "", 1)
    for unwanted in (
        "http:",
        "https:",
        "href",
        "url(",
        "@import",
        "@font-face",
        "<script",
        "foreignObject",
    ):
        assert unwanted not in text


def test_a_picture_has_colours_for_light_and_for_dark_and_a_card_of_its_own(path: Path) -> None:
    root = ElementTree.fromstring(PICTURES[path])
    card = root.find(f"{SVG}rect")
    assert card is not None
    assert "card" in str(card.get("class")).split()
    light, dark = PICTURES[path].split("@media (prefers-color-scheme: dark)")
    assert ".card { fill: #ffffff; }" in light
    assert ".card { fill: #0d1117; }" in dark


# The film ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [frame for _, frame in FRAMES], ids=[name for name, _ in FRAMES])
def test_each_chapter_adds_something(frame: frames.Frame) -> None:
    states = {frame.state(name) for name in frame.things}
    assert "new" in states
    assert "old" in states


# In 4.1 the image takes the place of the host's files, which are put aside.
ASIDE = ("4.1", "host files")
ANOTHER_TREE = (("4.1", "root"), ("4.1", "proc"))


def test_what_stays_stays_in_its_place() -> None:
    """5.7 and part 6 have pictures of their own: of three containers, of networks."""
    for (_, before), (number, after) in itertools.pairwise(FRAMES):
        for name in before.things.keys() & after.things.keys():
            if number in ("5.7", "5.8", "6.1") or (number, name) == ASIDE:
                continue
            assert after.state(name) == "new" or after.things[name] == before.things[name]


def test_what_is_new_was_not_there_before() -> None:
    for (_, before), (number, after) in itertools.pairwise(FRAMES):
        for name, shape in after.things.items():
            if after.state(name) == "new" and (number, name) not in ANOTHER_TREE:
                assert before.things.get(name) != shape, name


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A clone with the lessons of this one, in which `kata` is typed."""
    for chapter in CATALOGUE.chapters:
        folder = tmp_path / "chapters" / chapter.folder.name
        folder.mkdir(parents=True)
        for name in ("chapter.toml", "README.md"):
            shutil.copy(chapter.folder / name, folder)
    found = Clone(tmp_path)
    monkeypatch.setattr(contributing, "here", lambda: found)
    return found


Draws = Callable[[], Result]


@pytest.fixture
def draws(there: Clone) -> Draws:
    return lambda: CliRunner().invoke(cli.kata, ["pictures"], prog_name="kata")


def test_pictures_draws_what_is_missing_and_says_what(there: Clone, draws: Draws) -> None:
    result = draws()
    assert result.exit_code == 0
    assert "changed: chapters/3_1/picture.svg\n" in result.stdout
    assert (there.chapters / "3_1/picture.svg").read_text().startswith("<svg ")
    assert draws().stdout == "Nothing has changed.\n"


def test_pictures_puts_an_x_ray_beside_the_picture_where_there_is_one(
    there: Clone, draws: Draws
) -> None:
    draws()
    lesson = there.chapters / "3_2/README.md"
    without = lesson.read_text()
    (there.chapters / "3_2/xray.svg").write_text("<svg/>")
    assert draws().stdout == "changed: chapters/3_2/README.md\n"
    lines = [line for line in lesson.read_text().splitlines() if line.startswith("![")]
    assert [line.rpartition("(")[2] for line in lines] == ["picture.svg)", "xray.svg)"]
    (there.chapters / "3_2/xray.svg").unlink()
    draws()
    assert lesson.read_text() == without


def test_a_chapter_without_a_frame_is_named_and_nothing_is_drawn(
    there: Clone, draws: Draws
) -> None:
    folder = there.chapters / "9_9"
    folder.mkdir()
    text = (there.chapters / "5_8/chapter.toml").read_text()
    (folder / "chapter.toml").write_text(text.replace('"5.8"', '"9.9"'))
    result = draws()
    assert result.exit_code == 2
    assert result.stderr == "kata: chapter 9.9 has no picture yet: dojo/pictures/story.py\n"
    assert not list(there.root.rglob("*.svg"))


# In a browser ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Chrome"]:
    require_browser(request.config)
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def test_no_words_run_into_others_or_out_of_the_picture(chromium: "Chrome", path: Path) -> None:
    chromium.get(path.as_uri())
    assert chromium.execute_script(COLLISIONS) == []


def test_words_keep_to_the_shape_they_stand_in(chromium: "Chrome", path: Path) -> None:
    chromium.get(path.as_uri())
    assert chromium.execute_script(TOO_LONG) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_what_they_stand_on(
    chromium: "Chrome", path: Path, theme: str
) -> None:
    """By the contrast that WCAG asks for: 4.5 to 1."""
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    chromium.get(path.as_uri())
    pairs = chromium.execute_script(COLOURS)
    assert len(pairs) > 10
    assert [
        (words, ink, ground) for words, ink, ground in pairs if contrast(ink, ground) < 4.5
    ] == []


def test_a_picture_is_shown_as_an_image(chromium: "Chrome", path: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<img src="{path.as_uri()}">')
    chromium.get(page.as_uri())
    assert chromium.execute_script("return document.images[0].naturalWidth") == 830


# Lines of text stand 14 to 16 units apart, and their boxes are a little higher than their letters.
COLLISIONS = """
const edge = document.documentElement.getBoundingClientRect();
const texts = [...document.querySelectorAll("text")]
  .filter(text => text.textContent.trim())
  .map(text => [text.textContent, text.getBoundingClientRect()]);
const found = texts
  .filter(([_, box]) => box.left < edge.left + 8 || box.right > edge.right - 8
    || box.top < edge.top + 4 || box.bottom > edge.bottom - 4)
  .map(([words]) => words + " leaves the picture");
texts.forEach(([words, a], index) => texts.slice(index + 1).forEach(([others, b]) => {
  if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
    found.push(words + " on " + others);
}));
return found;
"""

TOO_LONG = """
const found = [];
for (const group of document.querySelectorAll("g.new, g.old, g.gone")) {
  const shapes = [...group.querySelectorAll(":scope > .shape")];
  const within = "process walls cgroup files record log volume terminal environment".split(" ");
  if (!shapes.length || !within.some(kind => group.classList.contains(kind))) continue;
  const boxes = shapes.map(shape => shape.getBoundingClientRect());
  const left = Math.min(...boxes.map(box => box.left));
  const right = Math.max(...boxes.map(box => box.right));
  const bottom = Math.max(...boxes.map(box => box.bottom));
  for (const text of group.querySelectorAll(":scope > text")) {
    const box = text.getBoundingClientRect();
    if (text.textContent && (box.left < left || box.right > right || box.bottom > bottom))
      found.push(text.textContent);
  }
}
return found;
"""

# (words, their colour, that of the nearest thing below their middle which has a colour)
COLOURS = """
const filled = [...document.querySelectorAll("rect, path, polygon, circle, ellipse")]
  .filter(shape => getComputedStyle(shape).fill !== "none");
return [...document.querySelectorAll("text")].filter(text => text.textContent.trim()).map(text => {
  const box = text.getBoundingClientRect();
  const point = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  const below = filled.filter(shape => {
    const around = shape.getBoundingClientRect();
    return !(text.compareDocumentPosition(shape) & Node.DOCUMENT_POSITION_FOLLOWING)
      && around.left <= point[0] && point[0] <= around.right
      && around.top <= point[1] && point[1] <= around.bottom;
  }).at(-1);
  return [text.textContent, getComputedStyle(text).fill, getComputedStyle(below).fill];
});
"""


def contrast(one: str, other: str) -> float:
    """Between two colours such as rgb(1, 2, 3), as WCAG 2 counts it."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
