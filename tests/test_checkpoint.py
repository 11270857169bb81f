"""A training that was cut off goes on, bit for bit, as one that was not; whatever is wrong with its files is told."""

import copy
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import few
from test_continuing import Mean, every_optimizer
from test_examples import call

import minidistill as md
from minidistill import checkpoint
from minidistill.tensor_file import read_tensors, write_tensors

ROOT = Path(__file__).parents[1]
STEPS = 5  # in an epoch of the data below


class CutOffError(Exception):
    """Stands for whatever ends a process."""


def images(backend: Any, seed: int = 0) -> md.Dataset:
    rng = np.random.default_rng(seed)
    return md.Dataset(rng.integers(0, 256, (70, 4, 4), dtype=np.uint8), rng.integers(0, 3, 70), backend, classes=3)


def transfer(backend: Any, seed: int = 0) -> md.TransferSet:
    data = images(backend)
    return md.TransferSet(data.inputs, np.random.default_rng(seed).normal(0, 2, (70, 3)), data.labels, backend)


def mlp(backend: Any, seeds: Any = 0, **options: Any) -> md.Network:
    return md.Network.mlp([16, 8, 3], dropout=0.3, input_dropout=0.2, seeds=seeds, backend=backend, **options)


class Training:
    """A training with every random number in it, made as a new process would; cut off after some steps of its own."""

    def __init__(self, backend: Any = "numpy", make: Any = lambda rate: md.SGD(rate), **options: Any) -> None:
        self.backend = backend
        self.network = options.pop("network", None) or mlp(backend, options.pop("seeds", 0))
        self.optimizer = make(options.pop("rate", md.linear_decay(0.05, warmup=0.2)))
        self.options = {"data": images(backend), "objective": md.Objective(alpha=0), "epochs": 3, "batch_size": 16,
                        "jitter": 1, "progress": False, "validation": images(backend, 1)} | options  # fmt: skip

    def run(self, folder: Path | None = None, cut_off: int | None = None, seconds: float = 0.0) -> "Training":
        step, counts = self.optimizer.step, itertools.count()

        def counted(*arguments: Any) -> None:
            if next(counts) == cut_off:
                raise CutOffError
            step(*arguments)

        self.optimizer.step = counted
        try:
            self.history = md.fit(self.network, optimizer=self.optimizer, checkpoint=folder,
                                  checkpoint_seconds=seconds, **self.options)  # fmt: skip
        except CutOffError:
            assert cut_off is not None
        finally:
            del self.optimizer.step
        self.steps = next(counts)  # of this call
        return self

    def outcome(self) -> list[Any]:
        """Everything that a training leaves behind, but for the seconds that it took."""
        network, optimizer = self.network, self.optimizer
        arrays = [network.parameters, network.gradients, *optimizer.state.values()]
        history = self.history
        return [
            *(network.backend.to_host(array).tobytes() for array in arrays), history.loss, history.errors,
            history.learning_rate, network.steps, network.epochs, optimizer.steps, optimizer.epochs,
        ]  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- going on ----------------------------------------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("options", [{}, {"seeds": [1, 2], "keep_best": True}], ids=["one network", "replicas"])
def test_a_training_that_was_cut_off_equals_one_that_was_not(
    backend: Any, make: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    whole = Training(backend, make, **options).run().outcome()
    for steps in (7, 4):
        Training(backend, make, **options).run(tmp_path, steps)
    again = Training(backend, make, **options).run(tmp_path)
    assert again.outcome() == whole
    assert again.steps == 3 * STEPS - 7 - 4  # none was made twice: every step was kept
    finished = Training(backend, make, **options).run(tmp_path)
    assert (finished.outcome(), finished.steps) == (whole, 0)


def test_it_may_be_cut_off_after_any_step(tmp_path: Path) -> None:
    whole = Training(keep_best=True).run().outcome()
    for steps in range(3 * STEPS):
        Training(keep_best=True).run(tmp_path / str(steps), steps)
        assert Training(keep_best=True).run(tmp_path / str(steps)).outcome() == whole


@pytest.mark.parametrize("forgotten", ["gradients", "losses", "parameters"])
def test_the_comparison_would_tell_if_a_part_was_not_kept(forgotten: str, tmp_path: Path) -> None:
    whole = Training().run().outcome()
    Training().run(tmp_path, 7)
    for path in tmp_path.iterdir():
        arrays, texts = read_tensors(path)
        write_tensors(path, arrays | {forgotten: 0.5 * arrays[forgotten]}, texts)
    assert Training().run(tmp_path).outcome() != whole


def test_what_a_layer_learns_outside_of_its_parameters_is_kept(tmp_path: Path) -> None:
    def make(learned: Any) -> Training:
        layer = Mean()
        layer.mean = copy.copy(learned)
        return Training(network=md.Network([layer, md.Dense(16, 3)], backend="numpy"), jitter=0)

    for i, learned in enumerate((0.0, np.float64(0), np.zeros(16))):
        whole, folder = make(learned).run(), tmp_path / str(i)
        make(learned).run(folder, 8)
        again = make(learned).run(folder)
        assert again.outcome() == whole.outcome()
        np.testing.assert_array_equal(again.network.layers[0].mean, whole.network.layers[0].mean)


def test_a_training_of_several_calls_and_one_that_is_made_longer_go_on(tmp_path: Path) -> None:
    def calls(cut_off: int | None, folder: Path | None) -> Training:
        both = Training(total_epochs=6)
        both.run(folder and folder / "first", cut_off)
        return both if cut_off is not None else both.run(folder and folder / "second")

    whole = calls(None, None).outcome()
    calls(7, tmp_path)
    assert calls(None, tmp_path).outcome() == whole
    Training(total_epochs=6).run(tmp_path / "longer")
    longer = Training(total_epochs=6, epochs=6).run(tmp_path / "longer")
    assert longer.outcome() == Training(epochs=6).run().outcome()
    assert longer.steps == 3 * STEPS
    with pytest.raises(md.ArgumentError, match=r"epochs must be at least the 6 that .* has, got 3"):
        Training(total_epochs=6).run(tmp_path / "longer")


@pytest.mark.parametrize("keep_best", [False, True])
def test_the_same_objects_go_on_after_an_interruption_as_in_a_notebook(keep_best: bool, tmp_path: Path) -> None:
    whole = Training(keep_best=keep_best, total_epochs=3).run().outcome()
    one, calls = Training(keep_best=keep_best, total_epochs=3), itertools.count()

    def loss(z: Any, v: Any, y: Any) -> Any:
        if next(calls) == 8:
            signal.raise_signal(signal.SIGINT)
        return md.cross_entropy(z, y)

    one.options["objective"] = loss
    with pytest.raises(KeyboardInterrupt):
        one.run(tmp_path, seconds=1e9)
    assert one.network.steps == 8  # the first call tried the loss; the step was ended, and kept
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for _ in range(2):
        one.run(tmp_path, seconds=1e9)
        assert one.outcome()[0] == whole[0]
    assert one.steps == 0


def test_after_epoch_is_called_for_the_epochs_that_are_left(tmp_path: Path) -> None:
    seen: list[int] = []
    Training(after_epoch=seen.append).run(tmp_path, STEPS + 1)
    Training(after_epoch=seen.append).run(tmp_path)
    assert seen == [0, 1, 2]


# --- the best epoch, and the last ------------------------------------------------------------------------------------


def errors_of_each_epoch(monkeypatch: pytest.MonkeyPatch, counts: list[Any]) -> None:
    """Let validation find these errors, one after the other, by the epochs that the network has behind it."""
    monkeypatch.setattr("minidistill.train.errors", lambda network, data: counts[network.epochs - 1])


@pytest.mark.parametrize("seeds", [0, [1, 2]], ids=["one network", "replicas"])
def test_the_best_epoch_is_kept_each_replicas_own_and_of_equal_ones_the_later(
    seeds: Any, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors_of_each_epoch(monkeypatch, [[9, 3], [4, 5], [4, 6], [5, 7]] if seeds else [9, 4, 4, 5])
    options, ends = {"seeds": seeds, "epochs": 4}, list[Any]()
    watched = Training(backend, **options)
    watched.options["after_epoch"] = lambda epoch: ends.append(backend.to_host(watched.network.parameters).copy())
    watched.run()
    Training(backend, keep_best=True, **options).run(tmp_path, 17)
    best = Training(backend, keep_best=True, **options).run(tmp_path).network
    for r, epoch in enumerate((3, 1) if seeds else (3,)):
        watched.network.parameters = ends[epoch - 1]
        one, other = (backend.to_host(network.replica(r).parameters) for network in (best, watched.network))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("counts", "patience", "epochs"),
    [
        ([9, 8, 7, 7, 7, 7], 2, 5), ([9, 8, 7, 7, 7, 7], 3, 6), ([9, 9, 1, 1, 1, 1], 1, 2), ([9, 8, 7, 6, 5, 4], 1, 6),
        ([[9, 9], [9, 8], [9, 7], [9, 7], [9, 7], [9, 7]], 2, 5),  # as long as one replica still improves
    ],
)  # fmt: skip
def test_patience_ends_a_training_and_is_counted_over_interruptions(
    counts: Any, patience: int, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors_of_each_epoch(monkeypatch, counts)
    options = {"epochs": 6, "patience": patience, "seeds": [1, 2] if isinstance(counts[0], list) else 0}
    whole = Training(**options).run()
    assert len(whole.history.loss) == epochs
    Training(**options).run(tmp_path, 8)
    assert Training(**options).run(tmp_path).outcome() == whole.outcome()
    patient = Training(**options | {"patience": 6}).run(tmp_path)
    assert (len(patient.history.loss), patient.steps) == (6, STEPS * (6 - epochs))


@pytest.mark.parametrize("options", [{"patience": 2}, {"keep_best": True}])
def test_without_validation_there_is_no_best(options: dict[str, Any]) -> None:
    with pytest.raises(md.ArgumentError, match="validation must be a data set for patience and keep_best"):
        Training(validation=None, **options).run()


def test_a_training_that_ends_early_or_goes_on_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"progress": True, "patience": 1, "rate": 1e-30, "epochs": 9}
    Training(**options).run(tmp_path, 6)
    Training(**options).run(tmp_path)
    err = capsys.readouterr().err
    assert f"training: goes on after step 6 of {9 * STEPS}, from {tmp_path}" in err
    assert "training: ends after epoch 2: no fewer errors in 1 epoch\n" in err


# --- damage ----------------------------------------------------------------------------------------------------------


def small() -> Training:
    """As few bytes as can be."""
    rng = np.random.default_rng(0)
    data = md.Dataset(rng.normal(size=(6, 2)), [0, 1] * 3, "numpy")
    network = md.Network([md.Dense(2, 2)], backend="numpy")
    return Training(network=network, data=data, validation=None, jitter=0, batch_size=2, epochs=2)


def test_damage_anywhere_is_told_and_the_checkpoint_before_it_is_used(tmp_path: Path) -> None:
    """At every 197th bit and every 97th length here; tests/benchmarks/evidence.py tries all of them."""
    whole = small().run().outcome()
    small().run(tmp_path, 4)
    older, newest = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    saved = files(tmp_path)
    content = saved[newest.name]
    damaged = [content[:n] for n in range(0, len(content), 97)]
    for bit in range(0, 8 * len(content), 197):
        one = bytearray(content)
        one[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(one))
    for i, one in enumerate(damaged):
        newest.write_bytes(one)
        if i % 20:  # alone
            older.unlink(missing_ok=True)
            with pytest.raises(md.DataError, match=rf"{newest.name} must .*; delete it to begin anew"):
                small().run(tmp_path)
            assert newest.read_bytes() == one
        else:
            older.write_bytes(saved[older.name])
            with pytest.warns(RuntimeWarning, match=rf"{newest.name} must .*; going on from .* after step 3"):
                again = small().run(tmp_path)
            assert again.outcome() == whole
    for path in (older, newest):
        path.write_bytes(b"no checkpoint")
    with pytest.raises(md.DataError, match=f"{older.name} must .*{newest.name} must |{newest.name}.*{older.name}"):
        small().run(tmp_path)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"network": md.Network.mlp([16, 9, 3], backend="numpy")}, "layers .* instead of"),
    "dtype": ({"network": mlp("numpy", dtype=np.float64)}, "dtype 'float32' instead of 'float64'"),
    "seeds": ({"seeds": 3}, "seeds 0 instead of 3"),
    "replicas": ({"seeds": [0]}, r"seeds 0 instead of \[0\]"),
    "momentum": ({"make": lambda rate: md.SGD(rate, 0.5)}, "optimizer settings .*0.9.* instead of .*0.5"),
    "optimiser": ({"make": lambda rate: md.AdamW(rate)}, "optimizer 'SGD' instead of 'AdamW'"),
    "rate": ({"rate": md.linear_decay(0.06, warmup=0.2)}, "another learning rate"),
    "schedule": ({"rate": lambda done: 0.05}, "another learning rate"),
    "data": ({"data": images("numpy", 5)}, "another data set"),
    "validation": ({"validation": images("numpy", 5)}, "another validation set"),
    "no validation": ({"validation": None}, "another validation set"),
    "logits": ({"data": transfer("numpy"), "jitter": 0}, "another data set"),
    "objective": ({"objective": lambda z, v, y: md.cross_entropy(z, y)}, "alpha 0 instead of None"),
    "batches": ({"batch_size": 10}, "batch_size 16 instead of 10"),
    "jitter": ({"jitter": 2}, "jitter 1 instead of 2"),
    "length": ({"epochs": 4}, "total_epochs 3 instead of 4"),
    "best": ({"keep_best": True}, "keep_best False instead of True"),
}


@pytest.mark.parametrize(("options", "message"), OTHERS.values(), ids=OTHERS)
def test_another_training_is_told_by_what_differs_and_nothing_is_overwritten(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    Training().run(tmp_path, 7)
    before = files(tmp_path)
    with pytest.raises(md.ArgumentError, match=f"checkpoint must be of this training, got .*{message}"):
        Training(**options).run(tmp_path)
    assert files(tmp_path) == before


def test_a_loss_of_ones_own_is_told_by_what_it_gives_and_so_are_other_beginnings(tmp_path: Path) -> None:
    def run(T: float, cut_off: int | None = None, bias: float = 0.0) -> Training:
        one = Training(data=transfer("numpy"), jitter=0, objective=lambda z, v, y: md.reverse_kl(z, v, T))
        one.network.parameters += bias
        return one.run(tmp_path, cut_off)

    run(4.0, 7)
    with pytest.raises(md.ArgumentError, match="another objective, by what it gave when tried"):
        run(4.001)
    with pytest.raises(md.ArgumentError, match="another beginning: other first parameters"):
        run(4.0, bias=0.1)
    assert run(4.0).steps == 3 * STEPS - 7


def test_what_a_checkpoint_could_not_keep_is_refused_by_name(tmp_path: Path) -> None:
    class Remembers(md.AdamW):
        def __init__(self, rate: Any) -> None:
            super().__init__(rate)
            self.slow = np.zeros(3)

    with pytest.raises(md.ArgumentError, match=r"Remembers\.slow must be named in `remembers`"):
        Training(make=Remembers).run(tmp_path)

    class Counts(md.AdamW):
        t = 0.0

        def update(self, w: Any, g: Any, learning_rate: float) -> None:
            self.t += 1
            super().update(w, g, learning_rate)

    with pytest.raises(md.ArgumentError, match="Counts must have the same settings in every step to be kept"):
        Training(make=Counts).run(tmp_path)
    layer = Mean()
    layer.mean = [0.0]
    network = md.Network([layer, md.Dense(16, 3)], backend="numpy")
    with pytest.raises(md.ArgumentError, match=r"Mean\.mean must be a number, a text or an array to be kept"):
        Training(network=network).run(tmp_path)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, one in inner for leaf in leaves(one, (*path, key)))]


junk = st.sampled_from([None, -1, 0, 7, 2**60, 2**80, 1e308, "", "x", "nan", [], [[]], {}, {"x": 1}, True, [1, "x"]])


@few
@given(data=st.data())
def test_a_forged_checkpoint_with_a_right_checksum_is_told_or_harmless(data: Any, tmp_path_factory: Any) -> None:
    """Anything in its record, or any array, may be anything: only our errors, and no memory for what is not there."""
    folder = tmp_path_factory.mktemp("forged")
    small().run(folder, 4)
    for path in folder.iterdir():
        arrays, texts = read_tensors(path)
        record = json.loads(texts["checkpoint"])
        if data.draw(st.booleans()):
            *inner, last = data.draw(st.sampled_from(leaves(record)[1:]))
            place = record
            for key in inner:
                place = place[key]
            if data.draw(st.booleans()):
                place[last] = data.draw(junk)
            else:
                del place[last]
        else:
            name = data.draw(st.sampled_from([*arrays, "other"]))
            changed = [np.zeros(0), np.zeros((2**20, 0), np.float32), np.float32(7), np.zeros((3, 2), np.int8)]
            arrays[name] = data.draw(st.sampled_from(changed))
        write_tensors(path, arrays, {"checkpoint": json.dumps(record)})
    tracemalloc.start()
    try:
        small().run(folder)
    except md.MinidistillError as error:
        assert " must " in str(error)  # noqa: PT017
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 << 20


def test_an_older_version_and_what_is_no_checkpoint_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 0)
    Training().run(tmp_path, 7)
    monkeypatch.undo()
    with pytest.raises(md.DataError, match=r"must be of version 1, got 0"):
        Training().run(tmp_path)
    mlp("numpy").save(tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").replace(tmp_path / checkpoint.NAMES[0])
    with pytest.raises(md.DataError, match=rf"{checkpoint.NAMES[0]} must be a checkpoint"):
        Training().run(tmp_path)


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_warned_of_and_what_was_kept_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Training().run().outcome()
    Training().run(tmp_path, 7)
    before = files(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with (
        pytest.warns(RuntimeWarning, match=r"no checkpoint could be written, the last one stands: .*No space left"),
        pytest.raises(OSError, match=r"No space left on device: '.*checkpoint-[01]\.safetensors'"),
    ):
        Training().run(tmp_path)
    assert files(tmp_path) == before
    monkeypatch.undo()
    assert Training().run(tmp_path).outcome() == whole


@pytest.mark.parametrize("name", ["file/folder", "file", "/proc/folder", "a\0b", "x" * 300])
def test_a_folder_that_cannot_be_is_told_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    one = Training()
    with pytest.raises(md.ArgumentError, match="checkpoint must be a folder that can be written, got"):
        one.run(tmp_path / name)
    assert (one.network.steps, files(tmp_path)) == (0, {"file": b"mine"})
    with pytest.raises(md.ArgumentError, match="checkpoint must be a path"):
        one.run(7)  # type: ignore[arg-type]
    with pytest.raises(md.ArgumentError, match="checkpoint_seconds must be a finite number >= 0, got -1"):
        one.run(tmp_path, seconds=-1)


def test_a_folder_has_one_training_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    whole = Training().run().outcome()
    told = []

    def second(epoch: int) -> None:
        with pytest.raises(md.ArgumentError, match="checkpoint must be a folder of one training at a time") as raised:
            Training(after_epoch=second).run(tmp_path)
        told.append(raised)

    assert Training(after_epoch=second).run(tmp_path).outcome() == whole
    assert len(told) == 3


def test_what_a_killed_process_left_half_written_is_tidied_up_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("checkpoint-0.safetensors.123.tmp", "mine.tmp", "mine.txt"):
        (tmp_path / name).write_text("x")
    Training().run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*checkpoint.NAMES, "mine.tmp", "mine.txt"}


def test_writing_takes_no_copy_of_the_arrays(tmp_path: Path) -> None:
    network = md.Network([md.Dense(16, 20_000), md.Dense(20_000, 3)], backend="numpy")
    one = Training(network=network, jitter=0, epochs=1)
    peaks = []

    def start(epoch: int) -> None:
        tracemalloc.start()

    one.options["after_epoch"] = start
    one.run(tmp_path, seconds=1e9)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[0] < network.parameters.nbytes / 2 + (1 << 20)


# --- signals and kills -----------------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
import numpy as np, minidistill as md
from minidistill.shell import run
rng = np.random.default_rng(0)
data = md.Dataset(rng.normal(size=(300, 3)).astype("f"), rng.integers(0, 2, 300), "numpy")
network = md.Network.mlp([3, 4, 2], backend="numpy")
def slow(epoch):
    print("epoch", epoch, flush=True)
    time.sleep(0.01 if "slow" in sys.argv else 0)
def main():
    md.fit(network, data, md.Objective(alpha=0), md.AdamW(0.01), epochs=400, batch_size=100, after_epoch=slow,
           progress=False, checkpoint=sys.argv[1], checkpoint_seconds=1e9)
    print(network.parameters.tobytes().hex())
sys.exit(run(main))
"""


def started(folder: Path) -> "subprocess.Popen[str]":
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), "slow"], env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch ")
    return process


def test_sigint_and_sigterm_write_a_checkpoint_and_exit_130_and_143_and_it_goes_on(tmp_path: Path) -> None:
    whole = call("-c", SCRIPT, str(tmp_path / "whole")).stdout.split()[-1]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = started(tmp_path / "cut off")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (code, f"ended by {signal.Signals(number).name}\n")
        assert "epoch 399" not in out
        (newest,) = [path.name for path in (tmp_path / "cut off").iterdir()][:1]
        assert newest in checkpoint.NAMES
    done = call("-c", SCRIPT, str(tmp_path / "cut off"))
    first, *_, last = done.stdout.splitlines()
    assert last == whole
    assert int(first.split()[1]) > 1


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    def stuck(z: Any, v: Any, y: Any) -> Any:
        if len(calls := [*calls_before, 1]) > 3:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            time.sleep(60)
        calls_before[:] = calls
        return md.cross_entropy(z, y)

    calls_before: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        Training(objective=stuck).run(tmp_path, seconds=1e9)
    assert files(tmp_path) == {}


def test_trainings_that_are_killed_end_as_one_that_nobody_disturbs(tmp_path: Path) -> None:
    """Twice here; docs/results/kills.json has more."""
    done = call("tests/benchmarks/kills.py", "--kills", "2", "--epochs", "5", "--json", str(tmp_path / "r.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "r.json").read_text())["results"]
    assert sum(r["kills"] for r in results) == 2
    assert all(r["equal"] and r["tidy"] for r in results)
