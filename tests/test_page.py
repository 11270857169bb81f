"""The page: its JavaScript held to NumPy, in Node and in Chromium, and the file that `export-html` writes."""

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidistill as md
import minidistill.page as page_module
from minidistill.cli import main
from minidistill.page import Quantised, blocks_of, export_html, quantise, render

ROOT = Path(__file__).parents[1]
FILES = ROOT / "minidistill" / "page"
MATHS = "\n".join((FILES / f"{name}.js").read_text(encoding="utf-8") for name in ("maths", "toy"))
HARNESS = """
require("vm").runInThisContext(require("fs").readFileSync(process.argv[1], "utf8"));
const lines = require("readline").createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const [code, values] = JSON.parse(line);
  console.log(JSON.stringify(await require("vm").runInThisContext(`(${code})`)(values)));
});
"""
Call = Callable[..., Any]


@contextmanager
def node(script: Path) -> Iterator[Call]:
    if not (program := shutil.which("node")):
        pytest.skip("node is not installed")
    with subprocess.Popen(
        [program, "-e", HARNESS, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def call(code: str, values: Any = None) -> Any:
            process.stdin.write(json.dumps([code, values]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield call
        process.stdin.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium, or Playwright's own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra 'browser-test' is not installed")
    with sync_api.sync_playwright() as playwright:
        options = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"] if os.geteuid() == 0 else []}
        try:
            browser = playwright.chromium.launch(**options)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=["node", "chromium"])
def js(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Calls a function of JavaScript, given as text, with one value, and returns what it returns."""
    script = tmp_path_factory.mktemp("js") / "maths.js"
    script.write_text(f'"use strict";\n{MATHS}', encoding="utf-8")
    if request.param == "node":
        with node(script) as call:
            yield call
    else:
        page = request.getfixturevalue("browser").new_page()
        page.add_script_tag(content=MATHS)
        yield lambda code, values=None: page.evaluate(code, values)
        page.close()


# --- the maths -------------------------------------------------------------------------------------------------------

LOGITS = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-300, 300, width=32), min_size=n, max_size=n)] * 2)
)


@settings(max_examples=40)
@given(pair=LOGITS, T=st.floats(0.5, 50))
@example(pair=([30.0, 0.0, -5.0], [28.0, 1.0, -5.0]), T=0.5)  # 1 - 1 would have no digit left
def test_eq1_eq2_eq4_and_entropy_are_those_of_numpy(js: Call, pair: Any, T: float) -> None:
    z, v = np.array(pair)
    found = js(
        """({z, v, T}) => { const [q, p] = [softmax(z, T), softmax(v, T)]; return {q, H: entropy(q),
        C: softCrossEntropy(z, p, T), slope: gradient(q, p, T), high: highTemperature(z, v, T), best: argmax(z)}; }""",
        {"z": z.tolist(), "v": v.tolist(), "T": T},
    )
    q, p = md.softmax(z, T), md.softmax(v, T)
    C, slope = md.soft_cross_entropy(z[None], v[None], T)
    positive = q[q > 0]
    np.testing.assert_allclose(found["q"], q, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found["H"], -np.sum(positive * np.log(positive)), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found["C"], C, rtol=1e-9, atol=1e-12)
    least = np.array([min(q[i] + p[i], np.delete(q + p, i).sum()) for i in range(len(q))])  # of rounding
    assert (abs(found["slope"] - slope[0]) <= 1e-11 * least / T + 1e-300).all()
    np.testing.assert_allclose(
        found["high"], ((z - z.mean()) - (v - v.mean())) / (len(z) * T**2), rtol=1e-9, atol=1e-12
    )
    assert found["best"] == z.argmax()


def test_eq4_is_what_eq2_comes_to(js: Call) -> None:
    z, v = np.random.default_rng(0).normal(0, 3, (2, 10)).tolist()
    error = js(
        """({z, v}) => [5, 50, 500].map((T) => { const slope = gradient(softmax(z, T), softmax(v, T), T);
        const high = highTemperature(z, v, T);
        return T * T * Math.max(...slope.map((one, i) => Math.abs(one - high[i]))); })""",
        {"z": z, "v": v},
    )
    assert error[0] > 5 * error[1] > 25 * error[2] > 0  # it falls as 1/T


def by_hand() -> ModuleType:
    spec = importlib.util.spec_from_file_location("by_hand", ROOT / "examples" / "00_by_hand.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = ("W1", "b1", "W2", "b2")


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), T=st.floats(0.5, 50), rows=st.integers(1, 8), units=st.integers(1, 6))
def test_the_toy_s_gradients_and_steps_are_those_of_the_example_by_hand(
    js: Call, seed: int, T: float, rows: int, units: int
) -> None:
    rng, example = np.random.default_rng(seed), by_hand()
    parameters = [rng.normal(0, 1, shape) for shape in ((2, units), (units,), (units, 3), (3,))]
    x, v = rng.normal(0, 1, (rows, 2)), rng.normal(0, 5, (rows, 3))
    given_ = {"w": dict(zip(NAMES, (w.tolist() for w in parameters), strict=True)), "T": T}
    given_ |= {"x": x.tolist(), "v": v.tolist()}
    found = js("({w, x, v, T}) => toyGradients(w, x, v, T)", given_)
    for name, expected in zip(NAMES, example.gradients(parameters, x, v, T), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-12 * T)
    stepped = js(
        """({w, x, v, T}) => { const zero = (one) => (Array.isArray(one) ? one.map(zero) : 0);
        const u = Object.fromEntries(Object.entries(w).map(([name, one]) => [name, zero(one)]));
        for (let k = 0; k < 4; k++) toyStep(w, u, x, v, T, 0.01); return w; }""",
        given_,
    )
    for _ in example.train(parameters, x, v, T, 0.01, 0.9, [np.arange(rows)] * 4, batch_size=rows):
        pass
    for name, expected in zip(NAMES, parameters, strict=True):
        np.testing.assert_allclose(stepped[name], expected, rtol=1e-8, atol=1e-10)


def test_the_toy_learns_more_from_soft_targets_than_from_hard_labels(js: Call) -> None:
    """What the page says, on the points and from the first weights of the page."""
    soft, hard = js(
        """() => { const random = toyRandom(1), side = [...Array(20).keys()].map((k) => (2 * k + 1) / 20 - 1);
        const x = Array.from({length: 60}, () => [1.9 * random() - 0.95, 1.9 * random() - 0.95]);
        const cells = side.flatMap((b) => side.map((a) => [a, b])), v = x.map(toyTeacher);
        const certain = v.map((row) => row.map((_, k) => (k === argmax(row) ? 60 : 0)));
        return [[v, 5], [certain, 1]].map(([targets, T]) => {
          const { student, velocities } = toyStudent(toyRandom(2), 32);
          for (let k = 0; k < 300; k++) toyStep(student, velocities, x, targets, T, 0.02);
          const z = toyForward(student, cells).z;
          return z.filter((row, i) => argmax(row) === argmax(toyTeacher(cells[i]))).length / cells.length; }); }"""
    )
    assert soft > hard + 0.02
    assert soft > 0.85


def test_the_toy_s_numbers_are_uniform(js: Call) -> None:
    u = np.array(js("() => { const random = toyRandom(7); return Array.from({length: 4000}, random); }"))
    assert ((u >= 0) & (u < 1)).all()
    assert abs(np.histogram(u, 10, (0, 1))[0] - 400).max() < 5 * 20
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.05


# --- networks in few bits --------------------------------------------------------------------------------------------

STACKS: dict[str, Callable[[], md.Network]] = {
    "mlp": lambda: md.Network.mlp([784, 20, 15, 10], input_dropout=0.2, dropout=0.5),
    "plain layers": lambda: md.Network([md.Dense(784, 9), md.ReLU(), md.Dropout(0.3), md.Dense(9, 4)]),
    "standardised": lambda: md.Network(
        [md.Standardise(np.linspace(-0.5, 0.5, 784), np.linspace(0.1, 9, 784)), md.DenseReLU(784, 8), md.Dense(8, 3)]
    ),
    "float64": lambda: md.Network.mlp([784, 5, 3], dtype=np.float64),
    "linear": lambda: md.Network([md.Dense(784, 2)]),
}
READ = """async ({layers, data, x}) => { const read = readLayers(layers, await inflated(data));
    return x.map((one) => forward(read, one)); }"""


def logits_in_page(js: Call, small: Quantised, x: np.ndarray) -> np.ndarray:
    data = base64.b64encode(zlib.compress(small.payload)).decode()
    return np.array(js(READ, {"layers": small.layers, "data": data, "x": x.tolist()}))


@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
def test_the_page_computes_the_logits_that_numpy_computes(js: Call, make: Callable[[], md.Network]) -> None:
    network, rng = make(), np.random.default_rng(0)
    network.parameters += 0.01  # biases, too
    before = network.parameters.copy()
    small = quantise(network, 8)
    np.testing.assert_array_equal(network.parameters, before)
    x = rng.random((3, 784)) * (rng.random((3, 784)) < 0.3)
    z = network.backend.to_host(small.network.predict(x.astype(network.dtype)))
    np.testing.assert_allclose(logits_in_page(js, small, x), z, rtol=1e-4, atol=1e-5 * abs(z).max())
    exact = network.backend.to_host(network.predict(x.astype(network.dtype)))
    assert 0 < abs(z - exact).max() < 0.05 * abs(exact).max()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(4, 8), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_no_weight_moves_by_more_than_half_a_step_of_its_column(seed: int, bits: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    network = md.Network([md.Dense(5, 4)])
    W = (scale * rng.normal(size=(5, 4))).astype(np.float32)
    W[:, 1] = 0  # a unit that nothing reaches
    network.layers[0].W = W
    small = quantise(network, bits)
    step = abs(W).max(axis=0) / (2 ** (bits - 1) - 1)
    moved = abs(small.network.layers[0].W - W)
    assert (moved <= step / 2 * (1 + 1e-5)).all()
    assert len(np.unique(np.frombuffer(small.payload[-20:], np.int8))) <= 2**bits - 1
    largest = abs(W).argmax(axis=0)
    np.testing.assert_allclose(small.network.layers[0].W[largest, range(4)], W[largest, range(4)], rtol=1e-6)


# --- a drawing as MNIST has it ---------------------------------------------------------------------------------------

POINT = st.tuples(st.floats(0, 1), st.floats(0, 1))
STROKES = st.lists(st.lists(POINT, min_size=1, max_size=5), min_size=1, max_size=3)


def as_mnist(js: Call, strokes: Any) -> np.ndarray:
    return np.array(js("(strokes) => Array.from(asMnist(strokes))", strokes)).reshape(28, 28)


@settings(max_examples=40)
@given(strokes=STROKES, dx=st.floats(-3, 3), dy=st.floats(-3, 3), factor=st.floats(0.3, 3))
def test_a_drawing_fills_a_box_of_20_with_its_mass_in_the_middle_wherever_it_was_drawn(
    js: Call, strokes: Any, dx: float, dy: float, factor: float
) -> None:
    image = as_mnist(js, strokes)
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert 0 < image.max() <= 1
    rows, columns = (np.flatnonzero((image > 0.5).any(axis=axis)) for axis in (1, 0))
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    points = np.array([point for stroke in strokes for point in stroke])
    size = np.ptp(points, axis=0).max()
    assert extent <= 21
    if size > 0.1:  # no dot
        assert extent >= 18
        moved = [[(factor * x + dx, factor * y + dy) for x, y in stroke] for stroke in strokes]
        if size * factor > 0.1:
            np.testing.assert_allclose(as_mnist(js, moved), image, atol=1e-6)
    at = np.arange(28) + 0.5
    for axis in (0, 1):
        centre = at @ image.sum(axis=1 - axis) / image.sum()
        rim = rows if axis == 0 else columns
        assert abs(centre - 14.5) < 0.1 or rim.min() <= 1 or rim.max() >= 26, "centred, unless it would be cut off"


def test_nothing_drawn_is_no_ink_and_a_dot_stays_a_dot(js: Call) -> None:
    assert not as_mnist(js, []).any()
    dot = as_mnist(js, [[[0.9, 0.9]]])
    assert abs(dot.sum() - np.pi * 1.5**2) < 0.5
    assert dot[14, 14] == 1


DIGITS: dict[int, list[list[list[float]]]] = {  # as a person might draw them, in small, in a corner
    0: [[[0.5, 0.1], [0.3, 0.2], [0.22, 0.5], [0.3, 0.8], [0.5, 0.9], [0.7, 0.8], [0.78, 0.5], [0.7, 0.2], [0.5, 0.1]]],
    1: [[[0.52, 0.1], [0.48, 0.9]]],
    2: [[[0.25, 0.3], [0.35, 0.12], [0.6, 0.1], [0.72, 0.28], [0.6, 0.5], [0.25, 0.88]], [[0.25, 0.88], [0.8, 0.86]]],
    3: [[[0.25, 0.15], [0.55, 0.08], [0.72, 0.25], [0.62, 0.42], [0.42, 0.48], [0.65, 0.54], [0.75, 0.7], [0.6, 0.88],
         [0.25, 0.85]]],
    4: [[[0.3, 0.1], [0.22, 0.5], [0.75, 0.5]], [[0.68, 0.12], [0.65, 0.92]]],
    5: [[[0.75, 0.1], [0.35, 0.12], [0.3, 0.45], [0.6, 0.42], [0.75, 0.6], [0.65, 0.82], [0.3, 0.88]]],
    6: [[[0.6, 0.08], [0.38, 0.35], [0.28, 0.65], [0.4, 0.9], [0.65, 0.85], [0.7, 0.65], [0.5, 0.55], [0.3, 0.7]]],
    7: [[[0.2, 0.15], [0.78, 0.12], [0.55, 0.5], [0.42, 0.92]]],
    8: [[[0.65, 0.2], [0.45, 0.1], [0.32, 0.28], [0.5, 0.48], [0.7, 0.7], [0.5, 0.9], [0.32, 0.72], [0.5, 0.48],
         [0.68, 0.3], [0.65, 0.2]]],
    9: [[[0.68, 0.25], [0.45, 0.12], [0.3, 0.3], [0.45, 0.48], [0.68, 0.3], [0.66, 0.6], [0.6, 0.92]]],
}  # fmt: skip


def in_a_corner(strokes: Any) -> Any:
    return [[[0.3 * x, 0.3 * y + 0.65] for x, y in stroke] for stroke in strokes]


@pytest.fixture(scope="module")
def taught() -> tuple[md.Network, md.Network]:
    """A student and a teacher that read digits, after some seconds; the student far worse."""
    train = md.mnist("numpy")[0].subset(slice(12_000))
    networks = []
    for sizes, seed, epochs in (([784, 8, 10], 0, 1), ([784, 120, 10], 1, 3)):
        network = md.Network.mlp(sizes, seeds=seed, backend="numpy")
        md.fit(network, train, md.Objective(1, 0), md.SGD(0.1, 0.9), epochs=epochs, batch_size=100, progress=False)
        networks.append(network)
    return networks[0], networks[1]


def test_a_network_reads_digits_that_were_drawn_small_in_a_corner(js: Call, taught: Any) -> None:
    drawn = np.stack([as_mnist(js, in_a_corner(strokes)) for strokes in DIGITS.values()])
    right = taught[1].predict(drawn.astype(np.float32)).argmax(axis=1) == list(DIGITS)
    assert right.sum() >= 9
    scaled = "(strokes) => Array.from(ink(strokes.map((one) => one.map(([x, y]) => [28 * x, 28 * y]))))"
    raw = np.stack([js(scaled, in_a_corner(strokes)) for strokes in DIGITS.values()]).astype(np.float32)
    assert (taught[1].predict(raw).argmax(axis=1) == list(DIGITS)).sum() <= 5  # not so where it was drawn
    light, dark = np.percentile(md.mnist("numpy")[1].inputs.sum(axis=(1, 2)) / 255, [2, 98])
    assert light < drawn.sum(axis=(1, 2)).mean() < dark


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(taught: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A page of the two, and what export_html told of it."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    return path, export_html(taught[0], path, taught[1])


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "mnist", lambda backend: (None, md.mnist(backend)[1].subset(slice(200))))


def test_the_page_tells_what_fewer_bits_have_done(made: Any, taught: Any, js: Call) -> None:
    path, told = made
    about = json.loads(blocks_of(path.read_text(encoding="utf-8"))["about"])
    _, test = md.mnist("numpy")
    x = test.inputs[:100].reshape(100, -1) / 255.0
    for role, network in zip(("student", "teacher"), taught, strict=True):
        assert about[role] == told[role]
        assert about[role]["errors"] == md.errors(network, test)
        small, exact = quantise(network, told["bits"]), network.predict(test.inputs)
        rounded = small.network.predict(test.inputs)
        assert about[role]["changed"] == (exact.argmax(1) != rounded.argmax(1)).sum() <= 50
        moved = abs(logits_in_page(js, small, x) - exact[:100]).max()
        assert 0 < moved <= 1.01 * about[role]["largest_change"] < 0.05 * np.ptp(exact)
        worse = abs(quantise(network, 4).network.predict(test.inputs) - exact).max()
        assert worse > 4 * about[role]["largest_change"]  # so that the measure can tell


def test_the_page_is_one_small_file_that_names_no_other(made: Any) -> None:
    path, told = made
    text = path.read_text(encoding="utf-8")
    assert told["bytes"] == path.stat().st_size < 6_000_000
    assert "default-src 'none'" in text
    code = text.partition('<script type="text/plain"')[0] + text.rpartition("<script>")[2]
    for reaching in ("src=", "@import", "url(", "fetch(", "XMLHttpRequest", "import(", "WebSocket", '<link rel="style'):
        assert reaching not in code, reaching
    assert "<!-- css -->" not in text
    assert "<!-- js -->" not in text


def test_the_same_networks_make_the_same_page(made: Any, taught: Any, tmp_path: Path) -> None:
    export_html(taught[0], tmp_path / "again.html", taught[1])
    assert (tmp_path / "again.html").read_bytes() == made[0].read_bytes()
    text = made[0].read_text(encoding="utf-8")
    assert render(blocks_of(text)) == text


def test_every_line_of_the_page_s_code_fits_a_screen() -> None:
    for path in sorted(FILES.glob("page.*")) + sorted(FILES.glob("*.js")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            assert len(line) <= 120, f"{path.name}:{number}"


def test_the_page_of_the_docs_is_made_by_the_code_that_is_here() -> None:
    path = ROOT / "docs" / "page.html"
    text = path.read_text(encoding="utf-8")
    assert render(blocks_of(text)) == text, "python tools/page.py renews it"
    assert path.stat().st_size < 4_000_000


def test_a_page_that_would_be_too_large_has_fewer_bits(
    taught: Any, few_images: None, tmp_path: Path, monkeypatch: Any
) -> None:
    path, size = tmp_path / "x.html", export_html(taught[0], tmp_path / "x.html", taught[1])["bytes"]
    monkeypatch.setattr(page_module, "MOST_BYTES", size - 1000)
    assert export_html(taught[0], path, taught[1])["bits"] == 7
    assert path.stat().st_size < size - 1000
    monkeypatch.setattr(page_module, "MOST_BYTES", 50_000)
    with pytest.raises(md.ArgumentError, match="must fit into a page of 50,000 bytes at 4 bits, got student of 6,370"):
        export_html(taught[0], path, taught[1])
    with pytest.raises(md.ArgumentError, match="at 8 bits"):
        export_html(taught[0], path, taught[1], bits=8)


class Own(md.ReLU):
    pass


def labelled(labels: list[str], n_out: int = 3) -> md.Network:
    network = md.Network.mlp([784, n_out])
    network.labels = tuple(labels)
    return network


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "inputs": (lambda: {"student": md.Network.mlp([20, 3])}, "student must take 784 inputs, .* got 20"),
    "teacher's inputs": (
        lambda: {"student": md.Network.mlp([784, 3]), "teacher": md.Network.mlp([783, 3])},
        "teacher must take 784 inputs, .* got 783",
    ),
    "classes": (
        lambda: {"student": md.Network.mlp([784, 3]), "teacher": md.Network.mlp([784, 4])},
        "teacher must have the student's 3 classes, got 4",
    ),
    "labels": (
        lambda: {"student": labelled(["a", "b", "c"]), "teacher": labelled(["a", "c", "b"])},
        "teacher must have the student's labels",
    ),
    "replicas": (lambda: {"student": md.Network.mlp([784, 3], seeds=[0, 1])}, "student must be one network, got 2"),
    "layers": (
        lambda: {"student": md.Network([md.Dense(784, 3), Own()])}, "layers must be the package's own to run in a page",
    ),
    "bits": (lambda: {"student": md.Network.mlp([784, 3]), "bits": 9}, "bits must be a whole number >= 4 and <= 8"),
    "images": (
        lambda: {"student": md.Network.mlp([784, 2]), "test": md.Dataset(np.zeros((3, 5, 5), np.uint8), [0, 1, 0])},
        "test must hold images of 28 x 28",
    ),
    "their classes": (
        lambda: {"student": md.Network.mlp([784, 3]), "test": md.Dataset(np.zeros((3, 28, 28), np.uint8), [0, 1, 0])},
        "test must have the student's classes, 3, got 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), REFUSED.values(), ids=REFUSED)
def test_what_no_page_can_run_is_refused_by_name_and_nothing_is_written(
    arguments: Callable[[], dict[str, Any]], text: str, tmp_path: Path
) -> None:
    with pytest.raises(md.ArgumentError, match=text):
        export_html(path=tmp_path / "x.html", **arguments())
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_page_and_tells_of_it(taught: Any, few_images: None, tmp_path: Path, capsys: Any) -> None:
    for name, network in zip(("student", "teacher"), taught, strict=True):
        network.save(tmp_path / name)
    md.Network.mlp([20, 10]).save(tmp_path / "other")
    student, teacher, out = (str(tmp_path / name) for name in ("student", "teacher", "page.html"))
    assert main(["export-html", student, "--teacher", teacher, "-o", out]) == 0
    printed = capsys.readouterr().out
    assert "784-120-10: of 200 test images " in printed
    assert f"{Path(out).stat().st_size:,} bytes, weights in 8 bits" in printed
    before = Path(out).read_bytes()
    for arguments, text in (
        ([str(tmp_path / "other"), "-o", out], "student must take 784 inputs"),
        ([student, "--teacher", str(tmp_path / "other"), "-o", out], "teacher must take 784 inputs"),
        ([student, "--teacher", str(tmp_path / "none"), "-o", out], "none"),
        ([student, "-o", str(tmp_path)], "--out must be a file"),
        ([student, "-o", out, "--bits", "3"], "bits must be a whole number"),
        ([student, "-o", out, "--data", str(tmp_path / "none")], "data folder must exist"),
    ):
        assert main(["export-html", *arguments]) == 2
        assert text in capsys.readouterr().err
    assert Path(out).read_bytes() == before


def test_classes_that_mnist_has_not_leave_the_test_images_out(few_images: None, tmp_path: Path) -> None:
    network = labelled(["</script><b>a", "b & c", "d"])
    export_html(network, tmp_path / "x.html")
    blocks = blocks_of((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert blocks["images"] == "null"
    assert json.loads(blocks["about"])["classes"] == list(network.labels or ())
    assert "<" not in blocks["about"]


# --- in Chromium -----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(browser: Any, made: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page from the disk; at the end there must have been no error and no request but for the file itself."""
    contexts, troubles, requests = [], list[str](), list[str]()

    def open_page(path: Path = made[0], **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles
    assert len(requests) == len(contexts)
    assert all(url.startswith("file://") for url in requests)


def move_to(page: Any, T: float) -> None:
    page.evaluate("(T) => { $('T').value = TEMPERATURES.indexOf(T); $('T').dispatchEvent(new Event('input')); }", T)
    page.wait_for_function("(T) => state.T === T && $('T').getAttribute('aria-valuetext') === `T = ${T}`", arg=T)
    page.wait_for_timeout(50)  # a frame


def draw(page: Any, strokes: Any) -> None:
    box = page.locator("#field").bounding_box()
    page.locator("#clear").click()
    for stroke in strokes:
        for k, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if not k:
                page.mouse.down()
        page.mouse.up()
    page.wait_for_timeout(50)


def number_in(page: Any, name: str) -> float:
    return float(page.locator(f"#{name}").inner_text())


def test_a_digit_is_drawn_and_entropy_rises_with_T(opened: Any, taught: Any) -> None:
    page = opened()
    right = 0
    for digit, strokes in DIGITS.items():
        draw(page, in_a_corner(strokes))
        right += f"teacher says {digit} " in page.locator("#verdict").inner_text()
    assert right >= 9
    entropies = []
    for T in (0.5, 1, 4, 20, 50):
        move_to(page, T)
        entropies.append([number_in(page, f"entropy-{letter}") for letter in "pq"])
        x = np.array(page.evaluate("Array.from(state.x)"), np.float32)[None]
        for column, network in ((2, taught[0]), (1, taught[1])):
            shown = page.locator(f"#classes tbody td:nth-of-type({column}) span").all_inner_texts()
            q = md.softmax(quantise(network, 8).network.predict(x), T)[0]
            np.testing.assert_allclose([in_figures(text) for text in shown], q, atol=6e-4)
    assert (np.diff(entropies, axis=0) > 0).all()
    assert entropies[-1][0] > 0.95 * np.log(10)


def in_figures(text: str) -> float:
    """The number that the page writes as 1.2 × 10⁻⁴."""
    return float(text.replace(" × 10", "e").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")))


def test_the_formula_is_filled_in_with_the_numbers_of_the_chosen_class(opened: Any) -> None:
    page = opened()
    page.get_by_role("button", name="3", exact=True).click()
    page.wait_for_timeout(50)
    assert page.locator("#chosen").inner_text() == "3"
    before = page.locator("#formulas").inner_text()
    slope = page.locator("#classes tbody tr:nth-child(4) td:nth-of-type(3) span").inner_text()
    assert slope in before
    move_to(page, 20)
    assert page.locator("#formulas").inner_text() != before
    page.get_by_role("checkbox").check()
    scaled = page.locator("#classes tbody tr:nth-child(4) td:nth-of-type(3) span").inner_text()
    exact = page.evaluate("gradient(softmax(state.z, 20), softmax(state.v, 20), 20)[3]")
    assert scaled == page.evaluate("(one) => short(one)", 400 * exact)


def test_a_test_image_that_the_student_gets_wrong_is_picked(opened: Any) -> None:
    page = opened()
    wrong = page.locator("#thumbs button").nth(3)
    index, label = wrong.get_attribute("title").removeprefix("test image ").split(", the")[0].split(", a ")
    wrong.click()
    page.wait_for_timeout(50)
    verdict = page.locator("#verdict").inner_text()
    assert f"It is a {label}." in verdict
    assert f"student says {label} " not in verdict
    expected = md.mnist("numpy")[1].inputs[int(index)].reshape(-1) / 255
    np.testing.assert_allclose(page.evaluate("Array.from(state.x)"), expected)
    page.get_by_label("that both get right").check()
    page.locator("#thumbs button").first.click()
    page.wait_for_timeout(50)
    verdict = page.locator("#verdict").inner_text()
    label = verdict.split("It is a ")[1].rstrip(".")
    assert f"teacher says {label} " in verdict
    assert f"student says {label} " in verdict


def test_the_toy_trains_while_T_moves(opened: Any) -> None:
    page = opened()
    first = page.locator("#toy-agreement").inner_text()
    page.get_by_role("button", name="100 steps").click()
    second = page.locator("#toy-agreement").inner_text()
    assert float(second.rstrip("%")) > float(first.rstrip("%")) + 10
    page.get_by_role("button", name="Train").click()
    page.wait_for_function("() => toy.steps > 110")
    move_to(page, 20)
    page.wait_for_function("() => toy.curve.told.has(20)")
    page.get_by_role("button", name="Pause").click()
    steps = page.locator("#toy-steps").inner_text()
    page.wait_for_timeout(100)
    assert page.locator("#toy-steps").inner_text() == steps
    assert float(page.locator("#toy-agreement").inner_text().rstrip("%")) > 70
    page.get_by_label("hard labels").check()
    page.get_by_role("button", name="100 steps").click()
    page.get_by_role("button", name="Start again").click()
    assert page.locator("#toy-steps").inner_text() == "0"


def test_all_of_it_by_keyboard(opened: Any) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "T"
    before = page.evaluate("state.T")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(50)
    assert page.evaluate("state.T") > before
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "field"
    keys = ["Backspace", *["ArrowUp"] * 8, " ", *["ArrowDown"] * 16, " "]  # a one, without a hand
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(50)
    assert "teacher says 1 " in page.locator("#verdict").inner_text()
    assert page.evaluate("scrollY") == 0
    page.locator("#thumbs button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(50)
    assert page.locator("#thumbs button").nth(1).get_attribute("aria-pressed") == "true"


def test_a_finger_draws_and_does_not_scroll(opened: Any) -> None:
    page = opened(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True)
    page.locator("#clear").click()
    page.locator("#field").evaluate("(one) => one.scrollIntoView({ block: 'center' })")
    box = page.locator("#field").bounding_box()
    touch, before = page.context.new_cdp_session(page), page.evaluate("scrollY")
    for kind, y in (("touchStart", 0.2), ("touchMove", 0.4), ("touchMove", 0.8), ("touchEnd", None)):
        at = [] if y is None else [{"x": box["x"] + box["width"] / 2, "y": box["y"] + y * box["height"]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    page.wait_for_timeout(100)
    assert page.evaluate("scrollY") == before
    assert "teacher says 1 " in page.locator("#verdict").inner_text()


def test_a_screen_reader_has_a_name_for_everything_and_is_told_what_changed(opened: Any) -> None:
    page = opened()
    for role, name in (
        ("slider", "Temperature T"), ("application", "Field to draw in"), ("table", "Probabilities and gradient"),
        ("img", "Entropy by temperature"), ("img", "Size of the gradient"), ("img", "Three spiral arms"),
        ("img", "The image that the networks see"), ("group", "Or take a test image"), ("group", "It learns from"),
    ):  # fmt: skip
        assert page.get_by_role(role, name=name).count() == 1, (role, name)
    nameless = page.evaluate("""[...document.querySelectorAll("button, input, canvas:not(button canvas), svg")]
        .filter((one) => !one.getAttribute("aria-label") && !one.textContent.trim())
        .filter((one) => !one.labels?.[0]?.textContent.trim()).length""")
    assert nameless == 0
    move_to(page, 50)
    page.wait_for_function("() => $('spoken').textContent.startsWith('T = 50. ')")
    assert page.locator("#T").get_attribute("aria-valuetext") == "T = 50"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 400])
def test_the_page_fits_both_widths_in_light_and_dark(opened: Any, width: int, scheme: str, tmp_path: Path) -> None:
    page = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True).startswith(b"\x89PNG")
    ratios = page.evaluate("""() => {
        const light = (colour) => { const c = colour.match(/\\d+/g).slice(0, 3).map((one) => one / 255)
            .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
            return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
        const paper = light(getComputedStyle(document.documentElement).backgroundColor);
        return ["p", ".note", "b.teacher", "b.student", "#ticks", "dt", "svg text"].map((name) => {
            const css = getComputedStyle(document.querySelector(name));
            const ink = light(name.startsWith("svg") ? css.fill : css.color);
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); }); }""")
    assert min(ratios) >= 4.5  # WCAG 2, level AA
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert paper == {"light": "rgb(253, 252, 250)", "dark": "rgb(25, 26, 28)"}[scheme]


def test_a_student_alone_and_classes_of_other_names(opened: Any, few_images: None, tmp_path: Path) -> None:
    export_html(labelled(["</script><b>a", "b & c", "d"]), tmp_path / "alone.html")
    page = opened(tmp_path / "alone.html")
    assert page.locator("#alone").is_visible()
    assert page.locator("#no-gallery").is_visible()
    assert not page.locator("#gallery").is_visible()
    assert not page.locator("#chart-gradient").is_visible()
    draw(page, DIGITS[3])
    assert "student says" in page.locator("#verdict").inner_text()
    assert "teacher" not in page.locator("#verdict").inner_text()
    assert page.locator("#classes tbody button").first.inner_text() == "</script><b>a"
    move_to(page, 50)
    assert number_in(page, "entropy-q") > 1


def test_a_browser_that_is_too_old_is_told(browser: Any, made: Any) -> None:
    page = browser.new_page()
    page.add_init_script("delete globalThis.DecompressionStream")
    page.goto(made[0].as_uri())
    page.locator("#failed").wait_for()
    page.close()
