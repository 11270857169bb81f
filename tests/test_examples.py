"""The examples as a user runs them: from a shell, with their files written, and with mistakes.

Most are called in this process, which imports NumPy and Matplotlib once for all of them.
"""

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import fake_cupy
import numpy as np
import pytest
from small_mnist import write_small_mnist

import minidistill as md
from minidistill import shell
from minidistill.tensor_file import read_tensors, write_tensors

ROOT = Path(__file__).parents[1]
HEADLINE = "examples/01_headline.py"
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*_*.py") if path.name >= "02")


def call(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of this checkout with this Python."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "MINIDISTILL_BACKEND": ""} | environment
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=170, check=False
    )


def here(program: Callable[[], int | None]) -> subprocess.CompletedProcess[str]:
    """Call a program in this process, on NumPy if it is not told otherwise, and return what a shell would be told."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("MINIDISTILL_BACKEND", "")
        patch.setattr("minidistill.backend._current", None)
        try:
            code = program() or 0
        except SystemExit as end:  # of argparse
            code = int(end.code or 0)
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Call an example in this process, where CuPy is the stand-in for it, and no layer has more than 200 units."""
    mlp = md.Network.mlp

    def narrow(sizes: list[int], **options: Any) -> md.Network:
        return mlp([sizes[0], *(min(n, 200) for n in sizes[1:-1]), sizes[-1]], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(md.Network, "mlp", narrow)
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [name, *words])
        patch.setitem(sys.modules, "cupy", fake_cupy)
        return here(lambda: shell.run(load(name).main))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of finished trainings for all examples, as a user would keep: several need the same teacher."""
    return tmp_path_factory.mktemp("runs")


def test_the_main_job_ends_with_its_table_its_json_and_its_figure(tmp_path: Path) -> None:
    """In a process of its own, on MNIST."""
    pytest.importorskip("matplotlib")
    results, figure = tmp_path / "results.json", tmp_path / "figure.png"
    options = ["--quick", "--seeds", "1", "--json", str(results), "--figure", str(figure), "--runs", str(tmp_path)]
    done = call(HEADLINE, *options)
    assert done.returncode == 0, done.stderr
    for text in ("146", "74", "3 teachers together", "hard labels", "soft targets", "parameters", "images/s"):
        assert text in done.stdout
    r = json.loads(results.read_text())
    assert (r["preset"], r["backend"], r["seeds"]) == ("quick", "numpy", 1)
    sizes = {"teacher": 3 * (784 * 1600 + 1600 * 1600 + 3200 + 16010), "baseline": 784 * 800 + 800 * 800 + 8000 + 1610}
    for name in ("teacher", "baseline", "student"):
        part = r[name]
        assert len(part["errors"]) == 1
        assert part["test_size"] == 10_000
        assert all(0 < e < 2_000 for e in part["errors"])  # far better than chance, 9,000
        assert part["parameters"] == sizes.get(name, sizes["baseline"])
        assert part["bytes"] == 4 * part["parameters"]
        assert part["latency_us"] > 0
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders with the first images of MNIST; more for the example whose teacher must get every class right."""
    few = write_small_mnist(tmp_path_factory.mktemp("few"), 140, 50)
    more = write_small_mnist(tmp_path_factory.mktemp("more"), 1000, 100)
    return lambda name: more if name.startswith("07") else few


@pytest.mark.parametrize("name", [Path(HEADLINE).name, *SCRIPTS])
@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_every_example_ends_with_its_table_its_json_and_its_figure(
    backend: str, name: str, tmp_path: Path, runs: Path, small: Callable[[str], Path]
) -> None:
    """Also on the stand-in for CuPy, two seeds as replicas: nothing is mixed with arrays of the host."""
    pytest.importorskip("matplotlib")
    results, figure = tmp_path / "results.json", tmp_path / "figure.png"
    options = ["--quick", "--seeds", "2", "--data", str(small(name)), "--backend", backend, "--runs", str(runs)]
    done = script(name, *options, "--json", str(results), "--figure", str(figure))
    assert done.returncode == 0, done.stderr
    assert f"preset quick, 2 seeds, {backend} on {'CPU' if backend == 'numpy' else 'a pretended device'}" in done.stdout
    r = json.loads(results.read_text())
    assert {"preset", "seeds", "backend", "device", "versions", "commit", "date", "seconds", "peak_megabytes"} < set(r)
    assert ("cuda driver" in r["versions"]) == (backend == "cupy")
    if name == Path(HEADLINE).name:
        assert [len(r[arm]["errors"]) for arm in ("teacher", "baseline", "student")] == [1, 2, 2]
    assert figure.read_bytes().startswith(b"\x89PNG")


def load(script: str) -> Any:
    """An example as a module."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        spec = importlib.util.spec_from_file_location(f"example_{script[:2]}", ROOT / "examples" / script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "examples"))
    return module


def assert_same(one: md.Network, other: md.Network) -> None:
    on_host = md.get_backend().to_host
    np.testing.assert_array_equal(on_host(one.parameters), on_host(other.parameters))


def small_training() -> tuple[Any, Any, md.Dataset]:
    """Return the store's module, a recipe with all that is random, and a data set."""
    store = load("store.py")
    rng = np.random.default_rng(0)
    data = md.Dataset(rng.integers(0, 256, (40, 4, 4), dtype=np.uint8), rng.integers(0, 3, 40))
    return store, store.Recipe((5,), 2, 0.1, dropout=0.2, jitter=1), data


def test_a_finished_training_is_found_again_and_anything_that_determines_it_tells_it_apart(tmp_path: Path) -> None:
    module, recipe, data = small_training()
    store = module.Store(tmp_path)
    first = store.train(recipe, data, 0, "a")
    seconds, files = store.seconds, set(tmp_path.iterdir())
    for title in ("a", "b"):
        again = module.Store(tmp_path)
        assert_same(again.train(recipe, data, 0, title), first)
        assert (again.seconds, set(tmp_path.iterdir())) == (seconds, files)
    others = [
        (recipe, data, 1), (recipe.scaled(2), data, 0), (recipe, data.subset(slice(39)), 0), (recipe, data, [0]),
        (recipe, md.TransferSet.from_teacher(first, data), 0), (recipe.with_units(6), data, 0),
    ]  # fmt: skip
    for number, (another, rows, seeds) in enumerate(others, start=2):
        store.train(another, rows, seeds, "a")
        assert len(list(tmp_path.iterdir())) == number


def test_a_changed_loss_trains_anew_under_its_old_title_and_one_written_differently_is_found(tmp_path: Path) -> None:
    module, recipe, data = small_training()
    transfer = md.TransferSet.from_teacher(recipe.network(data, 1), data, recipe.jitter)

    def kept(loss: Any) -> int:
        module.Store(tmp_path).train(recipe, transfer, 0, "a", loss)
        return len(list(tmp_path.iterdir()))

    def written_differently(z: Any, v: Any, y: Any) -> Any:
        value, dz = md.soft_cross_entropy(z, v, 2.0)
        return 3 * value, 3 * dz * 0.1 * 10

    assert kept(lambda z, v, y: [3 * part for part in md.kl_divergence(z, v, 2.0)]) == 1
    assert kept(written_differently) == 1
    assert kept(lambda z, v, y: md.kl_divergence(z, v, 2.0)) == 2
    assert kept(lambda z, v, y: md.kl_divergence(z, v, 2.001)) == 3
    assert kept(lambda z, v, y: md.kl_divergence(z.clip(-10, 10), v, 2.0)) == 4
    assert kept(lambda z, v, y: md.kl_divergence(z, v.clip(-10, 10), 2.0)) == 5
    assert kept(lambda z, v, y: md.cross_entropy(z, y)) == 6


@pytest.mark.parametrize(
    ("where", "name", "changed"),
    [
        (md, "SGD", lambda rate, momentum, SGD=md.SGD, **options: SGD(rate, momentum / 2, **options)),
        (md, "linear_decay", lambda rate, warmup: md.constant_rate(rate)),
        (md.random, "uniform", lambda *args, uniform=md.random.uniform: 1 - uniform(*args)),  # the first weights
        *((md.random, name, 9) for name in ("DROPOUT", "SHUFFLE", "JITTER")),
    ],
)
def test_a_changed_library_trains_anew(
    where: Any, name: str, changed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, recipe, data = small_training()
    module.Store(tmp_path).train(recipe, data, 0, "a")
    monkeypatch.setattr(where, name, changed)
    module.Store(tmp_path).train(recipe, data, 0, "a")
    assert len(list(tmp_path.iterdir())) == 2


def test_teachers_logits_are_found_again_until_the_teachers_the_data_or_the_library_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, recipe, data = small_training()
    teachers = [recipe.network(data, seed) for seed in (1, 2)]

    def kept(*arguments: Any) -> int:
        module.Store(tmp_path).transfer(*arguments)
        return len(list(tmp_path.iterdir()))

    assert kept(teachers, data, 1) == kept(teachers, data, 1) == 1
    for number, changed in enumerate(
        [(teachers, data), (teachers[:1], data, 1), (teachers, data.subset(slice(39)), 1)], 2
    ):
        assert kept(*changed) == number
    monkeypatch.setattr(md, "geometric_mean", lambda logits: logits[0])
    assert kept(teachers, data, 1) == 5


def test_replicas_at_two_temperatures_are_found_again(tmp_path: Path) -> None:
    module, recipe, data = small_training()
    transfer = md.TransferSet.from_teacher(recipe.network(data, 1), data)
    warm = module.Recipe((5, 5), 2, 0.1, temperature=(1.0, 4.0), alpha=1.0)
    first, again = (module.Store(tmp_path).train(warm, transfer, [3, 3], "a") for _ in range(2))
    assert_same(first, again)
    assert (first.replicas, len(list(tmp_path.iterdir()))) == (2, 1)


def test_a_training_that_diverges_says_so_and_is_not_kept(tmp_path: Path) -> None:
    module, recipe, data = small_training()
    with pytest.raises(md.Diverged):
        module.Store(tmp_path).train(recipe.scaled(1e6), data, 0, "a")
    assert not list(tmp_path.iterdir())


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_a_kept_file_that_is_broken_is_named_with_the_remedy(tmp_path: Path) -> None:
    """At every 997th bit and 97th length, and as other files."""
    module, recipe, data = small_training()
    network = module.Store(tmp_path).train(recipe, data, 0, "a")
    module.Store(tmp_path).transfer([network], data)
    for path in list(tmp_path.iterdir()):
        content = path.read_bytes()
        damaged = [content[:length] for length in range(0, len(content), 97)]
        damaged += [flipped(content, bit) for bit in range(0, 8 * len(content), 997)]
        for one in (*damaged, b"PK\x03\x04 cut off", b"\x93NUMPY"):
            path.write_bytes(one)
            with pytest.raises(md.DataError, match=r"must hold a finished training, got .*: delete it to train again"):
                module.Store(tmp_path).transfer([module.Store(tmp_path).train(recipe, data, 0, "a")], data)
            assert path.read_bytes() == one
        path.write_bytes(content)


@pytest.mark.parametrize("wrong", ["swapped", "shape", "rows", "float64", "int32", "name"])
def test_a_file_in_anothers_place_or_of_another_shape_or_type_is_named(wrong: str, tmp_path: Path) -> None:
    module, recipe, data = small_training()
    size = recipe.network(data, 0).size
    for seed in (0, 1):
        module.Store(tmp_path).train(recipe, data, seed, "a")
    one, other = tmp_path.iterdir()
    if wrong == "swapped":
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
    else:
        shapes = {"shape": (1,), "rows": (1, size)}
        array = np.zeros(shapes.get(wrong, size), wrong if wrong in ("float64", "int32") else np.float32)
        write_tensors(one, {"other" if wrong == "name" else "array": array}, read_tensors(one)[1])
    expected = (
        "'array'" if wrong == "name" else rf"must hold float32 \({size},\) of the training \w+, got \w+ \(.*\) of"
    )
    with pytest.raises(md.DataError, match=expected):
        list(module.Store(tmp_path).train_each(recipe, data, (0, 1), "a"))


def test_a_script_that_was_cut_off_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, recipe, data = small_training()
    fit, calls = md.fit, []

    def cut_off_at_the_third(*args: Any, **options: Any) -> Any:
        calls.extend([1] * options.get("progress", True))  # not for a trial, which is silent
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(md, "fit", cut_off_at_the_third)

    def train_four() -> list[md.Network]:
        return [module.Store(tmp_path).train(recipe, data, seed, "a") for seed in range(4)]

    with pytest.raises(KeyboardInterrupt):
        train_four()
    calls.append(0)
    networks = train_four()
    assert len(calls) == 3 + 1 + 2
    on_host = md.get_backend().to_host
    assert len({on_host(n.parameters).tobytes() for n in networks}) == len(list(tmp_path.iterdir())) == 4


def test_a_training_that_was_cut_off_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, recipe, data = small_training()
    monkeypatch.setattr(module, "_trial", lambda *arguments: [])
    long, steps = module.replace(recipe, epochs=30), []

    def interrupted(z: Any, v: Any, y: Any) -> Any:
        steps.append(1)
        if len(steps) == 12:
            signal.raise_signal(signal.SIGINT)
        return md.cross_entropy(z, y)

    store = module.Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.train(long, data, 0, "a", interrupted)
    again = store.train(long, data, 0, "a", interrupted)
    assert len(steps) == 1 + 11 + 1 + 19  # each call tries the loss once
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    (tmp_path / "whole").mkdir()
    assert_same(
        again, module.Store(tmp_path / "whole").train(long, data, 0, "a", lambda z, v, y: md.cross_entropy(z, y))
    )


def test_the_bias_by_prior_brings_the_mean_probability_of_an_unseen_class_to_its_prior() -> None:
    unseen = load("04_unseen_class.py")
    z = np.random.default_rng(0).normal(0, 3, (500, 10)) - 6 * (np.arange(10) == 3)
    bias = unseen.bias_by_prior(z, [3])
    assert md.softmax(z, 1.0)[:, 3].mean() < 0.01
    np.testing.assert_allclose(md.softmax(z + bias, 1.0)[:, 3].mean(), 0.1, rtol=1e-6)
    assert set(np.flatnonzero(bias)) == {3}


def test_the_controls_share_with_the_teacher_what_they_say_and_nothing_else() -> None:
    controls = load("08_controls.py")
    rng, T = np.random.default_rng(0), 4.0
    y = np.repeat(np.arange(5), 40)
    v = rng.normal(0, 2, (200, 5)) + 6 * (np.arange(5) == y[:, None])

    def entropy(logits: np.ndarray) -> float:
        p = md.softmax(logits, T)
        return float(-(p * np.log(p)).sum(axis=-1).mean())

    smoothed = controls.smoothed(v, y, T)
    np.testing.assert_allclose(entropy(smoothed), entropy(v), rtol=1e-6)
    assert (smoothed.argmax(axis=-1) == y).all()
    assert len(np.unique(smoothed.round(9))) == 2
    means = controls.class_means(v, y, T)
    np.testing.assert_allclose(md.softmax(means, T)[y == 2], np.tile(md.softmax(v, T)[y == 2].mean(0), (40, 1)))
    within = controls.shuffled(y, within_classes=True)
    assert (y[within] == y).all()
    assert sorted(within) == list(range(200))
    assert (within != np.arange(200)).mean() > 0.8
    assert (y[controls.shuffled(y, within_classes=False)] == y).mean() < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "data folder must exist, got '/nowhere'"),
        (["--seeds", "0"], "--seeds must be a whole number >= 1 and <= 1000, got 0"),
        (["--rate", "0"], "--rate must be a finite number > 0, got 0.0"),
        (["--save-logits", "logits.npy"], "--save-logits needs a teacher that is trained now"),
        (["--save-logits", "logits.txt", "--train-teacher"], "--save-logits must end in .npy, got 'logits.txt'"),
        (
            ["--save-logits", "/nowhere/logits.npy", "--train-teacher"],
            "--save-logits must be a file in a folder that exists, got '/nowhere/logits.npy'",
        ),
        (
            ["--save-logits", "logits.npy", "--json", "logits.json", "--train-teacher"],
            "the description of --save-logits must be another file than --json, got 'logits.json' for both",
        ),
        (["--teachers", "2"], "--teachers must be left out without --full, got 2"),
        (["--arms", "jittered"], "--arms must have one of teacher, baseline, student without --full, got ['jittered']"),
        (["--full", "--teachers", "0"], "--teachers must be a whole number >= 1, got 0"),
        (["--epochs", "0"], "--epochs must be a whole number >= 1, got 0"),
        (["--runs", "pyproject.toml"], "--runs must be a folder that can be made, got 'pyproject.toml'"),
        (["--seeds", "many"], "argument --seeds: invalid int value: 'many'"),
        (["--teacher-units", "7"], "argument --teacher-units: invalid choice: "),
        (["--backend", "torch"], "argument --backend: invalid choice: 'torch'"),
        (
            ["--json", "/nowhere/results.json"],
            "--json must be a file in a folder that exists, got '/nowhere/results.json'",
        ),
        (["--json", "."], "--json must be a file in a folder that exists, got '.'"),
        (["--figure", "figure.foo"], "--figure must end in .png, .svg or .pdf, got 'figure.foo'"),
        (["--quick", "--full"], "not allowed with argument"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = script(Path(HEADLINE).name, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_script_with_one_line_and_it_goes_on_from_its_last_training(name: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    runs, results = tmp_path / "runs", tmp_path / "results.json"
    data = write_small_mnist(tmp_path / "data", 1000, 50)  # its teacher trains for some seconds
    options = ["--quick", "--seeds", "1", "--data", str(data), "--runs", str(runs), "--json", str(results)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "MINIDISTILL_BACKEND": ""}
    process = subprocess.Popen([sys.executable, HEADLINE, *options], cwd=ROOT, env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("teacher, seed 0: epoch 1/5")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (128 + number, "")
    assert err.splitlines()[-1] == f"ended by {name}"
    assert "Traceback" not in err
    (unfinished,) = runs.iterdir()
    assert {path.name for path in unfinished.iterdir()} == {"checkpoint-0.safetensors"}  # from which it will go on


@pytest.mark.parametrize("arm", ["teacher", "baseline", "student"])
def test_some_arms_alone_have_their_rows_and_nothing_is_said_of_the_others(
    arm: str, tmp_path: Path, small: Callable[[str], Path]
) -> None:
    options = ["--quick", "--seeds", "1", "--data", str(small(HEADLINE)), "--runs", str(tmp_path)]
    done = script(Path(HEADLINE).name, *options, "--arms", arm)
    assert done.returncode == 0, done.stderr
    names = load("01_headline.py").NAMES
    shown = [name for name, (label, _) in names.items() if f"\n{label}  " in done.stdout]
    assert shown == [arm]
    assert "soft targets saved" not in done.stdout


def test_in_an_old_locale_the_table_is_readable(tmp_path: Path, small: Callable[[str], Path]) -> None:
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    data = str(small(HEADLINE))
    done = call(HEADLINE, "--quick", "--seeds", "2", "--data", data, "--runs", str(tmp_path), **old)
    assert done.returncode == 0, done.stderr
    assert "mean ? sd" in done.stdout


def test_saved_logits_have_a_description_beside_them_which_overwrites_no_other_file(tmp_path: Path) -> None:
    headline, recipe, data = load("01_headline.py"), small_training()[1], small_training()[2]
    teacher = recipe.network(data, 0)
    (tmp_path / "teacher.json").write_text("another")
    transfer = md.TransferSet.from_teacher(teacher, data)
    headline.save_logits(tmp_path / "a.npy", transfer, {"test_errors": 3})
    logits = np.load(tmp_path / "a.npy")
    assert (logits.dtype, logits.shape) == (np.float16, (40, 3))
    about = json.loads((tmp_path / "a.json").read_text())
    assert (set(about), about["test_errors"]) == ({"test_errors", "commit"}, 3)
    assert (tmp_path / "teacher.json").read_text() == "another"


@pytest.mark.parametrize("name", ["a.PNG", "a.Png", "a.SVG"])
def test_the_ending_of_a_figure_may_be_in_capitals(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    common = load("common.py")
    arguments = common.parser("", seeds=1).parse_args(["--figure", str(tmp_path / name), "--runs", str(tmp_path)])
    common.start(arguments)
    common.finish(arguments, 1.0, {}, lambda results: "", lambda results, figure, axes: axes.plot([1, 2]))
    start = (tmp_path / name).read_bytes()
    assert start.startswith(b"\x89PNG" if "n" in name.lower() else b"<?xml")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_backend_that_cannot_run_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("__version__ = '0'\ndef is_available(): return False\n")
    for arguments, environment in ((["--backend", "cupy"], {}), ([], {"MINIDISTILL_BACKEND": "cupy"})):
        done = call(HEADLINE, *arguments, PYTHONPATH=f"{tmp_path}:{ROOT}", **environment)
        assert done.returncode == 2
        assert "no GPU and driver" in done.stderr
        assert "Traceback" not in done.stderr


def test_help_says_what_each_option_does() -> None:
    done = call(HEADLINE, "--help")
    assert done.returncode == 0
    for option in (
        "--backend",
        "--seeds",
        "--quick",
        "--full",
        "--data",
        "--json",
        "--figure",
        "--runs",
        "--train-teacher",
        "--teacher-units",
    ):
        assert option in done.stdout
