"""The benchmarks run, on a small scale, and write what they promise; nothing is asserted on time."""

import json
from pathlib import Path

from test_examples import call


def results_of(tmp_path: Path, *command: str) -> list[dict]:
    path = tmp_path / "results.json"
    done = call(*command, "--json", str(path))
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # shown with pytest -s
    return json.loads(path.read_text())["results"]


def test_the_step_benchmark_gives_the_ratio_to_the_matrix_products(tmp_path: Path) -> None:
    small = ("--no-peers", "--rounds", "2", "--repeats", "3", "--epochs", "0")
    results = results_of(tmp_path, "tests/benchmarks/step.py", *small)
    assert [r["kind"] for r in results] == ["plain", "plain", "teacher"]
    for r in (r | r[state] for r in results for state in ("fresh", "trained")):
        assert r["batch_size"] == 128
        assert r["ratio_to_products"]["minidistill"] == r["seconds"]["minidistill"] / r["seconds"]["products"]


def test_the_whole_student_is_timed_epoch_by_epoch(tmp_path: Path) -> None:
    (r,) = results_of(tmp_path, "tests/benchmarks/epoch.py", "--rounds", "2", "--steps", "3")
    assert len(r["epochs"]["minidistill"]) == 2
    assert set(r["seconds"]) | set(r["absent"]) >= {"minidistill", "minidistill, MKL", "torch compile", "jax jit"}


def test_a_peer_that_is_not_installed_is_named_as_absent(tmp_path: Path) -> None:
    (r, *_) = results_of(tmp_path, "tests/benchmarks/prediction.py", "--rounds", "1", "--repeats", "2")
    assert ("onnxruntime" in r["absent"]) != ("onnxruntime" in r["seconds"])
    assert r["seconds"]["minidistill"] > 0


def test_the_growth_benchmark_measures_images_and_replicas(tmp_path: Path) -> None:
    results = results_of(tmp_path, "tests/benchmarks/growth.py", "--small", "--repeats", "1")
    assert {r["kind"] for r in results if "kind" in r} == {"in memory", "mapped"}
    assert [r["replicas"] for r in results if "replicas" in r] == [1, 2]
