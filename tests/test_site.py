"""`kata site`: what is built, and how it looks and works in a real browser, without a network."""

import functools
import http.server
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner, Result
from markdown_it import MarkdownIt

from dojo import cli, clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.site import build, pages
from tests.browser import browser, give_up, require_browser

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CATALOGUE = Catalogue(clone.here())
CHAPTERS = [f"chapters/{chapter.folder.name}" for chapter in CATALOGUE.chapters]
LESSONS = [f"{folder}/index.html" for folder in CHAPTERS]
PAGES = [
    "index.html",
    "contract.html",
    "pictures.html",
    "CONTRIBUTING.html",
    *(f"docs/{name}.html" for name in ("STYLE", "other-languages", "speed", "vm")),
    "chapters/index.html",
    *LESSONS,
    *(f"{folder}/{name}.html" for folder in CHAPTERS for name in ("hints", "step")),
]
SECONDS = 20
NARROW = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    missing = [name for name in build.NEEDED if find_spec(name) is None]
    if missing:
        give_up(request.config, f"no {' and '.join(missing)} here: pip install -e '.[site]'")
    output = tmp_path_factory.mktemp("built") / "site"
    build.build(CATALOGUE, output)
    return output


@pytest.fixture(scope="module")
def chromium(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Chrome"]:
    require_browser(request.config)
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


# The files ---------------------------------------------------------------------------------------


@dataclass
class Html(HTMLParser):
    """What a page consists of: text, anchors, links, and what the browser is to load."""

    names: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    within: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[tuple[str, Mapping[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self.within.append(tag)
        self.names.update(filter(None, (given.get("id"), given.get("name"))))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        elif tag == "link" or given.get("src"):
            self.loads.append(str(given.get("src") or given.get("href")))

    def handle_endtag(self, tag: str) -> None:
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.within):
            self.words.append(data)


@functools.cache
def parsed(path: Path) -> Html:
    html = Html()
    html.feed(path.read_text())
    return html


def test_every_page_that_is_expected_is_built_and_no_other(site: Path) -> None:
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert built == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(site: Path, page: str) -> None:
    """Those to other places are for a reader to follow: nobody asks them here."""
    here = site / page
    dead = []
    for link in parsed(here).links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        there = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        anchor = unquote(parts.fragment)
        if not there.is_file() or (anchor and anchor not in parsed(there).names):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES)
def test_all_that_a_page_loads_is_in_the_site(site: Path, page: str) -> None:
    here = site / page
    for address in parsed(here).loads:
        assert not urlsplit(address).scheme, address
        assert (here.parent / unquote(urlsplit(address).path)).exists(), address


@pytest.mark.parametrize("chapter", CATALOGUE.chapters, ids=lambda chapter: chapter.number)
def test_a_lesson_says_on_the_site_what_it_says_on_github(site: Path, chapter: Any) -> None:
    """Lists, tables and blocks are where CommonMark, which GitHub follows, has them."""
    source = chapter.lesson.read_text()
    theirs = Html()
    theirs.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(source))
    ours = Html()
    page = (site / f"chapters/{chapter.folder.name}/index.html").read_text()
    ours.feed(re.sub(r"(?s).*<article[^>]*>(.*)</article>.*", r"\1", page))
    assert words_of(theirs) == words_of(ours, without="Hints · How the reference does it")
    for tag in ("li", "td", "pre", "h2", "h3", "img"):
        assert count(ours, tag) == count(theirs, tag), tag


def words_of(html: Html, without: str = "") -> list[str]:
    text = "".join(html.words).replace("¶", "")
    if without:
        text = text.replace(f"{without} · All contracts", "")
    return text.split()


def count(html: Html, tag: str) -> int:
    return sum(found == tag for found, _ in html.tags)


def test_hints_are_folded(site: Path) -> None:
    for folder in CHAPTERS:
        html = parsed(site / folder / "hints.html")
        hints = [given for tag, given in html.tags if given.get("class") == "task-hint"]
        source = (CATALOGUE.clone.root / folder / "hints.md").read_text()
        assert len(hints) == len(re.findall(r"^### Hint ", source, flags=re.MULTILINE))
        assert not any("open" in given for given in hints)


@pytest.mark.parametrize("chapter", CATALOGUE.chapters, ids=lambda chapter: chapter.number)
def test_a_step_has_every_line_of_its_patch(site: Path, chapter: Any) -> None:
    diffs = [patch.diff.decode() for patch in Steps(CATALOGUE).patches(chapter)]
    lines = [line for diff in diffs for line in diff.splitlines()]
    lines = [line for line in lines if not line.startswith(("+++ ", "--- "))]
    page = (site / f"chapters/{chapter.folder.name}/step.html").read_text()
    for sign, kind in (("+", "added"), ("-", "removed")):
        rows = re.findall(rf'<tr class="{kind}">.*?<td class="line">(.*?)</td>', page, re.S)
        shown = [text_of(row) for row in rows]
        assert shown == [line[1:] for line in lines if line.startswith(sign)]


def text_of(html: str) -> str:
    found = Html()
    found.feed(html)
    return "".join(found.words)


def test_the_contract_has_the_sections_of_all_lessons(site: Path) -> None:
    said = " ".join(words_of(parsed(site / "contract.html")))
    for chapter in CATALOGUE.chapters:
        assert f"{chapter.number} {chapter.title}" in said
    assert "The only interface is lo, up." in said
    assert "exec sees the same, its own -e on top, for this one command." in said


def test_the_film_has_the_pictures_of_all_lessons(site: Path) -> None:
    shown = [given.get("src") for tag, given in parsed(site / "pictures.html").tags if tag == "img"]
    there = [
        f"{folder}/{name}"
        for folder in CHAPTERS
        for name in ("picture.svg", "xray.svg")
        if (CATALOGUE.clone.root / folder / name).exists()
    ]
    assert shown == there


# In a browser ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_all_there_on_a_wide_and_on_a_narrow_screen(
    site: Path, chromium: "Chrome", page: str
) -> None:
    address = (site / page).as_uri()
    forget(chromium)
    chromium.set_window_size(1280, 900)
    chromium.get(address)
    wait_until(chromium, "return document.readyState === 'complete'")
    source = CATALOGUE.clone.root / re.sub(r"index\.html$", "README.md", page)
    flows = source.read_text().count("```mermaid") if source.exists() else 0
    wait_until(chromium, f"return ({FLOWS}).length === {flows}")
    assert chromium.execute_script("return document.querySelectorAll('pre.mermaid').length") == 0
    # What is folded is not loaded before it is opened.
    chromium.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    wait_until(chromium, "return [...document.images].every(image => image.complete)")
    assert chromium.execute_script(NOT_LOADED) == []
    assert overflow(chromium) == 0
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    try:
        wait_until(chromium, "return innerWidth === 360")
        assert overflow(chromium) == 0
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [entry["message"] for entry in chromium.get_log("browser")] == []
    assert outside(chromium, site.as_uri()) == []


@pytest.mark.parametrize("served", ["as files", "by a server"])
def test_search_finds_something(
    site: Path, chromium: "Chrome", request: pytest.FixtureRequest, served: str
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    top = site.as_uri() if served == "as files" else request.getfixturevalue("server")
    forget(chromium)
    chromium.get(f"{top}/chapters/5_9/index.html")
    wait_until(chromium, "return document.readyState === 'complete'")
    chromium.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
    wait_until(chromium, "return document.activeElement.shadowRoot !== null")
    field = chromium.switch_to.active_element.shadow_root.find_element(By.CSS_SELECTOR, "input")
    field.send_keys("devpts")
    wait_until(chromium, f"return ({RESULTS}).length > 1")
    assert field.get_attribute("value") == "devpts"
    found = chromium.execute_script(f"return {RESULTS}")
    assert any("chapters/5_9/" in address for address in found)
    assert all(address.startswith(top) for address in found)
    field.send_keys(Keys.ENTER)
    wait_until(chromium, "return location.search.includes('devpts')")
    assert outside(chromium, top) == []


def test_a_hint_opens(site: Path, chromium: "Chrome") -> None:
    from selenium.webdriver.common.by import By

    chromium.get((site / "chapters/3_1/hints.html").as_uri())
    hint = chromium.find_element(By.CSS_SELECTOR, "details.task-hint")
    inside = hint.find_element(By.TAG_NAME, "p")
    assert not inside.is_displayed()
    hint.find_element(By.TAG_NAME, "summary").click()
    assert inside.is_displayed()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_site_follows_the_system_s_theme(site: Path, chromium: "Chrome", theme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        chromium.get((site / "index.html").as_uri())
        scheme = {"light": "default", "dark": "slate"}[theme]
        wait_until(chromium, f"return document.body.dataset.mdColorScheme === '{scheme}'")
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture
def server(site: Path) -> Iterator[str]:
    """The address at which a server on this machine has the site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


# Drawn flows that have a size; what is in them is closed to scripts.
FLOWS = "[...document.querySelectorAll('div.mermaid')].filter(flow => flow.offsetHeight > 50)"
RESULTS = (
    "[...document.activeElement.shadowRoot.querySelectorAll('[role=option]')].map(a => a.href)"
)
NOT_LOADED = """
return [...document.images].filter(image => image.naturalWidth === 0).map(image => image.src);
"""


def wait_until(chromium: "Chrome", script: str) -> None:
    from selenium.common.exceptions import JavascriptException
    from selenium.webdriver.support.wait import WebDriverWait

    waiting = WebDriverWait(chromium, SECONDS, 0.05, ignored_exceptions=[JavascriptException])
    waiting.until(lambda _: chromium.execute_script(script), script)


def overflow(chromium: "Chrome") -> int:
    """How far a page is wider than the screen."""
    width = "document.documentElement"
    return int(chromium.execute_script(f"return {width}.scrollWidth - {width}.clientWidth"))


def forget(chromium: "Chrome") -> None:
    chromium.get("about:blank")
    for log in ("browser", "performance"):
        chromium.get_log(log)


def outside(chromium: "Chrome", top: str) -> Sequence[str]:
    """What was asked for since `forget` that is not in the site."""
    asked = []
    for entry in chromium.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert asked, "the browser does not say what it asks for"
    return [url for url in asked if not url.startswith((f"{top}/", "data:", "about:", "blob:"))]


# The command -------------------------------------------------------------------------------------

Types = Callable[..., Result]


@pytest.fixture
def types() -> Types:
    """Type `kata site` in this clone."""
    return lambda *words: CliRunner().invoke(cli.kata, ["site", *words], prog_name="kata")


def refused(result: Result, *named: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("kata: site: ")
    for word in named:
        assert word in result.stderr


def test_without_the_generator_it_says_what_to_type(
    types: Types, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "NEEDED", ("click", "nobody_has_this"))
    result = types("--output", str(tmp_path / "site"))
    refused(result, "nobody_has_this", f"{sys.executable} -m pip install -e '.[site]'")
    assert not (tmp_path / "site").exists()


@pytest.fixture
def generates(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is generated has been generated before: these tests ask where it goes."""
    monkeypatch.setattr(build, "generate", lambda catalogue, folder: site)


@pytest.mark.usefixtures("generates")
def test_it_says_where_the_first_page_is(types: Types, tmp_path: Path) -> None:
    result = types("--output", str(tmp_path / "new/site"))
    assert result.exit_code == 0
    assert f"{tmp_path}/new/site/index.html" in result.stdout
    assert (tmp_path / "new/site/index.html").is_file()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["site"]


@pytest.mark.usefixtures("generates")
def test_an_older_site_is_replaced_as_a_whole(types: Types, tmp_path: Path) -> None:
    old = tmp_path / "site"
    old.mkdir()
    (old / "gone.html").write_text("an older page")
    (old / build.LIST).write_text("gone.html\n")
    assert types("--output", str(old)).exit_code == 0
    assert not (old / "gone.html").exists()
    assert (old / "index.html").is_file()
    assert types("--output", str(old)).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.usefixtures("generates")
def test_an_empty_directory_may_become_a_site(types: Types, tmp_path: Path) -> None:
    assert types("--output", str(tmp_path / ".")).exit_code == 0
    assert (tmp_path / "index.html").is_file()


@pytest.mark.usefixtures("generates")
@pytest.mark.parametrize("is_a_site", [True, False])
def test_a_directory_with_other_files_is_refused_and_untouched(
    types: Types, tmp_path: Path, is_a_site: bool
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/thesis.txt").write_text("the only copy")
    if is_a_site:
        (tmp_path / build.LIST).write_text("index.html\n")
    refused(types("--output", str(tmp_path)), str(tmp_path), "deep/thesis.txt", "--output")
    assert (tmp_path / "deep/thesis.txt").read_text() == "the only copy"
    assert not (tmp_path / "index.html").exists()


@pytest.mark.usefixtures("generates")
def test_what_is_no_directory_is_refused(types: Types, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    refused(types("--output", str(tmp_path / "file")), "not a directory")
    refused(types("--output", str(tmp_path / "link")), "not a directory")
    refused(types("--output", str(tmp_path / "file/site")), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_site_that_cannot_be_generated_leaves_the_older_one(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "site"
    build.put_in_place(site, output)
    monkeypatch.setattr(build, "_configuration", lambda catalogue: "[project\n")
    with pytest.raises(KataError, match="zensical build failed") as refusal:
        build.build(CATALOGUE, output)
    assert "Traceback" not in str(refusal.value)
    assert (output / "index.html").is_file()


def test_a_link_to_what_is_no_page_becomes_its_text() -> None:
    text = "[a](b.md), [`x[0]`](c/d.md#e), [f](https://g), ![h](i.svg)\n\n```\n[j](k)\n```\n"
    made = pages._for_the_site("c/README.md", text, {"c/b.md"})
    assert made == text.replace("[`x[0]`](c/d.md#e)", "`x[0]`")
