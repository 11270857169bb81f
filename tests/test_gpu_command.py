"""The command for a machine with a GPU runs each section to its end, here on the CPU, and keeps what was cut off."""

import json
import sys
from pathlib import Path

import pytest
from test_examples import call

sys.path.insert(0, str(Path(__file__).parent))
import gpu


def run(out: Path, *sections: str) -> tuple[int, str, dict]:
    done = call("tests/gpu.py", *sections, "--dry-run", "--out", str(out))
    return (
        done.returncode,
        done.stdout + done.stderr,
        {name: json.loads((out / f"{name}.json").read_text()) for name in sections},
    )


def test_probe_sanitize_and_tests_run_and_are_summed_up(tmp_path: Path) -> None:
    code, text, results = run(tmp_path, "probe", "sanitize", "tests")
    assert code == 0, text
    assert results["probe"]["versions"]["numpy"]
    assert all(rate > 0 for rate in results["probe"]["matmul_TFLOP_per_s"].values())
    assert results["sanitize"]["summary"] == "nothing found"
    assert "passed" in results["tests"]["summary"]
    for result in results.values():
        assert (result["status"], result["dry_run"]) == ("ok", True)
        assert f"{result['section']:10} ok" in text


def test_the_benchmarks_run_and_their_results_are_kept(tmp_path: Path) -> None:
    code, text, results = run(tmp_path, "bench")
    assert code == 0, text
    assert [r["kind"] for r in results["bench"]["step"]] == ["plain", "plain", "teacher"]
    for r in (r | r[state] for r in results["bench"]["step"] for state in ("fresh", "trained")):
        assert r["ratio_to_products"]["minidistill"] == r["seconds"]["minidistill"] / r["seconds"]["products"]
    (r,) = results["bench"]["epoch"]
    assert set(r["seconds"]) | set(r["absent"]) >= {"minidistill", "minidistill, MKL", "torch compile", "jax jit"}


def test_the_examples_run_and_share_their_trainings(tmp_path: Path) -> None:
    code, text, results = run(tmp_path, "headline", "further")
    assert code == 0, text
    assert results["headline"]["results"]["student"]["errors"]
    assert results["further"]["results"]["students"]


def test_what_fails_or_takes_too_long_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        gpu, "SECTIONS", {"probe": (gpu.probe, 60), "sleep": (gpu.probe, 0.01), "absent": (gpu.probe, 60)}
    )
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run", "--out", str(tmp_path)])
    assert gpu.main() == 1  # in their own processes the sections `sleep` and `absent` are unknown: those fail
    status = {name: json.loads((tmp_path / f"{name}.json").read_text())["status"] for name in gpu.SECTIONS}
    assert status == {"sleep": "cut off", "absent": "failed", "probe": "ok"}


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    done = call("tests/gpu.py", "everything", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "SECTION must be one of probe, tests, sanitize, bench, headline, further, got 'everything'" in done.stderr
