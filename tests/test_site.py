"""The documentation's site: it builds without a warning, its links lead somewhere, and it has every public name."""

import ast
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import snac_tok
from snac_tok import errors

pytest.importorskip("zensical", reason="the extra `docs` is not installed")

ROOT = Path(__file__).parents[1]
ROOMS = sorted(page.stem for page in (ROOT / "docs" / "api").glob("*.md") if page.stem != "index")
CODE = {"code", "pre", "script", "style"}  # what stands in them is not prose


class Page(HTMLParser):
    """One page's links, the anchors that links may lead to, and its text outside and inside code."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.prose, self.code, self.open_code = [], set(), set(), set(), 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Keep what links, and what can be linked to."""
        self.open_code += tag in CODE
        found = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links += [found[name] for name in ("href", "src") if found.get(name)]

    def handle_endtag(self, tag):
        """Code may end here."""
        self.open_code -= tag in CODE

    def handle_data(self, data):
        """Keep the text between two tags."""
        (self.code if self.open_code else self.prose).add(data.strip())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site's folder and its pages by path; a warning fails here."""
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "scripts" / "make_site.py")
    make_site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_site)
    folder = tmp_path_factory.mktemp("built") / "site"
    assert "No issues found" in make_site.build(folder)
    return folder, {path: Page(path) for path in folder.rglob("*.html")}


@pytest.mark.slow
def test_every_page_is_built(site):
    """Pages have the place that they have in the repository, and stand in the site's menu."""
    folder, pages = site
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    sources = [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*/README.md"),
        ROOT / "CHANGELOG.md",
    ]
    for source in sources:
        assert re.search(rf" {re.escape(str(source.relative_to(ROOT)))}$", menu, re.MULTILINE), source
        path = source.relative_to(ROOT).with_suffix("")
        path = path.parent if path.name in {"README", "index"} else path
        assert folder / path / "index.html" in pages


def test_no_link_or_anchor_is_dead(site):
    """Links between pages of the site, to its files, and to places in a page."""
    folder, pages = site
    dead = [
        f"{path.relative_to(folder)}: {link}"
        for path, page in pages.items()
        if path.name != "404.html"  # served at any depth, so its links start at the site's root
        for link in page.links
        if not leads_somewhere(link, path, folder, pages)
    ]
    assert not dead


def leads_somewhere(link, path, folder, pages):
    """Whether a link of the page at `path` holds; links to other sites are not followed."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or not target.is_relative_to(folder.resolve()):
        return False
    anchor = unquote(parts.fragment)
    return target not in pages or not anchor or anchor in pages[target].anchors


def test_no_page_shows_its_markdown(site):
    """A fence, a table or an example that the site's Markdown reads otherwise than GitHub's would stand as text."""
    folder, pages = site
    shown = [
        f"{path.relative_to(folder)}: {text}"
        for path, page in pages.items()
        for text in page.prose
        if re.search(r"```|\*\*|\]\(|^>>> |^\||^- ", text, re.MULTILINE)
    ]
    assert not shown
    assert not [text for page in pages.values() for text in page.code if r"<\|" in text]


def test_nothing_is_loaded_from_elsewhere(site):
    """The site works without a network: scripts, styles, fonts and pictures are its own."""
    folder, _ = site
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text


def test_every_public_name_is_in_the_reference(site):
    """A name in a room's `__all__`, and every exception, has a place of its own."""
    folder, pages = site
    assert len(ROOMS) > 15
    missing = [
        f"{room}.{name}"
        for room in ROOMS
        for name in public_names(room)
        # A function that is called like its module stands under the name in the module.
        if not pages[folder / "docs" / "api" / room / "index.html"].anchors
        & {f"snac_tok.{room}.{name}", f"snac_tok.{room}.{name}.{name}"}
    ]
    assert not missing


def public_names(room):
    """A room's `__all__`, read without importing it, for transformers takes its time; the exceptions of errors."""
    if room == "errors":
        return [name for name, value in vars(errors).items() if isinstance(value, type)]
    text = (ROOT / "snac_tok" / room / "__init__.py").read_text(encoding="utf-8")
    return ast.literal_eval(re.search(r"^__all__ = (\[.*?\])", text, re.DOTALL | re.MULTILINE)[1])


def test_what_the_package_exports_is_in_the_overview(site):
    """docs/api/index.md names all of `snac_tok.__all__`."""
    folder, pages = site
    assert set(snac_tok.__all__) <= pages[folder / "docs" / "api" / "index.html"].code
