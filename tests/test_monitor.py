"""What a training shows: a bar in a terminal, lines elsewhere, the epoch's loss and errors in both, and no half bar."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EPOCHS = ["student: epoch 1/2, loss ", "student: epoch 2/2, loss "]
TRAINING = """
import sys
import numpy as np, minidistill as md
def fail(epoch):
    if "fail" in sys.argv: raise md.ArgumentError("stop here")
if "no-tqdm" in sys.argv: sys.modules["tqdm"] = None
if "no-stderr" in sys.argv: sys.stderr = None
rng = np.random.default_rng(0)
data = md.Dataset(rng.normal(size=(300, 3)).astype("f"), rng.integers(0, 2, 300))
def main():
    md.fit(md.Network.mlp([3, 4, 2]), data, md.Objective(alpha=0), md.SGD(0.05), epochs=2, batch_size=8,
           validation=data, title="student", after_epoch=fail, progress="silent" not in sys.argv)
from minidistill.shell import run
sys.exit(run(main))
"""


def shown(*words: str) -> list[str]:
    """Return the lines that a training writes to standard error where that is a pipe."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRAINING, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (2 if "fail" in words else 0), done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def screen(*words: str, columns: int = 80) -> list[str]:
    """Return the lines that a training leaves on a terminal: what is behind the last carriage return of each."""
    termios = pytest.importorskip("termios")
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    env = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-c", TRAINING, *words]
    with subprocess.Popen(command, env=env, stdin=follower, stdout=follower, stderr=follower):
        os.close(follower)
        text = b""
        try:
            while chunk := os.read(leader, 65536):
                text += chunk
        except OSError:  # Linux's word for the end of a terminal
            pass
        os.close(leader)
    lines = text.decode().replace("\r\n", "\n").split("\n")
    return [line.split("\r")[-1].rstrip() for line in lines if line.split("\r")[-1].strip()]


@pytest.mark.parametrize("words", [(), ("no-tqdm",)], ids=["tqdm", "no tqdm"])
def test_in_a_log_file_there_is_a_line_an_epoch_and_no_bar(words: tuple[str, ...]) -> None:
    lines = shown(*words)
    assert [line[: len(EPOCHS[0])] for line in lines] == EPOCHS
    assert all(", errors " in line for line in lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_terminal_there_is_one_bar_with_the_last_epochs_loss_and_errors(columns: int) -> None:
    pytest.importorskip("tqdm")
    (line,) = screen(columns=columns)
    assert line.startswith("student: 100%|")
    assert "epoch 2/2, loss " in line
    assert ", errors " in line
    assert len(line) <= columns


def test_in_a_terminal_without_tqdm_there_is_a_line_an_epoch() -> None:
    assert [line[: len(EPOCHS[0])] for line in screen("no-tqdm")] == EPOCHS


def test_no_half_drawn_bar_is_left_before_an_error() -> None:
    assert screen("fail") == ["error: stop here"]
    assert shown("fail")[1:] == ["error: stop here"]


@pytest.mark.parametrize("word", ["silent", "no-stderr"])
def test_silence_on_request_and_in_a_process_without_standard_error(word: str) -> None:
    assert shown(word) == []
