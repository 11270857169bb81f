"""The random bits are the formula's, on every backend, and look random: uniform, and uncorrelated between neighbours.

Each statistical bound is `SIGMAS` standard deviations of the normal approximation of what is measured. As the bits are
fixed for ever, a test passes always or never; a sound generator would have failed one such bound in two million.
"""

import tracemalloc

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import minidistill as md
from minidistill import random

SIGMAS = 5
MULTIPLIERS = 0x7FEB352D, 0x846CA68B
GOLDEN = {  # (seed, purpose, position): words 0, 1, 2, 3
    (0, 0, 0): [2926543089, 3818772927, 1864879796, 3485096659],
    (1, 0, 0): [2273429456, 1991582782, 3143956358, 3569231278],
    (0, 3, 7): [2780924415, 157615921, 4124729925, 1936725183],
    (2**32 - 1, 63, 2**26 - 1): [2699847356, 294531622, 2352097561, 72479332],
}

seeds = st.integers(0, 2**32 - 1)
purposes, positions = st.integers(0, 63), st.integers(0, 2**26 - 1)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 9))


def mix(x):
    """Of a Python int, from the docstring's source."""
    for shift, multiplier in zip((16, 15), MULTIPLIERS, strict=True):
        x = (x ^ x >> shift) * multiplier % 2**32
    return x ^ x >> 16


def unmix(x):
    """The inverse, of a uint32 array: an xorshift is undone by repeating it, a product by the inverse modulo 2**32."""
    for shift, multiplier in ((16, MULTIPLIERS[1]), (15, MULTIPLIERS[0]), (16, 1)):
        x = x ^ x >> shift ^ (x >> 2 * shift if 2 * shift < 32 else 0)
        x = x * np.uint32(pow(multiplier, -1, 2**32))
    return x


def mixed(x):
    x = np.array(x, dtype=np.uint32)
    return random.mix(x, np.empty_like(x))


def draw(n=2**16, seed=0, purpose=0, position=0, first=0):
    counters = np.arange(first, first + n, dtype=np.uint32)
    return random.words(random.seed_key(seed), random.purpose_key(purpose, position), counters)


# --- the same bits everywhere ------------------------------------------------------------------------------------


def test_the_first_words_never_change(backend):
    counters = backend.xp.arange(4, dtype=np.uint32)
    for (seed, purpose, position), words in GOLDEN.items():
        key = random.seed_key(seed), random.purpose_key(purpose, position)
        assert backend.to_host(random.words(*key, counters)).tolist() == words


@given(seed=seeds, purpose=purposes, position=positions, first=st.integers(0, 2**32 - 8))
def test_a_word_is_the_formula_in_whole_numbers(backend, seed, purpose, position, first):
    counters = backend.asarray(np.arange(first, first + 7, dtype=np.uint32))
    words = random.words(random.seed_key(seed), random.purpose_key(purpose, position), counters)
    key = mix(64 * position + purpose)
    s1, s2 = mix(seed), mix((mix(seed) + 0x9E3779B9) % 2**32)
    truth = [mix(mix((i + s1) % 2**32) ^ s2 ^ key) for i in range(first, first + 7)]
    assert (words.dtype, backend.to_host(words).tolist()) == (np.uint32, truth)
    uniform = random.uniform(random.seed_key(seed), random.purpose_key(purpose, position), counters)
    assert backend.to_host(uniform).tolist() == [word / 2**32 for word in truth]  # exact, and below 1


@given(some=st.lists(seeds, min_size=1, max_size=4), position=positions, shape=shapes, threshold=st.integers(1, 256))
def test_a_replica_draws_what_it_draws_alone(backend, some, position, shape, threshold):
    key, xp = random.purpose_key(random.DROPOUT, position), backend.xp
    counters = xp.arange(shape[1], dtype=np.uint32)
    s1, s2 = random.seed_key(some, backend.asarray)
    together = random.KeepMask(xp, (len(some), *shape)).draw((s1, s2), key, threshold)
    orders = random.permutation((s1[:, 0], s2[:, 0]), key, counters)
    for r, seed in enumerate(some):
        alone = random.KeepMask(xp, shape).draw(random.seed_key(seed), key, threshold)
        assert backend.to_host(together)[r].tolist() == backend.to_host(alone).tolist()
        order = random.permutation(random.seed_key(seed), key, counters)
        assert backend.to_host(orders)[r].tolist() == backend.to_host(order).tolist()


@given(seed=seeds, position=positions, shape=shapes, more=st.integers(1, 20), threshold=st.integers(1, 255))
def test_the_mask_of_a_row_does_not_depend_on_the_size_of_its_batch(backend, seed, position, shape, more, threshold):
    seed_words, key = random.seed_key(seed), random.purpose_key(random.DROPOUT, position)
    small = random.KeepMask(backend.xp, shape).draw(seed_words, key, threshold)
    large = random.KeepMask(backend.xp, (shape[0] + more, shape[1])).draw(seed_words, key, threshold)
    assert backend.to_host(large)[: shape[0]].tolist() == backend.to_host(small).tolist()


@given(seed=seeds, n=st.integers(1, 300), position=positions)
def test_a_permutation_holds_every_number_once_and_is_that_of_the_reference(backend, seed, n, position):
    seed_words, key = random.seed_key(seed), random.purpose_key(random.SHUFFLE, position)
    order = random.permutation(seed_words, key, backend.xp.arange(n, dtype=np.uint32))
    assert order.dtype == np.int64
    assert sorted(backend.to_host(order).tolist()) == list(range(n))
    assert (
        backend.to_host(order).tolist() == np.argsort(draw(n, seed, random.SHUFFLE, position), kind="stable").tolist()
    )


def test_the_first_weights_are_the_same_bits_on_every_backend_and_differ_between_layers_and_seeds(backend):
    network, truth = (md.Network.mlp([9, 9, 9], seeds=[0, 1], backend=on) for on in (backend, md.Backend()))
    assert backend.to_host(network.parameters).tolist() == truth.parameters.tolist()
    rows = [W.reshape(-1) for layer in truth.weights() for W in layer]
    assert len({row.tobytes() for row in rows}) == len(rows) == 4


# --- mix ---------------------------------------------------------------------------------------------------------


def test_mix_is_a_bijection_with_this_inverse():
    for stride in (1, 4096, 0x9E3779B1):  # low words, all of the range, and scattered ones
        x = np.arange(2**20, dtype=np.uint32) * np.uint32(stride)
        np.testing.assert_array_equal(unmix(mixed(x)), x)
        np.testing.assert_array_equal(mixed(unmix(x)), x)


def test_no_two_purposes_and_positions_share_a_key():
    keys = {random.purpose_key(purpose, position) for purpose in range(64) for position in range(500)}
    assert len(keys) == 64 * 500


def test_each_bit_that_enters_mix_flips_each_bit_that_leaves_half_of_the_time():
    n = 2**16
    x = draw(n)
    for i in range(32):
        flips = mixed(x) ^ mixed(x ^ np.uint32(1 << i))
        rates = [(flips >> j & 1).mean() for j in range(32)]
        assert np.abs(np.array(rates) - 0.5).max() <= SIGMAS * 0.5 / np.sqrt(n)


def test_seeds_whose_first_keys_are_neighbours_share_no_words():
    """mix(298) and mix(864) differ by 4091, so that with one key their words would be one sequence, shifted."""
    (a, _), (b, _) = random.seed_key(298), random.seed_key(864)
    assert abs(a - b) == 4091
    shared = set(draw(2**14, seed=298).tolist()) & set(draw(2**14, seed=864).tolist())
    assert len(shared) <= 4  # 2**14 * 2**14 / 2**32 = 1/16 expected by chance


# --- statistics of the words -------------------------------------------------------------------------------------

NEIGHBOURS = {
    "seeds": lambda k: [{"seed": k}, {"seed": k + 1}],
    "purposes": lambda k: [{"purpose": k}, {"purpose": k + 1}],
    "positions": lambda k: [{"position": k}, {"position": k + 1}],
    "samples": lambda k: [{"seed": k, "first": 0}, {"seed": k, "first": 1}],
    "words of one mask": lambda k: [{"position": k, "first": 0}, {"position": k, "first": 400}],
    "seed and position": lambda k: [{"seed": k, "position": k + 1}, {"seed": k + 1, "position": k}],
}


def chi_square(counts):
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2).sum() / expected


@pytest.mark.parametrize("byte", range(4))
def test_every_byte_of_a_word_is_uniform_over_many_keys(byte):
    """The sum of K chi-squares of 255 degrees of freedom has mean 255 K and variance 2 x 255 K."""
    keys = [{"seed": k % 7, "purpose": k % 5, "position": k} for k in range(40)]
    total = sum(chi_square(np.bincount(draw(**key).view(np.uint8)[byte::4], minlength=256)) for key in keys)
    assert abs(total - 255 * len(keys)) <= SIGMAS * np.sqrt(2 * 255 * len(keys))


@pytest.mark.parametrize("between", NEIGHBOURS)
def test_neighbouring_purposes_and_positions_are_uncorrelated(between):
    """n products of independent uniforms, scaled to variance 1, have a mean r of variance 1/n; so r sqrt(n) ~ N(0, 1).

    K of their squares sum to a chi-square, of mean K and variance 2 K. Bits that are equal half of the time have a rate
    of variance 1/(4 n).
    """
    n, K = 2**15, 30
    z, equal = [], []
    for k in range(K):
        a, b = (draw(n, **key) for key in NEIGHBOURS[between](k))
        u, w = ((x / 2**32 - 0.5) * np.sqrt(12) for x in (a, b))
        z.append((u * w).mean() * np.sqrt(n))
        equal.append([(~(a ^ b) >> np.uint32(j) & 1).mean() for j in range(32)])
    assert np.abs(z).max() <= SIGMAS
    assert abs(np.square(z).sum() - K) <= SIGMAS * np.sqrt(2 * K)
    assert np.abs(np.array(equal) - 0.5).max() <= SIGMAS * 0.5 / np.sqrt(n)


@pytest.mark.parametrize("over", ["seeds", "epochs"])
def test_all_orders_of_four_are_equally_likely(over):
    """Chi-square of 23 degrees of freedom: mean 23, variance 46."""
    n, counters = 4800, np.arange(4, dtype=np.uint32)
    if over == "seeds":
        keys = tuple(half[:, 0] for half in random.seed_key(list(range(n))))  # each (n, 1)
        orders = random.permutation(keys, random.purpose_key(random.SHUFFLE), counters)
    else:
        keys = [random.purpose_key(random.SHUFFLE, epoch) for epoch in range(n)]
        orders = np.array([random.permutation(random.seed_key(0), key, counters) for key in keys])
    _, counts = np.unique(orders @ [64, 16, 4, 1], return_counts=True)
    assert counts.size == 24
    assert chi_square(counts) <= 23 + SIGMAS * np.sqrt(46)


# --- dropout -----------------------------------------------------------------------------------------------------


@given(rate=st.floats(0, 255 / 256))
def test_the_keep_rate_is_the_nearest_multiple_of_1_in_256_and_never_0(rate):
    threshold = random.keep_threshold(rate)
    assert 1 <= threshold <= 256
    assert abs(threshold / 256 - (1 - rate)) <= 1 / 512


@pytest.mark.parametrize("rate", [-0.01, 0.997, 1, np.nan])
def test_a_rate_that_would_keep_nothing_or_more_than_all_is_refused(rate):
    with pytest.raises(md.ArgumentError, match="dropout rate must be"):
        md.Dropout(rate)


@given(seed=seeds, position=positions, thresholds=st.tuples(st.integers(1, 256), st.integers(1, 256)))
def test_a_higher_threshold_keeps_all_that_a_lower_one_keeps_and_256_keeps_all(backend, seed, position, thresholds):
    mask, key = random.KeepMask(backend.xp, (3, 50)), random.purpose_key(random.DROPOUT, position)
    low, high, whole = (
        backend.to_host(mask.draw(random.seed_key(seed), key, threshold)).copy()
        for threshold in (*sorted(thresholds), 256)
    )
    assert (low <= high).all()
    assert whole.all()


@pytest.mark.parametrize("threshold", [1, 13, 128, 205, 255])
def test_the_share_that_is_kept_is_the_threshold_in_256(threshold):
    """A share of n independent units that are each kept with probability p has the variance p (1 - p)/n."""
    mask, p, steps = random.KeepMask(np, (64, 99)), threshold / 256, 100
    kept = [
        mask.draw(random.seed_key(0), random.purpose_key(random.DROPOUT, step), threshold).mean()
        for step in range(steps)
    ]
    assert abs(np.mean(kept) - p) <= SIGMAS * np.sqrt(p * (1 - p) / (steps * 64 * 99))


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_dropout_keeps_the_mean_of_every_unit_in_training_and_every_unit_outside(backend, rate):
    """Over S steps, a unit x that is kept with probability p and divided by p has a mean of variance x² (1/p - 1)/S."""
    steps, x = 400, np.linspace(-2, 3, 16 * 24).reshape(16, 24)
    layer, out = md.Dropout(rate), backend.asarray(np.zeros(x.shape))
    layer.bind(backend, np.dtype(float), 0, random.seed_key(3), {})
    layer.scratch = layer.make_scratch(x.shape)
    on_device = backend.asarray(x.copy())
    mean = sum(backend.to_host(layer.forward(on_device, out, step)).copy() for step in range(steps)) / steps
    deviations = (mean - x) / np.abs(x) / np.sqrt((1 / layer.keep - 1) / steps)  # each about N(0, 1)
    assert np.abs(deviations).max() <= SIGMAS
    assert abs(np.square(deviations).sum() - x.size) <= SIGMAS * np.sqrt(2 * x.size)
    assert backend.to_host(layer.forward(on_device, out, None)).tolist() == x.tolist()


def test_where_every_unit_is_kept_nothing_is_drawn(monkeypatch):
    mask = random.KeepMask(np, (3, 5))
    mask.keep[...] = False
    monkeypatch.setattr(random, "words", lambda *arguments: pytest.fail("words were drawn"))
    assert mask.draw(random.seed_key(0), 1, 256).all()


def test_a_mask_is_redrawn_in_its_own_memory():
    mask = random.KeepMask(np, (1000, 1000))
    key = random.seed_key(0)
    mask.draw(key, 1, 128)
    tracemalloc.start()
    drawn = mask.draw(key, 2, 128)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert drawn is mask.keep
    assert drawn.dtype == bool
    assert peak < 100_000  # of a million units


def test_the_first_position_of_a_purpose_is_0():
    assert random.purpose_key(random.SHUFFLE) == random.purpose_key(random.SHUFFLE, 0)
