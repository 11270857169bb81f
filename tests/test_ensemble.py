"""The two means of several teachers' probabilities, as logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistill import ArgumentError, arithmetic_mean, geometric_mean, softmax

temperatures = st.floats(0.5, 100)


@st.composite
def members(draw):
    """Logits (M, B, N) of M teachers, from tame to far apart."""
    M, B, N = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return draw(st.sampled_from([1.0, 10.0, 300.0])) * rng.standard_normal((M, B, N))


def assert_rows_are_close(found, truth):
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-12)


@given(v=members(), T=temperatures)
def test_the_arithmetic_mean_of_logits_has_the_mean_of_the_probabilities(v, T):
    assert_rows_are_close(softmax(arithmetic_mean(v, T), T), softmax(v, T).mean(axis=0))


@given(v=members(), T=temperatures)
def test_the_geometric_mean_of_logits_has_the_normalised_geometric_mean_of_the_probabilities(v, T):
    log_p = v / T - np.log(np.exp(v / T - (v / T).max(-1, keepdims=True)).sum(-1, keepdims=True))
    unnormalised = np.exp((mean := log_p.mean(axis=0)) - mean.max(axis=-1, keepdims=True))
    assert_rows_are_close(softmax(geometric_mean(v), T), unnormalised / unnormalised.sum(axis=-1, keepdims=True))


@given(v=members(), T=temperatures)
def test_an_ensemble_of_one_teacher_many_times_is_that_teacher(v, T):
    same = np.broadcast_to(v[:1], v.shape)
    for mean in (arithmetic_mean(same, T), geometric_mean(same)):
        assert_rows_are_close(softmax(mean, T), softmax(v[0], T))


@given(v=members(), T=temperatures, c=st.floats(-50, 50))
def test_a_constant_added_to_one_teachers_logits_changes_no_mean(v, T, c):
    moved = v.copy()
    moved[0] += c
    for mean in (lambda u: arithmetic_mean(u, T), geometric_mean):
        np.testing.assert_allclose(softmax(mean(moved), T), softmax(mean(v), T), rtol=1e-7, atol=1e-9)


@given(v=members(), T=temperatures)
def test_the_arithmetic_mean_gives_every_class_at_least_a_share_of_each_teachers_probability(v, T):
    """The geometric mean does not: one teacher that excludes a class excludes it for all."""
    p = softmax(arithmetic_mean(v, T), T)
    assert (p >= softmax(v, T).max(axis=0) / len(v) * (1 - 1e-9)).all()


def test_the_means_differ_where_teachers_disagree():
    v = np.array([[[8.0, 0.0, 0.0]], [[0.0, 8.0, 0.0]]])
    p, g = softmax(arithmetic_mean(v, 1.0), 1.0)[0], softmax(geometric_mean(v), 1.0)[0]
    np.testing.assert_allclose(p[2], 3.35e-4, rtol=1e-2)  # neither teacher believes it
    assert g[2] > 20 * p[2]


@pytest.mark.parametrize("T", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(T):
    with pytest.raises(ArgumentError, match=r"T must be .*> 0"):
        arithmetic_mean(np.zeros((2, 1, 3)), T)


def test_members_need_an_axis_of_their_own():
    with pytest.raises(ArgumentError, match=r"logits must have shape \(members, ..., classes\), got \(3,\)"):
        geometric_mean(np.zeros(3))
