"""The docs: the map of equations is whole, chapters have all their parts, and the site asks nothing of another host.

Building the site needs the extra `docs`; without it those tests are skipped.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHAPTERS = sorted((DOCS / "lesson").glob("[0-9]_*.md"))
sys.path.insert(0, str(DOCS / "extensions"))
import reading  # noqa: E402


def test_every_equation_of_the_map_has_its_line_its_test_and_its_figure() -> None:
    found = reading.equations()
    assert [one["number"] for one in found if one["number"]] == ["1", "2", "3", "4"]  # of the paper; 5 is not built
    source = "".join((ROOT / path).read_text(encoding="utf-8") for path in reading.hour())
    named = set(re.findall(r"Eq\. (\d)(?![\d-])", source.partition('"""Layers')[0]))  # further down they are others'
    assert named <= {one["number"] for one in found}
    assert {one["chapter"] for one in found} >= {path.stem for path in CHAPTERS[:8]}


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("return e / e.sum(axis=-1, keepdims=True)", "return e / e.sum()", "must stand once in minidistill/softmax.py"),
        ('line = "return e / e.sum(axis=-1, keepdims=True)"', 'line = "return"', "must stand once"),
        ("test_eq1_is_the_ratio_of_exponentials", "test_eq1", "there is no test test_eq1"),
        ('figure = "soft_targets"', 'figure = "none"', "there is no docs/results/none.png"),
        ('chapter = "2_temperature"', 'chapter = "2"', "there is no docs/lesson/2.md"),
    ],
)
def test_an_equation_without_its_line_its_test_or_its_figure_is_an_error(
    right: str, wrong: str, message: str, tmp_path: Path
) -> None:
    text = (DOCS / "equations.toml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "equations.toml").write_text(text.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        reading.equations(tmp_path / "equations.toml")


@pytest.mark.parametrize("name", reading.hour())
def test_the_parts_of_an_annotated_file_are_all_of_its_lines_and_docstrings(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    parts, lines = reading.parts(text), text.splitlines()
    shown = {number: line for part in parts for number, line in part.lines.items()}
    assert list(shown) == sorted(shown)
    assert all(lines[number - 1] == line for number, line in shown.items())
    hidden = "".join("".join(line for number, line in enumerate(lines, 1) if number not in shown).split())
    assert hidden == "".join("".join(f'"""{part.docstring}"""' for part in parts if part.docstring).split())


def test_a_part_takes_its_decorators_and_the_comments_above_it() -> None:
    text = '''"""Head."""

x = 1


# of f
@decorated
def f():
    """Do."""
    return 1


class C:
    y = 2

    def g(self):
        return 3
'''
    found = [(of.name, of.docstring, [line for line in of.lines.values() if line]) for of in reading.parts(text)]
    assert found == [
        ("", "Head.", ["x = 1"]),
        ("f", "Do.", ["# of f", "@decorated", "def f():", "    return 1"]),
        ("C", "", ["class C:", "    y = 2"]),
        ("C.g", "", ["    def g(self):", "        return 3"]),
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_its_idea_equation_source_test_figure_and_exercise(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for part in (
        "idea", r"\$\$\n.*?\$\$", r"\{literalinclude\} \.\./\.\./minidistill/|```python\n", r"\{test\}`test_\w+`",
        r"!\[[^]]+\]\(\.\./results/\w+\.png\)", r"## Exercise\n", rf"pytest -x docs/exercises/{path.stem}\.py",
        rf"literalinclude\}} \.\./exercises/{path.stem}\.py\n:pyobject:",
    ):  # fmt: skip
        assert re.search(part, text, re.DOTALL), part
    pasted = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert not re.search(r"^def (?!loss)\w+", "\n".join(pasted), re.MULTILINE), "source is included, never pasted"


def test_every_test_that_the_docs_name_exists() -> None:
    assert len(reading.tests_named()) >= 20


def test_the_glossary_has_every_letter_and_word() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = {term for line in re.findall(r"^(\S.*)\n  \S", text, re.MULTILINE) for term in line.split(", ")}
    assert {"z", "v", "p", "q", "T", "α", "transfer set", "replica", "jitter", "max-norm"} <= terms


def tool(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_figures_are_drawn_from_the_committed_results() -> None:
    assert tool("figures", "--check") == ""
    sys.path.insert(0, str(ROOT / "tools"))
    import figures

    drawn = {path.stem for path in (DOCS / "results").glob("*.png")}
    assert drawn == set(figures.FIGURES)


def test_the_digest_of_a_figure_is_that_of_its_results_alone() -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    import plots

    assert plots.digest({"a": (1, 2.5), "b": None}) == plots.digest({"b": None, "a": [1, 2.5]})
    assert plots.digest({"a": 1}) != plots.digest({"a": 2})


def test_ticks_are_round_numbers_that_span_the_values_also_where_all_are_zero() -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    import plots

    assert plots.round_ticks([98, 290]) == [50, 100, 200, 500]
    assert plots.round_ticks([0, 100]) == [100]
    assert plots.round_ticks([0, 0]) == plots.round_ticks([]) == [1]


def test_the_notebook_is_the_lesson() -> None:
    assert tool("notebook", "--check") == ""


def test_the_notebook_s_cells_run_in_their_order() -> None:
    book = json.loads((DOCS / "lesson" / "lesson.ipynb").read_text(encoding="utf-8"))
    program = "\n\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code")
    done = subprocess.run([sys.executable, "-"], input=program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused: a thousandth more" in done.stdout
    assert "def soft_rows" in done.stdout


def test_the_notebook_runs_in_jupyter() -> None:
    pytest.importorskip("ipykernel", reason="needs the extra docs")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra docs")
    import nbformat

    book = nbformat.read(DOCS / "lesson" / "lesson.ipynb", as_version=4)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = "".join(o.get("text", "") for cell in book.cells for o in cell.get("outputs", []))
    assert "refused: a thousandth more" in printed


class Page(HTMLParser):
    """The links of a page, what the page itself loads, its ids, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attributes}
        self.ids.add(of.get("id", ""))
        for name in ("src", "srcset", "data", "poster", "href", "xlink:href", "action"):
            if name in of:
                loads = name != "href" or tag in ("link", "use", "image")
                (self.loads if loads else self.links).append(of[name])
        self.loads += re.findall(r"url\(['\"]?([^)'\"]+)", of.get("style", ""))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def of_another_host(address: str) -> bool:
    return bool(re.match(r"(https?:)?//", address.strip(), re.IGNORECASE))


def loads_of(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        yield from Page(text).loads
        text = "\n".join(re.findall(r"<style.*?</style>", text, re.DOTALL))
    yield from re.findall(r"url\(\s*['\"]?([^)'\"]+)", text)
    yield from re.findall(r"@import\s+['\"]([^'\"]+)", text)


def test_the_search_for_other_hosts_finds_them_wherever_a_page_may_load_from(tmp_path: Path) -> None:
    planted = [
        '<script src="https://a.b/c.js"></script>', '<link rel="stylesheet" href="//a.b/c.css">', '<img src=" HTTP://a.b/c">',
        "<style>@import 'https://a.b/c.css';</style>", "<style>p { background: url(https://a.b/c.png) }</style>",
        '<p style="background: url(\'//a.b/c.png\')">', '<img srcset="https://a.b/c 2x">', '<iframe src="https://a.b"></iframe>',
    ]  # fmt: skip
    for text in planted:
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        assert any(map(of_another_host, loads_of(tmp_path / "page.html"))), text
    (tmp_path / "page.html").write_text('<a href="https://a.b">a link</a><img src="c.png">', encoding="utf-8")
    assert not any(map(of_another_host, loads_of(tmp_path / "page.html")))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error."""
    missing = [name for name in ("sphinx", "furo", "myst_parser", "latex2mathml") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"needs the extra docs: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "trees")]
    done = subprocess.run(
        [*command, str(DOCS), str(folder / "site")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 25
    assert {load for path in files for load in loads_of(path) if of_another_host(load)} == set()


def test_in_a_browser_the_site_asks_for_its_own_files_alone_and_fits_a_telephone(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright for Python")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    asked: list[str] = []
    said: list[str] = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.route("http*://**", lambda route: route.abort())
        for name in ("index", "lesson/3_gradient", "source/distillation", "equations", "reference", "search"):
            page.goto((site / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, name
        assert said == []
        page.set_content('<img src="https://minidistill.invalid/a.png">')  # such a request is noticed
        page.wait_for_timeout(100)
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == ["https://minidistill.invalid/a.png"]


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            address, _, fragment = unquote(link).partition("#")
            if ":" in address or of_another_host(address) or address.startswith("?"):
                continue
            target = (path.parent / address).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (fragment and target in pages and fragment not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_the_site_has_every_chapter_page_equation_and_name(site: Path) -> None:
    import minidistill as md

    for path in CHAPTERS:
        assert "<math" in (site / "lesson" / f"{path.stem}.html").read_text(encoding="utf-8")
    equations = (site / "equations.html").read_text(encoding="utf-8")
    assert equations.count('<div class="formula"><math') == len(reading.equations())
    for name in reading.hour():
        words = "".join(Page((site / "source" / f"{Path(name).stem}.html").read_text(encoding="utf-8")).words)
        for part in reading.parts((ROOT / name).read_text(encoding="utf-8")):
            for line in part.lines.values():
                assert line.strip() in words, line
    reference = (site / "reference.html").read_text(encoding="utf-8")
    assert set(md.__all__) <= set(Page(reference).words)
    assert "site-packages" not in reference  # nothing of the machine that built it
