"""A command in a shell: its exit codes, the signals that end it, an old locale, and the files that it writes."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from minidistill import ArgumentError
from minidistill.shell import SIGNALS, check_outputs, run, whole_file

ROOT = Path(__file__).parents[1]
WRITES = """
import sys, time
from pathlib import Path
from minidistill.shell import run, whole_file
def main():
    with whole_file(Path(sys.argv[1])) as path:
        path.write_text("half")
        print("begun", flush=True)
        time.sleep(60)
sys.exit(run(main))
"""


def started(*command: str, **options: Any) -> "subprocess.Popen[str]":
    """Start this Python with the command, and return when it has written its first line to standard output."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *command], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_line_and_128_plus_its_number_and_nothing_is_half_written(number: int, tmp_path: Path) -> None:
    for before in (None, "of an earlier run"):
        if before is not None:
            (tmp_path / "results").write_text(before)
        process = started("-c", WRITES, str(tmp_path / "results"))
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (128 + number, f"ended by {signal.Signals(number).name}\n")
        assert [path.read_text() for path in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_signal_that_is_ignored_stays_so_as_under_nohup(tmp_path: Path) -> None:
    process = started(
        "-c", WRITES, str(tmp_path / "a"), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.terminate()
    assert process.communicate(timeout=20)[1] == "ended by SIGTERM\n"


def test_a_command_that_ran_leaves_the_handlers_of_signals_as_they_were() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    codes = [run(lambda: None), run(lambda: 7)]
    thread = threading.Thread(target=lambda: codes.append(run(lambda: 5)))  # which may set no handler
    thread.start()
    thread.join()
    assert codes == [0, 7, 5]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_a_user_can_mend_is_one_line_and_a_mistake_of_the_program_is_not_hidden(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(error: BaseException) -> int:
        raise error

    for error in (ArgumentError("T must be > 0"), OSError("disk full")):
        assert run(lambda error=error: fail(error)) == 2  # type: ignore[misc]
        assert capsys.readouterr().err == f"error: {error}\n"
    assert run(lambda: fail(KeyboardInterrupt())) == 130
    with pytest.raises(ZeroDivisionError):
        run(lambda: fail(ZeroDivisionError()))


def test_a_stream_that_cannot_encode_a_character_shows_another() -> None:
    code = "from minidistill.shell import run; import sys; sys.exit(run(lambda: print('120.3 \\xb1 4.2')))"
    env = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"120.3 ? 4.2\n", b"")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".", "must be a file in a folder that exists"),
        ("missing/results.json", "must be a file in a folder that exists"),
        ("file/results.json", "must be a file in a folder that exists"),
        ("/proc/results.json", "must be writable"),
        ("n" * 250, "must be writable"),
        ("locked", "must be writable"),
        ("first", "must be another file than --first"),
        ("folder/../first", "must be another file than --first"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_and_nothing_is_left_there(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").touch(mode=0o444)
    access = os.access  # root may write what is locked
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and access(path, mode))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArgumentError, match=f"^--json {text}") as raised:
        check_outputs({"--first": tmp_path / "first", "--figure": None, "--json": tmp_path / name})
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


def test_places_that_can_be_written_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept")
    check_outputs({"--json": tmp_path / "old", "--figure": tmp_path / "new", "--more": Path("/dev/null")})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_a_file_is_written_whole_and_a_pipe_or_a_link_directly(tmp_path: Path) -> None:
    plain, link = tmp_path / "plain", tmp_path / "link"
    for path in (plain, link):
        with whole_file(path) as unfinished:
            unfinished.write_text(path.name)
        assert path.read_text() == path.name
        if path == plain:
            link.symlink_to(plain)
    assert link.is_symlink()
    with whole_file(Path("/dev/null")) as unfinished:
        assert unfinished == Path("/dev/null")
    assert sorted(tmp_path.iterdir()) == [link, plain]


def test_an_output_that_is_closed_early_ends_the_command_without_a_word_and_keeps_its_file(tmp_path: Path) -> None:
    (tmp_path / "loss.py").write_text("from minidistill import kl_divergence as loss\n")
    command = f"{sys.executable} -m minidistill check loss.py:loss --examples 1 --json r.json"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"], cwd=tmp_path, capture_output=True,
        text=True, timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")
    assert json.loads((tmp_path / "r.json").read_text())["passed"]
