"""The examples as a user runs them: from a shell, with their files written, and with mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEADLINE = "examples/01_headline.py"


def call(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of this checkout with this Python."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "MINIDISTILL_BACKEND": ""} | environment
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=170, check=False
    )


def test_the_main_job_ends_with_its_table_its_json_and_its_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results, figure = tmp_path / "results.json", tmp_path / "figure.png"
    done = call(HEADLINE, "--quick", "--seeds", "2", "--json", str(results), "--figure", str(figure))
    assert done.returncode == 0, done.stderr
    for text in ("67", "146", "74", "teacher", "hard labels", "soft targets", "parameters", "images/s"):
        assert text in done.stdout
    r = json.loads(results.read_text())
    assert r["preset"] == "quick"
    assert r["backend"] == "numpy"
    assert r["seeds"] == 2
    assert r["seconds"] > 0
    sizes = {"teacher": 784 * 1600 + 1600 * 1600 + 16000 + 3210, "baseline": 784 * 800 + 800 * 800 + 8000 + 1610}
    for name, seeds in (("teacher", 1), ("baseline", 2), ("student", 2)):
        part = r[name]
        assert len(part["errors"]) == seeds
        assert part["test_size"] == 10_000
        assert all(0 < e < 2_000 for e in part["errors"])  # far better than chance, 9,000
        assert part["parameters"] == sizes.get(name, sizes["baseline"])
        assert part["bytes"] == 4 * part["parameters"]
        assert part["latency_us"] > 0
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "data folder must exist, got '/nowhere'"),
        (["--seeds", "0"], "--seeds must be >= 1 and <= 1000, got 0"),
        (["--rate", "0"], "--rate must be > 0, got 0.0"),
        (["--seeds", "many"], "argument --seeds: invalid int value: 'many'"),
        (["--hidden", "7"], "argument --hidden: invalid choice: "),
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
    done = call(HEADLINE, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


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
    for option in ("--backend", "--seeds", "--quick", "--full", "--data", "--json", "--figure", "--hidden"):
        assert option in done.stdout
