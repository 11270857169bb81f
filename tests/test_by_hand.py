"""The textbook and the fast form: distillation by hand and `fit` give the same network, to rounding."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistill as md
from minidistill import random

SCRIPT = Path(__file__).parents[1] / "examples" / "00_by_hand.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("by_hand", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BY_HAND = load()
EPOCHS, T, RATE = 4, 5.0, 0.02


def both(backend: Any, momentum: float, textbook: Any = BY_HAND) -> tuple[np.ndarray, np.ndarray]:
    """The parameters by hand and by fit, from the same first ones and in the same order of rows, in float64."""
    rng = np.random.default_rng(0)
    images, v = rng.integers(0, 256, (70, 12), dtype=np.uint8), rng.normal(0, 5, (70, 4))
    network = md.Network.mlp([12, 9, 4], seeds=3, dtype=np.float64, backend=backend)
    first, last = network.layers
    parameters = [backend.to_host(w).copy() for w in (first.W, first.b[0], last.W, last.b[0])]
    counters = np.arange(len(images), dtype=np.uint32)
    keys = [random.purpose_key(random.SHUFFLE, epoch) for epoch in range(EPOCHS)]
    orders = [random.permutation(random.seed_key(3), key, counters) for key in keys]
    list(textbook.train(parameters, images / 255, v, T, RATE, momentum, orders, batch_size=16))
    data = md.TransferSet(images, v, backend=backend)
    md.fit(
        network, data, md.Objective(T, alpha=1), md.SGD(RATE, momentum), epochs=EPOCHS, batch_size=16, progress=False
    )
    return np.concatenate([w.ravel() for w in parameters]), backend.to_host(network.parameters)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_textbook_and_fit_give_the_same_parameters(backend, momentum, capsys):
    by_hand, by_fit = both(backend, momentum)
    assert np.abs(by_hand - by_fit).max() <= 1e-12 * np.abs(by_hand).max()


@pytest.mark.parametrize("wrong", ["T² left out", "momentum of the gradient alone", "the closed units learn"])
def test_the_test_of_the_textbook_rejects_another_one(backend, wrong, capsys):
    right, changed = {
        "T² left out": ("T**2 * (", "(1 * "),
        "momentum of the gradient alone": ("+ learning_rate * g", "+ (1 - momentum) * learning_rate * g"),
        "the closed units learn": (" * (h > 0)", ""),
    }[wrong]
    code = SCRIPT.read_text(encoding="utf-8")
    assert right in code
    textbook = type(BY_HAND)("wrong")
    exec(code.replace(right, changed), vars(textbook))
    by_hand, by_fit = both(backend, 0.9, textbook)
    assert np.abs(by_hand - by_fit).max() > 1e-3 * np.abs(by_hand).max()


def test_it_can_be_retyped_in_an_evening_and_needs_numpy_and_the_data_alone():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert [line for line in lines if "import" in line.split()] == [
        "import numpy as np",
        "from minidistill import mnist, mnist_transfer",
    ]
