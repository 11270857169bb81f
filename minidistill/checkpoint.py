"""Checkpoints: everything that the next step of a training depends on, in a folder, so that it outlives its process.

Random numbers need no state (random.py), so a training that goes on is bit for bit the one that nothing interrupted, on
the same machine, backend and versions. Two files take turns, each written whole or not at all: while the newest is
damaged, the one before it is used, with a warning. What belongs to another training is refused, never overwritten.
Left out: what an after_epoch, or an objective of one's own, remembers; and the lock on Windows, which lacks fcntl.
"""

import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .checks import ArgumentError, DataError, MinidistillError, check_number, shown
from .datasets.idx import check_path
from .folder import KNOWN
from .identity import COUNTS, PLAIN, difference, digest_of, recipe_of, settings_of, trials_of
from .shell import signals_handled, whole_file
from .tensor_file import read_tensors, write_tensors

NAMES = ("checkpoint-0.safetensors", "checkpoint-1.safetensors")  # in turn
VERSION = 1  # of the files, and of whatever makes the same call another training


class Keeper:
    """Keep the training that a course leads, as a context around it, which takes up what the folder holds.

    Files are written every so many seconds, at the end, and when SIGINT, SIGTERM or SIGHUP has come, which then does
    what it would have done; a second one does so at once. Raises ArgumentError for a folder that cannot be used or that
    belongs to another training, DataError if all in it is damaged, OSError if the last file cannot be written.
    """

    def __init__(self, course: Any, folder: Any, seconds: float, objective: Any) -> None:
        self.course, self.folder = course, Path(check_path("checkpoint", folder))
        self.seconds = check_number("checkpoint_seconds", seconds, at_least=0)
        self.recipe, self.settings = recipe_of(course, objective), json.dumps(settings_of(course.optimizer))
        self.trials = trials_of(course, objective)
        ranks = getattr(course.network, "ranks", None)  # parallel.py: all of them read, and the first one writes
        self.writes = ranks is None or ranks.rank == 0
        self.turn = 0  # whose file is written next
        self.saved, self.due = 0, time.monotonic() + self.seconds  # after so many steps, and when it is time again
        self.signal: int | None = None  # that waits for the end of a step

    def __enter__(self) -> "Keeper":
        with ExitStack() as stack:
            if self.writes:
                self._hold(stack)
            self.start = digest_of(*self._state())
            self._take_up()
            self.handlers = stack.enter_context(signals_handled(self._note))
            self.stack = stack.pop_all()
        return self

    def _hold(self, stack: ExitStack) -> None:
        """Make the folder and hold it as long as the stack is open, after trying to write in it: before the work."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_alone(self.folder))
            with whole_file(self.folder / NAMES[0], keep=False) as unfinished:
                unfinished.touch()
        except (OSError, ValueError) as error:
            if isinstance(error, MinidistillError):
                raise
            raise ArgumentError(
                f"checkpoint must be a folder that can be written, got {str(self.folder)!r}: {error}"
            ) from None
        for unfinished in self.folder.glob("checkpoint-?.safetensors.*.tmp"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)

    def __exit__(self, *exception: Any) -> None:
        self.stack.close()
        self._deliver()

    def pause(self) -> None:
        """Do, between two steps, what has become due."""
        if self.signal is None and time.monotonic() < self.due:
            return
        try:
            self._save()
            if self.signal is not None:
                self.course.monitor.say(f"kept in {self.folder}: the same call goes on from there")
        except OSError as error:  # a disk that is full now may have room later
            self.due = time.monotonic() + self.seconds
            warnings.warn(f"no checkpoint could be written, the last one stands: {error}", RuntimeWarning, stacklevel=4)
        self._deliver()

    def end(self) -> None:
        """Write the last checkpoint of a training that is done."""
        if self.saved < len(self.course.monitor.rates):
            self._save()

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None:  # a second one: somebody will not wait
            self._deliver()
        self.signal = number

    def _deliver(self) -> None:
        """Let a signal that has waited do what it would have done."""
        if self.signal is not None:
            number, self.signal = self.signal, None
            if not callable(self.handlers[number]):  # the system's own, which ends the process without tidying up
                raise KeyboardInterrupt(number)
            self.handlers[number](number, None)

    def _state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays (on the host) and the numbers that a step changes."""
        network, optimizer = self.course.network, self.course.optimizer
        arrays = {"parameters": network.parameters, "gradients": network.gradients}
        arrays |= {f"optimizer.{name}": array for name, array in optimizer.state.items()}
        numbers = {f"network.{name}": getattr(network, name) for name in COUNTS}
        numbers |= {f"optimizer.{name}": getattr(optimizer, name) for name in COUNTS}
        for i, layer in enumerate(network.layers):
            for name, value in layer.__getstate__().items():
                if hasattr(value, "shape"):
                    arrays[f"layer.{i}.{name}"] = value
                elif isinstance(value, PLAIN):
                    numbers[f"layer.{i}.{name}"] = value
                else:
                    raise ArgumentError(
                        f"{type(layer).__name__}.{name} must be a number, a text or an array to be kept, "
                        f"got {shown(value)}"
                    )
        return {name: network.backend.to_host(array) for name, array in arrays.items()}, numbers

    def _save(self) -> None:
        from . import __version__

        course, monitor, on_host = self.course, self.course.monitor, self.course.network.backend.to_host
        arrays, numbers = self._state()
        if json.dumps(settings_of(course.optimizer)) != self.settings:
            name = type(course.optimizer).__name__
            raise ArgumentError(f"{name} must have the same settings in every step to be kept: it has steps and state")
        steps, within = len(monitor.rates), len(monitor.rates) % monitor.steps_per_epoch
        numbers["network.epochs"] -= within > 0  # only whole ones: the loop will count this one again
        numbers["optimizer.epochs"] -= within > 0
        arrays |= {"losses": on_host(course.losses[:within]), "rates": np.array(monitor.rates)}
        arrays |= {f"trial.{name}": array for name, array in self.trials.items()}
        if monitor.hopeless is not None:
            arrays["hopeless"] = np.asarray(monitor.hopeless)
        if course.best is not None:
            arrays["best"] = on_host(course.best)
        record = {
            "format": "minidistill checkpoint", "version": VERSION, "written_by": f"minidistill {__version__}",
            "recipe": self.recipe, "start": self.start, "steps": steps, "numbers": numbers, "begun": monitor.begun,
            "seconds": time.perf_counter() - monitor.start, "history": vars(monitor.history),
        }  # fmt: skip
        if self.writes:
            write_tensors(self.folder / NAMES[self.turn], arrays, {"checkpoint": json.dumps(record)})
        self.turn, self.saved, self.due = 1 - self.turn, steps, time.monotonic() + self.seconds

    def _take_up(self) -> None:
        """Go to where the newest checkpoint is, if there is one."""
        newest: tuple[int, Path, dict[str, np.ndarray], dict[str, Any]] | None = None
        damaged = []
        for path in (self.folder / name for name in NAMES):
            if not os.path.lexists(path):
                continue
            try:
                arrays, texts = read_tensors(path)
            except DataError as error:
                damaged.append(str(error))
                continue
            with _no_nonsense(path):
                record = json.loads(texts["checkpoint"])
                if record["version"] != VERSION:
                    raise DataError(f"{path} must be of version {VERSION}, got {shown(record['version'])}")
                self._check_recipe(path, arrays, record)
                if newest is None or record["steps"] > newest[0]:
                    newest = record["steps"], path, arrays, record
        if newest is None:
            if damaged:
                raise DataError(f"{'; '.join(damaged)}; delete it to begin anew")
            return
        steps, path, arrays, record = newest
        with _no_nonsense(path):
            self._check_state(path, arrays, record)
        for text in damaged:
            text += f"; going on from the checkpoint before it, after step {steps}"
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        self._restore(arrays, record)
        self.turn, self.saved = 1 - NAMES.index(path.name), steps
        monitor = self.course.monitor
        whole = monitor.epochs * monitor.steps_per_epoch
        monitor.say(f"goes on after step {steps:,} of {whole:,}, from {self.folder}")

    def _check_recipe(self, path: Path, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        """Raise ArgumentError for a checkpoint of a training that is made in another way."""
        theirs, must = record["recipe"], f"checkpoint must be of this training, got {path} of one with"
        other = [name for name in self.recipe if theirs.get(name, ...) != self.recipe[name]]
        if other:
            raise ArgumentError(f"{must} {'; '.join(difference(name, theirs, self.recipe) for name in other)}")
        for name, ours in self.trials.items():
            kept = arrays[f"trial.{name}"]
            if kept.shape != ours.shape or not np.allclose(kept, ours, rtol=1e-5, atol=1e-12, equal_nan=True):
                raise ArgumentError(f"{must} another {name}, by what it gave when tried")

    def _check_state(self, path: Path, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        """Raise DataError for a checkpoint that lacks something, ArgumentError for one that began elsewhere."""
        course, monitor, network = self.course, self.course.monitor, self.course.network
        steps, per_epoch = record["steps"], monitor.steps_per_epoch
        if steps > monitor.epochs * per_epoch:
            done = -(-steps // per_epoch)
            raise ArgumentError(f"epochs must be at least the {done} that {path} has, got {monitor.epochs}")
        (live, numbers), flat = self._state(), network.parameters
        within, float64 = steps % per_epoch, np.dtype(np.float64)
        wanted = {name: (array.shape, array.dtype) for name, array in live.items()}
        wanted |= {f"trial.{name}": (array.shape, array.dtype) for name, array in self.trials.items()}
        if record["numbers"]["optimizer.steps"]:
            wanted |= {f"optimizer.{name}": (flat.shape, flat.dtype) for name in course.optimizer.remembers}
        wanted |= {"losses": ((within, *network.replica_shape), network.dtype), "rates": ((steps,), float64)}
        wanted |= {} if course.best is None else {"best": (flat.shape, flat.dtype)}
        wanted |= {"hopeless": ((network.replicas,), float64)} if steps >= per_epoch else {}
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if found != wanted:
            name = min(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            raise DataError(f"{path} must hold {name} as {wanted.get(name)}, got {found.get(name)}")
        history, kept = record["history"], record["numbers"]
        own = tuple(f"layer.{i}." for i, layer in enumerate(network.layers) if type(layer) not in KNOWN.values())
        for name in {*numbers, *kept}:  # of the package's own layers, no number ever changes
            fixed = name.startswith("layer.") and not name.startswith(own)
            if not (kept[name] == numbers[name] if fixed else _kind(kept[name]) == _kind(numbers[name])):
                raise DataError(f"{path} must hold {name} as in {network}, got {shown(kept[name])}")
        for name, row in (("seconds", ()), ("learning_rate", ()), ("loss", (network.replicas,)), ("errors", None)):
            rows, of = np.array(history[name]), (network.replicas,) if row is None else row
            epochs = 0 if row is None and course.validation is None else steps // per_epoch
            if rows.dtype.kind not in "fi" or rows.shape != ((epochs, *of) if epochs else (0,)):
                raise DataError(f"{path} must hold the {name} of {epochs} epochs, got {shown(history[name])}")
        type(monitor.history)(**history)
        if type(record["begun"]) is not int or not record["seconds"] >= 0:
            raise DataError(f"{path} must hold how long the training took before")
        known = [record["start"], digest_of(arrays, record["numbers"])]
        if course.best is not None:
            known.append(digest_of(arrays | {"parameters": arrays["best"]}, record["numbers"]))
        if self.start not in known:
            raise ArgumentError(
                f"checkpoint must be of this training, got {path} of one with another beginning: other first "
                "parameters, momentum or statistics of layers"
            )

    def _restore(self, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        course, monitor = self.course, self.course.monitor
        network, optimizer, numbers = course.network, course.optimizer, record["numbers"]
        asarray = network.backend.asarray
        network.parameters, network.gradients = arrays["parameters"], arrays["gradients"]
        places = {"network": network, "optimizer": optimizer}
        places |= {f"layer.{i}": layer for i, layer in enumerate(network.layers)}
        for name, value in numbers.items():
            of, _, attribute = name.rpartition(".")
            setattr(places[of], attribute, value)
        for name in (name for name in arrays if name.startswith("layer.")):
            of, _, attribute = name.rpartition(".")
            on_host = isinstance(getattr(places[of], attribute), (np.ndarray, np.generic))
            setattr(places[of], attribute, arrays[name][()] if on_host else asarray(arrays[name]))
        if optimizer.steps:
            optimizer.network, optimizer.backend = network, network.backend
            optimizer.state = {name: asarray(arrays[f"optimizer.{name}"]) for name in optimizer.remembers}
            network.optimizer = optimizer.state
        course.losses[: len(arrays["losses"])] = asarray(arrays["losses"])
        if course.best is not None:
            course.best[...] = asarray(arrays["best"])
        monitor.history, monitor.rates = type(monitor.history)(**record["history"]), arrays["rates"].tolist()
        monitor.hopeless, monitor.begun = arrays.get("hopeless"), int(record["begun"])
        monitor.start = time.perf_counter() - float(record["seconds"])
        self.start = record["start"]


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


@contextmanager
def _no_nonsense(path: Path) -> Iterator[None]:
    """Tell what somebody has written with a right checksum, but not what a checkpoint holds."""
    try:
        yield
    except MinidistillError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise DataError(f"{path} must be a checkpoint, got {type(error).__name__}: {error}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder, which a second process, or a second training of this one, may then not. Raises ArgumentError.

    The system lets it go when the process ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentError(f"checkpoint must be a folder of one training at a time, got {folder} in use") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
