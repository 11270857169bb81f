"""Layers: each backward is the derivative of its forward, by its inputs, weights and biases, alone and in replicas."""

from copy import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numerics import central_difference, complex_step, relative_error
from strategies import law

from minidistill import ArgumentError, Dense, DenseReLU, Dropout, ReLU, random
from minidistill.backend import Backend
from minidistill.random import DROPOUT, KeepMask, purpose_key, seed_key
from minidistill.testing.gradients.strategies import replicas, seeds

EPS = float(np.finfo(np.float64).eps)
HOST = Backend()
steps = st.none() | st.integers(0, 2**20)  # None: outside training

LAYERS = {
    "Dense": lambda n, m: Dense(n, m),
    "ReLU": lambda n, m: ReLU(),
    "Dropout": lambda n, m: Dropout(0.4),
    "DenseReLU": lambda n, m: DenseReLU(n, m),
    "DenseReLU with dropout": lambda n, m: DenseReLU(n, m, 0.4),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


class Case(NamedTuple):
    """Inputs x (..., B, n), parameters W (..., n, m) and b (..., 1, m), and a cotangent dy for every output size."""

    x: np.ndarray
    W: np.ndarray
    b: np.ndarray
    seed: int
    step: int | None

    def cotangent(self, width: int) -> np.ndarray:
        return np.random.default_rng(self.seed).uniform(-1, 1, (*self.x.shape[:-1], width))


@st.composite
def cases(draw: Any, steps: Any = steps) -> Case:
    lead, B, n, m = draw(replicas), *(draw(st.integers(1, 5)) for _ in range(3))
    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    x, W, b = (rng.uniform(-1, 1, (*lead, *shape)) for shape in ((B, n), (n, m), (1, m)))
    return Case(x, W, b, seed, draw(steps))


def forward(backend: Backend, layer: Any, case: Case, x: Any, W: Any, b: Any) -> Any:
    """y, on the backend, of a layer that gets buffers for it first; index 1 and the case's seed choose its masks."""
    R = x.shape[:-2]
    x, W, b = (backend.asarray(u) for u in (x, W, b))
    arrays = {"W": W, "b": b, "dW": backend.xp.zeros_like(W), "db": backend.xp.zeros_like(b)}
    seeds = [case.seed + r for r in range(R[0])] if R else case.seed
    layer.__dict__ = vars(layer.unbound())  # as if it was new
    layer.bind(backend, x.dtype, 1, seed_key(seeds, backend.asarray), arrays if layer.parameters() else {})
    layer.scratch = layer.make_scratch(x.shape)
    y = backend.xp.empty((*x.shape[:-1], layer.n_out or x.shape[-1]), dtype=x.dtype)
    return layer.forward(x, y, case.step)


def gradients(backend: Backend, layer: Any, case: Case) -> dict[str, np.ndarray]:
    """dx, and dW and db where there are such, of C = Σ y dy, by the layer's own backward."""
    y = forward(backend, layer, case, case.x, case.W, case.b)
    dy = backend.asarray(case.cotangent(y.shape[-1]))
    found = {"x": layer.backward(dy, backend.xp.empty(case.x.shape))}
    found |= {name: getattr(layer, f"d{name}") for name in layer.parameters()}
    return {name: backend.to_host(gradient).copy() for name, gradient in found.items()}


def disagreements(layer: Any, case: Case, found: dict[str, np.ndarray]) -> dict[str, float]:
    """The relative error of each gradient against its complex step and against central differences, whichever is worse.

    A layer is piecewise linear, so that a central difference is exact where no kink is nearer than its step, here
    1e-4 times entries of at most 1, and so accurate to the rounding of C over 1e-4.
    """
    errors = {}
    for name, gradient in found.items():
        arrays = case.x, case.W, case.b

        def cost(u: np.ndarray, name: str = name, arrays: Any = arrays) -> Any:
            replaced = [u if n == name else a for n, a in zip("xWb", arrays, strict=True)]
            y = forward(HOST, copy(layer), case, *(a.astype(u.dtype) for a in replaced))
            return (y * case.cotangent(y.shape[-1])).sum()

        truths = complex_step(cost, getattr(case, name)), central_difference(cost, getattr(case, name), 1e-4)
        errors[name] = max(relative_error(gradient, truth) for truth in truths)
    return errors


def off_kinks(case: Case) -> bool:
    """Whether every ReLU, on x or on x W + b, is further from 0 than a step of central differences can move it."""
    return min(np.abs(case.x).min(), np.abs(case.x @ case.W + case.b).min()) > 1e-3


def tolerance(case: Case) -> float:
    """The rounding of C, R B m sums of n + 1 products of at most 2, over a step of 1e-4, for gradients above 1e-2."""
    return 4 * EPS * case.x.size * case.W.size / 1e-4 / 1e-2


@every_layer
@law
@given(cases())
def test_backward_is_the_derivative_by_inputs_weights_and_biases(backend, make, case):
    assume(off_kinks(case))
    layer = make(*case.W.shape[-2:])
    found = gradients(backend, layer, case)
    assume(all(np.abs(g).max() > 1e-2 for g in found.values()))  # not all masked
    for name, error in disagreements(layer, case, found).items():
        assert error <= tolerance(case), name


class NoBiasGradient(Dense):
    def backward(self, dy, out, momentum=0.0):
        dx = super().backward(dy, out, momentum)
        self.db[...] = 0
        return dx


class LeakyBackward(ReLU):
    def backward(self, dy, out, momentum=0.0):
        out[...] = dy
        return out


class MasklessBackward(DenseReLU):
    def backward(self, dy, out, momentum=0.0):
        return Dense.backward(self, dy, out, momentum)


class UnscaledForward(Dropout):
    def forward(self, x, out, step):
        y = super().forward(x, out, step)
        y *= self.keep
        return y


class UnscaledBackward(Dropout):
    def backward(self, dy, out, momentum=0.0):
        dx = super().backward(dy, out, momentum)
        dx *= self.keep
        return dx


WRONG = {
    "bias gradient dropped": (lambda n, m: NoBiasGradient(n, m), "b"),
    "ReLU's mask ignored": (lambda n, m: LeakyBackward(), "x"),
    "hidden mask ignored": (lambda n, m: MasklessBackward(n, m, 0.4), "x"),
    "dropout not scaled back": (lambda n, m: UnscaledBackward(0.4), "x"),
    "dropout not scaled forth": (lambda n, m: UnscaledForward(0.4), "x"),
}


@pytest.mark.parametrize(("make", "name"), WRONG.values(), ids=WRONG)
@law
@given(cases(st.integers(0, 2**20)))
def test_the_test_of_backward_rejects_it_with_a_mistake(make, name, case):
    assume(off_kinks(case))
    layer = make(*case.W.shape[-2:])
    found = gradients(HOST, layer, case)
    y = forward(HOST, layer, case, case.x, case.W, case.b)
    assume((y == 0).any() if isinstance(layer, ReLU) else y.any())  # else the mistake does not show
    assert disagreements(layer, case, found)[name] > 1e-3 > tolerance(case)


with_parameters = pytest.mark.parametrize("make", [LAYERS["Dense"], LAYERS["DenseReLU with dropout"]], ids="DH")


@with_parameters
@law
@given(cases(), st.sampled_from([0.0, 0.5, 0.9]))
def test_backward_adds_to_momentum_times_the_old_gradients(backend, make, case, momentum):
    layer = make(*case.W.shape[-2:])
    new = gradients(backend, layer, case)
    old = {"W": np.cos(case.W), "b": np.cos(case.b)}
    layer.dW[...], layer.db[...] = backend.asarray(old["W"]), backend.asarray(old["b"])
    assert layer.backward(backend.asarray(case.cotangent(layer.n_out)), None, momentum) is None
    for name, total in (("W", layer.dW), ("b", layer.db)):
        expected = momentum * old[name] + new[name]
        np.testing.assert_allclose(backend.to_host(total), expected, rtol=0, atol=16 * EPS * case.x.shape[-2])


@with_parameters
@law
@given(cases())
def test_backward_without_momentum_does_not_read_the_old_gradients(backend, make, case):
    layer = make(*case.W.shape[-2:])
    new = gradients(backend, layer, case)
    layer.dW.fill(np.nan)
    layer.db.fill(np.nan)
    layer.backward(backend.asarray(case.cotangent(layer.n_out)), None, 0.0)
    np.testing.assert_array_equal(backend.to_host(layer.dW), new["W"])
    np.testing.assert_array_equal(backend.to_host(layer.db), new["b"])


@pytest.mark.parametrize("rate", [0.0, 0.4])
@law
@given(case=cases())
def test_dense_relu_is_dense_then_relu_then_dropout_forward_and_backward(backend, rate, case):
    n, m = case.W.shape[-2:]
    hidden, dense, relu, dropout = DenseReLU(n, m, rate), Dense(n, m), ReLU(), Dropout(rate)
    found = gradients(backend, hidden, case)
    y = forward(backend, dense, case, case.x, case.W, case.b)
    for layer in (relu, dropout):
        y = forward(backend, layer, case, backend.to_host(y), case.W, case.b)
    np.testing.assert_array_equal(backend.to_host(hidden.y), backend.to_host(y))
    dy = backend.asarray(case.cotangent(m))
    for layer in (dropout, relu):
        dy = layer.backward(dy, backend.xp.empty(dy.shape))
    dx = backend.to_host(dense.backward(dy, backend.xp.empty(case.x.shape)))
    np.testing.assert_array_equal(found["x"], dx)
    np.testing.assert_array_equal(found["W"], backend.to_host(dense.dW))
    np.testing.assert_array_equal(found["b"], backend.to_host(dense.db))


@law
@given(cases(st.integers(0, 2**20)), st.floats(0, 0.99))
def test_dropout_gives_0_or_x_over_keep_by_the_mask_of_its_step_and_leaves_x_alone(backend, case, rate):
    layer = Dropout(rate)
    assert abs(layer.keep - (1 - rate)) <= 1 / 512  # the nearest multiple of 1/256
    y = backend.to_host(forward(backend, layer, case, case.x, case.W, case.b))
    mask = KeepMask(backend.xp, case.x.shape)
    keep = backend.to_host(mask.draw(layer.seed, purpose_key(DROPOUT + 1, case.step), layer.threshold))
    np.testing.assert_allclose(y, keep * case.x / layer.keep, rtol=2 * EPS)
    again = backend.to_host(forward(backend, layer, case, case.x, case.W, case.b))
    np.testing.assert_array_equal(y, again)


@law
@given(cases(st.none()), st.floats(0, 0.99))
def test_dropout_outside_training_is_the_identity_forward_and_backward(backend, case, rate):
    layer = Dropout(rate)
    y = forward(backend, layer, case, case.x, case.W, case.b)
    np.testing.assert_array_equal(backend.to_host(y), case.x)
    np.testing.assert_array_equal(gradients(backend, layer, case)["x"], case.cotangent(case.x.shape[-1]))


@law
@given(cases(st.none()), seeds)
def test_the_gradient_of_relu_at_exactly_0_is_0(backend, case, seed):
    zero = np.random.default_rng(seed).random(case.x.shape) < 0.5
    case = case._replace(x=np.where(zero, 0.0, case.x))
    expected = case.cotangent(case.x.shape[-1]) * (case.x > 0)
    np.testing.assert_array_equal(gradients(backend, ReLU(), case)["x"], expected)
    case = case._replace(W=np.zeros_like(case.W), b=np.zeros_like(case.b))  # every x W + b is 0
    layer = DenseReLU(*case.W.shape[-2:])
    assert not any(gradient.any() for gradient in gradients(backend, layer, case).values())


def prepared(layer, shape, dtype=np.float32):
    """A layer bound to NumPy with parameters, ready for batches x of this shape."""
    arrays = {}
    for name, parameter in layer.parameters().items():
        arrays[name] = np.ones((*shape[:-2], *parameter.shape), dtype)
        arrays[f"d{name}"] = np.zeros_like(arrays[name])
    layer.bind(Backend(), np.dtype(dtype), 0, random.seed_key(1), arrays)
    layer.scratch = layer.make_scratch(shape)
    return layer


def test_masks_and_signs_are_boolean_buffers_of_the_layers_output_for_each_shape():
    hidden, relu, dropout = layers = [prepared(layer, (5, 4)) for layer in (DenseReLU(4, 3, 0.5), ReLU(), Dropout(0.5))]
    for rows in (5, 6, 5):
        for layer in layers:
            layer.scratch = layer.make_scratch((rows, 4))
        mask, positive = hidden.scratch
        assert positive.shape == mask.keep.shape == (rows, 3)
        assert relu.scratch.shape == dropout.scratch.keep.shape == (rows, 4)
        for buffer in (positive, mask.keep, relu.scratch, dropout.scratch.keep):
            assert buffer.dtype == bool


def test_a_layer_without_dropout_draws_no_mask():
    assert prepared(DenseReLU(4, 3), (5, 4)).scratch[0] is None
    layer = prepared(Dropout(0.0), (5, 4))
    layer.backend.dropout = lambda *arguments: pytest.fail("a mask was drawn")
    x = np.ones((5, 4), np.float32)
    for out in (x, np.empty_like(x)):
        np.testing.assert_array_equal(layer.forward(x, out, 3), 1)


@pytest.mark.parametrize("make", [lambda: Dense(4, 3), lambda: DenseReLU(4, 3, 0.5), ReLU, lambda: Dropout(0.5)])
def test_backward_writes_dx_into_its_buffer_and_without_momentum_forgets_old_gradients(make):
    layer = prepared(make(), (5, 4))
    x, dx = np.ones((5, 4), np.float32), np.empty((5, 4), np.float32)
    dy = np.ones((5, layer.n_out or 4), np.float32)
    layer.forward(x, np.empty_like(dy), 3)
    assert layer.backward(dy.copy(), dx) is dx
    if layer.parameters():
        once = layer.dW.copy(), layer.db.copy()
        layer.backward(dy.copy(), dx)
        np.testing.assert_array_equal(layer.dW, once[0])
        np.testing.assert_array_equal(layer.db, once[1])


def test_what_is_assigned_to_a_parameter_is_written_where_its_network_has_it():
    layer = prepared(Dense(4, 3), (5, 4))
    W, dW = layer.W, layer.dW
    layer.W, layer.dW = np.full((4, 3), 7), np.full((4, 3), 8)
    assert layer.W is W
    assert layer.dW is dW
    assert (W == 7).all()
    assert (dW == 8).all()


@pytest.mark.parametrize("make", [Dense, DenseReLU])
@pytest.mark.parametrize("n_in", [1, 6, 784])
def test_weights_start_with_a_variance_of_2_over_n_in_and_biases_at_0(make, n_in):
    W, b = make(n_in, 3).parameters().values()
    assert W.bound**2 / 3 == pytest.approx(2 / n_in)  # the variance of a uniform number in ± bound
    assert (W.shape, W.value, W.incoming) == ((n_in, 3), 0, True)
    assert (b.shape, b.value, b.bound, b.incoming) == ((1, 3), 0, 0, False)


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 256), (1 / 256, 255), (0.5, 128), (255 / 256, 1)])
def test_a_dropout_rate_is_a_multiple_of_1_in_256_and_keeps_one_byte_value_at_least(rate, kept):
    assert Dropout(rate).threshold == random.keep_threshold(rate) == kept
    for outside in (-1e-9, 0.9962):
        said = rf"^dropout rate must be a finite number >= 0 and <= 0\.99609375, got {outside}$"
        with pytest.raises(ArgumentError, match=said):
            Dropout(outside)


@pytest.mark.parametrize("make", [Dense, DenseReLU])
def test_a_layers_sizes_are_counts(make):
    with pytest.raises(ArgumentError, match=r"^n_in must"):
        make(0, 3)
    with pytest.raises(ArgumentError, match=r"^n_out must"):
        make(3, 0)
