"""What a training tells: its history, a bar or lines on standard error, and an error as soon as it diverges."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checks import Diverged

HOPELESS = 10.0  # a loss this many times chance, or the first loss if that was worse, is a divergence
HOPELESS_WEIGHT = 1e8  # and so is a parameter of this size
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

    shown: False for silence. In a terminal where tqdm is installed progress is a bar, elsewhere, as in a log file or in
    Jupyter, a line an epoch. chance: the loss of a network that guesses.
    """

    def __init__(self, title: str, epochs: int, steps_per_epoch: int, chance: Any, shown: bool) -> None:
        self.title, self.epochs, self.steps_per_epoch = title, epochs, steps_per_epoch
        self.shown = shown and sys.stderr is not None  # it is None in a process that has no standard streams
        self.history, self.rates = History(), list[float]()
        self.chance = chance
        self.hopeless: np.ndarray | None = None  # (replicas,)
        self.start = time.perf_counter()
        self.bar: Any = None
        if self.shown and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            total = epochs * steps_per_epoch
            self.bar = tqdm(
                total=total, desc=title, bar_format=BAR, file=sys.stderr, mininterval=0.5, dynamic_ncols=True
            )

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.leave = exception[0] is None  # half a bar is wiped out before the error is told
            self.bar.close()

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
        if self.hopeless is None:
            self.hopeless = HOPELESS * np.maximum(self.chance, np.nan_to_num(losses[0], posinf=0))
        bad = ~(losses <= self.hopeless).all(axis=-1)  # (steps,), True for NaN
        if bad.any():
            i = int(bad.argmax())
            r = int((~(losses[i] <= self.hopeless)).argmax())
            replica = f", replica {r}" if len(self.hopeless) > 1 else ""
            self._diverged((done - 1) * self.steps_per_epoch + i, replica, f"the loss was {losses[i, r]:.3g}, which "
                           f"must stay below {self.hopeless[r]:.3g}")  # fmt: skip
        errors = [] if validate is None else np.ravel(validate()).tolist()
        history.loss.append(losses.mean(axis=0).tolist())
        history.learning_rate.append(self.rates[-1])
        history.seconds.append(time.perf_counter() - self.start)
        history.errors += [errors] if errors else []
        text = f"epoch {done}/{self.epochs}, {history.latest()}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
        elif self.shown:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def end(self, largest: float) -> None:
        """Raise Diverged if the largest parameter is hopeless: the last update has no later loss that would show it."""
        if not largest <= HOPELESS_WEIGHT:
            self._diverged(len(self.rates) - 1, "", f"the largest parameter is {largest:.3g}")

    def _diverged(self, step: int, replica: str, what: str) -> None:
        raise Diverged(
            f"training diverged at step {step}{replica}, learning rate {self.rates[step]:g}: {what}; "
            "try a lower learning rate"
        )
