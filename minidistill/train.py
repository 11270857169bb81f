"""The training loop: batches in, history out. It waits for the device between epochs alone."""

import os
from collections.abc import Callable

import numpy as np

from .batches import Batches
from .checks import ArgumentError, check_kind
from .course import Course
from .datasets import Dataset
from .measure import check_alive, check_trainable, errors
from .monitor import History, Monitor
from .network import Network
from .objective import LossFunction, Objective, on_batches
from .optim import Optimizer


def fit(
    network: Network,
    data: Dataset,
    objective: Objective | LossFunction,
    optimizer: Optimizer,
    *,
    epochs: int,
    total_epochs: int | None = None,
    batch_size: int = 128,
    jitter: int = 0,
    validation: Dataset | None = None,
    patience: int | None = None,
    keep_best: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = True,
    title: str = "training",
    after_epoch: Callable[[int], object] | None = None,
) -> History:
    """Train the network in place and return the history. Another call with the same optimiser goes on from there.

    objective: an Objective, or a function of a batch's (z, v, y) to (value, dz), such as a loss of minidistill.losses
    with its other arguments filled in; v (..., B, N) is None without a teacher's logits, y (..., B) without labels.
    total_epochs: the length of the learning rate's schedule, in epochs from the first of several calls that make one
    training; None: this call alone. jitter: every image of every epoch is moved by up to this many pixels. validation:
    a set to count errors on after each epoch; patience: end when they have not fallen for so many; keep_best: return
    to the parameters with the fewest. checkpoint: a folder to keep the training in, so that the same call goes on
    from there (checkpoint.py). progress: a bar in a terminal with tqdm, else a line an epoch; False for silence.
    after_epoch(epoch), from 0 in every call, is called when an epoch is done. Raises ArgumentError if the parts do not
    fit, Diverged if the loss explodes or the units die.
    """
    check_kind("optimizer", optimizer, Optimizer, ", such as SGD(0.1)", has="steps")
    check_trainable(network, data, validation, optimizer)
    loss_and_gradient, chance = on_batches(objective, network, data)
    soft = not isinstance(objective, Objective) or objective.alpha != 0
    batches = Batches(network, data, batch_size, jitter, soft)
    monitor = Monitor(title, epochs, total_epochs, optimizer.epochs, batches, chance, progress)
    xp, backend, steps_per_epoch = network.xp, network.backend, len(batches)
    losses = xp.empty((steps_per_epoch, *network.replica_shape), dtype=network.dtype)  # overflow shows in them
    course = Course(monitor, network, optimizer, losses, validation, patience, keep_best, after_epoch)
    with course.kept(checkpoint, checkpoint_seconds, objective), monitor, np.errstate(all="ignore"):
        for _ in course.epochs():
            network.epochs, optimizer.epochs = network.epochs + 1, optimizer.epochs + 1
            for i, batch, rate in course.steps():  # the schedule's learning rate
                z = network.forward(batch.x, network.steps)  # (..., B, N)
                dz = xp.empty_like(z)
                # Write the loss and dz = dC/dz: objective_rows of losses/distillation.py, which the backend may fuse.
                loss_and_gradient(z, batch, losses[i, ...], dz)
                optimizer.step(network, dz, rate)  # backward through the layers, then the update
                if network.awaits_backward:
                    raise ArgumentError(f"{type(optimizer).__name__}.step must call network.backward(dz)")
            on_host = backend.to_host(losses).reshape(steps_per_epoch, -1).astype(np.float64)  # (steps, replicas)
            monitor.epoch(on_host, None if validation is None else lambda: errors(network, validation))
        course.end()
        check_alive(network, data)
    return monitor.history
