"""The kit's own formulas, written apart from the package's losses, agree with them."""

import numpy as np
import pytest

import minidistill as md
from minidistill.testing.losses.forms import FORMS


def total(loss, *arguments):
    """The sum over rows of what a loss of the package averages over them."""
    return len(arguments[0]) * loss(*arguments)[0]


def kl_to_a_mixture(p, q, part):
    return (p * np.log(p / (part * p + (1 - part) * q))).sum()


def uncorrelated(q, p):
    """B (1 - ρ), averaged over rows, with Pearson's ρ, which np.corrcoef does not know of complex numbers."""
    q, p = (u - u.mean(-1, keepdims=True) for u in (q, p))
    return (1 - (q * p).sum(-1) / np.sqrt((q * q).sum(-1) * (p * p).sum(-1))).mean()


def with_torchs_deviation(u):
    u = u - u.mean(-1, keepdims=True)
    return u / (np.sqrt((u * u).sum(-1, keepdims=True) / (u.shape[-1] - 1)) + 1e-7)


SUMS = {  # what the sums of a form are, by the losses of the package
    "KL(teacher || student)": lambda z, v, T, y: total(md.kl_divergence, z, v, T),
    "cross-entropy(teacher, student)": lambda z, v, T, y: total(md.soft_cross_entropy, z, v, T),
    "KL(student || teacher)": lambda z, v, T, y: total(md.reverse_kl, z, v, T),
    "cross-entropy(student, teacher)": lambda z, v, T, y: total(md.soft_cross_entropy, v, z, T),
    "KL, T on the student alone": lambda z, v, T, y: total(md.kl_divergence, z / T, v, 1.0),
    "KL, T on the teacher alone": lambda z, v, T, y: total(md.kl_divergence, z, v / T, 1.0),
    "KL, T on neither": lambda z, v, T, y: total(md.kl_divergence, z, v, 1.0),
    "cross-entropy, T on the student alone": lambda z, v, T, y: total(md.soft_cross_entropy, z / T, v, 1.0),
    "cross-entropy, T on the teacher alone": lambda z, v, T, y: total(md.soft_cross_entropy, z, v / T, 1.0),
    "cross-entropy, T on neither": lambda z, v, T, y: total(md.soft_cross_entropy, z, v, 1.0),
    "KL of a softmax of probabilities": lambda z, v, T, y: total(md.kl_divergence, z / T, md.softmax(v, T), 1.0),
    "squared difference of the logits": lambda z, v, T, y: ((z - v) ** 2).sum(),
    "squared difference of the centred logits": lambda z, v, T, y: 2 * total(md.logit_matching, z, v),
    "squared difference of the probabilities": lambda z, v, T, y: ((md.softmax(z, T) - md.softmax(v, T)) ** 2).sum(),
    "decoupled": lambda z, v, T, y: [total(md.decoupled, z, v, y, T, *weights) for weights in ((1, 0), (0, 1))],
    "DIST": lambda z, v, T, y: [total(md.dist, z, v, T, *weights) for weights in ((1, 0), (0, 1))],
    "DIST, norms of at least 1e-8": lambda z, v, T, y: [
        len(z) * uncorrelated(q, p) for q, p in zip(both(md.softmax(z, T)), both(md.softmax(v, T)), strict=True)
    ],
    "KL of standardised logits": lambda z, v, T, y: total(md.standardised, z, v, T),
    "KL of standardised logits, deviation over N - 1": lambda z, v, T, y: total(
        md.kl_divergence, with_torchs_deviation(z), with_torchs_deviation(v), T
    ),
    "Jensen-Shannon, beta 0.1": lambda z, v, T, y: total(md.jensen_shannon, z, v, T, 0.1),
    "skewed KL, 0.1": lambda z, v, T, y: kl_to_a_mixture(md.softmax(v, T), md.softmax(z, T), 0.1),
    "skewed reverse KL, 0.1": lambda z, v, T, y: kl_to_a_mixture(md.softmax(z, T), md.softmax(v, T), 0.1),
}


def both(q):
    return q, q.T


def a_batch(*shape):
    """z + ih, v and y: the imaginary part of a sum over h is its slope in a direction."""
    rng = np.random.default_rng(0)
    z, v, direction = 2 * rng.standard_normal((3, *shape))
    return z + 1e-30j * direction, v, rng.integers(0, shape[-1], shape[:-1])


def assert_the_same(found, wanted, rtol):
    for a, b in zip(np.atleast_1d(found), np.atleast_1d(wanted), strict=True):
        np.testing.assert_allclose((a.real, a.imag), (b.real, b.imag), rtol)


@pytest.mark.parametrize("name", SUMS)
def test_a_form_and_its_slope_are_those_of_the_packages_loss_whatever_the_level_of_each_row(name):
    z, v, y = a_batch(3, 5)
    wanted = SUMS[name](z, v, 3.0, y)
    assert_the_same(FORMS[name].sums(z, v, 3.0, y), wanted, 1e-12)
    levels = 1e5 * np.arange(3)[:, None]  # no exponential, over T, holds two of these
    assert_the_same(FORMS[name].sums(z + levels, v + levels, 3.0, y), wanted, 1e-8)


def test_every_form_but_for_its_weight_is_in_the_table_of_the_compared():
    assert {name.rstrip(".0123456789") for name in FORMS} == {name.rstrip(".0123456789") for name in SUMS}


@pytest.mark.parametrize("name", SUMS)
def test_a_form_of_a_stack_of_batches_is_the_sum_over_them(name):
    z, v, y = a_batch(2, 3, 5)
    one, other = (np.array(FORMS[name].sums(z[r], v[r], 3.0, y[r])) for r in range(2))
    assert_the_same(FORMS[name].sums(z, v, 3.0, y), one + other, 1e-12)


@pytest.mark.parametrize("name", [name for name in SUMS if ", T on " in name])
def test_a_form_is_softened_where_it_depends_on_the_students_logits_over_T_alone(name):
    z, v, y = a_batch(3, 5)
    (a,), (b,) = (FORMS[name].sums(factor * z, 0 * v, factor, y) for factor in (1.0, 2.0))  # a teacher at any T
    assert FORMS[name].softened == bool(np.isclose(a, b))


def test_the_decoupled_form_is_finite_where_a_row_is_certain_of_its_target_beside_one_that_is_not():
    z, v, y = a_batch(3, 5)
    far = 1e4 * (np.arange(5) == y[:, None]) * np.array([[1], [0], [0]])
    assert_the_same(
        FORMS["decoupled"].sums(z + far, v + far, 3.0, y), SUMS["decoupled"](z + far, v + far, 3.0, y), 1e-9
    )


def test_where_nothing_varies_a_row_of_dist_counts_as_uncorrelated_and_below_1e_8_as_varying_less():
    z = np.log(0.2 + 1e-9 * np.array([[3, -1, -1, -1, 0.0], [0, 0, 0, 0, 0]]))  # norms of 3.5e-9 and of 0
    q = md.softmax(z) - 0.2
    product = (q[0] ** 2).sum()
    for name, rho in (("DIST", product / (product + 1e-8)), ("DIST, norms of at least 1e-8", product / 1e-16)):
        assert FORMS[name].sums(z, z, 1.0, None)[0] == pytest.approx(2 - rho, rel=0, abs=1e-9)


def test_deviations_of_standardised_logits_are_taken_for_1e_7_more():
    z, v, y = a_batch(3, 5)
    z, v = 1e-6 * z, 1e-6 * v
    for name in ("KL of standardised logits", "KL of standardised logits, deviation over N - 1"):
        assert_the_same(FORMS[name].sums(z, v, 3.0, y), SUMS[name](z, v, 3.0, y), 1e-9)
