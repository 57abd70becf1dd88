"""Where the pictures lie, and the lines of the lessons that show them."""

import re
from collections.abc import Mapping
from pathlib import Path

from dojo.clone import Clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.errors import KataError
from dojo.pictures.drawing import draw
from dojo.pictures.frames import Frame
from dojo.pictures.story import frames, whole_container

PICTURE = "picture.svg"
XRAY = "xray.svg"

# An x-ray is long, and not what a lesson begins with.
FOLDED = "<details>\n<summary>The same, as the kernel has it: <code>kata xray</code></summary>"
END_OF_FOLDED = "</details>"


def write(catalogue: Catalogue) -> list[str]:
    """Draw every picture, and have every lesson show its own; the paths that changed.

    Raises KataError, changing nothing, where a chapter has no frame or no lesson.
    """
    changed = []
    for path, text in {**drawn(catalogue), **lessons(catalogue)}.items():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        catalogue.clone.give_back(path)
        changed.append(path.relative_to(catalogue.clone.root).as_posix())
    return changed


def drawn(catalogue: Catalogue) -> Mapping[Path, str]:
    """Every picture as the script draws it, by where it lies."""
    pictures = {chapter.folder / PICTURE: draw(_frame(chapter)) for chapter in catalogue.chapters}
    return {**pictures, whole(catalogue.clone): draw(whole_container())}


def whole(clone: Clone) -> Path:
    """Where the README's picture lies, of all that a container is."""
    return clone.root / "docs" / "pictures" / "container.svg"


def lessons(catalogue: Catalogue) -> Mapping[Path, str]:
    """Every lesson with the lines that show its picture, by where it lies."""
    return {chapter.lesson: _with_pictures(chapter) for chapter in catalogue.chapters}


def _with_pictures(chapter: Chapter) -> str:
    """The lesson with its picture below the first paragraph, and below that the x-ray, if any.

    The x-ray, xray.svg in the chapter's folder, shows the same by the kernel's own account.
    """
    try:
        text = chapter.lesson.read_text("utf-8")
    except FileNotFoundError:
        raise KataError(f"chapter {chapter.number} has no lesson yet") from None
    shown = [f"![{_alternative(chapter)}]({PICTURE})"]
    if (chapter.folder / XRAY).exists():
        image = f"![The reference at the end of {chapter.number}, x-rayed]({XRAY})"
        shown += [FOLDED, image, END_OF_FOLDED]
    heading, intro, *rest = [block for block in text.split("\n\n") if not shows_a_picture(block)]
    return "\n\n".join([heading, intro, *shown, *rest])


def shows_a_picture(block: str) -> bool:
    """Whether a lesson's block, between blank lines, is one of those that show its pictures."""
    return block in (FOLDED, END_OF_FOLDED) or _IMAGE.fullmatch(block) is not None


_IMAGE = re.compile(rf"!\[[^\]]*\]\(({re.escape(PICTURE)}|{re.escape(XRAY)})\)")


def _alternative(chapter: Chapter) -> str:
    return f"What exists after {chapter.number}. {_frame(chapter).line}"


def _frame(chapter: Chapter) -> Frame:
    try:
        return frames()[chapter.number]
    except KeyError:
        raise KataError(
            f"chapter {chapter.number} has no picture yet: dojo/pictures/story.py"
        ) from None
