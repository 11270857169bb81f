"""The training loop: it learns, repeats itself bit for bit, allocates nothing large, and stops when it diverges."""

import re
import tracemalloc

import numpy as np
import pytest

from minidistill import (
    SGD,
    ArgumentError,
    Dataset,
    Diverged,
    History,
    Network,
    Objective,
    TransferSet,
    constant_rate,
    cosine_decay,
    cross_entropy,
    distillation,
    errors,
    fit,
)


def blobs(backend, n: int = 300, classes: int = 3, seed: int = 0) -> Dataset:
    """Points around `classes` corners of a cube, easy to tell apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    points = np.eye(classes)[labels] * 3 + rng.standard_normal((n, classes))
    return Dataset(points.astype(np.float32), labels, backend)


def train(backend, seeds=0, objective=None, data=None, **options) -> tuple[Network, History]:
    network = Network.mlp([3, 16, 3], dropout=0.25, seeds=seeds, backend=backend)
    arguments = {"epochs": 5, "batch_size": 32, "progress": False} | options
    data = blobs(backend) if data is None else data
    return network, fit(network, data, objective or Objective(alpha=0), SGD(0.05), **arguments)


def test_training_lowers_the_loss_and_the_errors(backend) -> None:
    data = blobs(backend)
    untrained = errors(Network.mlp([3, 16, 3], backend=backend), data)
    network, history = train(backend, validation=data)
    assert history.loss[-1][0] < 0.7 * history.loss[0][0]
    assert errors(network, data) == history.errors[-1][0] < untrained / 2


def test_the_history_has_an_entry_for_each_epoch_and_a_number_for_each_replica(backend) -> None:
    _, history = train(backend, seeds=[3, 4], validation=blobs(backend), epochs=3)
    assert [len(each) for each in (history.seconds, history.learning_rate, history.loss, history.errors)] == [3] * 4
    assert np.shape(history.loss) == np.shape(history.errors) == (3, 2)
    assert history.seconds == sorted(history.seconds)


def test_the_same_seed_gives_the_same_network_bit_for_bit_and_another_seed_another(backend) -> None:
    first, again, other = (backend.to_host(train(backend, seeds=s)[0].parameters) for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def test_a_student_of_soft_targets_alone_learns_what_the_labels_say(backend) -> None:
    data = blobs(backend)
    teacher, _ = train(backend)
    transfer = TransferSet(data.inputs, teacher.predict(data.inputs), backend=backend)  # no labels
    student, history = train(backend, data=transfer, objective=Objective(temperature=4.0, alpha=1.0), epochs=10)
    assert history.loss[-1][0] < 0.5 * history.loss[0][0]
    assert errors(student, data) < len(data) / 10


def test_a_temperature_for_each_replica_equals_separate_networks(backend) -> None:
    data = blobs(backend)
    teacher, _ = train(backend, epochs=2)
    options = {"data": TransferSet.from_teacher(teacher, data), "epochs": 2}
    both, _ = train(backend, seeds=[1, 1], objective=Objective(temperature=[2.0, 20.0], alpha=0.7), **options)
    for r, T in enumerate((2.0, 20.0)):
        alone, _ = train(backend, seeds=1, objective=Objective(temperature=T, alpha=0.7), **options)
        np.testing.assert_allclose(
            backend.to_host(both.replica(r).parameters), backend.to_host(alone.parameters), rtol=1e-4, atol=1e-5
        )


def test_the_learning_rate_follows_the_schedule_over_the_whole_training(backend) -> None:
    network = Network.mlp([3, 3], backend=backend)
    history = fit(
        network, blobs(backend), Objective(alpha=0), SGD(cosine_decay(0.1)), epochs=4, batch_size=300, progress=False
    )
    np.testing.assert_allclose(history.learning_rate, [cosine_decay(0.1)(t) for t in (0, 0.25, 0.5, 0.75)])


@pytest.mark.parametrize("rate", [30.0, 1e4, 1e30])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_diverging_training_stops_with_its_step_and_learning_rate(backend, rate: float, alpha: float) -> None:
    data = blobs(backend)
    transfer = TransferSet(data.inputs, 50 * backend.to_host(data.inputs), data.labels, backend=backend)
    network = Network.mlp([3, 64, 64, 3], backend=backend)
    with pytest.raises(Diverged, match=rf"diverged at step \d+, learning rate {re.escape(f'{rate:g}')}: the loss was"):
        fit(
            network, transfer, Objective(1.0, alpha), SGD(constant_rate(rate)), epochs=20, batch_size=32, progress=False
        )


def test_a_divergence_in_the_very_last_step_is_noticed(backend) -> None:
    data, network = blobs(backend, n=320), Network.mlp([3, 3], backend=backend)
    last = SGD(lambda done: 1e30 if done >= 0.9 else 1e-3)
    with pytest.raises(Diverged, match="diverged at step 9, learning rate 1e\\+30: the largest parameter is"):
        fit(network, data, Objective(alpha=0), last, epochs=1, batch_size=32, progress=False)


@pytest.mark.parametrize("T", [0.01, 0.03, 1.0, 1e4])
def test_a_sound_training_is_not_called_diverged_at_any_temperature(backend, T: float) -> None:
    """At low T the KL of sharp distributions is of the order of 1/T, far above the log N of hard labels."""
    data = blobs(backend)
    transfer = TransferSet(data.inputs, 3 * backend.to_host(data.inputs), backend=backend)
    train(backend, data=transfer, objective=Objective(T, alpha=1.0), epochs=1)


def test_a_network_whose_logits_are_not_finite_has_no_number_of_errors(backend) -> None:
    network = Network.mlp([3, 3], backend=backend)
    network.parameters.fill(float("nan"))
    with pytest.raises(Diverged, match="network must give finite logits"):
        errors(network, blobs(backend))


def test_what_an_earlier_training_left_in_the_gradients_is_no_momentum_of_the_next(backend) -> None:
    trained = []
    for left in (0.0, 7.0):
        network = Network.mlp([3, 3], backend=backend)
        network.gradients.fill(left)
        fit(network, blobs(backend), Objective(alpha=0), SGD(0.01), epochs=1, progress=False)
        trained.append(backend.to_host(network.parameters))
    np.testing.assert_array_equal(*trained)


@pytest.mark.parametrize("hidden", [800, 1600])
def test_a_training_step_allocates_less_than_a_megabyte_whatever_its_batch(hidden: int) -> None:
    """Four batches an epoch, the last one smaller, and an evaluation between the epochs."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (480, 28, 28), dtype=np.uint8), rng.integers(0, 10, 480))
    network = Network.mlp([784, hidden, hidden, 10], input_dropout=0.2, dropout=0.5)
    pool = network.xp.get_default_memory_pool() if network.backend.name == "cupy" else None
    peaks: list[int] = []

    def taken() -> int:
        """Bytes since the step began: at their peak, or on a GPU by how much CuPy's pool has grown."""
        return (tracemalloc.get_traced_memory()[1] if pool is None else pool.total_bytes()) - before[0]

    def start_of_step(epoch: int = 0) -> None:
        before[0] = tracemalloc.get_traced_memory()[0] if pool is None else pool.total_bytes()
        tracemalloc.reset_peak()

    class Watching(SGD):
        def step(self, network: Network, dz: object, learning_rate: float) -> None:
            super().step(network, dz, learning_rate)
            peaks.append(taken())
            start_of_step()

    if pool is not None:
        pool.free_all_blocks()  # of earlier tests
        if not pool.total_bytes():
            pytest.skip("CuPy does not take memory from its pool here")
    before = [0 if pool is None else pool.total_bytes()]
    tracemalloc.start()
    try:
        options = {"batch_size": 128, "jitter": 2, "validation": data, "progress": False, "after_epoch": start_of_step}
        fit(network, data, Objective(alpha=0), Watching(1e-3, max_norm=3.0), epochs=3, **options)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 12
    assert peaks[0] > 1_000_000  # the first step makes the buffers, and shows that they are counted
    assert max(peaks[4:]) < 1_000_000  # by then every size has been seen: 128, 96, and the evaluation's 480


def test_after_epoch_is_called_when_the_epoch_is_done(backend) -> None:
    seen: list[int] = []
    train(backend, epochs=3, after_epoch=seen.append)
    assert seen == [0, 1, 2]


def test_errors_counts_the_rows_whose_largest_logit_is_not_the_label(backend) -> None:
    data = blobs(backend, n=2500)  # more than one block
    network = Network.mlp([3, 3], seeds=[0, 1], backend=backend)
    z, y = backend.to_host(network.predict(data.inputs)), backend.to_host(data.labels)
    assert errors(network, data) == [int((z[r].argmax(-1) != y).sum()) for r in range(2)]


@pytest.mark.parametrize(
    ("objective", "with_logits", "with_labels", "message"),
    [
        (Objective(alpha=0.5), False, True, "alpha must be 0 without a teacher's logits, got 0.5"),
        (Objective(alpha=0.5), True, False, "alpha must be 1 for a transfer set without labels, got 0.5"),
        (Objective(temperature=[1.0, 2.0], alpha=1.0), True, True, "temperature must be one number or one for each"),
    ],
)
def test_an_objective_that_the_data_cannot_serve_is_refused(
    backend, objective: Objective, with_logits: bool, with_labels: bool, message: str
) -> None:
    data = blobs(backend)
    if with_logits:
        data = TransferSet(data.inputs, data.inputs, data.labels if with_labels else None, backend=backend)
    with pytest.raises(ArgumentError, match=message):
        train(backend, data=data, objective=objective)


def test_classes_that_the_network_does_not_have_are_refused(backend) -> None:
    network = Network.mlp([3, 2], backend=backend)
    with pytest.raises(ArgumentError, match=r"labels must lie in 0..1, the network's classes, got 2"):
        fit(network, blobs(backend), Objective(alpha=0), SGD(0.1), epochs=1, progress=False)
    transfer = TransferSet(blobs(backend).inputs, blobs(backend).inputs, backend=backend)
    with pytest.raises(ArgumentError, match="a logit for each of the teacher's 3 classes, got 2"):
        fit(network, transfer, Objective(alpha=1.0), SGD(0.1), epochs=1, progress=False)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), [1.0, 0.0], "hot"])
def test_a_temperature_that_is_not_positive_and_finite_is_refused(temperature: object) -> None:
    with pytest.raises(ArgumentError, match="temperature must be a finite number > 0, got"):
        Objective(temperature=temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_outside_0_to_1_is_refused(alpha: float) -> None:
    with pytest.raises(ArgumentError, match="alpha must be a finite number >= 0 and <= 1, got"):
        Objective(alpha=alpha)


def test_alpha_must_be_said_because_either_default_would_train_on_other_targets_than_were_meant() -> None:
    with pytest.raises(ArgumentError, match=r"^alpha must be given, 1 for soft targets alone and 0 for hard labels"):
        Objective(4.0)


def test_what_is_no_optimiser_or_forgets_the_backward_pass_is_refused(backend) -> None:
    class Forgetful(SGD):
        def step(self, network, dz, learning_rate):
            pass

    network = Network.mlp([3, 3], backend=backend)
    with pytest.raises(ArgumentError, match=r"^Forgetful\.step must call network\.backward\(dz\)$"):
        fit(network, blobs(backend), Objective(alpha=0), Forgetful(0.1), epochs=1, progress=False)
    with pytest.raises(ArgumentError, match=r"^optimizer must be an Optimizer, such as SGD\(0\.1\), got float 0\.1$"):
        fit(network, blobs(backend), Objective(alpha=0), 0.1, epochs=1, progress=False)


def test_a_function_of_a_batch_may_be_the_objective_and_trains_as_the_balanced_objective_does(backend) -> None:
    data = blobs(backend)
    transfer = TransferSet(data.inputs, train(backend)[0].predict(data.inputs), data.labels, backend=backend)
    fused, _ = train(backend, data=transfer, objective=Objective(4.0, 0.5))
    own, history = train(backend, data=transfer, objective=lambda z, v, y: distillation(z, v, y, 4.0, 0.5))
    fused, own = (backend.to_host(network.parameters) for network in (fused, own))
    np.testing.assert_allclose(own, fused, rtol=0, atol=1e-4 * np.abs(fused).max())
    assert history.loss[-1][0] < history.loss[0][0]


def test_a_function_gets_no_teacher_from_a_data_set_and_says_when_it_diverges(backend) -> None:
    seen = []

    def hard(z, v, y):
        seen.append(v)
        return cross_entropy(z, y)

    train(backend, seeds=[0, 1], objective=hard, epochs=1)
    assert seen[0] is None
    with pytest.raises(Diverged, match="learning rate"):
        train(backend, objective=lambda z, v, y: (z.sum() * 0, z * -1e30))
    with pytest.raises(ArgumentError, match=r"^objective must be called with \(z, v, y\), as in .*, got 'kl'$"):
        train(backend, objective="kl")


# --- wrong arguments -------------------------------------------------------------------------------------------------


def attempt(backend, **changed):
    """fit on sound arguments but for those that are changed; the network, which must not be touched, comes back."""
    arguments = {"network": Network.mlp([3, 3], backend=backend), "data": blobs(backend, 40),
                 "objective": Objective(alpha=0), "optimizer": SGD(0.1), "epochs": 2, "progress": False}  # fmt: skip
    return fit(**arguments | changed)


WRONG = {
    "a class for the network": ({"network": Network}, r"network must be a Network, got the class Network"),
    "a pair for the data": ({"data": ([[1.0]], [0])}, r"data must be a Dataset, got tuple \(\[\[1\.0\]\], \[0\]\)"),
    "no data": ({"data": None}, r"data must be a Dataset, got NoneType None"),
    "the optimiser's class": ({"optimizer": SGD}, r"optimizer must be an Optimizer, such as .*, got the class SGD"),
    "a loss of other arguments": ({"objective": distillation}, r"objective must be called with \(z, v, y\), as in "
                                  r"lambda z, v, y: reverse_kl\(z, v, 4\.0\), got a function of \(z, v, y, T, alpha\)"),
    "one value": ({"objective": lambda z, v, y: z.sum()}, r"objective must return \(value, dz\), got "),
    "a row for a gradient": ({"objective": lambda z, v, y: (z.mean(), z[:1])},
                             r"objective must return a value \(\) and dz \(40, 3\), got shapes \(\) and \(1, 3\)"),
    "values of rows": ({"objective": lambda z, v, y: (z.sum(axis=-1), z)}, r"objective must return a value \(\)"),
    "validation by a pair": ({"validation": (1, 2)}, r"validation must be a Dataset, got tuple \(1, 2\)"),
    "a number after the epoch": ({"after_epoch": 3}, r"after_epoch must be called with \(epoch\), as in .*, got 3"),
    "nothing for the epoch": ({"after_epoch": lambda: 0}, r"after_epoch must be called with \(epoch\), .* of \(\)"),
    "half an epoch": ({"epochs": 1.5}, r"epochs must be a whole number >= 1, got 1\.5"),
    "no batch": ({"batch_size": 0}, r"batch_size must be a whole number >= 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_of_fit_is_one_line_that_names_it(backend, changed, message) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        attempt(backend, **{"batch_size": 40} | changed)


def test_a_validation_set_that_does_not_fit_is_refused_before_the_first_step(backend) -> None:
    calls: list[int] = []

    def counting(z, v, y):
        calls.append(1)
        return cross_entropy(z, y)

    unlabelled = TransferSet(blobs(backend).inputs, blobs(backend).inputs, backend=backend)
    narrow = Dataset([[0.5, 1.0]], [0], backend)
    for validation in (unlabelled, narrow):
        with pytest.raises(ArgumentError, match=r"^validation must have labels, 3 inputs and be on"):
            attempt(backend, validation=validation, objective=counting)
    with pytest.raises(ArgumentError, match=r"^labels must lie in 0\.\.2, the network's classes, got 3"):
        attempt(backend, validation=Dataset([[0.5, 1.0, 2.0]], [3], backend, classes=4), objective=counting)
    assert not calls


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network.mlp(5), r"sizes must be a list of ints, got int 5"),
        (lambda: Network.mlp([3, "4", 2]), r"sizes must be a list of ints, got one with str '4'"),
        (lambda: Network.mlp([3, 2]).replica(5), r"r must be a whole number >= 0 and <= 0, got 5"),
        (lambda: Network.mlp([3, 2], dtype=None), r"dtype must be a floating-point type, got None"),
        (lambda: Network.mlp([3, 2], dtype="int32"), r"dtype must be a floating-point type, got 'int32'"),
        (lambda: SGD(lambda: 0.1), r"learning_rate must be a number or a function of the fraction done, .* TypeError"),
        (lambda: SGD(float("inf")), r"learning rate must be a finite number > 0, got inf"),
        (lambda: SGD(np.float64("inf")), r"learning rate must be a finite number > 0, got inf"),
        (lambda: Objective(True, 1), r"temperature must be a finite number > 0, got True"),
        (lambda: Objective(2.0, "soft"), r"alpha must be a finite number >= 0 and <= 1, got 'soft'"),
    ],
)
def test_a_wrong_argument_of_the_parts_is_one_line_that_names_it(make, message) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        make()
