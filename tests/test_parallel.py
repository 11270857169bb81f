"""N ranks train the network that one process does, to the order of summation; and when one of them fails, all end.

Threads stand for ranks where the law is tried often. The same is done by MPI itself where mpiexec is installed.
"""

import contextlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_examples import call

import minidistill as md
from minidistill.parallel import ParallelNetwork, Ranks

ROOT = Path(__file__).parents[1]
OPTIMIZERS: dict[str, Callable[[], md.Optimizer]] = {
    "momentum": lambda: md.SGD(md.linear_decay(0.05), 0.9, weight_decay=1e-3, max_norm=2.0),
    "nesterov": lambda: md.SGD(0.05, 0.8, nesterov=True),
    "AdamW": lambda: md.AdamW(0.01),
}


class Threads(Ranks):
    """Ranks that are threads of one process, one at a time, as the stand-in for CuPy is not made for several."""

    def __init__(self, rank: int, size: int, box: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.box, self.barrier = rank, size, box, barrier

    def sum(self, array: Any, backend: Any = None) -> None:
        """Put the array into a box that all can see, and add up what is in it."""
        self.box[self.rank] = array.copy() if backend is None else backend.to_host(array).copy()
        self.let_others()
        total = sum(self.box)
        self.let_others()
        array[...] = total if backend is None else backend.asarray(total)

    def let_others(self) -> None:
        TURN.release()
        try:
            self.barrier.wait(120)
        finally:
            TURN.acquire()


TURN = threading.Lock()


def images(backend: Any = None) -> md.TransferSet:
    """90 of them, with logits for those moved by a pixel."""
    rng, rows = np.random.default_rng(1), 90
    x, logits, labels = rng.integers(0, 256, (rows, 6, 6)), rng.normal(size=(9, rows, 4)), rng.integers(0, 4, rows)
    return md.TransferSet(x.astype(np.uint8), logits, labels, backend)


def train(
    kind: type[md.Network], ranks: Ranks | None, optimizer: str, seeds: Any = 3, batch_size: int = 41, epochs: int = 34,
    backend: Any = None,
) -> tuple[md.Network, list[list[float]]]:  # fmt: skip
    """A training with jitter and dropout, in three kinds of layers."""
    layers = [md.Dropout(0.2), md.DenseReLU(36, 31, 0.5), md.Dense(31, 13), md.ReLU(), md.Dropout(0.3), md.Dense(13, 4)]
    network = kind(layers, seeds, np.float64, backend)
    if isinstance(network, ParallelNetwork):
        network.ranks = ranks
    options: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "jitter": 1, "progress": False}
    history = md.fit(network, images(backend), md.Objective(3.0, 0.7), OPTIMIZERS[optimizer](), **options)
    return network, history.loss


def in_threads(size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What the work of each of so many ranks returns."""
    box, barrier = [None] * size, threading.Barrier(size)

    def run(rank: int) -> Any:
        with TURN:
            return work(Threads(rank, size, box, barrier))

    with ThreadPoolExecutor(size) as pool:
        return [one.result() for one in [pool.submit(run, rank) for rank in range(size)]]


def by_threads(size: int, kind: type[ParallelNetwork] = ParallelNetwork, **options: Any) -> list[Any]:
    """What `train` gives on each of so many ranks."""
    return in_threads(size, lambda ranks: train(kind, ranks, **options))


@settings(max_examples=6)
@given(
    size=st.integers(1, 5), optimizer=st.sampled_from(list(OPTIMIZERS)), seeds=st.sampled_from([3, [3, 4]]),
    batch_size=st.sampled_from([7, 43, 90]),
)  # fmt: skip
def test_many_ranks_train_the_network_that_one_process_trains(
    backend: Any, size: int, optimizer: str, seeds: Any, batch_size: int
) -> None:
    options = {"optimizer": optimizer, "seeds": seeds, "batch_size": batch_size, "epochs": 1, "backend": backend}
    alone, loss = train(md.Network, None, **options)
    for network, its_loss in by_threads(size, **options):
        difference = abs(backend.to_host(network.parameters) - backend.to_host(alone.parameters)).max()
        assert difference < 1e-12
        np.testing.assert_allclose(its_loss, loss, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_after_100_steps_with_dropout_and_jitter_they_differ_by_less_than_1e_12(size: int) -> None:
    alone, _ = train(md.Network, None, "momentum")
    assert alone.steps == 102
    for network, _ in by_threads(size, optimizer="momentum"):
        assert abs(network.parameters - alone.parameters).max() < 1e-12


class MasksOfTheirOwn(ParallelNetwork):
    """Wrong: every rank's masks are those of the batch's first rows."""

    def share(self, rows: int) -> slice:
        seeds = [layer.seed for layer in self.layers]
        mine = super().share(rows)
        for layer, seed in zip(self.layers, seeds, strict=True):
            layer.seed = layer._seed = seed
        return mine


class MomentumOfAll(ParallelNetwork):
    """Wrong: every rank brings the momentum in."""

    def backward(self, dz: Any, momentum: float = 0.0) -> None:
        rank, self.ranks.rank = self.ranks.rank, 0
        self.xp.multiply(dz, self.weight, out=dz)
        md.Network.backward(self, dz, momentum)
        self.ranks.rank = rank
        self.ranks.sum(self.gradients, self.backend)


class MeansUnweighed(ParallelNetwork):
    """Wrong: a rank's mean counts as much as the mean of more rows."""

    def share(self, rows: int) -> slice:
        mine = super().share(rows)
        self.weight = 1 / self.ranks.size
        return mine


@pytest.mark.parametrize("kind", [MasksOfTheirOwn, MomentumOfAll, MeansUnweighed])
def test_the_comparison_finds_what_would_be_wrong(kind: type[ParallelNetwork]) -> None:
    alone, _ = train(md.Network, None, "momentum", epochs=2)
    for network, _ in by_threads(2, kind, optimizer="momentum", epochs=2):
        assert abs(network.parameters - alone.parameters).max() > 1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_goes_on_with_another_number_of_ranks(optimizer: str) -> None:
    def part(state: bytes | None, ranks: Ranks | None) -> bytes:
        """Two epochs of four, from a state to a state."""
        layers = [md.DenseReLU(36, 15, 0.5), md.Dense(15, 4)]
        network, rule = (
            pickle.loads(state) if state else (ParallelNetwork(layers, 3, np.float64), OPTIMIZERS[optimizer]())
        )
        network.ranks = ranks
        options: dict[str, Any] = {"epochs": 2, "total_epochs": 4, "batch_size": 40, "jitter": 1, "progress": False}
        md.fit(network, images(), md.Objective(3.0, 0.7), rule, **options)
        return pickle.dumps((network, rule))

    alone, _ = pickle.loads(part(part(None, None), None))
    _, second = in_threads(2, lambda ranks: part(None, ranks))
    for state in (part(second, None), *in_threads(3, lambda ranks: part(second, ranks))):
        network, _ = pickle.loads(state)
        assert (network.ranks, network.steps) == (None, alone.steps)
        assert abs(network.parameters - alone.parameters).max() < 1e-12


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_rank_keeps_the_checkpoint_and_another_number_of_them_goes_on_from_it(
    optimizer: str, tmp_path: Path
) -> None:
    class CutOff(Exception):
        pass

    def part(ranks: Ranks | None, last: int = 4, folder: Path | None = tmp_path) -> ParallelNetwork:
        """Four epochs, cut off after the epoch `last`."""
        network = ParallelNetwork([md.DenseReLU(36, 15, 0.5), md.Dense(15, 4)], 3, np.float64)
        network.ranks = ranks

        def after_epoch(epoch: int) -> None:
            if epoch + 1 == last < 4:
                raise CutOff

        options: dict[str, Any] = {"epochs": 4, "batch_size": 40, "jitter": 1, "progress": False}
        options |= {"checkpoint": folder, "checkpoint_seconds": 0, "after_epoch": after_epoch}
        with contextlib.suppress(CutOff):
            md.fit(network, images(), md.Objective(3.0, 0.7), OPTIMIZERS[optimizer](), **options)
        return network

    alone = part(None, folder=None)
    in_threads(2, lambda ranks: part(ranks, last=1))
    in_threads(3, lambda ranks: part(ranks, last=3))
    network = part(None)
    assert network.steps == alone.steps
    assert abs(network.parameters - alone.parameters).max() < 1e-12


def test_a_copy_is_a_network_like_any_other() -> None:
    (network, _), _ = by_threads(2, optimizer="AdamW", seeds=[3, 4], epochs=1)
    copy = network.replica(1)
    assert copy.ranks is None
    np.testing.assert_array_equal(copy.predict(np.ones((2, 36))), network.predict(np.ones((2, 36)))[1])
    copy.forward(np.ones((2, 36)), step=0)
    copy.backward(np.ones((2, 4)))


def test_the_shares_of_a_batch_are_its_rows_and_their_weights_add_up_to_1() -> None:
    for size in range(1, 7):
        for rows in range(1, 20):
            shares = [Threads(rank, size, [], threading.Barrier(1)).share(rows) for rank in range(size)]
            dealt = [row for mine, weight in shares if weight for row in range(rows)[mine]]
            assert dealt == list(range(rows))
            assert all(weight == 0 or abs(weight * rows - len(range(rows)[mine])) < 1e-12 for mine, weight in shares)
            assert abs(sum(weight for _, weight in shares) - 1) < 1e-12


class Doubling:
    """Stands for a communicator of two ranks whose other one always has the same."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def Allreduce(self, in_place: object, array: Any) -> None:
        self.got.append(array)
        array *= 2


@pytest.mark.parametrize("reads_devices", [False, True])
def test_a_device_s_array_goes_through_the_host_unless_mpi_reads_devices(backend: Any, reads_devices: bool) -> None:
    ranks = object.__new__(Ranks)
    ranks.of_sums = comm = Doubling()
    ranks.in_place, ranks.reads_devices = None, reads_devices
    array = backend.asarray(np.arange(5.0))
    ranks.sum(array, backend)
    np.testing.assert_array_equal(backend.to_host(array), 2 * np.arange(5.0))
    assert (comm.got[0] is array) == (reads_devices or isinstance(array, np.ndarray))
    assert len(comm.got) == 1


# --- by MPI ---

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
ENVIRONMENT = {  # Open MPI refuses root, and more ranks than cores
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OPENBLAS_NUM_THREADS": "1",
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
}  # fmt: skip


def mpi(size: int, *command: str) -> "subprocess.CompletedProcess[str]":
    pytest.importorskip("mpi4py", reason="needs mpi4py, of the extra 'mpi'")
    if MPIEXEC is None:
        pytest.skip("needs mpiexec, as of PyPI's mpich")
    words = [MPIEXEC, "-n", str(size), sys.executable, *command]
    return subprocess.run(words, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)


PROOF = """
import numpy as np, minidistill as md
from minidistill.parallel import ParallelNetwork, Ranks
from test_parallel import train
ranks = Ranks()
with ranks.together():
    alone, loss = train(md.Network, None, "momentum")
    network, its_loss = train(ParallelNetwork, ranks, "momentum")
    assert alone.steps == 102 and ranks.size == {size}
    assert abs(network.parameters - alone.parameters).max() < 1e-12 > abs(np.array(loss) - its_loss).max()
    assert len(set(ranks.of_sums.allgather(network.parameters.tobytes()))) == 1
    print("proven", flush=True)
"""


@pytest.mark.parametrize("size", [2, 4])
def test_mpis_ranks_are_one_process_after_100_steps_and_equal_each_other_bit_for_bit(size: int) -> None:
    done = mpi(size, "-c", PROOF.format(size=size))
    assert (done.returncode, done.stdout.split()) == (0, ["proven"] * size), done.stderr


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "v.npy", x[:, :3])
    return [
        *("-m", "minidistill", "distill", "--inputs", str(tmp_path / "x.npy"), "--teacher-logits"),
        *(str(tmp_path / "v.npy"), "--hidden", "8", "--dropout", "0.2", "--epochs", "3", "--batch-size", "64"),
    ]


def test_the_command_line_trains_on_all_ranks_and_one_of_them_speaks(files: list[str], tmp_path: Path) -> None:
    done = mpi(2, *files, "--out", str(tmp_path / "two"), "--mpi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("saved") == done.stderr.count("epoch 3/3") == 1
    alone = subprocess.run([sys.executable, *files, "--out", str(tmp_path / "one")], capture_output=True, check=True)
    assert alone.returncode == 0
    one, two = (md.Network.load(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(two.parameters, one.parameters, atol=1e-5)
    told = [json.loads((tmp_path / name / "summary.json").read_text())["loss"] for name in ("one", "two")]
    np.testing.assert_allclose(told[0], told[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--temperature", "-1"], "temperature must be"), (["--learning-rate", "1e30"], "training diverged at step")],
)
def test_what_all_ranks_meet_is_one_line_and_exit_code_2(
    files: list[str], options: list[str], message: str, tmp_path: Path
) -> None:
    done = mpi(2, *files, "--out", str(tmp_path / "out"), "--mpi", *options)
    told = [line for line in done.stderr.splitlines() if "error:" in line]
    assert (done.returncode, len(told)) == (2, 1), done.stderr
    assert message in told[0]
    assert not any((tmp_path / "out").glob("*"))


FAILING = """
import os, signal, sys
import minidistill as md, minidistill.parallel as parallel
from minidistill.shell import run
from test_parallel import train
parallel.PATIENCE = 0.5
def work():
    ranks = parallel.Ranks()
    class Fails(parallel.ParallelNetwork):
        def backward(self, dz, momentum=0.0):
            if self.steps == 20 and ranks.rank == 1:
                {failure}
            super().backward(dz, momentum)
    with ranks.together():
        train(Fails, ranks, "momentum")
        print("came to the end")
sys.exit(run(work))
"""


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("raise md.DataError('its disk is gone')", "error: rank 1: its disk is gone"),
        ("raise TypeError('a mistake')", "TypeError: a mistake"),
        ("os.kill(os.getpid(), signal.SIGKILL)", ""),  # MPI tells
    ],
)
def test_a_rank_that_fails_alone_ends_all_and_says_which_it_was(failure: str, message: str) -> None:
    done = mpi(3, "-c", FAILING.format(failure=failure))
    assert done.returncode != 0
    assert done.stderr.count(message) == 1 or not message
    assert "came to the end" not in done.stdout


@pytest.mark.parametrize("mpi_ranks", [False, True])
def test_the_farm_of_jobs_gives_the_same_answers_by_processes_and_by_mpi(mpi_ranks: bool) -> None:
    options = ["examples/farm.py", "--temperatures", "4", "--seeds", "2", "--epochs", "1", "--rows", "1000"]
    if mpi_ranks:
        done = mpi(3, "-m", "mpi4py.futures", str(ROOT / options[0]), *options[1:], "--mpi")
    else:
        done = call(*options, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "2 trainings in" in done.stdout
    found = re.findall(r"T = +4: .*\[(\d+), (\d+)\]", done.stdout)
    assert ANSWERS.setdefault("farm", found) == found
    assert all(int(errors) < 5000 for errors in found[0])


ANSWERS: dict[str, Any] = {}


def test_the_benchmark_of_ranks_measures_each_number_of_them(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py", reason="needs mpi4py, of the extra 'mpi'")
    if MPIEXEC is None:
        pytest.skip("needs mpiexec, as of PyPI's mpich")
    options = ["--rounds", "1", "--repeats", "2", "--ranks", "1", "2", "--json", str(tmp_path / "ranks.json")]
    done = call("tests/benchmarks/ranks.py", *options, **ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    for r in json.loads((tmp_path / "ranks.json").read_text())["results"]:
        assert [n for n, seconds in r["seconds"].items() if seconds > 0] == ["1", "2"]


def test_without_mpi4py_the_option_names_the_extra(files: list[str], tmp_path: Path) -> None:
    code = "import sys; sys.modules['mpi4py'] = None; from minidistill.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, *files[2:], "--out", str(tmp_path / "out"), "--mpi"]
    done = subprocess.run(words, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: training on several ranks needs mpi4py, of the extra 'mpi'" in done.stderr
    assert not (tmp_path / "out").exists()
