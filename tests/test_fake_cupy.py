"""The stand-in for CuPy refuses what CuPy refuses and counts what costs; and with it, what a training step costs.

The first half is the control of the tests that lean on the stand-in: where it let things pass, they could not fail.
"""

import operator
from dataclasses import astuple
from itertools import pairwise

import fake_cupy as fake
import numpy as np
import pytest

import minidistill as md
from minidistill.backend import Backend, CupyBackend, cupy, kernels

LAUNCHES_OF_A_STEP = {"plain": 25, "teacher": 31, "all": 38}  # of two hidden layers; see costs_of_epochs

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.lt, operator.eq]
IN_PLACE = [operator.iadd, operator.isub, operator.imul, operator.itruediv]


def device(*shape):
    return fake.asarray(np.arange(1.0, 1 + np.prod(shape)).reshape(shape))


@pytest.mark.parametrize(
    "convert", [np.asarray, np.array, np.sort, np.exp, lambda a: np.add(a, a), lambda a: np.ones(3) + a]
)
def test_numpy_never_gets_a_device_array_unasked(convert):
    with fake.counting() as count, pytest.raises(TypeError):
        convert(device(3))
    assert count.synchronisations == 0


def test_the_refusal_to_convert_is_in_the_words_of_cupy():
    with pytest.raises(
        TypeError, match=r"Implicit conversion to a NumPy array is not allowed\. Please use `\.get\(\)`"
    ):
        np.asarray(device(3))


@pytest.mark.parametrize("operate", OPERATORS + IN_PLACE)
def test_no_operator_mixes_host_and_device(operate):
    host = np.ones((2, 2))
    for a, b in ((device(2, 2), host), (host, device(2, 2))):
        with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>|does not support ufuncs"):
            operate(a, b)


def test_no_function_mixes_host_and_device():
    for mixed in (
        lambda: fake.add(device(3), np.ones(3)),
        lambda: fake.where(device(3) > 1, device(3), np.ones(3)),
        lambda: fake.concatenate([device(3), np.ones(3)]),
        lambda: fake.einsum("i,i->", device(3), np.ones(3)),
        lambda: fake.copyto(device(3), np.ones(3)),
    ):
        with pytest.raises(TypeError, match="Unsupported type"):
            mixed()


@pytest.mark.parametrize("scalar", [2, 2.0, True, np.float32(2), np.int64(2)])
def test_scalars_of_python_and_numpy_mix_with_device_arrays(scalar):
    host, a = np.arange(1.0, 4.0), device(3)
    for operate in (operator.add, operator.sub, operator.mul, operator.truediv):
        for result, truth in ((operate(a, scalar), operate(host, scalar)), (operate(scalar, a), operate(scalar, host))):
            np.testing.assert_array_equal(result.get(), truth)


def test_assigning_a_host_array_is_refused_and_a_scalar_is_not():
    a = device(3)
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray cannot be used for fill"):
        a[...] = np.ones(3)
    a[1:] = 7
    assert a.get().tolist() == [1, 7, 7]


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty(3), TypeError),  # on the host
        (fake.empty((1, 3)), ValueError),  # NumPy would take both shapes
        (fake.empty((2, 3)), ValueError),
        (fake.empty(3, dtype=np.int64), TypeError),
    ],
)
def test_out_must_be_on_the_device_and_have_the_exact_shape_and_a_dtype_that_can_hold_the_result(out, error):
    with pytest.raises(error):
        fake.multiply(device(3), 2, out=out)


def test_take_has_no_mode_and_wants_the_exact_dtype_and_wraps():
    with pytest.raises(TypeError):
        fake.take(device(3), fake.arange(2), mode="clip")
    with pytest.raises(TypeError, match="Output dtype mismatch"):
        fake.take(device(3), fake.arange(2), out=fake.empty(2, dtype=np.float32))
    assert fake.take(device(3), fake.asarray([3, -1])).get().tolist() == [1, 3]


@pytest.mark.parametrize("name", ["errstate", "memmap", "nditer", "block", "float128", "no_such_function"])
def test_what_cupy_lacks_is_missing(name):
    with pytest.raises(AttributeError, match=name):
        getattr(fake, name)


def test_an_array_cannot_be_an_index_of_python():
    with pytest.raises(TypeError):
        range(device(1).sum())


VIEWS = [
    lambda a: a[1:, ::-1],
    lambda a: a[0],
    lambda a: a[1, 2],
    lambda a: a[..., None],
    lambda a: a.reshape(3, 2),
    lambda a: a.swapaxes(-1, -2),
    lambda a: a.T,
    lambda a: a.ravel(),
    lambda a: a.view(np.uint8),
    lambda a: a.real,
    lambda a: fake.asarray(a),
    lambda a: fake.broadcast_to(a, (4, 2, 3)),
]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shares_memory_and_costs_nothing(view):
    a = device(2, 3)
    with fake.counting() as count:
        assert fake.shares_memory(view(a), a)
    assert count == fake.Counters()


COPIES = [lambda a: a.T.ravel(), lambda a: a[fake.arange(2) * 0], lambda a: a.copy(), lambda a: a.astype(np.float32)]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_shares_no_memory_and_is_launched(copy):
    a = device(2, 3)
    with fake.counting() as count:
        assert not fake.shares_memory(copy(a), a)
    assert count.launches >= 1


@pytest.mark.parametrize(("reduce", "launches"), [("sum", 1), ("mean", 3), ("max", 1), ("argmax", 2), ("all", 1)])
def test_a_reduction_stays_on_the_device_and_takes_as_many_launches_as_in_cupy(reduce, launches):
    with fake.counting() as count:
        result = getattr(device(2, 3), reduce)()
    assert (type(result), result.shape) == (fake.ndarray, ())
    assert (count.launches, count.uploads, count.synchronisations) == (launches, 1, 0)


def test_a_grid_or_a_block_that_cuda_refuses_is_refused():
    kernel = fake.RawKernel(kernels.SOURCE, "add_scaled", ("-Dreal=double", "-Dpixel=double"))
    arguments = (device(2), device(2), np.float64(1), np.int64(2))
    for grid, block in (((1, 65536), (1,)), ((2**31,), (1,)), ((0,), (1,)), ((1,), (1025,)), ((1,), (32, 33))):
        with pytest.raises(ValueError, match="CUDA_ERROR_INVALID_VALUE"):
            kernel(grid, block, arguments)
    kernel((1,), (1024,), arguments)


WAITS = [
    float,
    int,
    complex,
    bool,
    repr,
    lambda a: a.item(),
    lambda a: a.tolist(),
    lambda a: a.get(),
    lambda a: 1 in a[None],
]


@pytest.mark.parametrize("wait", WAITS)
def test_reading_a_value_waits_once(wait):
    a = device(1).sum()
    with fake.counting() as count:
        wait(a)
    assert count.synchronisations == 1


def test_selecting_by_a_mask_waits_and_iterating_over_values_waits_for_each():
    a = device(5)
    with fake.counting() as count:
        assert len(a[a > 2]) == 3
        assert count.synchronisations == 1
        assert [float(x) for x in a] == [1, 2, 3, 4, 5]
    assert count.synchronisations == 6


def test_every_computation_is_one_launch_and_every_host_array_one_upload():
    a = device(3)
    fake.counters.reset()
    with fake.counting() as count:
        b = fake.asarray(np.ones(3)) * 2 + a  # upload, launch, launch
        b += a
        b[...] = 0
        fake.asarray([1, 2])
    assert count == fake.counters == fake.Counters(launches=4, uploads=2, synchronisations=0)


# --- what a training costs on the device -------------------------------------------------------------------------


KINDS = {  # dropout, α, max-norm, jitter
    "plain": (0.0, 1.0, None, 0),
    "teacher": (0.5, 0.0, 1.0, 1),
    "all": (0.5, 0.5, 1.0, 1),
}


def costs_of_epochs(seeds, kind="all", rows=64, backend=None, loss=None):
    """The counters of each epoch after the first."""
    dropout, alpha, max_norm, jitter = KINDS[kind]
    backend = backend or CupyBackend(xp=fake)
    rng = np.random.default_rng(0)
    data = md.Dataset(rng.integers(0, 256, (rows, 4, 4), dtype=np.uint8), rng.integers(0, 3, rows), backend)
    data = md.TransferSet.from_teacher(md.Network.mlp([16, 8, 3], backend=backend), data, jitter)
    student = md.Network.mlp([16, 40, 40, 3], input_dropout=dropout, dropout=dropout, seeds=seeds, backend=backend)
    totals = []
    with fake.counting() as count:
        md.fit(student, data, loss or md.Objective(3, alpha), md.SGD(0.1, max_norm=max_norm), epochs=4, batch_size=8,
               jitter=jitter, progress=False, after_epoch=lambda _: totals.append(astuple(count)))  # fmt: skip
    return [fake.Counters(*np.subtract(b, a)) for a, b in pairwise(totals)]


SEEDS = pytest.mark.parametrize("seeds", [3, [3, 4, 5]], ids=["one network", "replicas"])
KIND = pytest.mark.parametrize("kind", KINDS)


@SEEDS
@KIND
@pytest.mark.parametrize("rows", [64, 61])
def test_an_epoch_waits_for_the_device_once_and_uploads_nothing(seeds, kind, rows):
    for epoch in costs_of_epochs(seeds, kind, rows):
        assert (epoch.synchronisations, epoch.uploads) == (1, 0)


OWN_LOSSES = {
    "one number for T": lambda z, v, y: md.reverse_kl(z, v, 4.0),
    "a T for each replica": lambda z, v, y: md.kl_divergence(
        z, v, fake.full((*z.shape[:-2], 1, 1), 4.0, dtype=z.dtype)
    ),
    "labels": lambda z, v, y: md.cross_entropy(z, y),
    "both": lambda z, v, y: md.decoupled(z, v, y, 4.0),
}


@SEEDS
@pytest.mark.parametrize("loss", OWN_LOSSES.values(), ids=OWN_LOSSES)
def test_an_epoch_with_a_loss_of_ones_own_waits_once_too(seeds, loss):
    for epoch in costs_of_epochs(seeds, loss=loss):
        assert epoch.synchronisations == 1


@SEEDS
@KIND
def test_a_step_takes_no_more_launches_than_this_however_many_replicas(seeds, kind):
    short, long = (costs_of_epochs(seeds, kind, rows)[0].launches for rows in (64, 128))
    assert (long - short) / 8 <= LAUNCHES_OF_A_STEP[kind]


@pytest.mark.parametrize(
    ("leak", "what"),
    [(lambda loss: float(loss.sum()), "synchronisations"), (lambda loss: fake.asarray(0.5), "uploads")],
)
def test_a_step_that_reads_its_loss_or_uploads_is_noticed(leak, what):
    class Leaky(CupyBackend):
        def objective(self, z, v, y, T, alpha, loss, dz):
            super().objective(z, v, y, T, alpha, loss, dz)
            leak(loss)

    honest, leaky = (costs_of_epochs(3, backend=backend)[0] for backend in (CupyBackend(xp=fake), Leaky(xp=fake)))
    assert getattr(leaky, what) - getattr(honest, what) == 8  # once a step


# --- that the kernels are looked at --------------------------------------------------------------------------------

WRONG = [
    ("mix(mix(counter + s1) ^ s2 ^ key)", "mix(mix(counter + s1) ^ s2 ^ key ^ 1)"),
    ("(columns + 3) / 4", "columns / 4"),
    ("y[i] > 0 ? dy[i] * scale", "y[i] >= 0 ? dy[i] * scale"),
    ("i / columns / rows * columns + i % columns", "i % columns"),  # every replica the first one's bias
    ("gradient = alpha * temperature * difference", "gradient = alpha * difference"),
    ("(y[row] == i ? -others", "(y[row] == i ? others"),
    ("i / W % H - dy[image]", "i / W % H + dy[image]"),
    ("sum += sums[i][tx]", "sum += sums[0][tx]"),
    ("w[i] -= velocity[i] + g[i]", "w[i] -= velocity[i]"),
]


def trained(backend, nesterov):
    rng = np.random.default_rng(0)
    data = md.Dataset(rng.integers(0, 256, (40, 4, 4), dtype=np.uint8), rng.integers(0, 3, 40), backend)
    data = md.TransferSet.from_teacher(md.Network.mlp([16, 8, 3], backend=backend), data, jitter=1)
    student = md.Network.mlp([16, 21, 26, 3], input_dropout=0.2, dropout=0.5, seeds=[1, 2], backend=backend)
    optimizer = md.SGD(0.1, nesterov=nesterov, max_norm=1)
    md.fit(student, data, md.Objective(3, 0.5), optimizer, epochs=2, batch_size=8, jitter=1, progress=False)
    return backend.to_host(student.parameters)


@pytest.mark.parametrize(("right", "wrong"), [("", ""), *WRONG])
def test_a_kernel_with_one_mistake_trains_another_network(right, wrong, monkeypatch):
    nesterov = "w[i]" in right
    truth = trained(Backend(), nesterov)
    assert right in kernels.SOURCE
    monkeypatch.setattr(cupy, "SOURCE", kernels.SOURCE.replace(right, wrong) if right else kernels.SOURCE)
    close = np.allclose(trained(CupyBackend(xp=fake), nesterov), truth, rtol=1e-3, atol=1e-5)
    assert close == (right == "")
