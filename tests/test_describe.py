"""The repr of networks, layers, optimisers, schedules and histories: one line that says what they are."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_layers import LayerNorm, Tanh
from strategies import law

import minidistill as md

CALLS = [
    "Dense(784, 10)",
    "DenseReLU(784, 800)",
    "DenseReLU(784, 800, dropout=0.5)",
    "ReLU()",
    "Dropout(0.2)",
    "Dropout(0.125)",
    "constant_rate(0.1)",
    "linear_decay(0.05, warmup=0.1)",
    "cosine_decay(0.05)",
    "step_decay(0.1, at=(0.5, 0.75), factor=0.1, warmup=0.25)",
    "SGD(linear_decay(0.05, warmup=0.1), momentum=0.9)",
    "SGD(constant_rate(0.1), momentum=0.0, nesterov=True, weight_decay=0.01, max_norm=3.0)",
    "AdamW(learning_rate=constant_rate(0.001), beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01)",
    "Objective(temperature=4.0, alpha=0.5)",
]
SCHEDULES = [text for text in CALLS if "decay(" in text[:13] or text.startswith("constant")]


@pytest.mark.parametrize("text", CALLS)
def test_what_is_shown_is_the_call_that_makes_it(text):
    assert repr(eval(text, vars(md))) == text


@law
@given(st.floats(0, 255 / 256))
def test_a_layer_shows_a_dropout_rate_that_makes_the_same_layer(rate):
    layer = md.Dropout(rate)
    assert eval(repr(layer), vars(md)).threshold == layer.threshold


def test_a_layer_shows_the_same_inside_of_a_network():
    layers = [md.DenseReLU(4, 3, 0.3), md.Dense(3, 2)]
    before = repr(layers)
    md.Network(layers, seeds=[0, 1])
    assert repr(layers) == before == "[DenseReLU(4, 3, dropout=0.3), Dense(3, 2)]"


def test_a_layer_or_an_optimiser_of_ones_own_is_shown_too():
    class Scale(md.Layer):
        def __init__(self, factor, table, hidden, *rest, dropout=0.0):
            self.factor, self.table = factor, table

    class Signs(md.Optimizer):
        pass

    assert [repr(LayerNorm(4)), repr(Tanh())] == ["LayerNorm(...)", "Tanh()"]
    assert repr(Scale(2.0, np.zeros(1000), "kept nowhere")) == "Scale(2.0, ..., ..., ..., dropout=...)"
    assert repr(Signs(0.1)) == "Signs(constant_rate(0.1))"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: md.Network.mlp([784, 800, 800, 10]), "784-800-800-10, float32, 1,276,810 parameters"),
        (lambda: md.Network.mlp([3, 2], dtype=np.float64), "3-2, float64, 8 parameters"),
        (lambda: md.Network.mlp([4, 3, 2], seeds=[0]), "4-3-2, replicas=1, float32, 23 parameters each"),
        (
            lambda: md.Network.mlp([4, 3, 2], seeds=[5, 6], input_dropout=0.2, dropout=0.5),
            "4-3-2, input_dropout=0.2, dropout=0.5, replicas=2, float32, 23 parameters each",
        ),
        (
            lambda: md.Network([md.Dense(4, 3), md.ReLU(), md.Dense(3, 2)]),
            "[Dense(4, 3), ReLU(), Dense(3, 2)], float32, 23 parameters",
        ),
        (
            lambda: md.Network([md.DenseReLU(4, 3, 0.5), md.DenseReLU(3, 3), md.Dense(3, 2)]),
            "[DenseReLU(4, 3, dropout=0.5), DenseReLU(3, 3), Dense(3, 2)], float32, 35 parameters",
        ),
        (lambda: md.Network([md.DenseReLU(4, 3)]), "[DenseReLU(4, 3)], float32, 15 parameters"),
    ],
)
def test_a_network_shows_its_sizes_or_else_its_layers(make, text):
    network = make()
    assert repr(network) == f"<Network {text}, on {network.backend.name}>"


def test_a_history_shows_its_end():
    history = md.History([1.0, 2.5], [0.1, 0.1], [[2.0], [0.12345]], [[80], [71]])
    assert repr(history) == "<History of 2 epochs, 2.5 s, loss 0.1235, errors 71>"
    assert repr(md.History([1.0], [0.1], [[2.0, 4.0]])) == "<History of 1 epoch, 1.0 s, loss 3>"
    assert repr(md.History()) == "<History of 0 epochs>"


@pytest.mark.parametrize("copied", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy], ids=["pickle", "copy"])
@pytest.mark.parametrize("text", SCHEDULES)
def test_a_schedule_and_an_optimiser_that_has_not_stepped_can_be_pickled_and_copied(text, copied):
    schedule = eval(text, vars(md))
    again = copied(schedule)
    assert again == schedule
    assert hash(again) == hash(schedule)
    times = np.linspace(0, 1, 50, endpoint=False)
    assert [again(t) for t in times] == [schedule(t) for t in times]
    for optimiser in (md.SGD(schedule, nesterov=True), md.AdamW(schedule)):
        assert repr(copied(optimiser)) == repr(optimiser)
        trained = [md.Network.mlp([3, 2]) for _ in "ab"]
        for network, one in zip(trained, (optimiser, copied(optimiser)), strict=True):
            network.forward(np.ones((4, 3), np.float32))
            one.step(network, np.ones((4, 2), np.float32), one.learning_rate(0.5))
        np.testing.assert_array_equal(trained[0].parameters, trained[1].parameters)


def test_schedules_are_frozen_and_equal_if_they_give_the_same_rates():
    schedule = md.step_decay(np.float32(0.5), at=[0.5], factor=1)
    assert schedule == md.step_decay(0.5, (0.5,), 1.0) != md.step_decay(0.5)
    assert type(schedule.rate) is float
    with pytest.raises(AttributeError):
        schedule.rate = 1.0
