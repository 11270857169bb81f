"""Random bits as a pure function of (seed, purpose, epoch or step, index). No hidden state.

    word(i) = mix(mix(i + s1) ^ s2 ^ mix(64 position + purpose))     position: an epoch, a step or a layer
    s1 = mix(seed), s2 = mix(s1 + 0x9e3779b9)

is a uniform 32-bit word. So the same seed gives the same weights, shuffles, jitter and masks on every backend, in any
order and from any number of workers, and a training can go on from any step. `mix` is a bijection, so that two
(purpose, position) of a seed never share a key; s2 parts the seeds whose s1 are so near that their counters overlap.
Left out: cryptographic strength, and all but uniform distributions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .checks import Array, check_number, xp_of

INIT, SHUFFLE, JITTER, DROPOUT = range(4)  # purposes; the dropout of layer k is DROPOUT + k


def mix(x: Array, scratch: Array) -> Array:
    """Scramble uint32 words in place; every bit that comes out depends on every bit that went in.

    The two multipliers and three shifts are "lowbias32", the least biased of their form found by C. Wellons'
    search ("Prospecting for hash functions", nullprogram.com, 2018).
    """
    xp = xp_of(x)
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        xp.right_shift(x, shift, out=scratch)
        xp.bitwise_xor(x, scratch, out=x)
        xp.multiply(x, multiplier, out=x)
    xp.right_shift(x, 16, out=scratch)
    return xp.bitwise_xor(x, scratch, out=x)


def seed_key(seeds: int | list[int], asarray: Callable[[Array], Array] = np.asarray) -> tuple[Any, Any]:
    """Return (s1, s2): ints for one network; for R replicas arrays (R, 1, 1), moved to a device by its `asarray`."""
    x = np.atleast_1d(np.asarray(seeds)).astype(np.uint32)
    s1 = mix(x, np.empty_like(x))
    s2 = mix(s1 + np.uint32(0x9E3779B9), np.empty_like(x))
    if np.ndim(seeds) == 0:
        return int(s1[0]), int(s2[0])
    return asarray(s1[:, None, None]), asarray(s2[:, None, None])  # (R, 1, 1)


def purpose_key(purpose: int, position: int = 0) -> int:
    """Return mix(64 position + purpose), distinct for every purpose < 64 and position < 2**26."""
    x = np.array([(64 * position + purpose) & 0xFFFFFFFF], dtype=np.uint32)
    return int(mix(x, np.empty_like(x))[0])


def words(
    seed: tuple[Any, Any], key: int, counters: Array, out: Array | None = None, scratch: Array | None = None
) -> Array:
    """Return the uint32 words number `counters`, for a `seed` of seed_key and a `key` of purpose_key.

    counters (..., n) uint32; a seed of shape (R, 1, 1) gives words (R, ..., n). `out` and `scratch` are buffers of
    the result's shape, allocated if absent.
    """
    xp = xp_of(counters)
    s1, s2 = seed
    out = xp.add(counters, s1, out=out)
    scratch = xp.empty_like(out) if scratch is None else scratch
    mix(out, scratch)
    xp.bitwise_xor(out, s2 ^ key, out=out)
    return mix(out, scratch)


def uniform(seed: Any, key: int, counters: Array) -> Array:
    """Return float64 numbers in [0, 1): word / 2**32, exact."""
    u = words(seed, key, counters).astype(np.float64)
    u *= 2.0**-32
    return u


def permutation(seed: Any, key: int, counters: Array) -> Array:
    """Return the numbers 0..n-1 in random order, int64 (..., n), given counters = 0..n-1, uint32.

    They are sorted by their words. The word in the high half and the number in the low half of a uint64 make what is
    sorted distinct, so that any correct sort on any backend gives this one order.
    """
    xp = xp_of(counters)
    sortable = words(seed, key, counters).astype(xp.uint64) << 32 | counters
    return (xp.sort(sortable) & 0xFFFFFFFF).astype(xp.int64)


def keep_threshold(rate: float) -> int:
    """Return the number of byte values, of 256, on which a unit is kept at this dropout rate in [0, 255/256]."""
    rate = check_number("dropout rate", rate, at_least=0, at_most=255 / 256)
    return int(np.rint(256 * (1 - rate)))


class KeepMask:
    """Draw a boolean dropout mask (..., B, n), True where a unit is kept, in place: four units to a random word.

    A unit is kept if its byte is below `threshold`, so that keep rates are the multiples of 1/256.
    """

    def __init__(self, xp: Any, shape: tuple[int, ...]) -> None:
        *replicas, rows, columns = shape
        per_row = -(-columns // 4)  # whole words, so that a row's bits do not depend on the rows before it
        self.counters = xp.arange(rows * per_row, dtype=xp.uint32).reshape(rows, per_row)
        self.words = xp.empty((*replicas, rows, per_row), dtype=xp.uint32)
        self.scratch = xp.empty_like(self.words)
        self.bytes = self.words.view(xp.uint8)[..., :columns]  # (..., B, n)
        self.keep = xp.empty(shape, dtype=bool)

    def draw(self, seed: Any, key: int, threshold: int) -> Array:
        """Draw the mask of a seed (see seed_key) and a key (see purpose_key), and return it."""
        if threshold == 256:  # beyond a byte, with which NumPy 2.0 crashes in `less`
            self.keep.fill(True)
            return self.keep
        words(seed, key, self.counters, self.words, self.scratch)
        return xp_of(self.keep).less(self.bytes, threshold, out=self.keep)
