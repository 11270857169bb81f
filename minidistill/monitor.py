"""What a training tells: its history, a bar or lines on standard error, and an error as soon as it diverges."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .batches import Batches
from .checks import ArgumentError, Diverged, check_count

HOPELESS = 10.0  # a mean loss this many times chance, or the first mean if that was worse, is a divergence
ROWS = 1024  # in a mean: a single row's loss may be large, as for a wrong label that the network does not believe
LARGE_INPUT = 20.0  # standardised inputs and pixels in [0, 1] are below it
HOPELESS_WEIGHT = 1e8  # a parameter of this size is a divergence as well
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # tqdm's own is too long for a loss behind it


@dataclass(repr=False)
class History:
    """Keep an entry for each epoch. loss and errors hold a number for each replica (one for one network)."""

    seconds: list[float] = field(default_factory=list)  # since the start
    learning_rate: list[float] = field(default_factory=list)  # at the epoch's last step
    loss: list[list[float]] = field(default_factory=list)  # mean over the epoch's batches
    errors: list[list[int]] = field(default_factory=list)  # on the validation set; empty without one

    def __repr__(self) -> str:
        seconds = f", {self.seconds[-1]:.1f} s, {self.latest()}" if self.loss else ""
        return f"<History of {len(self.loss)} epoch{'' if len(self.loss) == 1 else 's'}{seconds}>"

    def latest(self) -> str:
        """Return the last epoch's loss, and its errors if there are any, as text; with replicas their means."""
        errors = f", errors {round(np.mean(self.errors[-1]), 1):g}" if self.errors else ""
        return f"loss {np.mean(self.loss[-1]):.4g}{errors}"


class Monitor:
    """Watch a training as a context around it: step(rate) after every step, epoch(...) after every epoch.

    total_epochs, begun: the schedule's whole length, and the optimiser's epochs before this training, which count where
    that is given. shown: False for silence. In a terminal where tqdm is installed progress is a bar, elsewhere, as in a
    log file or in Jupyter, a line an epoch. chance: the loss of a network that guesses.
    """

    def __init__(
        self, title: str, epochs: int, total_epochs: int | None, begun: int, batches: Batches, chance: Any, shown: bool
    ) -> None:
        self.title, self.epochs, self.batches = title, check_count("epochs", epochs), batches
        self.steps_per_epoch = len(batches)
        self.begun = 0 if total_epochs is None else begun
        self.total = self.epochs if total_epochs is None else check_count("total_epochs", total_epochs)
        self.window = min(self.steps_per_epoch, -(-ROWS // batches.batch_size))  # steps
        self.shown = shown and sys.stderr is not None  # it is None in a process that has no standard streams
        self.history, self.rates = History(), list[float]()
        self.chance = chance
        self.hopeless: np.ndarray | None = None  # (replicas,)
        self.start = time.perf_counter()
        self.bar: Any = None

    def __enter__(self) -> "Monitor":
        if self.begun + self.epochs > self.total:
            raise ArgumentError(
                f"total_epochs must be at least the {self.epochs} epochs asked for and those before them, "
                f"got {self.total}"
            )
        if self.shown and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return self
            self.bar = tqdm(
                total=self.epochs * self.steps_per_epoch,
                initial=len(self.rates),
                desc=self.title,
                bar_format=BAR,
                file=sys.stderr,
                mininterval=0.5,
                dynamic_ncols=True,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.leave = exception[0] is None  # half a bar is wiped out before the error is told
            self.bar.close()

    def done(self) -> float:
        """Return the fraction of the schedule that is done, in [0, 1)."""
        return (self.begun + len(self.rates) / self.steps_per_epoch) / self.total

    def step(self, rate: float) -> None:
        """Note the learning rate of a step that is done."""
        self.rates.append(rate)
        if self.bar is not None:
            self.bar.update()

    def epoch(self, losses: np.ndarray, validate: Callable[[], Any] | None) -> None:
        """Enter an epoch in the history: its steps' losses (steps, replicas), and the errors that validate() counts.

        Raises Diverged if a loss is not finite or hopeless.
        """
        history, done = self.history, len(self.history.loss) + 1
        size, rows = self.batches.batch_size, len(self.batches.data)
        sizes = np.minimum(size, rows - size * np.arange(len(losses)))
        if (ranks := getattr(self.batches.network, "ranks", None)) is not None:
            losses = ranks.mean_losses(losses, sizes)
        windows = np.array_split(losses, max(1, rows // size // self.window))  # none shorter than a window
        weights = np.array_split(sizes, len(windows))
        means = np.array([np.average(one, axis=0, weights=w) for one, w in zip(windows, weights, strict=True)])
        if self.hopeless is None:
            self.hopeless = HOPELESS * np.maximum(self.chance, np.nan_to_num(means[0], posinf=0))
        fine = (means <= self.hopeless) & np.isfinite(means)  # False for NaN
        if not fine.all():
            i, r = np.argwhere(~fine)[0]
            replica = f", replica {r}" if len(self.hopeless) > 1 else ""
            before = sum(map(len, windows[:i]))
            at = before + int(np.argmax(~(windows[i][:, r] <= self.hopeless[r])))  # its first bad step, or its first
            self._diverged((done - 1) * self.steps_per_epoch + at, replica, f"the loss was {losses[at, r]:.3g}, and "
                           f"its mean must stay below {self.hopeless[r]:.3g}")  # fmt: skip
        errors = [] if validate is None else np.ravel(validate()).tolist()
        history.loss.append(losses.mean(axis=0).tolist())
        history.learning_rate.append(self.rates[-1])
        history.seconds.append(time.perf_counter() - self.start)
        history.errors += [errors] if errors else []
        text = f"epoch {done}/{self.epochs}, {history.latest()}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """Write a line to standard error, unless the training is silent."""
        if self.bar is not None:
            self.bar.clear()
        if self.shown:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def end(self, largest: float) -> None:
        """Raise Diverged if the largest parameter is hopeless: the last update has no later loss that would show it."""
        if not largest <= HOPELESS_WEIGHT:
            self._diverged(len(self.rates) - 1, "", f"the largest parameter is {largest:.3g}")

    def _diverged(self, step: int, replica: str, what: str) -> None:
        data, remedy = self.batches.data, "try a lower learning rate"
        inputs = data.inputs[:: -(-len(data) // ROWS)]
        if inputs.dtype != np.uint8 and (largest := float(abs(inputs).max())) > LARGE_INPUT:
            remedy = f"the inputs reach {largest:g}: scale them, as pixels to [0, 1], or {remedy}"
        raise Diverged(
            f"training diverged at step {step}{replica}, learning rate {self.rates[step]:g}: {what}; {remedy}"
        )
