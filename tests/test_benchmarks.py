"""The benchmarks run, on a small scale, and write what they promise; nothing is asserted on time.

Those of a step and of a whole student are in tests/test_gpu_command.py.
"""

import json
from pathlib import Path

from test_examples import call


def results_of(tmp_path: Path, *command: str) -> list[dict]:
    path = tmp_path / "results.json"
    done = call(*command, "--json", str(path))
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # shown with pytest -s
    return json.loads(path.read_text())["results"]


def test_a_peer_that_is_not_installed_is_named_as_absent(tmp_path: Path) -> None:
    (r, *_) = results_of(tmp_path, "tests/benchmarks/prediction.py", "--rounds", "1", "--repeats", "2")
    assert ("onnxruntime" in r["absent"]) != ("onnxruntime" in r["seconds"])
    assert r["seconds"]["minidistill"] > 0


def test_the_growth_benchmark_measures_images_and_replicas(tmp_path: Path) -> None:
    results = results_of(tmp_path, "tests/benchmarks/growth.py", "--small", "--repeats", "1")
    assert {r["kind"] for r in results if "kind" in r} == {"in memory", "mapped"}
    assert [r["replicas"] for r in results if "replicas" in r] == [1, 2]


def test_the_evidence_is_gathered_and_nothing_in_it_is_wrong(tmp_path: Path) -> None:
    options = ("--only", "fuzz", "forged", "full", "--inputs", "200")
    results = results_of(tmp_path, "tests/benchmarks/evidence.py", *options)
    assert {r["event"].split()[0] for r in results} >= {"safetensors", "npz", "npy", "CSV", "IDX", "Network.save,"}
    for r in results:
        assert r["tried"] == r["told"] + r["read"]
        assert r["other"] == 0
        assert r["told"] > 0
        assert not (r["read_is_wrong"] and r["read"])
