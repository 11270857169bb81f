"""A layer's backward held against the derivative of its forward."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...checks import Array, xp_of
from .check import GradientCheck, check_gradient
from .derivative import to_host


def check_layer(
    forward: Callable[[Array], Array], backward: Callable[[Array], Array], x: Array, **options: Any
) -> GradientCheck:
    """Compare a layer's backward(dy) -> dx, called after forward(x) -> y, with the derivative of Σ dy y at x.

    To check a parameter's gradient, pass the parameter as x. Dropout must have a frozen mask. options: those of
    check_gradient, where `reference` is a forward on float64 NumPy arrays. Raises what check_gradient raises.
    """
    y = forward(x.copy())
    xp, rng = xp_of(y), np.random.default_rng(options.get("seed", 0))
    on_host = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.0, y.shape)  # no output goes unseen
    dy = xp.asarray(on_host.astype(y.dtype))
    gradient = backward(dy.copy())
    reference = options.pop("reference", None)
    if reference is not None:
        options["reference"] = lambda u: (reference(u) * to_host(dy)).sum()
    return check_gradient(lambda u: (forward(u) * dy).sum(), x, gradient, **options)
