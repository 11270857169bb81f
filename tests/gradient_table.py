"""Functions, points and right gradients on which check_gradient is tried, each with the mistakes that it must see.

The functions are of the kinds at which a derivative by differences is hard: kinks at and near x, constants much larger
than what changes, tiny x, components of very different size, borders of a domain, float32, steps, large arrays.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A function of x with its right gradient, and the mistakes that rounding hides (hidden), or that do not apply."""

    name: str
    f: Callable[[Any], Any]
    x: Any
    gradient: Callable[[Any], Any]
    hidden: tuple[str, ...] = ()
    kinks: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def largest(g, by=1.01):
    g = g.copy()
    g.flat[np.abs(g).argmax()] *= by
    return g


def smallest(g, by=1.01):
    g = g.copy()
    sizes = np.where(g == 0, np.inf, np.abs(g))
    g.flat[sizes.argmin()] *= by
    return g


MISTAKES = {
    "largest 1% off": largest,
    "largest reversed": lambda g: largest(g, -1),
    "smallest 1% off": smallest,
    "smallest left out": lambda g: smallest(g, 0),
    "smallest doubled": lambda g: smallest(g, 2),
    "all 1% off": lambda g: g * g.dtype.type(1.01),
}


def real(f):
    """f, as a function that drops what is imaginary: not analytic for a complex step."""
    return lambda u: float(f(u))


def by_loop(function):
    """The sum of a function of the standard library, which raises outside its domain."""
    return lambda u: sum(function(float(v)) for v in u.ravel())


def digamma(x):
    total = 0.0
    while x < 30:
        total, x = total - 1 / x, x + 1
    return total + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


def huber(delta):
    def f(u):
        a = np.abs(u)
        return float(np.where(a <= delta, a**2 / (2 * delta), a - delta / 2).sum())

    return f, lambda u: np.clip(u / delta, -1, 1)


def mean32(u):
    """A mean with the running sum in float32, whatever it is given: its rounding grows with the size."""
    return np.add.accumulate(np.maximum(u, np.float32(0)).astype(np.float32) ** 2)[-1] / np.float32(u.size)


def softplus(u):
    return np.logaddexp(0, u)


def sigmoid(u):
    return np.where(u > 0, 1 / (1 + np.exp(-np.abs(u))), np.exp(-np.abs(u)) / (1 + np.exp(-np.abs(u))))


rng = np.random.default_rng(20)
N3, N6, N40 = rng.normal(size=3), rng.normal(size=6), rng.normal(size=40)
P5 = rng.uniform(0.2, 2, 5)
M45 = rng.normal(size=(4, 5))
W = rng.normal(size=(5, 4))
LABELS = np.array([0, 3, 1, 1])
BIG = rng.normal(size=5000)
MARGIN = np.array([1.0, -1, 1, -1, 1, -1])
MIXED = 10.0 ** np.array([-6, 0, 6]) * np.array([1.3, -0.7, 2.1])
f_huber, g_huber = huber(1e-4)
f_narrow, g_narrow = huber(1e-7)
SCALES = np.array([1e6, 1.0, 1e-6])
NEAR = np.array([1e-5, -1e-6, 1e-7, -1e-8, 1e-9, 0.7])
KINKS = np.linspace(-1, 1, 21)


def network(u):
    """Two layers of ReLU, of a batch of 4."""
    return float((np.maximum(np.maximum(u @ W, 0) @ W.T - 0.3, 0) ** 2).mean())


def network_gradient(u):
    h = np.maximum(u @ W, 0)
    y = np.maximum(h @ W.T - 0.3, 0)
    return ((2 * y / y.size) @ W * (h > 0)) @ W.T


def max_pool(u):
    return float(u.max(axis=-1) @ np.arange(1.0, 5))


def max_pool_gradient(u):
    return (u == u.max(axis=-1, keepdims=True)) * np.arange(1.0, 5)[:, None]


def cross_entropy(u):
    return -(np.log(np.exp(u) / np.exp(u).sum(axis=-1, keepdims=True))[np.arange(4), LABELS]).mean()


def cross_entropy_gradient(u):
    e = np.exp(u)
    return (e / e.sum(axis=-1, keepdims=True) - np.eye(5)[LABELS]) / 4


def quantile(u):
    return float(np.sort(u)[2] + 2 * np.sort(u)[-1])


def quantile_gradient(u):
    order, g = np.argsort(u), np.zeros(u.size)
    g[order[2]], g[order[-1]] = 1, 2
    return g


CASES = [
    # a kink elsewhere, or near by
    Case("L1 with a zero", real(lambda u: np.abs(u).sum()), np.r_[0.0, N6], np.sign, kinks=1),
    Case("a huge component beside a kink", real(lambda u: np.abs(u[0]) + 1e6 * u[1] ** 2 + u[2]),
         np.array([0, 1.5, 2.0]), lambda u: np.r_[0, 2e6 * u[1], 1], kinks=1),
    Case("L1 near 0", real(lambda u: np.abs(u).sum()), NEAR, np.sign),
    Case("ReLU near 0", real(lambda u: np.maximum(u, 0).sum()), NEAR, lambda u: (u > 0) * 1.0),
    Case("leaky ReLU near 0", real(lambda u: np.where(u > 0, u, 0.01 * u).sum()), NEAR,
         lambda u: np.where(u > 0, 1, 0.01)),
    Case("log|x| near 0", real(lambda u: np.log(np.abs(u)).sum()), NEAR, lambda u: 1 / u),
    Case("Huber, small delta", f_huber, np.r_[NEAR, 3e-4, -1e-4 * 1.001], g_huber),
    Case("Huber, tiny delta", f_narrow, np.r_[N3, 1e-8, -3e-8], g_narrow),
    Case("L1 of 10,000, one at 1e-9", real(lambda u: np.abs(u).sum()), np.r_[1e-9, BIG, -BIG[:4999]], np.sign),
    Case("L1 of 10,000, all below 1e-5", real(lambda u: np.abs(u).sum()), 1e-6 * np.r_[BIG, BIG], np.sign),
    Case("L1 of 3,000 with three zeros", real(lambda u: np.abs(u).sum()), np.r_[BIG[:2997], 0, 0, 0], np.sign, kinks=3),
    Case("ReLU of 2,500 with a zero", real(lambda u: (np.maximum(u, 0) ** 1 * 3).sum()), np.r_[BIG[:2499], 0],
         lambda u: (u > 0) * 3.0, kinks=1),
    Case("hinge", real(lambda u: np.maximum(0, 1 - MARGIN * u).sum()), np.r_[N6[:5], -1 + 1e-7],
         lambda u: -MARGIN * (1 - MARGIN * u > 0)),
    Case("hinge at its margin", real(lambda u: np.maximum(0, 1 - MARGIN * u).sum()), np.r_[N6[:5], -1],
         lambda u: -MARGIN * (1 - MARGIN * u > 0), kinks=1),
    Case("clip", real(lambda u: np.clip(3 * u, -1, 1).sum()), np.array([0.2, 0.3333333, -0.33333334, 0.9]),
         lambda u: 3.0 * (np.abs(3 * u) < 1)),
    Case("piecewise linear with 21 kinks", real(lambda u: np.abs(u[:, None] - KINKS).sum()), N6 / 2,
         lambda u: np.sign(u[:, None] - KINKS).sum(axis=1)),
    Case("max pooling", max_pool, M45, max_pool_gradient),
    Case("order statistics", quantile, N6, quantile_gradient),
    Case("network of ReLUs", network, M45, network_gradient),
    Case("|x|^1.5 at 0", real(lambda u: (np.abs(u) ** 1.5).sum()), np.array([0, 0.3, -2]),
         lambda u: 1.5 * np.sign(u) * np.abs(u) ** 0.5),
    Case("Euclidean norm", real(np.linalg.norm), N6, lambda u: u / np.linalg.norm(u)),
    Case("Euclidean norm, tiny", real(np.linalg.norm), 1e-9 * N6, lambda u: u / np.linalg.norm(u)),
    Case("largest absolute", real(lambda u: np.abs(u).max()), N6,
         lambda u: np.sign(u) * (np.abs(u) == np.abs(u).max())),
    Case("elastic net", real(lambda u: (u**2).sum() / 2 + 1e-4 * np.abs(u).sum()), N6,
         lambda u: u + 1e-4 * np.sign(u)),
    # a large constant, or one that is taken away again
    Case("1e6 + f", real(lambda u: 1e6 + np.sin(u).sum()), N3, np.cos),
    Case("1e10 + f", real(lambda u: 1e10 + np.sin(u).sum()), N3, np.cos),
    Case("-3e9 + |f|", real(lambda u: -3e9 + np.abs(np.tanh(u)).sum()), N3,
         lambda u: np.sign(u) * (1 - np.tanh(u) ** 2)),
    Case("1e8 - 1e8 + f", real(lambda u: (1e8 + np.exp(u).sum()) - 1e8), N3, np.exp),
    Case("1e10 + f, analytic", lambda u: 1e10 + np.sin(u).sum(), N3, np.cos),
    Case("1e7 + log", real(lambda u: 1e7 + np.log(u).sum()), P5, lambda u: 1 / u),
    # tiny and mixed
    Case("sin at 1e-8", real(lambda u: np.sin(u).sum()), 1e-8 * N3, np.cos),
    Case("x^2 at 1e-12", real(lambda u: (u**2).sum()), 1e-12 * N3, lambda u: 2 * u),
    Case("tanh(1e8 x) at 1e-8", real(lambda u: np.tanh(1e8 * u).sum()), 1e-8 * N3,
         lambda u: 1e8 / np.cosh(1e8 * u) ** 2),
    Case("log at 1e-12", by_loop(math.log), 1e-12 * P5, lambda u: 1 / u),
    Case("1e6 beside 1e-6, slopes", real(lambda u: (SCALES * np.sin(u)).sum()), N3, lambda u: SCALES * np.cos(u),
         hidden=("smallest 1% off",)),
    Case("1e6 beside 1e-6, slopes, analytic", lambda u: (SCALES * np.sin(u)).sum(), N3, lambda u: SCALES * np.cos(u)),
    Case("1e6 beside 1e-6, x", real(lambda u: np.sin(u / MIXED).sum()), 0.9 * MIXED,
         lambda u: np.cos(u / MIXED) / MIXED),
    Case("1e6 beside 1e-6, analytic", lambda u: np.sin(u / MIXED).sum(), 0.9 * MIXED,
         lambda u: np.cos(u / MIXED) / MIXED),
    Case("|x| beside 1e6 x^2", lambda u: 1e6 * u[0] ** 2 + np.abs(u[1]), np.array([1.1, -0.4]),
         lambda u: np.r_[2e6 * u[0], np.sign(u[1])]),
    Case("1e-9 beside 1", real(lambda u: np.cos(u[0]) + 1e-9 * np.exp(u[1])), np.array([0.5, 1.0]),
         lambda u: np.r_[-np.sin(u[0]), 1e-9 * np.exp(u[1])]),
    # borders of a domain
    Case("math.log at 1e-9", by_loop(math.log), np.array([1e-9, 0.5, 3]), lambda u: 1 / u),
    Case("math.sqrt at 1e-10", by_loop(math.sqrt), np.array([1e-10, 0.5, 3]), lambda u: 0.5 / np.sqrt(u)),
    Case("x log x at 1e-7", by_loop(lambda v: v * math.log(v)), np.array([1e-7, 0.5, 3]), lambda u: np.log(u) + 1),
    Case("x^1.5 at its border", by_loop(lambda v: v * math.sqrt(v)), np.array([0, 0.5]), lambda u: 1.5 * np.sqrt(u)),
    Case("arcsin near 1", by_loop(math.asin), np.array([1 - 1e-7, 0.2, -0.9]), lambda u: 1 / np.sqrt(1 - u**2)),
    Case("log(1 - x) near 1", by_loop(lambda v: math.log1p(-v)), np.array([1 - 1e-6, 0.3]), lambda u: -1 / (1 - u)),
    Case("lgamma", by_loop(math.lgamma), np.r_[P5, 1e-3, 7], lambda u: np.array([digamma(v) for v in u])),
    Case("entropy", real(lambda u: -(u * np.log(u)).sum()), np.r_[P5, 1e-8], lambda u: -np.log(u) - 1),
    Case("exp, large", by_loop(math.exp), np.array([300.0, 299, 295]), np.exp),
    Case("exp near overflow", by_loop(math.exp), np.array([709.5, 708.0]), np.exp),
    # steps
    Case("floor", real(lambda u: np.floor(u).sum()), N6 * 3, lambda u: 0 * u),
    Case("round to thousandths, and x", real(lambda u: np.round(u, 3).sum() + u[0]), N6,
         lambda u: np.r_[1.0, 0, 0, 0, 0, 0]),
    Case("count", real(lambda u: (u > 0).sum() + 2 * u[1]), N6, lambda u: np.r_[0, 2.0, 0, 0, 0, 0]),
    Case("branches", real(lambda u: np.where(u > 0, u**2, np.exp(u)).sum()), N6,
         lambda u: np.where(u > 0, 2 * u, np.exp(u))),
    # smooth, and saturated
    Case("logsumexp", real(lambda u: np.log(np.exp(u).sum())), 3 * N6, lambda u: np.exp(u) / np.exp(u).sum()),
    Case("logsumexp, analytic", lambda u: np.log(np.exp(u).sum()), 3 * N6, lambda u: np.exp(u) / np.exp(u).sum()),
    Case("cross-entropy", cross_entropy, M45, cross_entropy_gradient),
    Case("cross-entropy, certain", real(cross_entropy), 8 * M45, cross_entropy_gradient, hidden=("smallest 1% off",)),
    Case("cumulative product", real(lambda u: np.cumprod(u).sum()), P5, lambda u: np.array(
        [np.cumprod(u)[i:].sum() / u[i] for i in range(u.size)])),
    Case("determinant", real(lambda u: np.linalg.det(u)), M45[:, :4], lambda u: np.linalg.det(u) * np.linalg.inv(u).T),
    Case("tanh, saturated", lambda u: np.tanh(u).sum(), np.array([20.0, 0.3, -18, 5]), lambda u: 1 - np.tanh(u) ** 2,
         hidden=("smallest",)),
    Case("tanh, saturated, real", real(lambda u: np.tanh(u).sum()), np.array([20.0, 0.3, -18, 5]),
         lambda u: 1 - np.tanh(u) ** 2, hidden=("smallest",)),
    Case("sigmoid, saturated", real(lambda u: sigmoid(u).sum()), np.array([-3, 0.3, 18]),
         lambda u: sigmoid(u) * (1 - sigmoid(u))),
    Case("softplus", real(lambda u: softplus(u).sum()), np.array([-12.0, 0.3, 18]), sigmoid),
    Case("waves", real(lambda u: np.sin(1e4 * u).sum()), N3, lambda u: 1e4 * np.cos(1e4 * u)),
    Case("waves at 1e6", real(lambda u: np.sin(u).sum()), 1e6 * N3, np.cos),
    Case("sum of 5,000 squares", real(lambda u: (u**2).sum()), BIG, lambda u: 2 * u),
    Case("sum of 5,000 squares, analytic", lambda u: (u**2).sum(), BIG, lambda u: 2 * u),
    # float32
    Case("L1 in float32", lambda u: np.abs(u).sum(), N40.astype("f4"), np.sign),
    Case("ReLU in float32", lambda u: np.maximum(u, 0).sum().real, N40.astype("f4"), lambda u: (u > 0).astype("f4")),
    Case("mean of 100,000 in float32", lambda u: np.abs(u).mean(), np.tile(BIG, 20).astype("f4"),
         lambda u: np.sign(u) / np.float32(u.size)),
    Case("mean of 1,000 in float32", lambda u: np.maximum(u, 0).mean() + 0 * abs(u[0]), BIG[:1000].astype("f4"),
         lambda u: (u > 0) / np.float32(u.size)),
    Case("network in float32", lambda u: np.float32(network(u)), M45.astype("f4"),
         lambda u: network_gradient(u).astype("f4")),
    Case("float32 alone", lambda u: np.float32(np.abs(np.tanh(u.astype("f4"))).sum()), N6.astype("f4"),
         lambda u: (np.sign(u) * (1 - np.tanh(u) ** 2)).astype("f4")),
    Case("a running mean in float32", mean32, BIG[:300].astype("f4"),
         lambda u: 2 * np.maximum(u, 0) / np.float32(u.size),
         hidden=("smallest",)),
    Case("float32 inside", lambda u: float(np.abs(np.sin(u.astype("f4"))).sum()), N6,
         lambda u: np.sign(np.sin(u)) * np.cos(u)),
    Case("100 + f in float32", lambda u: np.float32(100) + np.abs(np.sin(u)).sum().astype("f4"), N3.astype("f4"),
         lambda u: (np.sign(np.sin(u)) * np.cos(u)).astype("f4")),
    Case("cross-entropy in float32", cross_entropy, M45.astype("f4"), lambda u: cross_entropy_gradient(u).astype("f4")),
    Case("L1 in float16", lambda u: np.abs(u).sum(), N6.astype("f2"), np.sign, options={"tolerance": 5e-3},
         hidden=("largest 1%", "smallest 1%", "all 1%")),
    # integers, lists and dicts
    Case("integers", real(lambda u: (np.abs(u) ** 3).sum()), np.array([1, -2, 3]), lambda u: 3.0 * u * np.abs(u)),
]  # fmt: skip


def mistakes_of(case):
    """The name of each mistake, the gradient with it, and whether rounding hides it."""
    g = np.asarray(case.gradient(np.asarray(case.x, dtype=None if case.x.dtype.kind == "f" else np.float64)))
    for name, mistake in MISTAKES.items() if g.any() else ():
        yield name, mistake(g), any(name.startswith(hidden) for hidden in case.hidden)
    if (g == 0).any() and not case.kinks:
        wrong = g.copy()
        wrong.flat[int((g == 0).argmax())] = 0.01 * max(np.abs(g).max(), 1.0)
        yield "a zero that is none", wrong, False
