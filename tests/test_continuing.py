"""What goes on where it stood: a training in several calls, copies of networks, threads, and arrays that keep place."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import minidistill as md
from minidistill.backend import Backend, BlasBackend

OPTIMIZERS = {
    "SGD": lambda rate: md.SGD(rate, 0.9, max_norm=2.0),
    "Nesterov": lambda rate: md.SGD(rate, 0.9, nesterov=True),
    "AdamW": lambda rate: md.AdamW(rate),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def images(backend, n=70, seed=0):
    rng = np.random.default_rng(seed)
    return md.Dataset(rng.integers(0, 256, (n, 4, 4), dtype=np.uint8), rng.integers(0, 3, n), backend, classes=3)


def network(backend, seeds=0, **options):
    return md.Network.mlp([16, 8, 3], dropout=0.3, input_dropout=0.2, seeds=seeds, backend=backend, **options)


def fit(student, data, optimizer, epochs, **options):
    """A training with every random number in it: shuffles, jitter, and two kinds of dropout."""
    arguments = {"batch_size": 16, "jitter": 1, "progress": False} | options
    return md.fit(student, data, md.Objective(alpha=0), optimizer, epochs=epochs, **arguments)


def trained(backend, make, calls, rate=0.01, seeds=0, **options):
    """The parameters after a training in calls of so many epochs each."""
    student, data, optimizer = network(backend, seeds), images(backend), make(rate)
    for epochs in calls:
        fit(student, data, optimizer, epochs, **options)
    return backend.to_host(student.parameters).copy()


# --- a training in several calls -----------------------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("seeds", [0, [1, 2]], ids=["one network", "replicas"])
def test_two_and_two_epochs_are_four_bit_for_bit(backend, make, seeds):
    whole = trained(backend, make, [4], seeds=seeds)
    for calls in ([2, 2], [1, 1, 1, 1], [1, 3]):
        np.testing.assert_array_equal(trained(backend, make, calls, seeds=seeds), whole)


@every_optimizer
def test_a_schedule_that_is_told_the_whole_length_does_not_begin_again(backend, make):
    rate = md.linear_decay(0.01, warmup=0.2)
    whole = trained(backend, make, [4], rate)
    np.testing.assert_array_equal(trained(backend, make, [1, 3], rate, total_epochs=4), whole)
    assert (trained(backend, make, [1, 3], rate) != whole).any()  # the control: each call its own schedule


def test_a_schedule_that_is_shorter_than_the_training_is_refused(backend):
    student, data, optimizer = network(backend), images(backend), md.SGD(0.05)
    fit(student, data, optimizer, 2, total_epochs=3)
    with pytest.raises(md.ArgumentError, match=r"^total_epochs must be at least the 2 epochs .* before them, got 3$"):
        fit(student, data, optimizer, 2, total_epochs=3)
    fit(student, data, optimizer, 1, total_epochs=3)


def test_another_optimiser_goes_on_with_other_shuffles_jitter_and_masks(backend):
    """Not with the first epoch's again, which it would learn by heart."""
    data, once, again = images(backend), network(backend), network(backend)
    fit(once, data, md.SGD(1e-30), 1)
    seen = []
    for student in (again, once):  # both have the first weights; one has an epoch behind it

        def watch(z, v, y, seen=seen):
            seen.append(backend.to_host(z).copy())
            return md.cross_entropy(z, y)

        md.fit(student, data, watch, md.SGD(1e-30), epochs=1, batch_size=16, jitter=1, progress=False)
    first, second = seen[:5], seen[5:]
    assert all((a != b).any() for a, b in zip(first, second, strict=True))


# --- after a divergence, and what is none ----------------------------------------------------------------------------


def test_a_network_whose_training_diverged_is_not_trained_on(backend):
    student, data = network(backend), images(backend)
    with pytest.raises(md.Diverged):
        fit(student, data, md.SGD(1e30), 2)
    for _ in range(2):
        with pytest.raises(md.ArgumentError, match=r"^network must have finite parameters, got NaN or infinity"):
            fit(student, data, md.SGD(0.01), 1)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_wrong_label_that_the_network_does_not_believe_is_no_divergence(backend, batch_size):
    """One row's loss of 60 is 50 times chance, but the mean over a thousand is what tells a divergence."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    x = 60 * np.eye(3)[y] + rng.standard_normal((200, 3))
    y[::50] = (y[::50] + 1) % 3
    student = md.Network.mlp([3, 3], backend=backend)
    student.layers[0].W = np.eye(3)
    data = md.Dataset((x / 3).astype(np.float32), y, backend)
    history = md.fit(
        student, data, md.Objective(alpha=0), md.SGD(1e-6), epochs=1, batch_size=batch_size, progress=False
    )
    assert history.loss[0][0] < 2


def test_inputs_of_pixels_as_floats_are_named_where_they_make_it_diverge(backend):
    rng = np.random.default_rng(0)
    data = md.Dataset(rng.integers(0, 256, (64, 16)).astype(np.float32), rng.integers(0, 3, 64), backend, classes=3)
    with pytest.raises(md.Diverged, match=r"the inputs reach 255: scale them, as pixels to \[0, 1\], or try a lower"):
        md.fit(md.Network.mlp([16, 32, 3], backend=backend), data, md.Objective(alpha=0), md.SGD(3.0), epochs=9,
               progress=False)  # fmt: skip


def test_a_network_whose_units_have_died_is_not_returned_as_if_it_was_trained(backend):
    student, data = network(backend), images(backend)
    student.layers[1].b = np.full((1, 8), -100.0)  # no unit is above 0, for whatever input
    with pytest.raises(md.Diverged, match="the same logits for 100% of its inputs: its units have died"):
        fit(student, data, md.SGD(1e-6), 1)


# --- arrays that keep their place ------------------------------------------------------------------------------------


def test_parameters_that_are_assigned_are_copied_into_the_network(backend):
    one, other, data = network(backend, 0), network(backend, 1), images(backend)
    saved = backend.to_host(one.parameters).copy()
    z = backend.to_host(one.predict(data.inputs)).copy()
    other.parameters = saved
    np.testing.assert_array_equal(backend.to_host(other.predict(data.inputs)), z)
    saved[...] = 0  # the network keeps no array of the caller's
    np.testing.assert_array_equal(backend.to_host(other.predict(data.inputs)), z)


def test_weights_that_are_assigned_are_those_that_are_trained(backend):
    by_assignment, by_writing, data = network(backend), network(backend), images(backend)
    W = np.random.default_rng(0).normal(0, 0.1, (8, 3)).astype(np.float32)
    by_assignment.layers[-1].W = W
    by_writing.layers[-1].W[...] = backend.asarray(W)
    by_assignment.layers[-1].W *= 2
    by_writing.layers[-1].W[...] = 2 * by_writing.layers[-1].W
    for student in (by_assignment, by_writing):
        fit(student, data, md.SGD(0.05), 1)
    a, b = (backend.to_host(student.parameters) for student in (by_assignment, by_writing))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [0.0, np.zeros(3), np.zeros((3, 8)), "abc", None, np.zeros((8, 3), bool)])
def test_an_assigned_array_of_another_shape_or_kind_is_refused_by_name(backend, value):
    student = network(backend)
    with pytest.raises(md.ArgumentError, match=r"^Dense\.W must be "):
        student.layers[-1].W = value
    with pytest.raises(md.ArgumentError, match=r"^Network\.parameters must be "):
        student.parameters = value


# --- copies ----------------------------------------------------------------------------------------------------------

WAYS = {"pickle": lambda one: pickle.loads(pickle.dumps(one)), "deepcopy": copy.deepcopy, "copy": copy.copy}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("seeds", [3, [3, 4]], ids=["one network", "replicas"])
def test_a_copy_of_a_network_predicts_the_same_and_shares_nothing(backend, way, seeds):
    if backend.xp is not np:
        pytest.skip("the stand-in is no module that a copy could import")
    student, data = network(backend, seeds), images(backend)
    fit(student, data, md.SGD(0.05), 1)
    twin = way(student)
    np.testing.assert_array_equal(twin.predict(data.inputs), student.predict(data.inputs))
    assert (twin.seeds, twin.dtype, twin.steps, repr(twin)) == (seeds, student.dtype, student.steps, repr(student))
    before = student.predict(data.inputs)
    twin.parameters[...] = 0
    np.testing.assert_array_equal(student.predict(data.inputs), before)


@pytest.mark.parametrize("way", [WAYS["pickle"], WAYS["deepcopy"]], ids=["pickle", "deepcopy"])
@every_optimizer
def test_a_copy_of_a_training_goes_on_as_the_training_does(way, make):
    student, data, optimizer = network("numpy"), images("numpy"), make(0.01)
    fit(student, data, optimizer, 2)
    twin, its_optimizer = way((student, optimizer))
    for one, its in ((student, optimizer), (twin, its_optimizer)):
        fit(one, data, its, 2)
    np.testing.assert_array_equal(twin.parameters, student.parameters)


def test_a_layer_that_is_copied_belongs_to_no_network():
    for layer in network("numpy").layers:
        for way in WAYS.values():
            md.Network([md.Dense(16, 16), way(layer), md.Dense(layer.n_out or 16, 3)] if not layer.n_in else
                       [md.Dense(16, layer.n_in), way(layer)], backend="numpy")  # fmt: skip


def predict_elsewhere(student, x):
    return student.predict(x)


def test_a_network_can_be_sent_to_another_process():
    student, x = network("numpy"), images("numpy").inputs
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(predict_elsewhere, student, x).result(timeout=100)
    np.testing.assert_allclose(there, student.predict(x), rtol=0, atol=1e-6)


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Backend, BlasBackend], ids=["reference", "blas"])
def test_predictions_in_several_threads_are_those_of_one(make):
    student = md.Network.mlp([16, 200, 200, 3], backend=make())
    batches = [np.random.default_rng(i).random((50, 16), dtype=np.float32) for i in range(40)]
    alone = [student.predict(x).copy() for x in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(student.predict, batches * 3))
    for z, truth in zip(together, alone * 3, strict=True):
        np.testing.assert_array_equal(z, truth)


def test_predicting_in_the_middle_of_a_step_does_not_disturb_it():
    rng = np.random.default_rng(0)
    x, dz = rng.random((50, 16), dtype=np.float32), rng.random((50, 3), dtype=np.float32)
    gradients = []
    for disturbed in (False, True):
        student = network("numpy")
        student.forward(x, step=3)
        if disturbed:
            student.predict(rng.random((50, 16), dtype=np.float32))
        student.backward(dz.copy())
        gradients.append(student.gradients.copy())
    np.testing.assert_array_equal(*gradients)


def test_networks_that_train_in_two_threads_on_one_backend_train_as_they_would_alone():
    backend = Backend()  # whose accumulation needs a scratch array

    def train(seed):
        student, data = md.Network.mlp([16, 100, 3], seeds=seed, backend=backend), images(backend, 300)
        md.fit(student, data, md.Objective(alpha=0), md.SGD(0.05), epochs=20, batch_size=16, progress=False)
        return student.parameters

    alone = [train(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, (1, 2)))
    for found, truth in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, truth)


# --- what a network has beside its parameters ------------------------------------------------------------------------


class Mean(md.Layer):
    """y = x - a running mean of what training has shown: a layer that learns outside of its parameters."""

    def __init__(self):
        self.mean = 0.0

    def forward(self, x, out, step):
        if step is not None:
            self.mean += 0.1 * (float(x.mean()) - self.mean)
        out[...] = x - self.mean
        return out

    def backward(self, dy, out, momentum=0.0):
        if out is not None:
            out[...] = dy
        return out


def test_prediction_and_copies_see_what_a_layer_has_learned_outside_of_its_parameters():
    student, data = md.Network([Mean(), md.Dense(16, 3)], backend="numpy"), images("numpy")
    student.predict(data.inputs)  # which makes its own buffers before the training
    md.fit(student, data, md.Objective(alpha=0), md.SGD(0.01), epochs=2, progress=False)
    x = data.inputs.reshape(len(data), -1) / np.float32(255)
    truth = student.forward(x).copy()
    assert student.layers[0].mean != 0
    for network_ in (student, copy.deepcopy(student), pickle.loads(pickle.dumps(student)), student.replica(0)):
        np.testing.assert_allclose(network_.predict(x), truth, rtol=0, atol=1e-6)


class Named(md.Network):
    def __init__(self, name):
        super().__init__([md.Dense(16, 3)], 5, backend="numpy")
        self.name = name


def test_a_network_of_ones_own_class_and_its_attributes_are_copied():
    student = Named("a student")
    for twin in (copy.deepcopy(student), pickle.loads(pickle.dumps(student))):
        assert (type(twin), twin.name) == (Named, "a student")
        np.testing.assert_array_equal(twin.parameters, student.parameters)
    np.testing.assert_array_equal(student.replica(0).parameters, student.parameters)


# --- epochs, schedules and steps of trainings that change ------------------------------------------------------------


def orders(student, data, optimizer, epochs, batch_size, **options):
    """The labels in the order in which each epoch of a training shows them."""
    seen = []

    def watch(z, v, y):
        seen.append(np.array(y))
        return md.cross_entropy(z, y)

    md.fit(student, data, watch, optimizer, epochs=epochs, batch_size=batch_size, progress=False, **options)
    return np.concatenate(seen).reshape(epochs, -1)


def test_no_order_of_the_rows_comes_twice_when_the_batch_size_changes_or_a_replica_goes_on_alone():
    data, student = images("numpy"), md.Network.mlp([16, 8, 3], seeds=[4, 5], backend="numpy")
    one, optimizer = md.Network.mlp([16, 8, 3], seeds=4, backend="numpy"), md.SGD(0.01)
    every = [*orders(one, data, optimizer, 4, 70), *orders(one, data, optimizer, 4, 16)]
    assert len({order.tobytes() for order in every}) == 8
    md.fit(student, data, md.Objective(alpha=0), md.SGD(0.01), epochs=2, progress=False)
    (third,) = orders(student.replica(0), data, md.SGD(0.01), 1, 70)
    np.testing.assert_array_equal(third, every[2])


def test_a_schedule_over_several_calls_counts_epochs_whatever_their_batches():
    rates = []
    student, data, optimizer = network("numpy"), images("numpy"), md.SGD(md.linear_decay(0.1))
    for batch_size in (70, 16):
        rates += fit(student, data, optimizer, 2, batch_size=batch_size, total_epochs=4).learning_rate
    np.testing.assert_allclose(rates, [0.1, 0.075, 0.1 * (1 - 2.8 / 4), 0.1 * (1 - 3.8 / 4)])


def test_a_learning_rate_that_is_assigned_between_two_calls_is_taken():
    student, data, optimizer = network("numpy"), images("numpy"), md.SGD(0.1)
    fit(student, data, optimizer, 1)
    optimizer.learning_rate = 0.01
    assert fit(student, data, optimizer, 1).learning_rate == [0.01]
    optimizer.learning_rate = lambda done: [0.1][int(2 * done)]
    with pytest.raises(md.ArgumentError, match=r"^learning_rate must be .* got one that raises IndexError at 0\.6"):
        fit(student, data, optimizer, 1)


def test_an_optimiser_that_overrides_step_sees_a_mask_of_its_own_in_each():
    class Plain(md.Optimizer):
        def step(self, network, dz, learning_rate):
            network.backward(dz)
            network.parameters -= learning_rate * network.gradients

    student = network("numpy")
    fit(student, images("numpy"), Plain(0.01), 1)
    assert student.steps == 5


# --- divergences, once more ------------------------------------------------------------------------------------------


def test_a_training_in_which_most_inputs_give_the_same_logits_is_told():
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(500, 16))).astype(np.float32)
    x[:20] *= -1  # a few rows still open a unit
    student = md.Network.mlp([16, 8, 3], backend="numpy")
    student.layers[0].W = -np.abs(student.layers[0].W)
    with pytest.raises(md.Diverged, match=r"the same logits for 96% of its inputs"):
        md.fit(student, md.Dataset(x, rng.integers(0, 3, 500), "numpy"), md.Objective(alpha=0), md.SGD(1e-6), epochs=1,
               progress=False)  # fmt: skip


def test_the_last_rows_of_an_epoch_are_no_mean_of_their_own():
    """One wrong label that the network does not believe, in a batch of one row behind a thousand."""
    y = np.arange(1025) % 3
    x = (60 * np.eye(3)[y]).astype(np.float32)
    y[::50] = (y[::50] + 1) % 3
    student = md.Network.mlp([3, 3], backend="numpy")
    student.layers[0].W = np.eye(3)
    for batch_size in (1, 128, 1024):
        md.fit(student, md.Dataset(x, y, "numpy"), md.Objective(alpha=0), md.SGD(1e-9), epochs=5,
               batch_size=batch_size, progress=False)  # fmt: skip


def test_a_loss_of_ones_own_that_grows_on_purpose_is_no_divergence():
    weight = iter(np.linspace(1, 100, 1000))

    def growing(z, v, y):
        value, dz = md.cross_entropy(z, y)
        return next(weight) * value, dz

    md.fit(network("numpy"), images("numpy"), growing, md.SGD(0.01), epochs=4, batch_size=16, progress=False)


@every_optimizer
def test_an_optimiser_that_remembers_a_divergence_is_named_and_not_the_rate(make):
    student, data, optimizer = network("numpy"), images("numpy"), make(1e30)
    saved = student.parameters.copy()
    with pytest.raises(md.Diverged):
        fit(student, data, optimizer, 3)
    student.parameters, optimizer.learning_rate = saved, 0.01
    try:
        fit(student, data, optimizer, 1)
    except md.ArgumentError as error:
        assert "optimizer must have finite momentum" in str(error)  # noqa: PT017  # AdamW may have forgotten it
