"""The course of a training: its epochs and steps, from wherever a checkpoint left it until patience is at an end."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from .batches import Batch
from .checks import ArgumentError, check_count, check_function
from .datasets import Dataset
from .monitor import Monitor
from .network import Network
from .schedules import rate_at


class Course:
    """Lead a training from step to step: a loop over epochs(), and in it one over steps(), inside of kept(...).

    losses (steps, ...): the epoch's, on the device. validation, patience, keep_best, after_epoch: as in fit.
    """

    def __init__(
        self, monitor: Monitor, network: Network, optimizer: Any, losses: Any, validation: Dataset | None,
        patience: int | None, keep_best: bool, after_epoch: Callable[[int], object] | None,
    ) -> None:  # fmt: skip
        if after_epoch is not None:
            check_function("after_epoch", after_epoch, ("epoch",), "as in lambda epoch: print(epoch)")
        self.patience = None if patience is None else check_count("patience", patience)
        if validation is None and (keep_best or self.patience):
            raise ArgumentError("validation must be a data set for patience and keep_best to go by, got None")
        self.monitor, self.network, self.optimizer, self.losses = monitor, network, optimizer, losses
        self.validation, self.after_epoch = validation, after_epoch
        self.best = network.parameters.copy() if keep_best else None  # each replica's, of its best epoch so far
        self.keeper: Any = None

    def kept(self, folder: Any, seconds: float, objective: Any) -> Any:
        """Return a context in which the training is kept in a folder, None for none: checkpoint.py."""
        if folder is None:
            return nullcontext()
        from .checkpoint import Keeper  # here: with hashlib and json, which importing minidistill does without

        self.keeper = Keeper(self, folder, seconds, objective)
        return self.keeper

    def epochs(self) -> Iterator[int]:
        """Yield the number of every epoch that is left, from 0, until patience is at an end."""
        monitor = self.monitor
        while (done := len(monitor.rates) // monitor.steps_per_epoch) < monitor.epochs:
            if self.patience and (idle := self._idle()) >= self.patience:
                monitor.say(f"ends after epoch {done}: no fewer errors in {idle} epoch{'s' * (idle > 1)}")
                return
            yield done
            if self.after_epoch is not None:
                self.after_epoch(done)
            if self.best is not None:
                self._keep_the_best(self.best)
            if self.keeper is not None:
                self.keeper.pause()

    def steps(self) -> Iterator[tuple[int, Batch, float]]:
        """Yield the number, the batch and the learning rate of every step that is left in the epoch."""
        monitor, steps = self.monitor, self.monitor.steps_per_epoch
        first = len(monitor.rates) % steps
        for i, batch in enumerate(monitor.batches.epoch(self.network.epochs - 1, first), first):
            rate = rate_at(self.optimizer.learning_rate, monitor.done())
            yield i, batch, rate
            monitor.step(rate)
            if self.keeper is not None and i + 1 < steps:
                self.keeper.pause()

    def end(self) -> None:
        """Take the best parameters, and watch out for a divergence in the last update."""
        if self.keeper is not None:
            self.keeper.end()
        if self.best is not None:
            self.network.parameters[...] = self.best
        w = self.network.parameters
        self.monitor.end(max(abs(float(w.max())), abs(float(w.min()))))

    def _idle(self) -> int:
        """Count the last epochs in which no replica had fewer errors than ever before."""
        counted = np.array(self.monitor.history.errors)  # (epochs, replicas)
        return len(counted) - 1 - int(counted.argmin(axis=0).max()) if len(counted) else 0

    def _keep_the_best(self, best: Any) -> None:
        """Copy the replicas with their fewest errors yet; of two equal epochs the later, at a lower learning rate."""
        counted = np.array(self.monitor.history.errors)
        replicas = np.flatnonzero((counted[-1] <= counted[:-1]).all(axis=0)).tolist()
        start = 0
        for _, _, parameter in self.network.named_parameters():
            stop = start + self.network.replicas * int(np.prod(parameter.shape))
            kept, now = (flat[start:stop].reshape(-1, *parameter.shape) for flat in (best, self.network.parameters))
            for r in replicas:
                kept[r] = now[r]
            start = stop
