"""Files in, a student's folder out: it learns what a teacher of another kind knows, and mistakes are one line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_examples import ROOT, call

import minidistill as md

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
    """The command with these options on top of a small training."""
    return call("-m", "minidistill", *distill_words(files, out, **options))


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
    predicted = call(
        "-m", "minidistill", "predict", str(out), "--inputs", str(files / "x.npy"), "--out", str(tmp_path / "z.npy")
    )
    assert predicted.returncode == 0, predicted.stderr
    z, v = np.load(tmp_path / "z.npy"), np.load(files / "v.npy")
    assert (z.argmax(axis=-1) == v.argmax(axis=-1)).mean() > 0.9
    np.testing.assert_array_equal(z, md.Network.load(out).predict(np.load(files / "x.npy")))


def test_one_row_and_probabilities(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    assert distill(files, out, epochs=1).returncode == 0
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
    "weight": ({"soft_weight": 2, "labels": "y.npy"}, "alpha must be a finite number >= 0 and <= 1"),
    "weight without labels": ({"soft_weight": 0.5}, "alpha must be 1 for a transfer set without labels"),
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
