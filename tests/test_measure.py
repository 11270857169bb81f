"""Errors, accuracy, the confusion matrix and probabilities say the same of a network, each in its own way."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import some

import minidistill as md


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, np.ndarray, np.ndarray, int]:
    """Seeds, inputs, labels that need not name every class, and the network's number of classes."""
    seeds = draw(st.one_of(st.integers(0, 99), st.lists(st.integers(0, 99), min_size=1, max_size=3)))
    rows, classes = draw(st.sampled_from([1, 2, 40, 1001, 2003])), draw(st.integers(2, 6))  # predict's blocks: 1,000
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    return seeds, x, rng.integers(0, draw(st.integers(1, classes)), rows), classes


@some
@given(case=cases())
def test_the_confusion_matrix_counts_each_row_once_where_its_label_and_its_answer_meet(backend: Any, case: Any) -> None:
    seeds, x, y, classes = case
    network = md.Network.mlp([3, 5, classes], seeds=seeds, backend=backend)
    data = md.Dataset(x, y, backend, classes)
    z = backend.to_host(network.predict(x)).reshape(-1, len(x), classes)
    counts = md.confusion_matrix(network, data)
    assert counts.shape == (*network.replica_shape, classes, classes)
    for r, one in enumerate(counts.reshape(-1, classes, classes)):
        for label, answer in np.ndindex(classes, classes):
            assert one[label, answer] == ((y == label) & (z[r].argmax(axis=-1) == answer)).sum()
    np.testing.assert_array_equal(
        counts.sum(axis=-1), np.broadcast_to(np.bincount(y, minlength=classes), counts.shape[:-1])
    )
    diagonal = np.trace(counts, axis1=-2, axis2=-1)
    np.testing.assert_array_equal(md.errors(network, data), len(x) - diagonal)
    np.testing.assert_allclose(md.accuracy(network, data), diagonal / len(x), rtol=1e-15)
    assert isinstance(md.accuracy(network, data), float if isinstance(seeds, int) else list)


@some
@given(case=cases(), T=st.sampled_from([1.0, 0.5, 20.0]))
def test_probabilities_are_the_softmax_of_the_logits_at_T(backend: Any, case: Any, T: float) -> None:
    seeds, x, _, classes = case
    network = md.Network.mlp([3, 5, classes], seeds=seeds, backend=backend)
    q = backend.to_host(md.predict_proba(network, x, T))
    np.testing.assert_allclose(q.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(q, backend.to_host(md.softmax(network.predict(x), T)))


def test_what_has_no_answer_is_told(backend: Any) -> None:
    network, x = md.Network.mlp([3, 4], backend=backend), np.ones((5, 3), np.float32)
    unlabelled = md.TransferSet(x, np.zeros((5, 4), np.float32), backend=backend)
    many = md.Dataset(x, [0, 1, 2, 3, 7], backend)
    for function in (md.errors, md.accuracy, md.confusion_matrix):
        with pytest.raises(md.ArgumentError, match="data must have labels"):
            function(network, unlabelled)
        with pytest.raises(md.ArgumentError, match=r"labels must lie in 0\.\.3"):
            function(network, many)
    network.parameters.fill(np.nan)
    for function in (md.accuracy, md.confusion_matrix):
        with pytest.raises(md.Diverged, match="finite logits"):
            function(network, md.Dataset(x, [0, 1, 2, 3, 3], backend))
    with pytest.raises(md.ArgumentError, match="network must be a Network"):
        md.predict_proba(x, x)
