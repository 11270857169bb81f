"""The training loop: batches in, history out. The device is waited for once an epoch, when the losses are read."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .batches import Batch, Batches
from .checks import ArgumentError, Array, Diverged, check_count, check_number
from .datasets import Dataset, TransferSet
from .network import BLOCK, Network
from .optim import SGD
from .progress import Progress

HOPELESS = 10.0  # a loss this many times chance, or the first loss if that was worse, is a divergence
HOPELESS_WEIGHT = 1e8  # and so is a parameter of this size


@dataclass(frozen=True)
class Objective:
    """C = α T² KL(p || q) + (1 - α) cross_entropy, Eq. 7. α = 0: hard labels alone; α = 1: soft targets alone.

    temperature: T > 0, or a sequence with one T for each replica; alpha: in [0, 1].
    """

    temperature: float | Sequence[float] = 1.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        for T in np.ravel(self.temperature):
            check_number("temperature", T, above=0)
        check_number("alpha", self.alpha, at_least=0, at_most=1)


LossFunction = Callable[[Array, Array | None, Array | None], tuple[Array, Array]]  # (z, v, y) -> (value, dz)


@dataclass
class History:
    """What happened, an entry for each epoch. loss and errors hold a number for each replica (one for one network)."""

    seconds: list[float] = field(default_factory=list)  # since the start
    learning_rate: list[float] = field(default_factory=list)  # of the epoch's last step
    loss: list[list[float]] = field(default_factory=list)  # mean over the epoch's batches
    errors: list[list[int]] = field(default_factory=list)  # on the validation set; empty without one


def fit(
    network: Network,
    data: Dataset,
    objective: Objective | LossFunction,
    optimizer: SGD,
    *,
    epochs: int,
    batch_size: int = 128,
    jitter: int = 0,
    validation: Dataset | None = None,
    progress: bool = True,
    title: str = "training",
    after_epoch: Callable[[int], None] | None = None,
) -> History:
    """Train the network in place and return the history.

    objective: Eq. 7, or a function of a batch's (z, v, y) to (value, dz), such as a loss of minidistill.losses with its
    other arguments filled in; v (..., B, N) is None without a teacher's logits, y (..., B) without labels.
    jitter: every image of every epoch is moved by up to this many pixels. validation: a set to count errors on after
    each epoch. progress: a bar if tqdm is installed, else a line an epoch; False for silence. after_epoch(epoch) is
    called when an epoch's work is done. Raises ArgumentError if the parts do not fit, Diverged if the loss explodes.
    """
    epochs = check_count("epochs", epochs)
    _check_fit(network, data, objective)
    batches = Batches(
        network, data, batch_size, jitter, soft=not isinstance(objective, Objective) or objective.alpha > 0
    )
    if optimizer.network is not network:
        network.gradients.fill(0)  # what an earlier training left there is not this one's momentum
    compute, chance = _compute(network, objective)
    xp, backend = network.xp, network.backend
    dz: Array | None = None
    losses = xp.empty((len(batches), *network.lead), dtype=network.dtype)
    rates = [0.0] * len(batches)
    worst: np.ndarray | None = None  # (replicas,)
    history, start, total = History(), time.perf_counter(), epochs * len(batches)
    with Progress(title, total, progress) as bar, np.errstate(all="ignore"):  # overflow is found in the losses below
        for epoch in range(epochs):
            first = epoch * len(batches)
            for i, batch in enumerate(batches.epoch(epoch)):
                rates[i] = check_number("learning rate", optimizer.learning_rate((first + i) / total), at_least=0)
                z = network.forward(batch.x, step=first + i)
                if dz is None or dz.shape != z.shape:
                    dz = xp.empty_like(z)
                compute(z, batch, rates[i], losses[i, ...], dz)
                network.backward(dz, optimizer.carry)
                optimizer.step(network)
                bar.advance()
            host = backend.to_host(losses).reshape(len(batches), -1).astype(np.float64)  # (steps, replicas)
            if worst is None:
                worst = HOPELESS * np.maximum(chance, np.nan_to_num(host[0], posinf=0))
            _check_losses(host, worst, first, rates)
            history.loss.append(host.mean(axis=0).tolist())
            history.learning_rate.append(rates[-1])
            if validation is not None:
                history.errors.append(np.ravel(errors(network, validation)).tolist())
            history.seconds.append(time.perf_counter() - start)
            bar.epoch(epoch + 1, epochs, history.loss[-1], history.errors[-1] if validation is not None else [])
            if after_epoch is not None:
                after_epoch(epoch)
    largest = max(abs(float(network.parameters.max())), abs(float(network.parameters.min())))
    if not largest <= HOPELESS_WEIGHT:  # the last update has no later loss that would show it
        raise Diverged(
            f"training diverged at step {total - 1}, learning rate {rates[-1]:g}: the largest parameter is "
            f"{largest:.3g}; try a lower learning rate"
        )
    return history


def errors(network: Network, data: Dataset) -> int | list[int]:
    """Rows of `data` on which the network's most probable class is not the label: an int, or a list with replicas.

    Raises Diverged if a logit is NaN or infinite: its row has no most probable class.
    """
    if data.labels is None:
        raise ArgumentError("data must have labels to count errors on, got a transfer set without")
    if data.classes > network.n_out:
        raise ArgumentError(f"labels must lie in 0..{network.n_out - 1}, the network's classes, got {data.classes - 1}")
    wrong: Any = 0
    unsound: Any = 0
    for start in range(0, len(data), BLOCK):
        z = network.predict(data.inputs[start : start + BLOCK])  # (..., M, classes)
        unsound = unsound + (~network.xp.isfinite(z)).sum()
        wrong = wrong + (z.argmax(axis=-1) != data.labels[start : start + BLOCK]).sum(axis=-1)  # (...)
    if int(unsound):
        raise Diverged(f"network must give finite logits to count errors on, got {int(unsound)} that are not")
    counts: int | list[int] = network.backend.to_host(wrong).tolist()
    return counts


def _compute(
    network: Network, objective: Objective | LossFunction
) -> tuple[Callable[[Array, Batch, float, Array, Array], None], Any]:
    """What writes a batch's loss, and a rate times its gradient, into `loss` and `dz`; and the loss of chance."""
    backend, xp = network.backend, network.xp
    if isinstance(objective, Objective):
        T, alpha = _temperature(network, objective), objective.alpha
        chance = np.log(network.n_out) * (alpha * np.ravel(objective.temperature) ** 2 + 1 - alpha)

        def eq7(z: Array, batch: Batch, rate: float, loss: Array, dz: Array) -> None:
            backend.objective(z, batch.v, batch.y, T, alpha, rate, loss, dz)

        return eq7, chance

    def own(z: Array, batch: Batch, rate: float, loss: Array, dz: Array) -> None:
        if not bool(xp.isfinite(z).all()):  # the losses refuse such logits as an argument, and would wait as well
            raise Diverged(f"training diverged, learning rate {rate:g}: a logit is not finite; try a lower one")
        loss[...], gradient = objective(z, batch.v, batch.y)
        xp.multiply(gradient, rate, out=dz)

    return own, np.log(network.n_out)


def _check_fit(network: Network, data: Dataset, objective: Objective | LossFunction) -> None:
    if isinstance(data, TransferSet) and data.classes != network.n_out:
        raise ArgumentError(
            f"network must give a logit for each of the teacher's {data.classes} classes, got {network.n_out}"
        )
    if data.classes > network.n_out:
        raise ArgumentError(f"labels must lie in 0..{network.n_out - 1}, the network's classes, got {data.classes - 1}")
    if not isinstance(objective, Objective):
        if not callable(objective):
            raise ArgumentError(f"objective must be an Objective or a function of (z, v, y), got {objective!r}")
        return
    if objective.alpha > 0 and not isinstance(data, TransferSet):
        raise ArgumentError(
            f"alpha must be 0 without a teacher's logits, got {objective.alpha}: train on a TransferSet"
        )
    if objective.alpha < 1 and data.labels is None:
        raise ArgumentError(f"alpha must be 1 for a transfer set without labels, got {objective.alpha}")


def _temperature(network: Network, objective: Objective) -> Any:
    """T as a Python float, or as an array (R, 1, 1)."""
    if np.ndim(objective.temperature) == 0:
        return float(objective.temperature)  # type: ignore[arg-type]  # ndim 0 is a number
    T = np.asarray(objective.temperature, dtype=network.dtype)
    if T.shape != network.lead:
        raise ArgumentError(
            f"temperature must be one number or one for each replica, {network.lead}, got shape {T.shape}"
        )
    return network.backend.asarray(T[:, None, None])


def _check_losses(losses: np.ndarray, worst: np.ndarray, first_step: int, rates: list[float]) -> None:
    bad = ~(losses <= worst).all(axis=-1)  # (steps,), True for NaN
    if bad.any():
        i = int(bad.argmax())
        r = int((~(losses[i] <= worst)).argmax())
        replica = f", replica {r}" if len(worst) > 1 else ""
        raise Diverged(
            f"training diverged at step {first_step + i}{replica}, learning rate {rates[i]:g}: the loss was "
            f"{losses[i, r]:.3g}, which must stay below {worst[r]:.3g}; try a lower learning rate"
        )
