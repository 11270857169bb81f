"""A network: its gradient is the derivative by its parameter vector, and its replicas are networks of their own."""

import gc
import weakref
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numerics import complex_step, relative_error
from strategies import alphas, few, law

from minidistill import (
    SGD,
    AdamW,
    ArgumentError,
    Dense,
    DenseReLU,
    Dropout,
    Network,
    Objective,
    ReLU,
    Standardise,
    TransferSet,
    distillation,
    fit,
    mnist_transfer,
)
from minidistill.backend import Backend
from minidistill.layers import Layer
from minidistill.testing.gradients.strategies import labels_B, logits_BN, seeds, temperatures

EPS = float(np.finfo(np.float64).eps)
sizes = st.lists(st.integers(1, 4), min_size=2, max_size=4)
seed_lists = st.none() | st.lists(seeds, min_size=1, max_size=3, unique=True)  # None: one network, without replicas
dropouts = st.sampled_from([0.0, 0.3])


def a_network(backend: Any, sizes: list[int], some_seeds: list[int] | None, seed: int = 0, **options: Any) -> Network:
    return Network.mlp(sizes, seeds=seed if some_seeds is None else some_seeds, backend=backend, **options)


def scramble(network: Network, seed: int) -> np.ndarray:
    """Random parameters, biases too, so that no unit sits at the kink of its ReLU; a copy of them, on the host."""
    theta = np.random.default_rng(seed).uniform(-1, 1, network.parameters.shape)
    network.parameters[...] = network.backend.asarray(theta, dtype=network.dtype)
    return theta


@few
@given(sizes, seed_lists, dropouts, dropouts, st.integers(1, 3), temperatures, alphas, seeds, st.data())
def test_the_gradient_of_a_whole_network_is_the_derivative_by_every_parameter(
    backend, sizes, some_seeds, input_dropout, dropout, B, T, alpha, seed, data
):
    options = {"input_dropout": input_dropout, "dropout": dropout}
    network = a_network(backend, sizes, some_seeds, seed, dtype=np.float64, **options)
    twin = a_network(Backend(), sizes, some_seeds, seed, dtype=np.complex128, **options)
    theta = scramble(network, seed)
    x = np.random.default_rng(seed + 1).uniform(0.1, 1, (*network.replica_shape, B, sizes[0]))
    v = data.draw(logits_BN((*network.replica_shape, B, sizes[-1]), scale=1.0))
    y = data.draw(labels_B(v.shape))

    def cost(parameters: np.ndarray) -> Any:
        twin.parameters[...] = parameters
        return distillation(twin.forward(x.astype(complex), step=seed), v, y, T, alpha)[0].sum()

    z = network.forward(backend.asarray(x), step=seed)
    network.backward(distillation(z, backend.asarray(v), backend.asarray(y), T, alpha)[1])
    truth = complex_step(cost, theta)
    # q - p is off by eps times the exponents |z|/T, and α T²/T times that is dz (gradient_rounding in test_losses).
    tolerance = 1e3 * EPS * (1 + alpha + alpha * T) / np.abs(truth).max(initial=1e-300)
    assume(tolerance < 1e-6)
    assert relative_error(backend.to_host(network.gradients), truth) <= tolerance


@law
@given(sizes, seed_lists, seeds)
def test_parameters_and_gradients_are_views_of_two_flat_vectors_that_they_fill(backend, sizes, some_seeds, seed):
    network = a_network(backend, sizes, some_seeds, seed)
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    for flat, views in (
        (network.parameters, [view for layer in dense for view in (layer.W, layer.b)]),
        (network.gradients, [view for layer in dense for view in (layer.dW, layer.db)]),
    ):
        numbers = np.random.default_rng(seed).permutation(flat.size)
        flat[...] = backend.asarray(numbers, dtype=flat.dtype)
        np.testing.assert_array_equal(np.concatenate([backend.to_host(view).ravel() for view in views]), numbers)
        for view in views:
            view[...] = -view  # and back
        np.testing.assert_array_equal(backend.to_host(flat), -numbers)
    assert network.size * network.replicas == network.parameters.size
    assert network.size == sum((n + 1) * m for n, m in pairwise(sizes))


@few
@given(st.lists(seeds, min_size=2, max_size=3, unique=True), dropouts, st.sampled_from([0.0, 0.5, 1.0]), seeds)
def test_R_replicas_trained_together_are_R_networks_trained_apart(backend, some_seeds, dropout, alpha, seed):
    rng = np.random.default_rng(seed)
    images, v = rng.integers(0, 256, (9, 3, 2), dtype=np.uint8), rng.normal(size=(9, 3)).astype(np.float32)
    data = TransferSet(images, v, rng.integers(0, 3, 9), backend=backend)
    T = [2.0**r for r in range(len(some_seeds))]  # powers of two, which T² in either precision leaves exact

    def train(some_seeds: Any, temperature: Any) -> Network:
        network = Network.mlp([6, 32, 3], input_dropout=dropout, dropout=dropout, seeds=some_seeds, backend=backend)
        objective = Objective(temperature, alpha)
        fit(network, data, objective, SGD(0.1, 0.9, max_norm=2.0), epochs=2, batch_size=4, progress=False)
        return network

    together = train(some_seeds, T)
    for r, one_seed in enumerate(some_seeds):
        trained, alone = (backend.to_host(n.parameters) for n in (together.replica(r), train(one_seed, T[r])))
        if backend.name == "numpy":
            np.testing.assert_array_equal(trained, alone)  # bit for bit
        else:  # a device may multiply a stack of matrices in another order
            np.testing.assert_allclose(trained, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


@few
@given(seeds, st.integers(50, 200), st.integers(100, 200))
def test_weights_start_he_uniform_with_variance_2_over_n_in_and_biases_at_0(backend, seed, n_in, n_out):
    network = Network([Dense(n_in, n_out)], seeds=seed, dtype=np.float64, backend=backend)
    W, b = (backend.to_host(u) for u in (network.layers[0].W, network.layers[0].b))
    assert np.abs(W).max() <= np.sqrt(6 / n_in)
    # Of M uniform numbers, the variance has a standard error of sqrt((9/5 - 1)/M) of itself, and the mean of sqrt(1/M).
    assert abs(W.var() * n_in / 2 - 1) <= 5 * np.sqrt(0.8 / W.size)
    assert abs(W.mean()) <= 5 * np.sqrt(2 / n_in / W.size)
    assert not b.any()


@law
@given(sizes, seed_lists, seeds, st.floats(0.01, 3))
def test_mlp_multiplies_the_first_weights_by_weight_scale_and_takes_the_mean_from_its_inputs(
    backend, sizes, some_seeds, seed, scale
):
    rng = np.random.default_rng(seed)
    mean, x = rng.random(sizes[0]), rng.random((3, sizes[0]))
    plain, centred, small = (
        a_network(backend, sizes, some_seeds, seed, dtype=np.float64, **options)
        for options in ({}, {"mean": mean}, {"mean": mean, "weight_scale": scale})
    )
    for W, of_centred, of_small in zip(plain.weights(), centred.weights(), small.weights(), strict=True):
        np.testing.assert_allclose(backend.to_host(of_small), scale * backend.to_host(of_centred), rtol=1e-15)
        W[...] = of_centred
    z, wanted = (backend.to_host(one) for one in (centred.predict(x), plain.predict(x - mean)))
    np.testing.assert_allclose(z, wanted, rtol=1e-9, atol=1e-12)


@law
@given(sizes, seed_lists, dropouts, seeds)
def test_a_folded_network_computes_the_same_from_raw_inputs_with_the_matrices_alone(
    backend, sizes, some_seeds, dropout, seed
):
    rng = np.random.default_rng(seed)
    layers: list[Layer] = [Standardise(rng.random(sizes[0]), rng.uniform(0.1, 9, sizes[0])), Dropout(dropout)]
    layers += [DenseReLU(n, m, dropout) for n, m in pairwise(sizes)]
    network = Network(layers, seed if some_seeds is None else some_seeds, np.float64, backend)
    before = scramble(network, seed)
    folded, x = network.folded(), rng.random((5, sizes[0]))
    assert [type(layer) for layer in folded.layers] == [DenseReLU] * (len(sizes) - 1)
    z, wanted = (backend.to_host(one.predict(x)) for one in (folded, network))
    np.testing.assert_allclose(z, wanted, rtol=1e-9, atol=1e-9 * 50.0 ** len(sizes))
    np.testing.assert_array_equal(backend.to_host(network.parameters), before)  # the original is as it was


@law
@given(st.lists(seeds, min_size=2, max_size=2, unique=True), st.integers(2, 5))
def test_weights_of_different_layers_and_of_different_seeds_have_nothing_in_common(backend, some_seeds, n):
    network = a_network(backend, [n, n, n], some_seeds)
    first, second = (backend.to_host(W) for W in network.weights())
    for a, b in ((first, second), (first[0], first[1]), (second[0], second[1])):
        assert (a != b).mean() > 0.5  # 24 random bits of float32 coincide once in 16 million times


@law
@given(sizes, seed_lists, st.integers(1, 12), seeds)
def test_predict_is_forward_in_blocks_without_dropout(backend, sizes, some_seeds, M, seed):
    network = a_network(backend, sizes, some_seeds, seed, input_dropout=0.5, dropout=0.5)
    scramble(network, seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (M, sizes[0]), dtype=np.uint8)
    with patch("minidistill.network.BLOCK", 5):
        z = backend.to_host(network.predict(pixels))
    x = backend.asarray((pixels / 255).astype(np.float32))
    whole = backend.to_host(network.forward(x))
    assert z.shape == (*network.replica_shape, M, sizes[-1])
    # Sums of at most 4 terms of the size of |x| |W|, layer after layer, in float32, with 1/255 rounded once.
    atol = 64 * float(np.finfo(np.float32).eps) * 5.0 ** len(sizes)
    np.testing.assert_allclose(z, whole, rtol=0, atol=atol)


@law
@given(sizes, seed_lists, seeds, st.integers(0, 1000))
def test_forward_is_a_function_of_x_and_step_alone_and_leaves_x_alone(backend, sizes, some_seeds, seed, step):
    network = a_network(backend, sizes, some_seeds, seed, input_dropout=0.5, dropout=0.5)
    x = np.random.default_rng(seed).random((*network.replica_shape, 3, sizes[0]), dtype=np.float32)
    on_device = backend.asarray(x.copy())
    z = backend.to_host(network.forward(on_device, step)).copy()
    network.forward(on_device[..., :1, :], step + 1)  # another mask, and other buffers
    np.testing.assert_array_equal(backend.to_host(network.forward(on_device, step)), z)
    np.testing.assert_array_equal(backend.to_host(on_device), x)


@law
@given(sizes, st.lists(seeds, min_size=1, max_size=3), st.data())
def test_a_replica_has_the_weights_of_a_network_of_its_seed(backend, sizes, some_seeds, data):
    r = data.draw(st.integers(0, len(some_seeds) - 1))
    together, alone = a_network(backend, sizes, some_seeds), a_network(backend, sizes, None, some_seeds[r])
    for parameters in (together.replica(r).parameters, alone.replica(0).parameters):
        np.testing.assert_array_equal(backend.to_host(parameters), backend.to_host(alone.parameters))


def a_small_network(backend: Any) -> Network:
    return Network([DenseReLU(3, 4), Dense(4, 2)], backend=backend)


BAD: dict[str, Any] = {
    "too few columns": ("x", lambda backend: a_small_network(backend).predict(np.zeros((5, 2)))),
    "no rows": ("x", lambda backend: a_small_network(backend).predict(np.zeros((0, 3)))),
    "no batch axis": ("x", lambda backend: a_small_network(backend).predict(np.zeros(3))),
    "text": ("x", lambda backend: a_small_network(backend).predict("abc")),
    "layers that do not fit": ("layers", lambda backend: Network([Dense(3, 4), ReLU(), Dense(5, 2)], backend=backend)),
    "no dense layer": ("layers", lambda backend: Network([ReLU()], backend=backend)),
    "one size": ("sizes", lambda backend: Network.mlp([3], backend=backend)),
    "no seeds": ("seeds", lambda backend: Network.mlp([3, 2], seeds=[], backend=backend)),
    "a negative seed": ("seeds", lambda backend: Network.mlp([3, 2], seeds=[-1], backend=backend)),
    "a layer of no inputs": ("n_in", lambda backend: Dense(0, 2)),
    "a layer of half an output": ("n_out", lambda backend: DenseReLU(2, 2.5)),
    "first weights of nothing": ("weight_scale", lambda backend: Network.mlp([3, 2], weight_scale=0, backend=backend)),
    "a mean of other inputs": ("layers", lambda backend: Network.mlp([3, 2], mean=[0.0, 1.0], backend=backend)),
    "nothing to fold": ("network", lambda backend: a_small_network(backend).folded()),
    "a dropout of everything": ("dropout rate", lambda backend: Network.mlp([3, 3, 2], dropout=1.0, backend=backend)),
}


@pytest.mark.parametrize(("name", "build"), BAD.values(), ids=BAD)
def test_an_error_names_the_argument_first(backend, name, build):
    with pytest.raises(ArgumentError, match=rf"^{name} must "):
        build(backend)


def test_a_layer_of_ones_own_needs_forward_and_backward():
    for call in (lambda: Layer().forward(None, None, None), lambda: Layer().backward(None, None)):
        with pytest.raises(NotImplementedError):
            call()


def test_a_network_keeps_its_buffers_for_four_batch_sizes_and_then_gives_up_those_unused_longest():
    network, first = Network([Dense(4, 3), ReLU(), Dense(3, 2)], backend=Backend()), {}
    found = [(1, False), (2, False), (3, False), (4, False), (1, True), (5, False), (1, True), (2, False)]
    for rows, remembered in found:
        z, positive = network.forward(np.ones((rows, 4), np.float32)), network.layers[1].scratch
        assert positive.shape == (rows, 3)
        assert (first.get(rows, (None, None))[1] is positive) == remembered
        first[rows] = z, positive


def test_a_network_that_nobody_uses_any_more_gives_its_memory_back_at_once():
    """Without waiting until Python looks for objects that refer to each other in a circle."""
    gc.disable()
    try:
        network, data = Network.mlp([784, 4, 10], dropout=0.5), mnist_transfer().subset(range(20))
        fit(network, data, Objective(4.0, alpha=1.0), AdamW(1e-3), epochs=1, progress=False)
        network.predict(data.inputs)
        parameters = weakref.ref(network.parameters)
        del network
        assert parameters() is None
    finally:
        gc.enable()
