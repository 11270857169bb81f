"""Transfer sets: inputs with a teacher's logits, which are computed once and looked up in training."""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ..backend import Backend, as_backend
from ..checks import ArgumentError, Array, MinidistillError, as_array, check_count, check_labels, check_logits
from ..network import Network
from .dataset import Dataset, check_real_inputs

_SMALLEST = float(np.finfo(np.float64).tiny)  # the probability 2e-308, which stands for 0 where a logarithm is taken
_TOLERANCE = 0.05  # for a sum of probabilities, which may be rounded to two digits


class TransferSet(Dataset):
    """Hold inputs (N, ...) with a teacher's logits (N, classes), and labels (N,) where they are known.

    Logits ((2r + 1)², N, classes) are those of images moved by (dy, dx) pixels, |dy|, |dx| <= r, row by row from
    (-r, -r) to (r, r): with them a student trains under a jitter of r at the cost of a lookup.

    probabilities: True if `logits` are the probabilities at T = 1. Their logarithms in float64 are logits, with 2e-308
    for 0, so that softmax returns them. False says that they are not; None refuses rows >= 0 that all sum to 1.
    """

    def __init__(
        self,
        inputs: Any,
        logits: Any,
        labels: Any = None,
        backend: Backend | str | None = None,
        probabilities: bool | None = None,
    ) -> None:
        self.backend = as_backend(backend)
        inputs, logits = check_real_inputs(inputs), check_logits("logits", logits)
        self.jitter = (math.isqrt(len(logits)) - 1) // 2 if logits.ndim == 3 else 0
        one_for_all = logits.ndim == 2 or (logits.ndim == 3 and len(logits) == (2 * self.jitter + 1) ** 2)
        if not one_for_all or logits.shape[-2] != len(inputs):
            raise ArgumentError(
                f"logits must have shape ({len(inputs)}, classes), a row for each input, or (shifts, {len(inputs)}, "
                f"classes) with 1, 9, 25, ... shifts, got {logits.shape}"
            )
        self.classes = logits.shape[-1]
        self.inputs = self.backend.asarray(inputs)
        self.logits = _as_logits(self.backend, logits, probabilities)
        self.labels = None
        if labels is not None:
            labels = check_labels("labels", labels, self.classes, (len(inputs),))
            self.labels = self.backend.asarray(labels, dtype=np.int64)

    def __repr__(self) -> str:
        labels = "without labels" if self.labels is None else "with labels"
        return (
            f"<{self._about()}, {self.logits.dtype} logits of {self.classes} classes, jitter {self.jitter}, {labels}, "
            f"on {self.backend.name}>"
        )

    @property
    def unmoved(self) -> Array:
        """Return the logits (N, classes) of the inputs as they are."""
        return self.logits if self.logits.ndim == 2 else self.logits[len(self.logits) // 2]

    def subset(self, rows: Any) -> Self:
        """Return the rows that a slice, an array of indices or a mask (N,) names, with their logits."""
        part = super().subset(rows)
        part.logits = self.logits[..., self._check_rows(rows), :]
        return part

    @classmethod
    def from_teacher(
        cls,
        teacher: Network | Callable[[Array], Array],
        data: Dataset,
        jitter: int = 0,
        probabilities: bool | None = None,
    ) -> "TransferSet":
        """Return the data set with the logits that the teacher gives on it, and on it moved by up to `jitter` pixels.

        teacher: one network, or any function of inputs (N, ...) to logits (N, classes), such as an ensemble.
        probabilities: True if it gives those, as TransferSet says. Raises ArgumentError for any other teacher.
        """
        if not isinstance(data, Dataset):
            raise ArgumentError(f"data must be a Dataset, got {type(data).__name__}")
        predict = _check_teacher(teacher)
        images = data.translations(jitter) if check_count("jitter", jitter, at_least=0) else [data.inputs[:]]
        logits = [data.backend.asarray(_ask(predict, x)).copy() for x in images]  # it may return a buffer of its own
        stacked = data.backend.xp.stack(logits) if jitter else logits[0]
        return cls(data.inputs[:], stacked, data.labels, data.backend, probabilities)


def _as_logits(backend: Backend, logits: Array, probabilities: bool | None) -> Array:
    """Return the logits on the device, or log p for probabilities p."""
    if probabilities is not None and not isinstance(probabilities, bool):
        raise ArgumentError(f"probabilities must be True, False or None, got {type(probabilities).__name__}")
    if logits.dtype.kind == "c":
        raise ArgumentError(f"logits must hold real numbers, got dtype {logits.dtype}")
    z = backend.asarray(logits)
    if probabilities is False:
        return z
    low, high = float(z.min()), float(z.max())
    within = low >= 0 and high <= 1 + _TOLERANCE
    sums = np.abs(backend.to_host(z.sum(axis=-1, dtype=np.float64)) - 1)
    off = float(np.median(sums) if probabilities is None else sums.max()) if within else math.inf
    if probabilities is None and off > _TOLERANCE:
        return z
    if probabilities is None:
        raise ArgumentError(
            "logits must not be probabilities, got rows in [0, 1] that sum to 1: give probabilities=True to take "
            "their logarithm, or False if they are logits all the same"
        )
    if off > _TOLERANCE:
        sums = f", and sums that differ from 1 by up to {off:g}" if within else ""
        raise ArgumentError(
            f"logits must be probabilities, rows in [0, 1] that sum to 1, got values from {low:g} to {high:g}{sums}"
        )
    return backend.xp.log(backend.xp.maximum(z.astype(np.float64), _SMALLEST))


def _check_teacher(teacher: Any) -> Callable[[Array], Any]:
    """Return what computes a teacher's logits."""
    if isinstance(teacher, Network):
        if teacher.replica_shape:
            raise ArgumentError(
                f"teacher must be one network, got {teacher.replicas} replicas: combine their logits, "
                "as geometric_mean does"
            )
        return teacher.predict
    if callable(teacher) and not isinstance(teacher, type):
        predict: Callable[[Array], Any] = teacher
        return predict
    found = f"the class {teacher.__name__}" if isinstance(teacher, type) else type(teacher).__name__
    remedy = ""
    if hasattr(teacher, "predict_proba"):  # scikit-learn's
        remedy = ": give estimator.predict_log_proba, or estimator.predict_proba with probabilities=True"
    raise ArgumentError(f"teacher must be a Network or a function of inputs to logits, got {found}{remedy}")


def _ask(predict: Callable[[Array], Any], x: Array) -> Array:
    """Return the logits (N, classes) that the teacher gives for inputs x (N, ...)."""
    try:
        answer = predict(x)
    except MinidistillError:
        raise
    except Exception as error:  # whatever somebody else's function raises; its traceback is kept
        raise ArgumentError(
            f"teacher must take inputs {x.shape}, got {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    z = as_array("teacher(inputs)", answer, dtype=None)
    if z.ndim != 2 or len(z) != len(x):
        raise ArgumentError(
            f"teacher must return logits ({len(x)}, classes), got {type(answer).__name__} of shape {z.shape}"
        )
    return check_logits("teacher(inputs)", z)
