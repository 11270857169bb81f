"""Files in, a student's folder out: it learns what a teacher of another kind knows, and mistakes are one line."""

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import some
from test_examples import ROOT, call, here

import minidistill as md
from minidistill.cli import main
from minidistill.distil import Settings, distil

ROWS, CLASSES = 600, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of unequal scales, and the logits of a teacher that is no network: distances to centres."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    y = rng.integers(0, CLASSES, ROWS)
    scales = np.array([1.0, 100.0, 0.01, 1.0])
    centres = rng.normal(0, 2, (CLASSES, 4))
    x = centres[y] + rng.normal(size=(ROWS, 4))
    v = -((x[:, None] - centres) ** 2).sum(axis=-1) / 2
    np.save(folder / "x.npy", (scales * x + 5).astype(np.float32))
    np.save(folder / "v.npy", v.astype(np.float32))
    np.save(folder / "v2.npy", (v + rng.normal(0, 0.3, v.shape)).astype(np.float16))
    np.save(folder / "p.npy", md.softmax(v))
    np.save(folder / "y.npy", y)
    np.savez(folder / "x.npz", inputs=np.load(folder / "x.npy"))
    header = "a,b,c,d"
    np.savetxt(folder / "x.csv", np.load(folder / "x.npy"), delimiter=",", header=header, comments="")
    np.savetxt(folder / "y.csv", y, header="label", comments="", fmt="%d")
    return folder


def distill(files: Path, out: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command with these options on top of a small training, in this process."""
    return here(lambda: main(distill_words(files, out, **options)))


def distill_words(files: Path, out: Path, **options: Any) -> list[str]:
    given: dict[str, Any] = {
        "inputs": "x.npy",
        "teacher_logits": "v.npy",
        "hidden": "20",
        "epochs": 12,
        "batch_size": 32,
    }
    given |= {"learning_rate": 0.01} | options
    words = []
    for name, value in given.items():
        values = [str(files / one) if "." in str(one) and name in FILES else str(one) for one in np.atleast_1d(value)]
        words += [f"--{name.replace('_', '-')}", *([] if value is True else values)]
    return ["distill", *words, "--out", str(out)]


FILES = ("inputs", "teacher_logits", "labels")
WAYS: dict[str, dict[str, Any]] = {
    "soft targets alone": {},
    "with labels": {"labels": "y.npy"},
    "npz and csv": {"inputs": "x.npz", "labels": "y.csv"},
    "csv": {"inputs": "x.csv"},
    "an ensemble": {"teacher_logits": ["v.npy", "v2.npy"]},
    "an arithmetic mean": {"teacher_logits": ["v.npy", "v2.npy"], "mean": "arithmetic"},
    "probabilities": {"teacher_logits": "p.npy", "teacher_probabilities": True},
    "the best temperature": {"temperature": "auto", "labels": "y.npy"},
    "no hidden layer but one": {"hidden": "8", "dropout": 0.1, "soft_weight": 0.5, "labels": "y.npy"},
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_student_agrees_with_its_teacher_and_predicts_from_its_folder(
    files: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "student"
    done = distill(files, out, **options)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["agreement"] > 0.9
    assert f"{summary['agreement']:.2%} with the teacher" in done.stdout
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    words = ["predict", str(out), "--inputs", str(files / "x.npy"), "--out", str(tmp_path / "z.npy")]
    predicted = here(lambda: main(words))
    assert predicted.returncode == 0, predicted.stderr
    z, v = np.load(tmp_path / "z.npy"), np.load(files / "v.npy")
    assert (z.argmax(axis=-1) == v.argmax(axis=-1)).mean() > 0.9
    np.testing.assert_array_equal(z, md.Network.load(out).predict(np.load(files / "x.npy")))


def test_one_row_and_probabilities_each_command_in_a_process_of_its_own(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    assert call("-m", "minidistill", *distill_words(files, out, epochs=1)).returncode == 0
    np.save(tmp_path / "one.npy", np.load(files / "x.npy")[0])
    command = [
        "predict",
        str(out),
        "--inputs",
        str(tmp_path / "one.npy"),
        "--out",
        str(tmp_path / "p.npy"),
        "--probabilities",
    ]
    assert call("-m", "minidistill", *command).returncode == 0
    p = np.load(tmp_path / "p.npy")
    assert p.shape == (1, CLASSES)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-6)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "rows that disagree": ({"labels": "short.npy"}, "labels must have shape (600,)"),
    "logits that disagree": ({"teacher_logits": ["v.npy", "wide.npy"]}, "--teacher-logits must be of one shape"),
    "NaN": ({"teacher_logits": "nan.npy"}, "logits must be finite"),
    "probabilities": ({"teacher_logits": "p.npy"}, "logits must not be probabilities"),
    "logits for probabilities": ({"teacher_probabilities": True}, "--teacher-probabilities must be rows in [0, 1]"),
    "labels outside": ({"labels": "large.npy"}, "labels must lie in 0..2"),
    "pickle": ({"inputs": "object.npy"}, "--inputs must be a readable array"),
    "no file": ({"inputs": "nothing.npy"}, "--inputs must be a readable array"),
    "another kind": ({"inputs": "x.txt"}, "--inputs must end in .npy, .npz or .csv"),
    "two arrays": ({"inputs": "two.npz"}, "--inputs must hold one array"),
    "too few rows": ({"inputs": "one.npy", "teacher_logits": "onev.npy"}, "must have at least 2 rows"),
    "a temperature": ({"temperature": "hot"}, "--temperature a number"),
    "below 0": ({"temperature": -1}, "temperature must be a finite number > 0"),
    "hidden": ({"hidden": "a,b"}, "--hidden must be whole numbers"),
    "contradiction": ({"temperature": "auto", "mean": "arithmetic", "teacher_logits": ["v.npy", "v2.npy"]}, "got auto"),
    "weight": ({"soft_weight": 2, "labels": "y.npy"}, "soft_weight must be a finite number >= 0 and <= 1"),
    "weight without labels": ({"soft_weight": 0.5}, "soft_weight must be 1 without labels"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(
    files: Path, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    x, v = np.load(files / "x.npy"), np.load(files / "v.npy")
    made = {"short": np.zeros(5, int), "wide": np.zeros((ROWS, 9)), "nan": np.full_like(v, np.nan), "one": x[:1]}
    made |= {"large": np.full(ROWS, 7), "object": np.array([{}, []], dtype=object), "onev": v[:1]}
    for name, array in made.items():
        np.save(files / f"{name}.npy", array, allow_pickle=True)
    np.savez(files / "two.npz", a=x, b=x)
    (files / "x.txt").write_text("1 2 3")
    done = distill(files, tmp_path / "out", **options)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def forged(shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file of this shape, and nothing behind it."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00\x76\x00" + head.encode()


WORSE: dict[str, tuple[str, Any, str]] = {  # an option, what its file holds or its value, what is told
    "2^60 rows": ("inputs.npy", forged((2**60, 4)), "--inputs must be a readable array"),
    "rows below 0": ("inputs.npy", forged((-5, 4)), "--inputs must be a readable array"),
    "a head without rows": ("inputs.npy", forged((60, 4)), "--inputs must be a readable array"),
    "no archive": ("inputs.npz", b"PKjunk", "--inputs must be a readable array"),
    "nothing in a CSV": ("inputs.csv", b"", "inputs must have shape (rows, ...) with none of it empty"),
    "only a CSV's header": ("inputs.csv", b"a,b\n", "inputs must have shape (rows, ...) with none of it empty"),
    "a ragged CSV": ("inputs.csv", b"a,b\n1,2\n3\n", "the number of columns changed"),
    "no squares": ("inputs.npy", np.full((60, 4), 1e300), "inputs must have finite squares"),
    "no float32": ("teacher-logits.npy", np.eye(60, 3) * 1e300, "logits must be finite in the network's float32"),
    "one class": ("teacher-logits.npy", np.zeros((60, 1)) - 1, "logits must be of at least 2 classes"),
    "infinite labels": ("labels.npy", np.full(60, np.inf), "labels must hold integer class labels"),
    "huge labels": ("labels.npy", np.full(60, 1e300), "labels must hold integer class labels"),
    "more memory than there is": ("hidden", "99999999999999", "Unable to allocate"),
    "no units": ("hidden", "0", "hidden must be a whole number >= 1"),
    "a seed below 0": ("seed", "-1", "seed must be a whole number >= 0"),
    "no validation": ("validation", "0", "validation must be a finite number > 0 and <= 0.9"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("option", "content", "message"), WORSE.values(), ids=WORSE)
def test_what_no_file_and_no_option_should_hold_is_one_line_too(
    option: str, content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {
        "inputs": tmp_path / "x.npy",
        "teacher-logits": tmp_path / "v.npy",
        "out": tmp_path / "out",
        "epochs": 1,
    }
    np.save(given["inputs"], rng.normal(size=(60, 4)))
    np.save(given["teacher-logits"], rng.normal(size=(60, 3)))
    name, _, kind = option.partition(".")
    given[name] = tmp_path / f"bad.{kind}" if kind else content
    if isinstance(content, bytes):
        given[name].write_bytes(content)
    elif not isinstance(content, str):
        np.save(given[name], content)
    assert main(["distill", *(f"--{name}={value}" for name, value in given.items())]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not given["out"].exists() or not any(given["out"].iterdir())


def test_a_folder_with_something_in_it_is_left_as_it_is(files: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = distill(files, tmp_path)
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (2, ["mine.txt"])
    assert "--out must be a new or an empty folder" in done.stderr


def test_a_distillation_that_was_cut_off_goes_on_and_a_finished_one_is_left_alone(files: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"temperature": "auto", "labels": "y.npy", "epochs": 60}
    whole, cut_off = tmp_path / "whole", tmp_path / "cut off"
    assert distill(files, whole, **options).returncode == 0
    command = [sys.executable, "-m", "minidistill", *distill_words(files, cut_off, **options)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("student: epoch 1/60")
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, ""), err
    assert "the same call goes on from there" in err
    assert err.splitlines()[-1] == "ended by SIGTERM"
    other = distill(files, cut_off, **options | {"epochs": 61})
    assert (other.returncode, "total_epochs 60 instead of 61" in other.stderr) == (2, True)
    done = distill(files, cut_off, **options)
    assert done.returncode == 0, done.stderr
    assert "student: goes on after step " in done.stderr
    assert {path.name for path in cut_off.iterdir()} == {path.name for path in whole.iterdir()}
    before = {path: path.read_bytes() for path in cut_off.iterdir()}
    assert before[cut_off / "model.safetensors"] == (whole / "model.safetensors").read_bytes()
    again = distill(files, cut_off, **options)
    assert (again.returncode, {path: path.read_bytes() for path in cut_off.iterdir()}) == (2, before)
    assert "--out must be a new or an empty folder" in again.stderr


def test_a_distillation_that_diverges_keeps_nothing(files: Path, tmp_path: Path) -> None:
    done = distill(files, tmp_path / "out", learning_rate=1e9)
    assert (done.returncode, "diverged" in done.stderr) == (2, True)
    assert not any((tmp_path / "out").iterdir())


def test_inputs_in_a_file_are_never_all_in_memory_and_teach_what_they_teach_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (16_000, 500)).astype(np.float32)  # 32 MB
    v = (x[:, :3] - 3).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    settings = Settings((4,), epochs=2, batch_size=256)

    def trained(inputs: np.ndarray) -> tuple[md.Network, float]:
        """The student, and the most memory that was taken for it."""
        tracemalloc.start()
        student, _ = distil(md.TransferSet(inputs, v), settings, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return student, peak

    (in_memory, much), (mapped, little) = trained(x), trained(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_array_equal(in_memory.parameters, mapped.parameters)
    np.testing.assert_array_equal(in_memory.layers[0].mean, mapped.layers[0].mean)
    assert little < x.nbytes / 2 < x.nbytes < much


@given(data=st.data())
@some
def test_rows_of_a_file_are_those_of_the_array(data: st.DataObject) -> None:
    array = np.arange(60.0, dtype=np.float32).reshape(20, 3)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", array)
        mapped = md.Dataset(np.load(Path(folder) / "x.npy", mmap_mode="r"), np.arange(20))
        kept = md.Dataset(array, np.arange(20))
        for _ in range(3):  # a part of a part of a part
            cut = data.draw(st.slices(len(kept)))
            some_rows = np.array(data.draw(st.lists(st.integers(0, len(kept) - 1), min_size=1)))
            rows = cut if len(kept.labels[cut]) and data.draw(st.booleans()) else some_rows
            mapped, kept = mapped.subset(rows), kept.subset(rows)
            assert (len(mapped), mapped.n_in, mapped.inputs.dtype) == (len(kept), 3, np.float32)
            np.testing.assert_array_equal(mapped.inputs[:], kept.inputs)
            np.testing.assert_array_equal(mapped.labels, kept.labels)
            np.testing.assert_allclose(mapped.mean(), kept.mean(), rtol=1e-6)
            np.testing.assert_array_equal(mapped.inputs[::2], kept.inputs[::2])
            index = np.array([[0, len(kept) - 1], [len(kept) // 2, 0]])
            out = np.empty((2, 2, 3), np.float32)
            np.testing.assert_array_equal(mapped.backend.take(mapped.inputs, index, out), kept.inputs[index])


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_statistics_are_numpys_however_the_rows_are_cut(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(offset, [1.0, 5.0, 0.0], (37, 3))
    for block in (1, 7, 2**18):
        monkeypatch.setattr("minidistill.standardise.BLOCK", block)
        layer = md.Standardise.of(x)
        np.testing.assert_allclose(layer.mean, x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(layer.scale, [*(1 / x.std(axis=0)[:2]), 1], rtol=1e-9)


def test_split_deals_every_row_to_one_part_and_keeps_logits_and_labels_beside_their_inputs() -> None:
    x = np.arange(50.0)[:, None]
    data = md.TransferSet(x, np.hstack([x, -x]), (x[:, 0] % 2).astype(int))
    rest, part = data.split(0.3, seed=1)
    assert (len(rest), len(part)) == (35, 15)
    assert sorted([*rest.inputs[:, 0], *part.inputs[:, 0]]) == list(range(50))
    for one in (rest, part):
        np.testing.assert_array_equal(one.logits[:, :1], one.inputs)
        np.testing.assert_array_equal(one.labels, one.inputs[:, 0] % 2)
    with pytest.raises(md.ArgumentError, match="share must be a finite number > 0"):
        data.split(0)
