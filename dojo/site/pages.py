"""The pages of the site: the repository's own files, what is made of them, and their pictures.

Each lies where its file lies in the repository, so that a link between two of them is right in both
places. A link to a file that is neither a page nor a picture becomes plain text.
"""

import posixpath
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from dojo.course import hints
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.pictures.files import shows_a_picture
from dojo.site import difference

HOME = "README.md"
CONTRACT = "contract.md"
FILM = "pictures.md"
CHAPTERS = "chapters/README.md"
CONTRIBUTING = "CONTRIBUTING.md"
VM = "docs/vm.md"
SPEED = "docs/speed.md"
LANGUAGES = "docs/other-languages.md"
STYLE = "docs/STYLE.md"

Pages = Mapping[str, str]

# (title, page), or (title, what is below it): the site's table of contents.
Entry = tuple[str, "str | Sequence[Entry]"]


def files(catalogue: Catalogue, steps: Steps) -> Mapping[str, bytes]:
    """Everything that the site is made of, by its path. Raises KataError for what is missing."""
    found: dict[str, str] = {}
    for name in (HOME, CHAPTERS, CONTRIBUTING, VM, SPEED, LANGUAGES, STYLE):
        found[name] = _read(catalogue, name)
    for chapter in catalogue.chapters:
        folder = _folder(chapter)
        found[f"{folder}/README.md"] = _lesson(chapter, _read(catalogue, f"{folder}/README.md"))
        found[f"{folder}/hints.md"] = _hints(chapter)
    found[CONTRACT] = _contract(catalogue.chapters, found)
    found[FILM] = _film(catalogue.chapters, found)
    differences = {
        f"{_folder(chapter)}/step.md": difference.page(steps, chapter)
        for chapter in catalogue.chapters
    }
    pictures = _pictures(catalogue.clone.root, found)
    there = {*found, *differences, *pictures}
    linked = {name: _for_the_site(name, text, there) for name, text in found.items()}
    pages = {name: text.encode() for name, text in {**linked, **differences}.items()}
    return {**pages, **pictures}


def contents(catalogue: Catalogue) -> Sequence[Entry]:
    """The table of contents."""
    chapters: list[Entry] = [("All chapters", CHAPTERS)]
    for chapter in catalogue.chapters:
        folder = _folder(chapter)
        of_chapter: list[Entry] = [
            ("Lesson", f"{folder}/README.md"),
            ("Hints", f"{folder}/hints.md"),
            ("How the reference does it", f"{folder}/step.md"),
        ]
        chapters.append((f"{chapter.number} {chapter.title}", of_chapter))
    return [
        ("Write your own Docker", HOME),
        ("Chapters", chapters),
        ("The pictures", FILM),
        ("The contract", CONTRACT),
        ("In a virtual machine", VM),
        ("Other languages", LANGUAGES),
        ("How fast it is", SPEED),
        ("Contributing", CONTRIBUTING),
        ("How we write", STYLE),
    ]


def _folder(chapter: Chapter) -> str:
    return f"chapters/{chapter.folder.name}"


def _read(catalogue: Catalogue, name: str) -> str:
    try:
        return (catalogue.clone.root / name).read_text("utf-8")
    except FileNotFoundError:
        raise KataError(f"site: there is no {name}") from None


# What is made of the repository's files ----------------------------------------------------------


def _lesson(chapter: Chapter, text: str) -> str:
    """The lesson, with links to what else there is of the chapter below its heading."""
    heading, rest = text.split("\n", 1)
    links = "[Hints](hints.md) · [How the reference does it](step.md)"
    return f"{heading}\n\n{links} · [All contracts](../../{CONTRACT})\n{rest}"


def _hints(chapter: Chapter) -> str:
    """The hints of a chapter, each folded."""
    parts = [f"# {chapter.number} {chapter.title}: hints"]
    parts.append("Each is folded. Open one, try, and come back for the next.")
    for task, of_task in hints.read(chapter).items():
        parts.append(f"## Task {task}: {chapter.tasks[task - 1]}")
        for number, text in enumerate(of_task, start=1):
            parts.append(
                '<details class="task-hint" markdown="1">\n'
                f"<summary>Hint {number} of {len(of_task)}</summary>\n\n{text}\n\n</details>"
            )
    return "\n\n".join(parts) + "\n"


def _contract(chapters: Sequence[Chapter], found: Pages) -> str:
    """The contract of every lesson, one after the other."""
    parts = [
        "# The contract",
        "What `mydocker` promises after each chapter, and what its tests check.",
    ]
    for chapter in chapters:
        lesson = f"{_folder(chapter)}/README.md"
        section = re.search(r"^## The contract\n(.*?)(?=^## |\Z)", found[lesson], flags=re.M | re.S)
        if section is None:
            raise KataError(f"site: {lesson} has no section 'The contract'")
        parts += [f"## [{chapter.number} {chapter.title}]({lesson})", section[1].strip()]
    return "\n\n".join(parts) + "\n"


def _film(chapters: Sequence[Chapter], found: Pages) -> str:
    """The pictures of all lessons, and the x-rays, folded, where there are some."""
    parts = [
        "# The pictures",
        "What exists after each chapter: what is new is in colour, what was there is grey.",
    ]
    for chapter in chapters:
        folder = _folder(chapter)
        parts.append(f"## [{chapter.number} {chapter.title}]({folder}/README.md)")
        for block in found[f"{folder}/README.md"].split("\n\n"):
            if shows_a_picture(block):
                parts.append(block.replace("](", f"]({folder}/"))
    return "\n\n".join(parts) + "\n"


# Links -------------------------------------------------------------------------------------------


def _pictures(top: Path, pages: Pages) -> Mapping[str, bytes]:
    """The repository's pictures that pages show or link to, by their paths."""
    linked = {
        _target(name, link["address"])
        for name, text in pages.items()
        for link in _LINK.finditer(text)
    }
    return {
        path: (top / path).read_bytes()
        for path in sorted(linked)
        if path.endswith((".svg", ".png")) and (top / path).is_file()
    }


def _target(name: str, path: str) -> str:
    """Where a relative link of that page leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def _for_the_site(name: str, text: str, found: Collection[str]) -> str:
    def kept_or_plain(link: re.Match[str]) -> str:
        path = link["address"].partition("#")[0]
        if link["picture"] or not path or re.match(r"[a-z]+:", path):
            return link[0]
        return link[0] if _target(name, path) in found else link["text"]

    # On GitHub, Markdown in HTML is Markdown; here it has to be said.
    return _outside_code(
        text,
        lambda part: _LINK.sub(kept_or_plain, part).replace("<details>", '<details markdown="1">'),
    )


_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<address>[^()\s]+)\)")


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with all changed that is in no fenced block."""
    parts = re.split(r"(^(?:```|~~~).*?^(?:```|~~~)$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
