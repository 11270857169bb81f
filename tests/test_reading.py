"""The source as something to read: imports go down, the hour is an hour, and every public name is documented."""

import ast
import io
import re
import tokenize
from pathlib import Path

import minidistill as md

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS_A_MINUTE, CODE_LINES_A_MINUTE = 130, 12  # of a careful reader of prose and of dense code

ROOMS = """
checks shell tensor_file softmax
losses.digits losses.distillation losses.divergences losses.relational losses.decoupled losses.logit_matching
losses.smoothing losses.standardised losses
copies random describe backend.reference backend.blas backend.kernels backend.cupy backend
layers fused standardise buffers folder export storage network
datasets.mapped datasets.dataset datasets.transfer datasets.idx datasets.arrays datasets.images datasets
batches ensemble measure objective schedules identity checkpoint monitor course optim train parallel distil sklearn page
testing.gradients.trees testing.gradients.derivative testing.gradients.components testing.gradients.check
testing.gradients.layers testing.gradients.optimizers testing.gradients.strategies
testing.gradients
testing.losses.frameworks testing.losses.forms testing.losses.domain testing.losses.terms testing.losses.hard
testing.losses.weights testing.losses.fingerprint testing.losses.judge
testing.losses.value_laws testing.losses.gradient_laws testing.losses.laws testing.losses.search testing.losses.targets
testing.losses.report testing.losses
testing cli __main__
""".split()  # noqa: SIM905  # from the lowest up; only the package itself, which collects the names, lies above them


def path_of(room: str) -> Path:
    place = ROOT / "minidistill" / room.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def rooms_imported_by(room: str) -> set[str]:
    """The rooms from which this one imports anything, at the top of its file or inside a function."""
    path = path_of(room)
    package = room.split(".") if path.name == "__init__.py" else room.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                found.add(inner if inner in ROOMS else ".".join(base))
    return found - {""}  # "": __version__, of the package itself


def test_every_file_of_the_package_is_in_the_order_of_rooms():
    files = set((ROOT / "minidistill").rglob("*.py")) - {ROOT / "minidistill" / "__init__.py"}
    assert {path_of(room) for room in ROOMS} == files, "a new file goes into ROOMS, above what it imports"
    assert len(set(ROOMS)) == len(ROOMS)


def test_the_readme_names_every_file_or_the_folder_that_it_is_in():
    tracks = README.partition("**The hour.**")[2]
    for room in set(ROOMS) - {"__main__"}:
        top, *inner = room.split(".")
        assert f"{top}/" in tracks if inner or path_of(room).name == "__init__.py" else f"{top}.py`" in tracks, room


def test_imports_only_go_down():
    for i, room in enumerate(ROOMS):
        above = rooms_imported_by(room) - set(ROOMS[:i])
        assert not above, f"{room} imports {above}, which lie above it"


def test_the_two_subjects_of_the_kit_do_not_know_each_other():
    for room in (room for room in ROOMS if room.startswith("testing.gradients")):
        assert not any(other.startswith("testing.losses") for other in rooms_imported_by(room))
    for room in (room for room in ROOMS if room.startswith("testing.losses")):
        assert not any(other.startswith("testing.gradients") for other in rooms_imported_by(room))


def measured(text: str) -> tuple[int, int]:
    """Lines that hold code, and words of docstrings and comments."""
    prose, words, code = set(), 0, set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (docstring := ast.get_docstring(node)):
            words += len(docstring.split())
            prose |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            words += len(token.string.split()) - 1
        elif token.string.strip() and token.type != tokenize.ENDMARKER:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - prose), words


def test_the_measure_of_reading_tells_code_from_prose():
    text = (
        '"""Two words."""\n\nx = [  # a comment of five\n    1,\n]\n\n\ndef f():\n    """Return one."""\n    return 1\n'
    )
    assert measured(text) == (5, 2 + 4 + 2)


def hour() -> list[Path]:
    """The files of the README's first track."""
    track = README.partition("**The hour.**")[2].partition("**The machine.**")[0]
    return [ROOT / name for name in re.findall(r"^\| `(\S+)` \|", track, re.MULTILINE)]


def test_the_hour_is_900_lines_and_an_hour():
    assert [path.name for path in hour()] == [
        "00_by_hand.py", "softmax.py", "distillation.py", "layers.py", "network.py", "optim.py", "train.py",
    ]  # fmt: skip
    texts = [path.read_text(encoding="utf-8") for path in hour()]
    assert sum(len(text.splitlines()) for text in texts) <= 900
    sizes = [measured(text) for text in texts]
    minutes = sum(code / CODE_LINES_A_MINUTE + words / WORDS_A_MINUTE for code, words in sizes)
    assert minutes <= 60, "the hour is full: what is not needed to understand the rest has a file of its own"


def test_every_derivation_stands_beside_its_backward():
    """Each layer's backward has more than a result in its docstring: why, by the chain rule."""
    for name in md.__all__:
        one = getattr(md, name)
        if isinstance(one, type) and issubclass(one, md.Layer):
            assert len((one.backward.__doc__ or "").split()) >= 12, name


def test_every_test_that_the_source_names_exists():
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    defined |= {path.name for path in (ROOT / "tests").glob("test_*.py")}
    sources = [*(ROOT / "minidistill").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "examples").glob("*.py")]
    for path in (*sources, *(ROOT / "docs").glob("*.md")):
        for name in re.findall(r"\btest_\w+(?:\.py)?", path.read_text(encoding="utf-8")):
            assert name in defined or (not name.endswith(".py") and len(name) < 20), f"{path.name} names {name}"


def test_every_public_name_is_documented_and_has_a_docstring():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for name in md.__all__:
        assert f"`{name}" in reference, name
        assert getattr(md, name).__doc__, name


def test_a_public_docstring_begins_with_a_verb():
    """As a proxy: its first word ends neither like a noun phrase's article nor in a formula."""
    for name in md.__all__:
        first = getattr(md, name).__doc__.split()[0]
        assert re.fullmatch(r"[A-Z][a-z]+", first), f"{name}: {first}"
        assert first not in {"The", "A", "An", "What", "How", "Whether", "Each", "Rows", "Of", "This"}, name
