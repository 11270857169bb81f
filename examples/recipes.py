"""Every training of the examples as a named recipe, and a store in which each finished training is kept.

Rates and dropout were chosen on the first 50,000 training images, by the errors on the last 10,000, in single runs: the
teachers' of 40 epochs are in docs/results/validation.json (examples/validate.py), the others are told in
docs/reproduction.md. The lengths are a budget of two hours on two cores. The test set chose nothing.
"""

import argparse
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import minidistill as md


@dataclass(frozen=True)
class Recipe:
    """A network and its training, all but the data and the seed. temperature: one, or one for each replica."""

    hidden: tuple[int, ...]
    epochs: int
    learning_rate: float  # its peak, after a warm-up of a tenth of the training; then straight down to 0
    batch_size: int = 128
    momentum: float = 0.9
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float | None = None
    jitter: int = 0
    temperature: float | tuple[float, ...] = 1.0
    alpha: float = 0.0

    def with_hidden(self, units: int) -> "Recipe":
        """With this many units in every hidden layer."""
        return replace(self, hidden=(units,) * len(self.hidden))

    def scaled(self, factor: float) -> "Recipe":
        """With the learning rate times `factor`."""
        return replace(self, learning_rate=factor * self.learning_rate)


_TEACHER = Recipe((1600, 1600), 12, 0.3, batch_size=256, dropout=0.2, jitter=2)
_PLAIN = Recipe((800, 800), 8, 0.2)
_SOFT = Recipe((800, 800), 8, 0.05, temperature=20.0, alpha=1.0)

TEACHER = {
    "quick": replace(_TEACHER, epochs=5),
    "default": _TEACHER,
    "full": replace(_TEACHER, epochs=100, dropout=0.25),
}
PLAIN = {"quick": replace(_PLAIN, epochs=4), "default": _PLAIN, "full": replace(_PLAIN, epochs=20)}
SOFT = {"quick": replace(_SOFT, epochs=4, temperature=4.0), "default": _SOFT, "full": replace(_SOFT, epochs=40)}
JITTERED = {name: replace(recipe, jitter=2) for name, recipe in SOFT.items()}
MEMBER = Recipe((800, 800), 12, 0.3, batch_size=256, dropout=0.2, jitter=2)  # of an ensemble
BRIGHTER = 0.4  # on the learning rates with --data: they were chosen for MNIST, whose images are mostly black
QUICK_ROWS = 6_000  # of the training set, in every quick preset


Loss = Callable[[Any, Any, Any], tuple[Any, Any]]  # of a batch's (z, v, y)
WARM = 4.0  # the temperature of the losses below


def _weighted(*terms: tuple[float, Loss]) -> Loss:
    """The sum of losses, each times its weight."""

    def loss(z: Any, v: Any, y: Any) -> tuple[Any, Any]:
        value, dz = 0.0, 0.0
        for weight, term in terms:
            one, one_dz = term(z, v, y)
            value, dz = value + weight * one, dz + weight * one_dz
        return value, dz

    return loss


LOSSES: dict[str, tuple[Loss, float]] = {  # and the best of three peaks of its learning rate, validate.py --only losses
    "hard labels": (lambda z, v, y: md.cross_entropy(z, y), 0.2),
    "label smoothing": (lambda z, v, y: md.label_smoothing(z, y), 0.2),
    "KL(p || q)": (_weighted((WARM**2, lambda z, v, y: md.kl_divergence(z, v, WARM))), 0.05),
    "KL(q || p)": (_weighted((WARM**2, lambda z, v, y: md.reverse_kl(z, v, WARM))), 0.0167),
    "Jensen-Shannon": (_weighted((WARM**2, lambda z, v, y: md.jensen_shannon(z, v, WARM))), 0.2),
    "logit matching": (lambda z, v, y: md.logit_matching(z, v), 0.005),
    "decoupled": (_weighted((WARM**2, lambda z, v, y: md.decoupled(z, v, y, WARM))), 0.01),
    "normalised, with labels": (
        _weighted((1.0, lambda z, v, y: md.normalised(z, v, y)), (1.0, lambda z, v, y: md.cross_entropy(z, y))),
        0.1,
    ),
    "DIST": (_weighted((WARM**2, lambda z, v, y: md.dist(z, v, WARM))), 0.0167),
    "standardised": (_weighted((WARM**2, lambda z, v, y: md.standardised(z, v, WARM))), 0.15),
}


class Store:
    """Finished trainings in a folder, one .npz each, found again by everything that determines them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0  # that all the trainings asked for took, now or when they were made

    def train(
        self, recipe: Recipe, data: md.Dataset, seeds: int | Sequence[int], title: str, loss: Loss | None = None
    ) -> md.Network:
        """The network (with a list of seeds: replicas) of this recipe, from the store or trained now and kept.

        loss: instead of Eq. 7; the title must name it.
        """
        seeds = seeds if isinstance(seeds, int) else list(seeds)
        sizes = [data.n_in, *recipe.hidden, data.classes]
        network = md.Network.mlp(sizes, input_dropout=recipe.input_dropout, dropout=recipe.dropout, seeds=seeds)
        path = self._path(title, recipe, data, seeds, network.backend.name)
        if path.exists():
            kept = _kept(path)
            network.parameters[...] = network.backend.asarray(kept["parameters"])
            self.seconds += float(kept["seconds"])
            return network
        began = time.perf_counter()
        optimizer = md.SGD(md.linear(recipe.learning_rate, warmup=0.1), recipe.momentum, max_norm=recipe.max_norm)
        objective = md.Objective(recipe.temperature, recipe.alpha) if loss is None else loss
        md.fit(network, data, objective, optimizer, epochs=recipe.epochs, batch_size=recipe.batch_size,
               jitter=recipe.jitter, title=title)  # fmt: skip
        seconds = time.perf_counter() - began
        self.seconds += seconds
        parameters = network.backend.to_host(network.parameters)
        _keep(path, lambda file: np.savez(file, parameters=parameters, seconds=seconds))
        return network

    def train_each(
        self, recipe: Recipe, data: md.Dataset, seeds: Sequence[int], title: str, loss: Loss | None = None
    ) -> list[md.Network]:
        """A network for each seed: on a GPU as replicas, on a CPU, which gains nothing by that, one after another."""
        if md.get_backend().name == "cupy":
            stack = self.train(recipe, data, seeds, title, loss)
            return [stack.replica(r) for r in range(stack.replicas)]
        return [self.train(recipe, data, seed, f"{title}, seed {seed}", loss) for seed in seeds]

    def transfer(self, teachers: Sequence[md.Network], data: md.Dataset, jitter: int = 0) -> md.TransferSet:
        """The soft targets of one teacher, or of several by the geometric mean of their probabilities (Eq. 8)."""
        title = f"{len(teachers)} teachers' logits, jitter {jitter}"
        digest = hashlib.sha256(str((data.inputs.shape, jitter)).encode())
        for array in (data.inputs, *(teacher.parameters for teacher in teachers)):
            digest.update(np.ascontiguousarray(data.backend.to_host(array)).data)
        path = self._named(title, digest.hexdigest())
        if path.exists():
            return md.TransferSet(data.inputs, _kept(path), data.labels)
        began = time.perf_counter()
        transfer = md.TransferSet.from_teacher(
            lambda x: md.geometric_mean(md.get_backend().xp.stack([teacher.predict(x) for teacher in teachers])),
            data,
            jitter,
        )
        self.seconds += time.perf_counter() - began
        _keep(path, lambda file: np.save(file, data.backend.to_host(transfer.logits)))
        return transfer

    def _path(self, title: str, recipe: Recipe, data: md.Dataset, seeds: Any, backend: str) -> Path:
        parts: list[Any] = [asdict(recipe), seeds, backend, md.__version__, data.inputs.shape, data.classes]
        digest = hashlib.sha256(json.dumps(parts).encode())
        for array in (data.inputs, data.labels, getattr(data, "logits", None)):
            if array is not None:
                digest.update(np.ascontiguousarray(data.backend.to_host(array)).data)
        return self._named(title, digest.hexdigest(), ".npz")

    def _named(self, title: str, digest: str, ending: str = ".npy") -> Path:
        name = "".join(c if c.isalnum() else "-" for c in title)
        return self.folder / f"{name}-{digest[:16]}{ending}"


def _keep(path: Path, write: Callable[[Any], object]) -> None:
    """Whole or not at all, also if the process ends half-way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        write(file)
    unfinished.replace(path)


def _kept(path: Path) -> Any:
    """What a file of the store holds: an array, or a dict of arrays."""
    try:
        with path.open("rb") as file:
            kept = np.load(file)
            return dict(kept) if isinstance(kept, np.lib.npyio.NpzFile) else kept
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise md.DataError(f"{path} must hold a finished training, got {error}: delete it to train again") from None


def embedded_teacher() -> dict[str, Any]:
    """What is known of the teacher whose logits come with the package: its recipe, seed, commit and test errors."""
    about: dict[str, Any] = json.loads((files("minidistill") / "datasets/mnist/teacher.json").read_text("utf-8"))
    return about


def suited(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """The recipe for the data that was asked for."""
    return recipe.scaled(BRIGHTER if arguments.data else 1.0)


def soft_targets(arguments: argparse.Namespace, store: Store, train: md.Dataset, preset: str) -> md.TransferSet:
    """The embedded teacher's logits on MNIST, of which `train` is all or the first rows; else a teacher trained now."""
    if not arguments.data:
        return md.mnist_transfer().subset(slice(len(train)))
    teacher = store.train(suited(TEACHER[preset], arguments), train, 0, "teacher")
    return store.transfer([teacher], train)
