"""Batches: every row once an epoch, each row's jitter its own, and a teacher who sees what the student sees."""

import fake_cupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistill import ArgumentError, Backend, CupyBackend, Dataset, Network, TransferSet
from minidistill.batches import Batches

SIDE = 6


def numbered(n: int, backend) -> Dataset:
    """Images that carry their own number in one pixel of the middle."""
    images = np.zeros((n, SIDE, SIDE), np.uint8)
    images[:, 2, 3] = np.arange(n) + 1
    return Dataset(images, np.arange(n) % 3, backend)


def network(backend, seeds=0) -> Network:
    return Network.mlp([SIDE * SIDE, 3], seeds=seeds, backend=backend)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), epoch=st.integers(0, 1000))
def test_an_epoch_holds_every_row_once_in_another_order(backend, n: int, batch_size: int, epoch: int) -> None:
    batches = Batches(network(backend), numbered(n, backend), batch_size)
    seen = [backend.to_host(batch.x).max(axis=-1).copy() for batch in batches.epoch(epoch)]
    assert len(seen) == len(batches)
    assert sorted(np.rint(255 * np.concatenate(seen)).astype(int)) == list(range(1, n + 1))


def test_two_epochs_and_two_seeds_have_different_orders(backend) -> None:
    data = numbered(40, backend)

    def order(seed: int, epoch: int) -> list[int]:
        (batch,) = Batches(network(backend, seed), data, 40).epoch(epoch)
        return np.rint(255 * backend.to_host(batch.x).max(axis=-1)).astype(int).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_labels_and_logits_stay_with_their_inputs(backend) -> None:
    n = 30
    data = numbered(n, backend)
    logits = np.arange(n, dtype=np.float32)[:, None] + np.array([0.0, 0.25, 0.5], np.float32)  # (n, 3), names its row
    transfer = TransferSet(data.inputs, backend.asarray(logits), data.labels, backend=backend)
    for batch in Batches(network(backend, [0, 1]), transfer, 8).epoch(3):
        row = np.rint(255 * backend.to_host(batch.x).max(axis=-1)).astype(int) - 1  # (2, B)
        np.testing.assert_array_equal(backend.to_host(batch.y), row % 3)
        np.testing.assert_array_equal(backend.to_host(batch.v), logits[row])


def test_jitter_moves_by_up_to_two_pixels_and_all_25_moves_are_equally_likely(backend) -> None:
    n, epochs = 200, 20
    moves = np.zeros((5, 5), int)
    batches = Batches(network(backend), numbered(n, backend), n, jitter=2)
    for epoch in range(epochs):
        (batch,) = batches.epoch(epoch)
        images = backend.to_host(batch.x).reshape(n, SIDE, SIDE)
        assert ((images > 0).sum(axis=(1, 2)) == 1).all()
        _, y, x = np.nonzero(images)
        np.add.at(moves, (y - 2 + 2, x - 3 + 2), 1)  # an index out of 0..4 would raise or wrap into a wrong count
    expected = n * epochs / 25
    chi_square = ((moves - expected) ** 2 / expected).sum()
    assert chi_square < 24 + 5 * np.sqrt(2 * 24)  # mean 24, variance 48: five standard deviations


def test_jitter_depends_on_the_epoch_and_the_image_and_not_on_the_batch(backend) -> None:
    data = numbered(30, backend)

    def images(batch_size: int, epoch: int) -> dict[int, bytes]:
        found = {}
        for batch in Batches(network(backend), data, batch_size, jitter=2).epoch(epoch):
            for image in backend.to_host(batch.x):
                found[round(255 * float(image.max()))] = image.tobytes()
        return found

    assert images(30, 0) == images(7, 0)
    assert images(30, 0) != images(30, 1)


def test_under_jitter_the_teacher_sees_the_jittered_images(backend) -> None:
    teacher = network(backend, seeds=5)
    transfer = TransferSet.from_teacher(teacher, numbered(20, backend), jitter=2)
    for jitter in (2, 0):
        for batch in Batches(network(backend, [0, 1]), transfer, 8, jitter).epoch(0):
            v = backend.to_host(batch.v).copy()
            expected = np.stack([backend.to_host(teacher.predict(x)) for x in batch.x])
            np.testing.assert_allclose(v, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_what_does_not_fit_is_refused(backend) -> None:
    data = numbered(5, backend)
    stored = TransferSet(data.inputs, backend.asarray(np.zeros((5, 3), np.float32)), backend=backend)
    with pytest.raises(ArgumentError, match=r"jitter must be the transfer set's, 0, .* got 1"):
        next(Batches(network(backend), stored, 5, jitter=1).epoch(0))
    flat = Dataset(np.zeros((5, SIDE * SIDE), np.float32), [0, 1, 2, 0, 1], backend)
    with pytest.raises(ArgumentError, match="jitter needs images"):
        Batches(network(backend), flat, 5, jitter=1)
    with pytest.raises(ArgumentError, match="data must have the network's 7 inputs, got 36"):
        Batches(Network.mlp([7, 3], backend=backend), data, 5)
    with pytest.raises(ArgumentError, match="batch_size must be a whole number >= 1, got 0"):
        Batches(network(backend), data, 0)


def test_data_on_another_device_than_the_network_is_refused() -> None:
    device = CupyBackend(xp=fake_cupy)
    with pytest.raises(
        ArgumentError, match="data must be on the network's backend, <backend cupy>, got <backend numpy>"
    ):
        Batches(network(device), numbered(5, Backend()), 5)
