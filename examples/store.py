"""The store of finished trainings: each is a file, found again by everything that determines it."""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from recipes import TEACHER, Loss, Recipe, suited

import minidistill as md
from minidistill.tensor_file import read_tensors, write_tensors

ROWS, UNITS, EPOCHS, BATCH_SIZE = 40, 5, 2, 16  # a trial's
SCALES = (1, 30)  # a trial's inputs and logits are as large as this; a loss that clips shows at the second
DECIMALS = 6  # a trial's outcome keeps these; another order of summation changes later ones


class Store:
    """Keep finished trainings in a folder, a file each, and find them again by everything that determines them.

    The key holds the recipe, the seeds, the data, the backend, the versions and the outcome of a trial. A changed loss,
    first weight, optimiser or random stream changes the trial, so it trains anew; code that is only written differently
    does not. The trial computes in float64 on tiny arrays: what only float32 or large arrays reach, it cannot see.
    A file is a network's (tensor_file.py) with the key inside; a training that was cut off goes on from its checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0  # everything asked for took so long, now or when it was made

    def train(
        self, recipe: Recipe, data: md.Dataset, seeds: int | Sequence[int], title: str, loss: Loss | None = None
    ) -> md.Network:
        """Return the network of this recipe (with a list of seeds: replicas), kept earlier or trained now.

        title: a name for the file and the progress bar. loss: instead of the balanced objective.
        Raises md.Diverged if the training does, md.DataError if the kept file or checkpoint is broken.
        """
        seeds = seeds if isinstance(seeds, int) else list(seeds)
        network = recipe.network(data, seeds)
        arrays = data.inputs, data.labels, getattr(data, "logits", None)
        key = _key(*arrays, data.classes, seeds, asdict(recipe), *_trial(recipe, data, seeds, loss))

        def made(unfinished: Path) -> tuple[Any, float]:
            history = recipe.fit(network, data, loss, title=title, checkpoint=unfinished)
            return network.parameters, history.seconds[-1]

        network.parameters = self._find_or_make(title, key, network.parameters.shape, network.dtype, made)
        return network

    def train_each(
        self, recipe: Recipe, data: md.Dataset, seeds: Sequence[int], title: str, loss: Loss | None = None
    ) -> Iterator[md.Network]:
        """Yield a network for each seed. A GPU trains them together; a CPU, which gains nothing by that, in turn."""
        if md.get_backend().name == "cupy" and seeds:
            stack = self.train(recipe, data, seeds, title, loss)
            yield from (stack.replica(r) for r in range(stack.replicas))
        else:
            yield from (self.train(recipe, data, seed, f"{title}, seed {seed}", loss) for seed in seeds)

    def transfer(self, teachers: Sequence[md.Network], data: md.Dataset, jitter: int = 0) -> md.TransferSet:
        """Return the data with the teachers' logits, of several the geometric mean, kept earlier or computed now.

        The key holds the images, the teachers' parameters, and the logits that two tiny teachers give on tiny images.
        Raises md.DataError if the kept file is broken.
        """
        tiny = _tiny_data(data, 1, jitter)
        tiny_teachers = [Recipe((UNITS,), 1, 1.0).network(tiny, seed, np.float64) for seed in (0, 1)]
        trial = _rounded(_taught(tiny_teachers, tiny, jitter).logits)
        shapes = [[W.shape for W in teacher.weights()] for teacher in teachers]
        key = _key(data.inputs, jitter, shapes, *(teacher.parameters for teacher in teachers), trial)
        title = f"{len(teachers)} teachers' logits, jitter {jitter}"
        shape = (*([(2 * jitter + 1) ** 2] if jitter else []), len(data), teachers[0].n_out)

        def made(unfinished: Path) -> tuple[Any, float]:
            began = time.perf_counter()
            return _taught(teachers, data, jitter).logits, time.perf_counter() - began

        logits = self._find_or_make(title, key, shape, teachers[0].dtype, made)
        return md.TransferSet(data.inputs, logits, data.labels, data.backend)

    def _find_or_make(
        self, title: str, key: str, shape: tuple[int, ...], dtype: Any, make: Callable[[Path], tuple[Any, float]]
    ) -> np.ndarray:
        """Return the array that is kept under the key, made now if there is none; count the seconds that it took.

        make: gets a folder for what is not finished, and returns the array and the seconds.
        """
        path = next(self.folder.glob(f"*-{key}.safetensors"), None)
        if path is None:
            name = "".join(c if c.isalnum() else "-" for c in title)
            path, unfinished = (self.folder / f"{name}-{key}.{kind}" for kind in ("safetensors", "unfinished"))
            try:
                array, seconds = make(unfinished)
                write_tensors(path, {"array": md.get_backend().to_host(array)}, {"key": key, "seconds": str(seconds)})
            except md.Diverged:  # it would do so again
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            shutil.rmtree(unfinished, ignore_errors=True)
        try:
            tensors, texts = read_tensors(path)
            kept, seconds = tensors["array"], float(texts["seconds"])
            found = f"{kept.dtype} {kept.shape} of the training {texts['key']}"
            if found != (wanted := f"{np.dtype(dtype)} {shape} of the training {key}"):
                raise md.DataError(f"{path} must hold {wanted}, got {found}")
        except (KeyError, ValueError) as error:  # a DataError is a ValueError
            raise md.DataError(f"{path} must hold a finished training, got {error}: delete it to train again") from None
        self.seconds += seconds
        return kept


def soft_targets(arguments: argparse.Namespace, store: Store, train: md.Dataset) -> md.TransferSet:
    """Return `train` with the embedded teachers' logits, or with --data with those of a teacher trained now."""
    if not arguments.data:
        logits = md.mnist_transfer().logits[: len(train)]  # of the same images: those of `train` are enough
        return md.TransferSet(train.inputs, logits, train.labels, train.backend)
    return store.transfer([store.train(suited(TEACHER[arguments.preset], arguments), train, 0, "teacher")], train)


def _taught(teachers: Sequence[md.Network], data: md.Dataset, jitter: int) -> md.TransferSet:
    """Return the data with the geometric mean of the teachers' probabilities, as logits."""
    stack = data.backend.xp.stack
    return md.TransferSet.from_teacher(
        lambda x: md.geometric_mean(stack([teacher.predict(x) for teacher in teachers])), data, jitter
    )


def _trial(recipe: Recipe, data: md.Dataset, seeds: int | list[int], loss: Loss | None) -> list[Any]:
    """Return what the recipe and the loss make of tiny networks on tiny data, rounded, or "diverged", at each scale."""
    outcomes: list[Any] = []
    for scale in SCALES:
        tiny = replace(recipe.with_units(UNITS), epochs=EPOCHS, batch_size=min(recipe.batch_size, BATCH_SIZE))
        tiny = tiny.scaled(scale**-2)  # the larger the inputs, the smaller the steps that do not diverge
        tiny_data = _tiny_data(data, scale, recipe.jitter)
        network = tiny.network(tiny_data, 0 if isinstance(seeds, int) else list(range(len(seeds))), np.float64)
        try:
            tiny.fit(network, tiny_data, loss, progress=False)
            outcomes.append(_rounded(network.parameters))
        except md.Diverged:
            outcomes.append("diverged")
    return outcomes


def _tiny_data(data: md.Dataset, scale: int, jitter: int) -> md.Dataset:
    """Return random images with the classes of `data`, and with labels and logits if `data` has them."""
    rng, side = np.random.default_rng(0), 4 + jitter
    pixels = rng.integers(0, 256, (ROWS, side, side), dtype=np.uint8)
    images = pixels if scale == 1 else pixels * (scale / 255)
    labels = rng.integers(0, data.classes, ROWS) if data.labels is not None else None
    if not isinstance(data, md.TransferSet):
        return md.Dataset(images, labels, classes=data.classes)
    return md.TransferSet(images, scale * rng.normal(size=((2 * jitter + 1) ** 2, ROWS, data.classes)), labels)


def _rounded(array: Any) -> np.ndarray:
    """Return the array on the host with only the digits that do not depend on the order of summation."""
    return md.get_backend().to_host(array).round(DECIMALS) + 0.0  # the sum turns -0 into 0


def _key(*parts: Any) -> str:
    """Return a digest of the parts (arrays on any device, or what JSON can hold), the backend and the versions."""
    backend = md.get_backend()
    digest = hashlib.sha256()
    for part in (backend.name, backend.xp.__version__, md.__version__, *parts):
        if hasattr(part, "dtype"):
            array = np.ascontiguousarray(backend.to_host(part))
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.data)
        else:
            digest.update(json.dumps(part).encode())
    return digest.hexdigest()[:16]
