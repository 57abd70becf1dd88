"""The site is built aside, and takes its place in one step."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from dojo import extras
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.site.pages import Entry, contents, files

NEEDED = ("zensical", "mermaidx")
# In a site's directory: the names of its files. By it a directory is known to be a site of ours.
LIST = ".kata-site"


def build(catalogue: Catalogue, output: Path) -> Path:
    """Build the site into a directory, in the place of an older one; return its first page.

    Raises KataError, changing nothing, where the generator is not installed, a page is missing, or
    the directory has files in it that are not a site's.
    """
    extras.require("site", NEEDED, "site")
    output = output.absolute()
    refuse_foreign_files(output)
    with tempfile.TemporaryDirectory(prefix="kata-site-") as folder:
        built = generate(catalogue, Path(folder))
        try:
            put_in_place(built, output)
        except OSError as error:
            raise KataError(f"site: {error.filename or output}: {error.strerror}") from error
    catalogue.clone.give_back(output)
    return output / "index.html"


def refuse_foreign_files(output: Path) -> None:
    """Raise KataError if there is something at the output's place that a site would not replace."""
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_dir():
        raise KataError(f"site: {output} is not a directory")
    ours = {LIST}
    if (output / LIST).is_file():
        ours.update((output / LIST).read_text("utf-8").splitlines())
    foreign = sorted(_files(output) - ours)
    if foreign:
        raise KataError(
            f"site: {output} has files that are not the site's, such as {foreign[0]}:"
            " choose another directory with --output"
        )


def generate(catalogue: Catalogue, folder: Path) -> Path:
    """Have the generator make the site in an empty directory; return where it is."""
    for name, content in files(catalogue, Steps(catalogue)).items():
        place = folder / "docs" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    _add_assets(folder / "docs")
    (folder / "zensical.toml").write_text(_configuration(catalogue), "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "zensical.toml"],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    built = folder / "site"
    if run.returncode != 0 or not (built / "index.html").is_file():
        said = (run.stdout + run.stderr).strip() or f"exit status {run.returncode}"
        raise KataError(f"site: zensical build failed: {said.splitlines()[-1]}")
    for name in _NEEDS_AN_ADDRESS:
        (built / name).unlink(missing_ok=True)
    (built / LIST).write_text("".join(f"{name}\n" for name in sorted(_files(built))), "utf-8")
    return built


# They hold paths from the top of a server that nobody has named.
_NEEDS_AN_ADDRESS = ("404.html", "sitemap.xml", "sitemap.xml.gz")


def put_in_place(built: Path, output: Path) -> None:
    """Exchange what is at the output's place for what was built, in one step."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as aside:
        new, old = Path(aside, "new"), Path(aside, "old")
        shutil.copytree(built, new)  # the two may lie on different file systems
        if output.exists():
            output.rename(old)
        try:
            new.rename(output)
        except OSError:
            if old.exists():
                old.rename(output)
            raise


def _files(top: Path) -> set[str]:
    return {path.relative_to(top).as_posix() for path in top.rglob("*") if not path.is_dir()}


def _add_assets(docs: Path) -> None:
    """What pages ask for besides their own text; nothing of it from elsewhere."""
    assets = docs / "assets"
    assets.mkdir()
    here = Path(__file__).parent
    shutil.copyfile(here / "site.css", assets / "site.css")
    shutil.copyfile(here / "worker.js", assets / _WORKER)
    shutil.copyfile(_mermaid(), assets / "mermaid.js")


def _mermaid() -> Path:
    """The script that draws flows; its package is searched without being run."""
    package = find_spec("mermaidx")
    for folder in (package and package.submodule_search_locations) or []:
        script = Path(folder, "assets", "mermaid.js")
        if script.is_file():
            return script
    raise KataError("site: this mermaidx has no assets/mermaid.js, which draws the flows")


# By this name Zensical knows that it need not get one from elsewhere.
_WORKER = "iframe-worker.js"


def _configuration(catalogue: Catalogue) -> str:
    nav = _navigation(contents(catalogue))
    return f"""\
[project]
site_name = "mydocker kata"
site_description = "Write your own Docker, test first"
docs_dir = "docs"
site_dir = "site"
use_directory_urls = false
nav = {nav}
extra_css = ["assets/site.css"]
extra_javascript = ["assets/mermaid.js"]

[project.extra]
generator = false
polyfills = ["assets/{_WORKER}"]

[project.theme]
font = false
features = [
    "content.code.copy", "navigation.footer", "navigation.indexes", "navigation.top",
    "search.highlight", "toc.follow",
]

[[project.theme.palette]]
media = "(prefers-color-scheme)"
toggle = {{ icon = "lucide/sun-moon", name = "Light" }}

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle = {{ icon = "lucide/sun", name = "Dark" }}

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle = {{ icon = "lucide/moon", name = "As the system has it" }}

[project.plugins.offline]
[project.plugins.search]

[project.markdown_extensions]
attr_list = {{}}
md_in_html = {{}}
tables = {{}}
toc = {{ permalink = true }}

[project.markdown_extensions.pymdownx.highlight]
anchor_linenums = true

[project.markdown_extensions.pymdownx.inlinehilite]

[project.markdown_extensions.pymdownx.superfences]
custom_fences = [
    {{ name = "mermaid", class = "mermaid", format = "pymdownx.superfences.fence_code_format" }},
]
"""


def _navigation(entries: Sequence[Entry]) -> str:
    """The table of contents as an array in TOML."""
    items = []
    for title, below in entries:
        value = json.dumps(below) if isinstance(below, str) else _navigation(below)
        items.append(f"{{ {json.dumps(title)} = {value} }}")
    return f"[{', '.join(items)}]"
