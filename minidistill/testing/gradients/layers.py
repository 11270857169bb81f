"""Layers held against the derivative of their forward, and ours against the whole contract of a layer."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...backend import Backend
from ...checks import ArgumentError, Array, as_array, check_contract, xp_of
from ...layers import Layer
from ...random import seed_key
from .check import check_gradient
from .components import GradientCheck
from .trees import to_host

INDEX = 1  # the checked layer's number in its network


class WrongLayer(AssertionError):
    """Say which part of the contract of a layer does not hold."""


def check_backward(
    forward: Callable[[Array], Array], backward: Callable[[Array], Array], x: Array, **options: Any
) -> GradientCheck:
    """Compare anybody's backward(dy) -> dx, called after forward(x) -> y, with the derivative of Σ dy y at x.

    To check a parameter's gradient, pass the parameter as x. Dropout must have a frozen mask. options: those of
    check_gradient, where `reference` is a forward on float64 NumPy arrays. Raises what check_gradient raises.
    """
    y = forward(x.copy())
    if y is None:
        raise ArgumentError("forward must return y, got None: does it lack a return?")
    dy = xp_of(y).asarray(_cotangent(y.shape, options.get("seed", 0)).astype(y.dtype))
    gradient = backward(dy.copy())
    if gradient is None:
        raise ArgumentError("backward must return dx, got None: does it lack a return?")
    reference = options.pop("reference", None)
    if reference is not None:
        options["reference"] = lambda u: (reference(u) * to_host(dy)).sum()
    return check_gradient(lambda u: (forward(u) * dy).sum(), x, gradient, **options)


def check_layer(
    layer: Layer, x: Array, *, step: int | None = 1, seed: int = 0, **options: Any
) -> dict[str, GradientCheck]:
    """Hold a minidistill.Layer to its contract on a batch x (B, n_in), and return the check of each gradient by name.

    The layer itself is left as it is: copies of it are bound and prepared here, in float64, with random parameters.
    Tried are the gradients by x and by every parameter; the declarations reads_x and reads_y, by overwriting what is
    not read; out=None; the momentum of gradients; and two replicas beside each alone. step: of the training, which
    chooses the masks; None for none. options: those of check_gradient. Raises WrongGradient, or WrongLayer for the
    rest.
    """
    check_contract(layer.unbound())
    x = np.array(as_array("x", x), np.float64)
    if x.ndim != 2 or not x.size or x.shape[1] != (layer.n_in or x.shape[1]):
        raise ArgumentError(f"x must have shape (batch, {layer.n_in or 'units'}), got {x.shape}")
    rng, name = np.random.default_rng(seed), type(layer).__name__
    first = {key: p.value + rng.uniform(-1, 1, p.shape) * (p.bound or 0.5) for key, p in layer.parameters().items()}
    trial = _Trial(layer, {"x": x, **first}, seed, step)
    dx, gradients = trial.backward()
    for key, g in (("dx", dx), *((f"d{key}", g) for key, g in gradients.items())):
        if not np.isfinite(g).all():
            raise WrongLayer(f"{name}.backward must write every number of {key}, and read none of them at momentum 0")
    _require_declarations(name, layer, trial, dx, gradients)
    old = {key: _cotangent(g.shape, seed) for key, g in gradients.items()}
    _, kept = trial.backward(old=old, momentum=0.5, wants_dx=False)
    for key, g in gradients.items():
        _require_close(
            f"{name}.d{key} must become momentum d{key} plus the new gradient", kept[key], 0.5 * old[key] + g
        )
    _require_any_batch(name, trial, dx, gradients)
    try:
        _require_replicas(name, trial, first)
    except (ValueError, IndexError) as error:  # NumPy's own, of shapes that do not fit
        raise WrongLayer(f"{name} must treat a leading axis as replicas, got {error}") from error
    dy = _cotangent(trial.forward()[1].shape, seed)

    def cost(key: str) -> Callable[[Array], Any]:
        return lambda u: (trial.forward({key: u})[1] * dy).sum()

    found = {"x": check_gradient(cost("x"), x, dx, seed=seed, **options)}
    for key, g in gradients.items():
        found[key] = check_gradient(cost(key), first[key], g, seed=seed, **options)
    return found


class _Trial:
    """A layer with its batch, "x", and its parameters, to be bound anew for each forward."""

    def __init__(self, layer: Layer, arrays: dict[str, Array], seed: Any, step: int | None) -> None:
        self.layer, self.arrays, self.seed, self.step = layer, arrays, seed, step

    def forward(self, replaced: dict[str, Array] | None = None, in_place: bool = False) -> tuple[Layer, Array, Array]:
        """Return the bound layer, its y, and the x that it may have overwritten."""
        arrays = self.arrays | (replaced or {})
        dtype = np.result_type(*arrays.values())
        bound = {name: array.astype(dtype) for name, array in arrays.items()}
        x, layer = bound.pop("x"), self.layer.unbound()
        bound |= {f"d{name}": _unwritten(array.shape, dtype) for name, array in bound.items()}
        layer.bind(Backend(), dtype, INDEX, seed_key(self.seed), bound)
        layer.scratch = layer.make_scratch(x.shape)
        out = x if in_place else _unwritten((*x.shape[:-1], layer.n_out or x.shape[-1]), dtype)
        before = x.copy()
        y = layer.forward(x, out, self.step)
        if y is not out:
            raise WrongLayer(f"{type(layer).__name__}.forward must write y into out and return it, got another array")
        if not in_place and (x != before).any():
            raise WrongLayer(f"{type(layer).__name__}.forward must leave x alone where out is another array")
        return layer, y, x

    def backward(
        self, spoil: str | None = None, old: dict[str, Array] | None = None, momentum: float = 0.0,
        wants_dx: bool = True, in_place: bool = False, dy: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:  # fmt: skip
        """Return dx and the parameters' gradients, after overwriting x, y or neither with NaN."""
        layer, y, x = self.forward(in_place=in_place)
        dy = _cotangent(y.shape, self.seed) if dy is None else dy
        if spoil is not None:
            np.copyto({"x": x, "y": y}[spoil], np.nan)
        for name, array in (old or {}).items():
            getattr(layer, f"d{name}")[...] = array
        out = _unwritten(x.shape) if wants_dx else None
        dx = layer.backward(dy, out, momentum)
        if dx is not out:
            raise WrongLayer(
                f"{type(layer).__name__}.backward must write dx into out and return it, or None without out"
            )
        return dx, {name: getattr(layer, f"d{name}") for name in layer.parameters()}


def _require_any_batch(name: str, trial: "_Trial", dx: Array, gradients: dict[str, Array]) -> None:
    """Run a shorter batch and then the first again, on one bound layer: what it keeps must not be of either alone."""
    layer, y, x = trial.forward()
    try:
        layer.scratch = layer.make_scratch(x[:-1].shape)
        layer.forward(x[:-1].copy(), y[:-1].copy(), trial.step)
        layer.scratch = layer.make_scratch(x.shape)
        layer.forward(x, y, trial.step)
        again = layer.backward(_cotangent(y.shape, trial.seed), _unwritten(x.shape), 0.0)
    except (ValueError, IndexError) as error:
        raise WrongLayer(f"{name} must give the same after a batch of another size, got {error}") from error
    for key, found, truth in (("x", again, dx), *((k, getattr(layer, f"d{k}"), g) for k, g in gradients.items())):
        _require_close(f"{name} must give the same d{key} after a batch of another size", found, truth)


def _require_declarations(name: str, layer: Layer, trial: _Trial, dx: Array, gradients: dict[str, Array]) -> None:
    """Overwrite what backward does not read, as the layers around it may: no gradient may change."""
    free = [array for array, read in (("x", layer.reads_x), ("y", layer.reads_y)) if not read]
    for array in free:
        spoiled_dx, spoiled = trial.backward(spoil=array)
        for found, truth in ((spoiled_dx, dx), *((spoiled[key], gradients[key]) for key in gradients)):
            if not np.array_equal(found, truth):
                raise WrongLayer(
                    f"{name}.backward reads {array}, which {name}.reads_{array} = False lets others overwrite: "
                    f"declare reads_{array} = True"
                )
    if not layer.reads_x and layer.n_out in (None, layer.n_in):
        (_, y, _), (_, y_apart, _) = trial.forward(in_place=True), trial.forward()
        _require_close(f"{name} must give the same y where out is x", y, y_apart)
        _require_close(f"{name} must give the same dx where out was x", trial.backward(in_place=True)[0], dx)


def _require_replicas(name: str, trial: _Trial, parameters: Iterable[str]) -> None:
    """Compare two replicas, with other inputs, parameters and seeds, with the two networks alone."""
    other = {key: 0.9 * np.flip(array) for key, array in trial.arrays.items()}
    both = [trial, _Trial(trial.layer, other, trial.seed + 1, trial.step)]
    stacked = {key: np.stack([one.arrays[key] for one in both]) for key in other}
    together = _Trial(trial.layer, stacked, [one.seed for one in both], trial.step)
    _, y, _ = together.forward()
    dx, gradients = together.backward()
    what = f"{name} must treat a leading axis as replicas"
    for r, one in enumerate(both):
        _, y_alone, _ = one.forward()
        _require_close(f"{what}: y", y[r], y_alone)
        dx_alone, gradients_alone = one.backward(dy=_cotangent(y.shape, together.seed)[r])
        _require_close(f"{what}: dx", dx[r], dx_alone)
        for key in parameters:
            _require_close(f"{what}: d{key}", gradients[key][r], gradients_alone[key])


def _require_close(what: str, found: Any, truth: Array) -> None:
    scale, error = np.abs(truth).max(), np.abs(found - truth).max()
    if not error <= 1e-12 * scale:
        raise WrongLayer(f"{what}: off by {error:.3g}, where the largest number is {scale:.3g}")


def _unwritten(shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """Return an array of NaN, which shows in what is made of a number of it."""
    return np.full(shape, np.nan, dtype)


def _cotangent(shape: tuple[int, ...], seed: Any) -> np.ndarray:
    """Return a dC/dy in which no output goes unseen."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.0, shape))
