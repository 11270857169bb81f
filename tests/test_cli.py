"""The command `python -m minidistill`: its exit codes, its options, and that it fails before the work and not after."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from strategies import EXAMPLES

from minidistill.cli import main
from minidistill.testing.losses.targets import load_function

ROOT = Path(__file__).parents[1]
SOURCE = """
import numpy as np
def ls(z, T):
    s = (z - z.max(-1, keepdims=True)) / T
    return s - np.log(np.exp(s).sum(-1, keepdims=True))
def good(z, v, T):
    return T * T * (np.exp(ls(v, T)) * (ls(v, T) - ls(z, T))).sum(-1).mean()
def bad(z, v, T):
    return good(z, v, T) / z.shape[-1]
def named(z, v, T, truth=None, weight=0.5):
    hard = 0 if truth is None else -ls(z, 1)[range(len(z)), truth].mean()
    return good(z, v, T) if truth is None else weight * good(z, v, T) + (1 - weight) * hard
def of_two(z, v):
    return 0.0
def of_five(z, v, T, y, alpha):
    raise ValueError("α and β")
def slow(z, v, T):
    import time
    print("begun", flush=True)
    time.sleep(60)
number = 3
"""


def test_the_command_judges_a_file_and_answers_by_its_exit_code(tmp_path, capsys):
    file, report = tmp_path / "losses.py", tmp_path / "report.json"
    file.write_text(SOURCE)
    options = ["--json", str(report), "--examples", str(EXAMPLES)]
    assert main(["check", f"{file}:good", "--expect", "kl,batchmean,t2", *options]) == 0
    assert json.loads(report.read_text())["passed"] is True
    assert "laws hold" in capsys.readouterr().out
    assert main(["check", f"{file}:bad", *options]) == 1
    out = capsys.readouterr().out
    for text in (
        "reduction        mean",
        "BROKEN  an impossible class changes nothing",
        "  at z = [[",
        "likely: a division by",
    ):
        assert text in out
    law = json.loads(report.read_text())["laws"]["an_impossible_class_changes_nothing"]
    assert law["verdict"] == "broken"


@pytest.mark.parametrize(
    ("target", "text"),
    [("{}:none", "must name a function"), ("{}:number", "must name a function"),
     ("/nowhere.py:f", "a file that exists"), ("no.such.module:f", "cannot be imported: ModuleNotFoundError")],
)  # fmt: skip
def test_a_target_that_is_no_function_is_exit_code_2(target, text, tmp_path, capsys):
    file = tmp_path / "losses.py"
    file.write_text(SOURCE)
    assert main(["check", target.format(file)]) == 2
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err


def test_a_script_that_ends_itself_and_a_dataclass_in_a_file(tmp_path, capsys):
    ends, data = tmp_path / "ends.py", tmp_path / "data.py"
    ends.write_text(SOURCE + "import sys; sys.exit(0)")
    assert main(["check", f"{ends}:good"]) == 2
    assert "cannot be imported: SystemExit: 0" in capsys.readouterr().err
    data.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
        + SOURCE
    )
    assert load_function(f"{data}:good").__name__ == "good"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "losses.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def command(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start the command in its own process."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    words = [sys.executable, "-m", "minidistill", *arguments]
    return subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("function", ["of_two", "of_five"])
def test_a_function_that_cannot_be_judged_is_exit_code_3_with_the_signature_that_is_wanted(
    function: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["check", f"{file}:{function}", "--json", str(report)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot be judged: it raised " in err
    assert "(student_logits, teacher_logits, temperature)" in err
    assert json.loads(report.read_text())["unusable"].startswith("it raised ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--json", "."], "--json must be a file in a folder that exists, got '.'"),
        (["--json", "/nowhere/report.json"], "--json must be a file in a folder that exists"),
        (["--expect", "kl", "ce"], "expect must hold at most one of kl and ce and "),
        (["--expect", "fast"], "expect must be some of kl, ce,"),
        (["--examples", "0"], "examples must be a whole number >= 1, got 0"),
    ],
)
def test_a_wrong_option_is_one_line_before_the_loss_is_called(
    arguments: list[str], text: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{file}:slow", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {text}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["kl,t2"], ["kl", "t2"], ["kl,", "t2"], ["kl t2"]])
def test_expect_takes_commas_or_spaces_before_the_function_and_behind_it(
    words: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([f"{file}:good", "--expect", *words], ["--expect", *words, f"{file}:good"]):
        assert main(["check", "--examples", "1", *arguments]) == 0
        out = capsys.readouterr().out
        assert "it is kl as declared" in out
        assert "it is t2 as declared" in out


def test_a_whole_file_is_a_line_for_each_loss_and_then_what_is_broken(file: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "report.json"
    file.write_text(SOURCE.replace("def slow(z, v, T)", "def not_a_loss(z, v)"), encoding="utf-8")
    options = ["--examples", str(EXAMPLES), "--json", str(report)]
    assert main(["check", str(file), *options]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("holds   good: it is KL(teacher || student), batchmean, times T^2: all ")
    assert lines[1].startswith("BROKEN  bad: it is KL(teacher || student), mean, times T^2: 1 of ")
    assert lines[2].startswith("holds   named: ")
    assert lines[3].startswith("cannot  of_five: cannot be judged: it raised ValueError")
    assert [line.split(":")[0] for line in err.splitlines()] == ["good", "bad", "named", "of_five"]
    assert all(line.endswith(" s") for line in err.splitlines())
    assert "an impossible class changes nothing: with one" in out
    assert [one["name"] for one in json.loads(report.read_text())] == ["good", "bad", "named", "of_five"]
    assert main(["check", str(file), *options, "--markdown"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("- **holds** `good`: it is ")
    assert "### `bad` (numpy)" in out
    assert f'```python\nfrom minidistill.testing import check_law\ncheck_law("{file}:bad", ' in out


def test_labels_and_alpha_are_named(file: Path, capsys: Any) -> None:
    options = ["--examples", str(EXAMPLES)]
    assert main(["check", f"{file}:named", *options]) == 0
    assert "not given: truth, weight; a hard term takes --labels NAME --alpha NAME" in capsys.readouterr().out
    assert main(["check", f"{file}:named", *options, "--labels", "truth", "--alpha", "weight"]) == 0
    assert "hard term        cross-entropy, batchmean" in capsys.readouterr().out
    assert main(["check", f"{file}:named", *options, "--labels", "truth"]) == 2
    assert "labels and alpha must be named both or neither" in capsys.readouterr().err


def test_a_module_without_a_loss_is_exit_code_2(tmp_path: Path, capsys: Any) -> None:
    empty = tmp_path / "empty.py"
    empty.write_text("def other(a, b, c):\n    return 0\n")
    assert main(["check", str(empty)]) == 2
    assert "target must hold a function (student, teacher, temperature, ...)" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--expect", "kl"]])
def test_without_a_function_it_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["check", *arguments])
    assert raised.value.code == 2
    assert "FILE.py:function is required" in capsys.readouterr().err


def test_a_check_leaves_nothing_in_the_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for function in ("good", "bad"):
        process = command("check", f"{file}:{function}")
        process.communicate(timeout=60)
        assert process.returncode == (function == "bad")
        assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_check_with_one_line_and_no_report(name: str, file: Path, tmp_path: Path) -> None:
    number = getattr(signal, name)
    process = command("check", f"{file}:slow", "--json", str(tmp_path / "report.json"))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (128 + number, f"ended by {name}\n")
    assert list(tmp_path.glob("*.*")) == [file]


def test_in_an_old_locale_it_prints_something_readable(file: Path) -> None:
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments, code, text in (
        (["info", "--bench"], 0, " ?s"),
        (["check", f"{file}:of_five"], 3, "it raised ValueError: ? and ?"),
    ):
        process = command(*arguments, **old)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert text in out + err
        assert "Traceback" not in err


def test_help_names_every_option_every_word_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["check", "--help"])
    assert raised.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    options = ("FILE.py:function", "--framework", "--expect", "--labels", "--alpha", "--examples", "--seed", "--json",
               "--markdown")  # fmt: skip
    words = ("kl or ce", "batchmean or sum", "t2 or t0", "detached", "commas or spaces")
    codes = ("Exit code 0", "1: one is broken", "3: none is broken, but a function cannot be judged")
    for text in (*options, *words, *codes):
        assert text in shown
