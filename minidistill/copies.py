"""Copies of a network: of one replica, for another thread, for pickle and deepcopy; and arrays that keep their place.

A layer's W is a view into its network's flat vector, and the vector is what optimisers and layers hold: none may be
replaced by another array. So assigning to one writes into it.
"""

import threading
from collections.abc import Callable
from typing import Any

from .checks import ArgumentError, as_array, check_count

_MADE_ANEW = {  # of a network's attributes, by _build
    "layers", "xp", "replica_shape", "replicas", "n_in", "n_out", "size", "awaits_backward", "_placed", "_buffers",
    "batch_size", "_activations", "_input_gradients", "_threads",
}  # fmt: skip


def kept(cache: dict[Any, Any], key: Any, make: Callable[[Any], Any]) -> Any:
    """Return cache[key], made now if it is not there. Of more than four, the one unused longest is given up.

    functools.lru_cache would refer to the network whose method `make` is, and the network to it: a network that nobody
    uses any more would keep its memory until Python looks for such circles.
    """
    cache[key] = cache.pop(key) if key in cache else make(key)  # the last one used is the last one in
    if len(cache) > 4:
        del cache[next(iter(cache))]
    return cache[key]


class KeepsArrays:
    """Write what is assigned to the attributes named in `_placed` into the arrays that they are."""

    _placed: frozenset[str] = frozenset()
    backend: Any

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._placed:
            object.__setattr__(self, name, value)
            return
        target, label = vars(self)[name], f"{type(self).__name__}.{name}"
        if value is target:  # as after `layer.W -= u`
            return
        array = as_array(label, value)
        if array.shape != target.shape or array.dtype.kind not in "fciu":
            raise ArgumentError(f"{label} must be numbers of shape {target.shape}, got {array.dtype} {array.shape}")
        target[...] = self.backend.asarray(array, dtype=target.dtype)


class Copyable(KeepsArrays):
    """Copy a network: whole for pickle and deepcopy, a replica, or for a thread, with the same parameters."""

    def replica(self, r: int) -> Any:
        """Copy replica r as a network of its own, or a network without replicas as it is."""
        made: Any = self
        r = check_count("r", r, at_least=0, at_most=made.replicas - 1)
        seed = made.seeds[r] if made.replica_shape else made.seeds
        alone: Any = object.__new__(type(self))
        alone._build([layer.unbound() for layer in made.layers], seed, made.dtype, made.backend)
        alone.steps, alone.epochs = made.steps, made.epochs
        for (of_all, name, _), (of_one, _, _) in zip(made.named_parameters(), alone.named_parameters(), strict=True):
            getattr(of_one, name)[...] = getattr(of_all, name)[r] if made.replica_shape else getattr(of_all, name)
        return alone

    def __getstate__(self) -> dict[str, Any]:
        made = vars(self)
        kept = {name: value for name, value in made.items() if name not in _MADE_ANEW}
        arrays = {name: self.backend.to_host(made[name]).copy() for name in ("parameters", "gradients")}
        return {"layers": [layer.unbound() for layer in made["layers"]], **kept, **arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        made: Any = self
        made._build(*(state.pop(name) for name in ("layers", "seeds", "dtype", "backend")))
        for name, value in state.items():
            setattr(self, name, value)

    def _in_this_thread(self) -> Any:
        """Return the network with its own parameters, and buffers that no other thread writes and no training uses."""
        threads = vars(self).setdefault("_threads", threading.local())
        if not hasattr(threads, "network"):
            twin: Any = object.__new__(type(self))
            vars(twin).update(vars(self), layers=[], batch_size=0, _buffers={})
            del twin._threads  # it would refer to itself
            for layer in vars(self)["layers"]:
                copy = layer.unbound()
                views = {name: vars(layer)[name] for name in layer._placed}
                copy.bind(self.backend, layer.dtype, layer.index, layer.seed, views)
                twin.layers.append(copy)
            threads.network = twin
        for theirs, ours in zip(threads.network.layers, vars(self)["layers"], strict=True):
            vars(theirs).update(ours.__getstate__())  # what a layer of one's own has learned outside of its parameters
        return threads.network
