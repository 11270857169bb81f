"""Every training of the examples as a named recipe, and the losses that are compared.

Rates and dropout were chosen on the first 50,000 training images, by the errors on the last 10,000, in single runs; the
test set chose nothing: examples/validate.py, docs/sweeps.md. The lengths are a budget of two hours on two cores.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minidistill as md

Loss = Callable[[Any, Any, Any], tuple[Any, Any]]  # (z, v, y) of a batch -> (value, dz)


@dataclass(frozen=True)
class Recipe:
    """Describe a network and its training, all but the data and the seeds.

    temperature: one, or one for each replica.
    """

    units: tuple[int, ...]  # in each hidden layer
    epochs: int
    learning_rate: float  # its peak, after a warm-up of a tenth of the training; then straight down to 0
    batch_size: int = 128
    momentum: float = 0.9
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float | None = None
    weight_decay: float = 0.0
    jitter: int = 0
    centred: bool = False  # the mean of the training inputs is taken from every input
    weight_scale: float = 1.0  # times the first weights
    temperature: float | tuple[float, ...] = 1.0
    alpha: float = 0.0

    def with_units(self, units: int) -> "Recipe":
        """Return the recipe with this many units in every hidden layer."""
        return replace(self, units=(units,) * len(self.units))

    def scaled(self, factor: float) -> "Recipe":
        """Return the recipe with the learning rate times `factor`."""
        return replace(self, learning_rate=factor * self.learning_rate)

    def network(self, data: md.Dataset, seeds: int | list[int], dtype: Any = np.float32) -> md.Network:
        """Return the untrained network."""
        sizes, mean = [data.n_in, *self.units, data.classes], data.mean() if self.centred else None
        start: dict[str, Any] = {"mean": mean, "weight_scale": self.weight_scale, "seeds": seeds, "dtype": dtype}
        return md.Network.mlp(sizes, input_dropout=self.input_dropout, dropout=self.dropout, **start)

    def fit(self, network: md.Network, data: md.Dataset, loss: Loss | None = None, **options: Any) -> md.History:
        """Train the network in place and return the history. loss: instead of the balanced objective."""
        objective = loss or md.Objective(self.temperature, self.alpha)
        schedule, bounds = md.linear_decay(self.learning_rate, warmup=0.1), {"max_norm": self.max_norm}
        optimizer = md.SGD(schedule, self.momentum, weight_decay=self.weight_decay, **bounds)
        lengths: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size, "jitter": self.jitter}
        return md.fit(network, data, objective, optimizer, **lengths, **options)


_TEACHER = Recipe((1600, 1600), 12, 0.3, batch_size=256, dropout=0.2, jitter=2)
_PLAIN = Recipe((800, 800), 8, 0.2)
_SOFT = Recipe((800, 800), 8, 0.05, temperature=20.0, alpha=1.0, centred=True, weight_scale=0.1, weight_decay=1e-4)

TEACHER = {
    "quick": replace(_TEACHER, epochs=5),
    "default": _TEACHER,
    "full": replace(_TEACHER, epochs=60, dropout=0.0, centred=True, weight_scale=0.25),
}
HELD_BACK = replace(TEACHER["full"], input_dropout=0.1, dropout=0.4, max_norm=2.0)  # fewer errors, teaches worse
PLAIN = {"quick": replace(_PLAIN, epochs=4), "default": _PLAIN, "full": replace(_PLAIN, epochs=20)}
SOFT = {
    "quick": replace(_SOFT, epochs=4, temperature=4.0, weight_scale=1.0),
    "default": _SOFT,
    "full": replace(_SOFT, epochs=40),
}
JITTERED = {name: replace(recipe, jitter=2) for name, recipe in SOFT.items()}
MEMBER = replace(_TEACHER, units=(800, 800))  # one network of an ensemble

BRIGHTER = 0.4  # times a learning rate with --data: the rates were chosen for MNIST, whose images are mostly black


def suited(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """Return the recipe with the learning rate that suits the data."""
    return recipe.scaled(BRIGHTER if arguments.data else 1.0)


WARM = 4.0  # the temperature of the losses below


def _softened(loss: Callable[..., tuple[Any, Any]], *, labels: bool = False) -> Loss:
    """Return T² times a loss that takes (z, v, T), or (z, v, y, T), at T = WARM."""

    def softened(z: Any, v: Any, y: Any) -> tuple[Any, Any]:
        value, dz = loss(z, v, y, WARM) if labels else loss(z, v, WARM)
        return WARM**2 * value, WARM**2 * dz

    return softened


def _normalised_with_labels(z: Any, v: Any, y: Any) -> tuple[Any, Any]:
    """Return the sum of the normalised loss and of hard labels' cross-entropy, with its gradient."""
    soft, soft_dz = md.normalised(z, v, y)
    hard, hard_dz = md.cross_entropy(z, y)
    return soft + hard, soft_dz + hard_dz


LOSSES: dict[str, tuple[Loss, float]] = {  # with its best learning rate of three (validate.py)
    "hard labels": (lambda z, v, y: md.cross_entropy(z, y), 0.2),
    "label smoothing": (lambda z, v, y: md.label_smoothing(z, y), 0.2),
    "KL(p || q)": (_softened(md.kl_divergence), 0.05),
    "KL(q || p)": (_softened(md.reverse_kl), 0.0167),
    "Jensen-Shannon": (_softened(md.jensen_shannon), 0.2),
    "logit matching": (lambda z, v, y: md.logit_matching(z, v), 0.005),
    "decoupled": (_softened(md.decoupled, labels=True), 0.01),
    "normalised, with labels": (_normalised_with_labels, 0.1),
    "DIST": (_softened(md.dist), 0.0167),
    "standardised": (_softened(md.standardised), 0.15),
}
