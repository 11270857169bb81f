"""The proof kit: every mistake in the museum is caught by the law meant for it, and no correct loss is accused."""

import functools
import importlib
import inspect
import itertools
import json
import re
import subprocess
import sys
import time
import types
from types import SimpleNamespace

import museum
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import EXAMPLES

import minidistill as md
import minidistill.testing
from minidistill.testing import assert_distillation_loss, check_distillation_loss, check_law
from minidistill.testing.gradients.strategies import logits_BN, shapes_BN, temperatures
from minidistill.testing.losses import domain as domain_module
from minidistill.testing.losses import fingerprint as fingerprint_module
from minidistill.testing.losses import frameworks
from minidistill.testing.losses import judge as judge_module
from minidistill.testing.losses import report as report_module
from minidistill.testing.losses.domain import (
    ALPHAS,
    EPSILONS,
    Domain,
    _described,
    _listed,
    drawn_alphas,
    drawn_shapes,
    drawn_temperatures,
    random_batch,
)
from minidistill.testing.losses.fingerprint import Fingerprint, leading
from minidistill.testing.losses.forms import FORMS, LATER, decoupled, log_softmax
from minidistill.testing.losses.frameworks import Loss, Outcome, Unusable
from minidistill.testing.losses.hard import hard_term
from minidistill.testing.losses.judge import Broken, Case, Judge, _temperature
from minidistill.testing.losses.laws import LAWS, Law
from minidistill.testing.losses.report import WANTED, Report, _expectation
from minidistill.testing.losses.search import Pool, Verdict, drawn, has, try_law
from minidistill.testing.losses.targets import _looks_like_a_loss, find_losses, load_function, name_of
from minidistill.testing.losses.terms import Term, rounding, scale, soft_term, value_of
from minidistill.testing.losses.weights import Unrecognised, Weights, weights_of

KL = "KL(teacher || student)"
NAMES = [loss.__name__ for loss in museum.CORRECT]
SOFT, HARD, BOTH = {1.0: 1.0}, {0.0: 1.0}, {0.25: -1.0, 0.75: 2.0}  # mixes of alphas
SUMS = FORMS[KL].sums  # of a term that has some formula


@pytest.mark.parametrize("loss", museum.CORRECT, ids=NAMES)
def test_a_correct_loss_of_any_convention_passes(loss):
    report = assert_distillation_loss(loss, examples=EXAMPLES)
    entropy = loss is museum.probabilities_in_float16 or "entropy" in loss.__name__
    assert report.fingerprint.form == ("cross-entropy(teacher, student)" if entropy else "KL(teacher || student)")
    for unusual, text in museum.UNUSUAL:
        if unusual is loss:
            assert text in str(report)


@pytest.mark.parametrize(("loss", "word"), museum.LATER, ids=[loss.__name__ for loss, _ in museum.LATER])
def test_a_later_loss_is_named_with_its_paper_and_passes_where_it_is_expected(loss, word):
    report = check_distillation_loss(loss, expect=word, examples=EXAMPLES)
    assert report.passed, str(report)
    assert f"this is {word} (" in report.sentence
    assert "no mistake where it is meant; judged by its own formula, all" in report.sentence
    report = check_distillation_loss(loss, examples=1)
    assert [verdict.law for verdict in report.broken] == ["it_is_a_divergence_from_teacher_to_student"]
    assert report.sentence.endswith(f"--expect {word}")


def test_a_later_loss_that_is_wrong_is_broken_though_it_is_expected():
    wrong = lambda z, v, T: museum.reverse_kl(z, v, T) * (1 + (z.shape[1] == 4))  # noqa: E731
    report = check_distillation_loss(wrong, expect="reverse-kl")
    assert {"its_values_are_those_of_its_formula_everywhere"} <= {verdict.law for verdict in report.broken}
    assert "judged by its own formula, it breaks " in report.sentence
    report = check_distillation_loss(museum.kl_value_alone, expect="reverse-kl", examples=1)
    assert [verdict.broken for verdict in report.broken] == ["it is KL(teacher || student), declared was reverse-kl"]


@pytest.mark.parametrize(("loss", "law"), museum.MISTAKES, ids=[loss.__name__ for loss, _ in museum.MISTAKES])
def test_each_mistake_is_caught_by_the_law_meant_for_it(loss, law):
    verdict = try_law(Judge(Loss(loss)), law)
    assert verdict.broken
    assert verdict.mistake
    assert verdict.case is not None
    with pytest.raises(AssertionError, match="^" + re.escape(law.replace("_", " "))):
        check_law(loss, law, verdict.case.arguments())


def test_every_law_has_a_mistake_of_its_own_in_the_museum():
    of_autodiff = {name for name, law in LAWS.items() if law.needs == "autodiff"}  # tests/test_frameworks.py
    assert {law for _, law in museum.MISTAKES} == set(LAWS) - of_autodiff


@pytest.mark.parametrize(
    ("loss", "form", "reduction", "power"),
    [
        (museum.kl_batchmean_t2, "KL(teacher || student)", "batchmean", 2),
        (museum.kl_sum_t2, "KL(teacher || student)", "sum", 2),
        (museum.cross_entropy_batchmean, "cross-entropy(teacher, student)", "batchmean", 0),
        (museum.divided_by_classes, "KL(teacher || student)", "mean", 2),
        (museum.t_once, "KL(teacher || student)", "batchmean", 1),
        (museum.t_inverse_squared, "KL(teacher || student)", "batchmean", -2),
        (museum.swapped, "KL(student || teacher)", "batchmean", 2),
        (museum.temperature_on_the_student_alone, "KL, T on the student alone", "batchmean", 0),
        (museum.no_softmax, "squared difference of the logits", "mean", 0),
        (lambda z, v, T: 3 * museum.kl_value_alone(z, v, T), "KL(teacher || student)", "batchmean times 3", 2),
        (
            lambda z, v, T: museum.kl_value_alone(z, v, T) / z.shape[1] ** 2,
            "KL(teacher || student)",
            "B^-1.00 N^-2.00 times 1",
            2,
        ),
    ],
)
def test_the_fingerprint_names_what_the_loss_is(loss, form, reduction, power):
    found = check_distillation_loss(loss, examples=1).fingerprint
    assert (found.form, found.reduction, found.power) == (form, reduction, power)


@pytest.mark.parametrize(
    ("loss", "weighs", "power"),
    [
        (museum.alpha_weighs_the_soft_term, "soft", 0),
        (museum.alpha_weighs_the_hard_term, "hard", 0),
        (museum.t2_on_the_hard_term, "soft", 2),
        (lambda z, v, T, y, alpha: md.distillation(z, v, y, T, alpha), "soft", 0),
    ],
)
def test_the_fingerprint_names_what_alpha_weighs_and_the_hard_terms_power_of_temperature(loss, weighs, power):
    found = check_distillation_loss(loss, examples=1).fingerprint
    assert (found.alpha, found.hard_power) == (weighs, power)


def test_the_projects_own_losses_pass_with_what_they_declare():
    assert_distillation_loss(
        lambda z, v, T, y, alpha: md.distillation(z, v, y, T, alpha), expect="kl,batchmean,t2", examples=EXAMPLES
    )
    assert_distillation_loss(md.kl_divergence, expect="kl,batchmean,t0", examples=EXAMPLES)
    assert_distillation_loss(md.soft_cross_entropy, expect="ce,batchmean,t0", examples=EXAMPLES)


@pytest.mark.parametrize("expect", ["ce", "sum", "t0", "detached"])
def test_what_is_declared_and_not_so_is_broken(expect):
    report = check_distillation_loss(museum.kl_batchmean_t2, expect=expect, examples=1)
    assert [verdict.law for verdict in report.broken] == [f"it_is_{expect}_as_declared"]


POWERS = [(lambda T: 1.0, 0.0), (lambda T: T, 1.0), (lambda T: T ** (1 / 3), 0.33), (lambda T: T**-2, -2.0),
          (lambda T: 1 + T, None)]  # fmt: skip


@pytest.mark.parametrize(("factor", "power"), POWERS)
def test_the_power_of_the_hard_term_is_told_to_two_digits_or_not_at_all(factor, power):
    def loss(z, v, T, y, alpha):
        return alpha * museum.kl_value_alone(z, v, T) + (1 - alpha) * museum.hard(z, y)[0] * factor(T)

    assert Judge(Loss(loss)).fingerprint.hard_power == power


@pytest.mark.parametrize(("factor", "power"), POWERS)
def test_the_power_of_the_soft_term_is_told_to_two_digits_or_not_at_all(factor, power):
    found = Judge(Loss(lambda z, v, T: factor(T) * museum.kl_value_alone(z, v, T) / T**2)).fingerprint
    assert (found.form, found.power) == (KL, power)


@pytest.mark.parametrize(("into_teacher", "detached"), [(None, None), (0.0, True), (1.0, False)])
@pytest.mark.parametrize("soft", [museum.kl_value_alone, lambda z, v, T: np.abs(z - v).sum()])
def test_a_fingerprint_tells_all_that_it_can_of_a_known_and_of_an_unknown_form(soft, into_teacher, detached):
    def call(function, z, v, T, rest):
        y, alpha = rest
        value = (1 - alpha) * soft(z, v, T) + alpha * T * museum.hard(z, y)[0]
        return value, 0 * z, None if into_teacher is None else into_teacher * (1 - alpha) + 0 * v

    loss = Loss(museum.alpha_weighs_the_hard_term)
    loss._call = call
    found = Judge(loss).fingerprint
    known = (KL, "batchmean", 2.0) if soft is museum.kl_value_alone else ("unknown", "unknown", None)
    assert found == Fingerprint(*known, "hard", 1.0, detached, "cross-entropy", "batchmean")


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, v, T, y, alpha: museum.kl_value_alone(z, v, T) + museum.hard(z, y)[0],
        lambda z, v, T, y, alpha: alpha * museum.hard(z, y)[0] + (1 - alpha) * T,
    ],
    ids=["both everywhere", "no teacher anywhere"],
)
def test_where_the_soft_term_is_never_alone_nothing_is_recognised(loss):
    text = (
        "the soft term is alone at no mix of two alphas: the loss must depend on alpha, and its soft term on the "
        "teacher and not on the labels"
    )
    assert check_distillation_loss(loss).unusable == text


def asked(loss, **known):
    """The domain of a loss of which it is known where it answers, and which need not be tried."""
    domain = Domain.__new__(Domain)
    vars(domain).update({"loss": Loss(loss), "_known": {}, "_bytes": 0, "base": (4, 5), "T": 4.0, "epsilon": 1e-12,
                         "temperatures": [1, 2, 0.5, 4, 100, 10000], "alphas": [1, 0, 0.5, 0.25, 0.1]})  # fmt: skip
    vars(domain).update(known)
    return domain


def the_soft_term(loss, **known):
    return soft_term(asked(loss, **known), {1.0: 1.0})


def of_parts(form, y=None, times=lambda B, N, T: T**2 / B):
    """A loss of a form, of whose parts the second weighs 16 times as much as the first."""

    def loss(z, v, T, y, alpha):
        return times(*z.shape, T) * sum(16**i * part for i, part in enumerate(form.sums(z, v, T, y)))

    return loss if y is None else lambda z, v, T: loss(z, v, T, y(len(z)), 1.0)


@pytest.mark.parametrize("name", [name for name in FORMS if not re.search(r"0\.[2-46-8]", name)])
def test_each_form_is_told_from_all_others_with_the_weights_of_its_parts(name):
    loss = of_parts(FORMS[name])
    term = the_soft_term(loss)
    parts = len(FORMS[name].sums(*random_batch(2, 3, 0)[:2], 1.0, np.array([0, 1])))
    assert term.kind == name + (", 0.0625 : 1" if parts == 2 else "")
    assert (term.named, term.power) == (True, 2.0)
    assert term.reduction() == ("batchmean times 16" if parts == 2 else "batchmean")
    assert 1e-12 <= term.epsilon <= (1e-8 if term.form.word else 1e-12)
    assert term.bent == {}
    z, v, y = random_batch(3, 7, 9)
    assert term.factor(3, 7, 3.0) * value_of(term.sums, z, v, 3.0, y) == pytest.approx(loss(z, v, 3.0, y, 1.0))


def small(z, v, T):
    return 1e-9 * museum.kl_value_alone(z, v, T)


@pytest.mark.parametrize(
    ("loss", "known", "kind"),
    [
        (of_parts(FORMS["decoupled"], lambda B: np.zeros(B, int)), {}, "decoupled, 0.0625 : 1"),
        (of_parts(FORMS["decoupled"], lambda B: np.arange(B) % 2), {}, "unknown"),
        (lambda z, v, T, y, alpha: of_parts(FORMS["decoupled"])(z, v, T, 0 * y, alpha), {}, "unknown"),
        (lambda z, v, T: decoupled(z, v, T, np.zeros(len(z), int))[0], {}, "unknown"),
        (lambda z, v, T: np.float32(sum(FORMS["DIST"].sums(z, v, T, None))), {"epsilon": 2.0**-24}, "DIST, 1 : 1"),
        (lambda z, v, T: np.float32(sum(FORMS["DIST, norms of at least 1e-8"].sums(z, v, T, None))),
         {"epsilon": 2.0**-24}, "DIST, 1 : 1"),
        (lambda z, v, T: sum(FORMS["DIST, norms of at least 1e-8"].sums(z, v, T, None)) * (1 + 1e-11 * (z[0, 0] > 0)),
         {}, "DIST, norms of at least 1e-8, 1 : 1"),
        (small, {"temperatures": [4]}, KL),
        (small, {"temperatures": [4, 1]}, KL),
        (lambda z, v, T: small(z, v, 4.0), {}, "unknown"),
        (lambda z, v, T: small(z, v, 4.0), {"temperatures": [4]}, KL),
        (lambda z, v, T: small(z, v, 1.0 if T == 1 else 4.0), {}, "unknown"),
        (lambda z, v, T: small(z, v, T) * (1 + (T != 4) * 1e-2 * np.sign(z[0, 0])), {}, "unknown"),
        (lambda z, v, T: small(z, v, T) * (1 + (T != 4) * 1e-4 * np.sign(z[0, 0])), {}, KL),
        (lambda z, v, T: np.nan if z[0, 0] > 0 else 1.0, {}, "unknown"),
    ],
    ids=["label 0", "other labels", "labels ignored", "one part", "float32", "float32 of a variant",
         "a variant, rounded", "one T", "two T", "T fixed", "T fixed and one", "T fixed but at 1",
         "a hundredth off elsewhere", "rounded elsewhere", "nan"],
)  # fmt: skip
def test_a_form_is_told_where_it_fits_with_all_its_parts_and_at_another_temperature(loss, known, kind):
    assert the_soft_term(loss, **known).kind == kind


def scaled(factor, answers=lambda B, N: True):
    """KL(p || q), summed, times a factor of B, N and T; of the shapes that it answers."""

    def loss(z, v, T):
        assert answers(*z.shape)
        return factor(*z.shape, T) * museum.kl_rows(z, v, T).sum()

    return loss


@pytest.mark.parametrize(
    ("constant", "b", "n", "t"),
    [(1.0, -1, 0, 2), (3.0, -1, 0, 2), (1e-9, 0, 0, 0), (1e9, -1, -1, 2), (1.0, 0, -1, 1), (1e9, 0.5, 0, -2),
     (1e-9, -0.5, 0.25, 0.5), (1.0, -1, -2, 2)],
)  # fmt: skip
def test_a_factor_is_told_at_every_shape_and_temperature_by_its_powers(constant, b, n, t):
    term = the_soft_term(scaled(lambda B, N, T: constant * B**b * N**n * T**t))
    assert (term.of_B, term.of_N, term.power) == (pytest.approx(b), pytest.approx(n), t)
    assert term.factor(67, 3, 7.0) == pytest.approx(constant * 67**b * 3**n * 7**t)
    assert term.bent == {}
    assert term.named == (b in (-1, 0) and n in (-1, 0, -2))
    assert term.own_constant() == (pytest.approx(constant) if term.named and n != -2 else 1.0)


@pytest.mark.parametrize(
    ("b", "n", "answers"),
    [
        *((b, n, answers) for b in (-1, 0) for n in (-1, 0)
          for answers in (lambda B, N: (B, N) == (4, 5), lambda B, N: B == 4, lambda B, N: N == 5)),
        *((0, -2, lambda B, N, other=n: N in (5, other)) for n in (2, 3, 10, 100, 1000)),
        (0, 0, lambda B, N: (B, N) == (2, 2)),
        (-2, -2, lambda B, N: B in (4, 8) and N in (5, 10)),
    ],
)  # fmt: skip
def test_where_one_shape_alone_is_answered_the_simplest_factor_is_taken(b, n, answers):
    base = (4, 5) if answers(4, 5) else (2, 2)
    term = the_soft_term(scaled(lambda B, N, T: float(B) ** b * float(N) ** n, answers), base=base)
    assert (term.of_B, term.of_N, term.constant) == (b, n, pytest.approx(1.0))


TEN = [0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("factor", "temperatures", "power", "bent"),
    [
        (lambda T: T**2 * (1 + 0.5 * (T == 7)), TEN, 2, {7.0: 1.5}),
        (lambda T: T**2 * (1 + 1e-6 * (T == 7)), TEN, 2, {7.0: 1 + 1e-6}),
        (lambda T: T**2 * (1 + 1e-13 * (T == 7)), TEN, 2, {}),
        (lambda T: T**2 * (1 + (T > 6)), TEN, 2, {7.0: 2, 8.0: 2, 9.0: 2}),
        (lambda T: T**2 * (1 + (T in (0.5, 3, 6, 9))), TEN, None, {0.5: 2, 3.0: 2, 6.0: 2, 9.0: 2}),
        (lambda T: T**0.5 * (1 + 0.02 * (T == 7)), TEN, 0.5, {7.0: 1.02}),
        (lambda T: T**0.5 * (1 + 0.005 * (T == 7)), TEN, 0.5, {}),
        (lambda T: -(T**2), [4, 1, 2], 2, {}),
        (lambda T: T**2, [1, 2], 2, {}),
        (lambda T: T**2, [4], 0, {}),
        (lambda T: T**-1e-11, TEN, 0, {}),
        (lambda T: 0.0, [2, 4], None, {2.0: np.nan, 4.0: np.nan}),
        (lambda T: np.nan, [2, 4], None, {}),
        (lambda T: T**2 * (T != 3) + (np.inf if T == 4 else 0), TEN, 2, {3.0: 0}),
        (lambda T: [np.nan, T**2][T != 4], TEN, 2, {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1e-7, 1e7])
def test_the_power_is_that_of_most_temperatures_and_the_others_are_told(factor, temperatures, power, bent, size):
    term = Term({1.0: 1.0}, sums=FORMS[KL].sums)
    loss, (z, v, y) = scaled(lambda B, N, T: size * factor(T)), random_batch(4, 5, 3)
    with np.errstate(all="raise"):
        scale(asked(loss, temperatures=temperatures), term)
    if factor(4.0) < 1e3:
        found = term.factor(4, 5, 4.0) * value_of(term.sums, z, v, 4.0, y)
        assert found == pytest.approx(loss(z, v, 4.0), rel=0.02), "at the T that is asked most, whatever the power"
    assert str(term.power) == str(power if power is None else float(power)), "and no -0"
    assert term.bent == pytest.approx(bent, rel=1e-9, nan_ok=True)


def test_where_a_later_formula_is_rounded_more_no_temperature_is_accused():
    form = FORMS["Jensen-Shannon, beta 0.5"]
    term = the_soft_term(lambda z, v, T: T**2 * (form.sums(z, v, T, None)[0] / len(z) + 1e-9), temperatures=[*TEN, 100])
    assert (term.kind, term.power, term.bent) == ("Jensen-Shannon, beta 0.5", 2.0, {})


def test_where_most_temperatures_are_lost_in_rounding_the_others_tell_the_power():
    far = [50, 60, 80, 100, 200, 300, 400]
    term = the_soft_term(
        lambda z, v, T: museum.kl_value_alone(z, v, T) / (T if T > 2 else 1), temperatures=[1, 2, *far], T=1.0,
        epsilon=2.0**-11,
    )  # fmt: skip
    assert (term.power, term.bent) == (2.0, {})


def test_a_temperature_is_told_only_where_other_logits_say_the_same_of_it():
    def loss(z, v, T):
        return 1e-7 * museum.kl_value_alone(z, v, T) * (1 + (T == 7) * 0.1 * (z[0, 0] - 1))

    assert the_soft_term(loss, temperatures=TEN).bent == {}


def test_what_is_refused_or_lost_in_rounding_tells_no_temperature():
    def loss(z, v, T):
        assert T != 5
        return np.float16(100 * museum.kl_value_alone(z, v, T) * (2 if T == 1000 else 1.02 if T == 2 else T**-0.07))

    term = the_soft_term(loss, temperatures=[*TEN, 100, 1000], epsilon=2.0**-11)
    assert (term.power, term.bent) == (2.0, {})
    assert (term.of_B, term.of_N) == (-1.0, 0.0)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_where_terms_cancel_in_a_mix_more_rounding_is_allowed(size):
    def loss(z, v, T, y, alpha):
        return size * (alpha * museum.kl_value_alone(z, v, T) * (1 + 0.05 * (T == 0.5)) + 1e8 * museum.hard(z, y)[0])

    term = soft_term(asked(loss), {1.0: 1.0, 0.0: -1.0})
    assert (term.power, term.reduction(weighted=True)) == (2.0, "batchmean")
    assert term.bent == {0.5: pytest.approx(1.05, rel=1e-4)}


def test_a_factor_of_1_in_float32_is_1():
    term = the_soft_term(lambda z, v, T: np.float32(museum.kl_value_alone(z, v, T) * (1 + 3e-7)), epsilon=2.0**-24)
    assert (term.constant, term.of_B) == (1.0, -1.0)
    term = the_soft_term(lambda z, v, T: np.float32(museum.kl_value_alone(z, v, T) * (1 + 3e-5)), epsilon=2.0**-24)
    assert term.constant == pytest.approx(1 + 3e-5, rel=1e-6)


@pytest.mark.parametrize("wider", [1.0, 3.0])
def test_rounding_is_that_of_the_largest_logit_of_both_over_T(wider):
    z, v = np.array([[1.0, -2.0, 0.0]]), np.array([[-5.0, 1.0, 1.0]])
    for a, b in ((z, v), (v, z)):
        assert rounding(1e-3, a * wider, b * wider, 4.0) == pytest.approx(16e-3 * (1 + np.log(3) + 5 * wider / 4))


def test_a_term_is_named_where_its_factor_is_known_at_every_size_and_T():
    known = {"sums": FORMS[KL].sums, "constant": 3.0, "power": 2.0, "of_B": -1.0, "of_N": 0.0}
    for change, named in (({}, True), ({"sums": None}, False), ({"power": None}, False), ({"power": 0.0}, True),
                          ({"of_B": -0.5}, False), ({"of_N": 0.5}, False), ({"of_N": -2.0}, True)):  # fmt: skip
        term = Term({1.0: 1.0}, **(known | change))
        assert term.named == named, change
        assert term.own_constant() == (3.0 if named and term.of_N == 0 else 1.0), change
        power = change.get("power", 2.0) or 0.0
        assert term.factor(4, 9, 2.0) == 3.0 * 4**term.of_B * 9**term.of_N * 2**power, change


def held_to(targets):
    """A loss whose hard term is a cross-entropy, summed, with targets of y and N."""

    def loss(z, v, T, y, alpha):
        return -(targets(y, z.shape[1]) * museum.log_softmax(z)).sum() * T**0

    return loss


def targets_of(weights=None, epsilon=0.0, mean=False, over_others=False):
    """Each row's targets, entry by entry, as PyTorch's cross_entropy documents them; or with ε for the others alone."""

    def targets(y, N):
        w = np.ones(N) if weights is None else np.array(weights)[:N]
        found = np.zeros((len(y), N))
        for i, label in enumerate(y):
            for j in range(N):
                if over_others:
                    found[i, j] = 1 - epsilon if j == label else epsilon / (N - 1)
                else:
                    found[i, j] = w[j] * ((1 - epsilon) * (j == label) + epsilon / N)
        return found / (sum(w[label] for label in y) / len(y) if mean else 1.0)

    return targets


WEIGHTS = [1.0, 2.0, 0.5, 4.0, 1.5]


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (targets_of(), "cross-entropy"),
        (targets_of(epsilon=0.1), "label smoothing 0.1"),
        (targets_of(epsilon=0.1, over_others=True), "label smoothing 0.1"),
        (targets_of(WEIGHTS), "weighted"),
        (targets_of(WEIGHTS, mean=True), "weighted"),
        (targets_of(WEIGHTS, 0.1), "weighted, label smoothing 0.1"),
        (targets_of(WEIGHTS, 0.1, mean=True), "weighted, label smoothing 0.1"),
        (targets_of([-1.0, *WEIGHTS[1:]]), "unknown"),
        (targets_of([1.0, -3.0, -3.0, 1.0, 1.0]), "unknown"),
        (lambda y, N: -targets_of()(y, N), "unknown"),
        (lambda y, N: targets_of()(y * 0, N), "unknown"),
        (lambda y, N: 0 * targets_of()(y, N), "unknown"),
        (lambda y, N: targets_of(epsilon=0.1 + (N == 4) / 10)(y, N), "unknown"),
    ],
)
@pytest.mark.parametrize(("size", "type_"), [(1e-7, "float64"), (1e7, "float32")])
def test_a_hard_term_is_told_with_its_smoothing_and_the_weights_of_its_classes(targets, kind, size, type_):
    epsilon = {"float64": 1e-12, "float32": 2.0**-24}[type_]
    loss = held_to(lambda y, N: size * targets(y, N))
    domain = asked(lambda z, v, T, y, alpha: np.dtype(type_).type(loss(z, v, T, y, alpha)), epsilon=epsilon)
    term = hard_term(domain, {1.0: 1.0})
    weighted = "weighted" in kind
    assert (term.kind, term.classes) == (kind, 5 if weighted else None)
    assert (term.slack > 0) == weighted
    if kind != "unknown":
        assert (term.power, term.of_B, term.of_N) == (0.0, 0.0, 0.0 if size >= 1 or not weighted else -1.0)
        z, v, y = random_batch(3, 5 if weighted else 7, 11)
        found = term.factor(*z.shape, 3.0) * value_of(term.sums, z, v, 3.0, y)
        exact = 1e-9 if type_ == "float64" else 1e-6
        assert found == pytest.approx(loss(z, v, 3.0, y, 1.0), rel=exact)
        if not weighted:
            assert term.shares(y, z) == pytest.approx(targets(y, 7), rel=1e-12, abs=1e-12), "as somebody chose it"
        assert term.slack < 1e-2
        assert term.shares(np.arange(5), np.zeros((5, 5))).sum() == pytest.approx(5), "the mean weight is 1"


@pytest.mark.parametrize(
    ("targets", "answers", "known", "kind"),
    [
        (targets_of(epsilon=0.1), lambda B, N: N == 5, {}, "label smoothing 0.1"),
        (targets_of(epsilon=0.123457), lambda B, N: True, {}, "label smoothing 0.123"),
        (targets_of(epsilon=0.1, over_others=True), lambda B, N: N in (4, 5), {}, "label smoothing 0.1"),
        (targets_of(epsilon=0.1), lambda B, N: B == 4, {}, "unknown"),
        (targets_of(), lambda B, N: B == 4, {}, "cross-entropy"),
        (targets_of(), lambda B, N: N <= 2, {"base": (4, 2)}, "cross-entropy"),
        (targets_of(epsilon=0.1), lambda B, N: B in (4, 13), {"base": (4, 13)}, "unknown"),
    ],
)
def test_a_hard_term_is_told_by_the_shapes_that_are_answered(targets, answers, known, kind):
    def loss(z, v, T, y, alpha):
        assert answers(*z.shape)
        return held_to(targets)(z, v, T, y, alpha)

    assert hard_term(asked(loss, **known), {1.0: 1.0}).kind == kind


@pytest.mark.parametrize(("error", "kind"), [(1e-7, "cross-entropy"), (1e-5, "unknown")])
@pytest.mark.parametrize("size", [1e-7, 1.0, 1e7])
def test_a_hard_term_is_told_to_a_millionth_whatever_its_size(error, kind, size):
    def loss(z, v, T, y, alpha):
        return size * museum.hard(z, y)[0] * (1 + error * np.sign(z[0, 0]))

    assert hard_term(asked(loss), {1.0: 1.0}).kind == kind


def test_a_smoothing_that_is_known_to_few_digits_is_the_one_that_somebody_chose():
    def loss(z, v, T, y, alpha):
        return museum.smoothed(z, y)[0] * (1 + 5e-6 * np.sign(z[0, 0]))

    term, (z, _, y) = hard_term(asked(loss, epsilon=2.0**-24), {1.0: 1.0}), random_batch(3, 7, 0)
    assert term.shares(y, z) == pytest.approx(targets_of(epsilon=0.1)(y, 7), rel=1e-12)


INSIDE = [0.2, 0.3, 0.4, 0.6, 0.7]


@pytest.mark.parametrize(
    ("soft", "hard", "words"),
    [
        (lambda a: a, lambda a: 1 - a, "soft"),
        (lambda a: 1 - a, lambda a: a, "hard"),
        (lambda a: a, lambda a: 1, "alpha soft + hard"),
        (lambda a: 1, lambda a: a, "soft + alpha hard"),
        (lambda a: 2 * a, lambda a: 1 - a, "soft"),
        (lambda a: 1 - a, lambda a: 1 + a, "(1 - alpha) soft + (1 + alpha) hard"),
        (lambda a: 0.3 + 0.123456 * a, lambda a: 2 - 0.7 * a, "(0.3 + 0.1235 alpha) soft + (2 - 0.7 alpha) hard"),
        (lambda a: 3 * a + 1, lambda a: 5 - a, "(1 + 3 alpha) soft + (5 - alpha) hard"),
        (lambda a: a / (1 + a), lambda a: 1 / (1 + a), "alpha / (1 + alpha) soft + 1 / (1 + alpha) hard"),
        (lambda a: (1 + 3 * a) / (1 + a), lambda a: (2 - a) / (1 + a),
         "(1 + 3 alpha) / (1 + alpha) soft + (2 - alpha) / (1 + alpha) hard"),
        (lambda a: 2, lambda a: a / (1 + a), "2 soft + alpha / (1 + alpha) hard"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("alphas", "size"), [([1, 0, *INSIDE], 1.0), (INSIDE, 1.0), ([0, *INSIDE], 1e-7)], ids=str)
def test_the_weights_of_both_terms_are_told_from_any_two_alphas(soft, hard, words, alphas, size):
    def loss(z, v, T, y, alpha):
        return size * (soft(alpha) * museum.kl_value_alone(z, v, T) + hard(alpha) * museum.hard(z, y)[0])

    domain = asked(loss, alphas=alphas, temperatures=[1, 2, 4])
    weights = weights_of(domain)
    (z, v, y), both = random_batch(3, 4, 13), {}
    for mix, truth in (
        (weights.soft_alone, museum.kl_value_alone(z, v, 2.0)),
        (weights.hard_alone, museum.hard(z, y)[0]),
    ):
        both[truth] = domain.at(mix, z, v, 2.0, y).value / truth / size
    for a in alphas:
        told = [(p + q * a) / (1 + weights.d * a) for p, q in (weights.soft, weights.hard)]
        assert [c * share for c, share in zip(both.values(), told, strict=True)] == pytest.approx([soft(a), hard(a)])
    if size == 1:
        terms = soft_term(domain, weights.soft_alone), hard_term(domain, weights.hard_alone)
        assert weights.words(*terms) == words


def test_weights_are_told_from_one_row_of_two_classes_at_two_alphas():
    found = weights_of(asked(museum.odd_weights, base=(1, 2), alphas=[0.2, 0.7]))
    for (a, b), (p, q) in ((found.soft, (0.3, 0.123456)), (found.hard, (2, -0.7))):
        assert b / a == pytest.approx(q / p)


def test_alpha_that_bends_is_no_line_over_one_plus_alpha():
    domain = asked(museum.mixed(lambda a: a**2, lambda a: 1 - a), alphas=[1, 0, *INSIDE])
    assert weights_of(domain).d == 0


@pytest.mark.parametrize("size", [1.0, 1e-7])
@pytest.mark.parametrize("weighs", ["soft", "hard"])
def test_a_hard_term_with_the_teacher_in_it_stands_at_the_other_end_of_alpha(weighs, size):
    def loss(z, v, T, y, alpha):
        alpha = alpha if weighs == "soft" else 1 - alpha
        return size * museum.hard_term_weighted_by_the_teacher(z, v, T, y, alpha)[0]

    found, at = weights_of(asked(loss)), {"soft": 1.0, "hard": 0.0}[weighs]
    assert (found.soft_alone, found.hard_alone) == ({at: 1.0}, {1 - at: 1.0})
    assert found.words(Term({}), Term({})) == weighs


@pytest.mark.parametrize(
    ("loss", "alphas", "text"),
    [
        (museum.alpha_weighs_the_soft_term, [0.5], "alpha must be answered at two values, it was only at 0.5"),
        (
            lambda z, v, T, y, alpha: alpha * (museum.kl_value_alone(z, v, T) + museum.hard(z, y)[0]),
            [1, 0],
            "the soft ",
        ),
        (lambda z, v, T, y, alpha: alpha * museum.hard(z, y)[0] + (1 - alpha) * np.nan, [1, 0], "the soft "),
        (lambda z, v, T, y, alpha: museum.kl_value_alone(z, v, T) * (alpha + y.sum() % 2), [1, 0], "the soft "),
    ],
    ids=["one alpha", "both at one end", "nan", "each in the other"],
)
def test_where_no_mix_leaves_the_soft_term_alone_it_is_said_without_a_warning(loss, alphas, text):
    with np.errstate(all="raise"), pytest.raises(Unrecognised, match=f"^{text}"):
        weights_of(asked(loss, alphas=alphas))


def test_a_loss_without_labels_is_its_soft_term():
    assert weights_of(asked(museum.kl_value_alone)) == Weights({1.0: 1.0}, None)


@pytest.mark.parametrize(
    ("soft", "hard", "d", "times", "words"),
    [
        ((0, 1), (1, -1), 0, 1, "soft"), ((1, -1), (0, 1), 0, 1, "hard"),
        ((0, 1.00002), (1, -1), 0, 1, "soft"), ((0, 1.001), (1, -1), 0, 1, "1.001 alpha soft + (1 - alpha) hard"),
        ((0, 1), (1, -1), 1, 1, "alpha / (1 + alpha) soft + (1 - alpha) / (1 + alpha) hard"),
        ((0, 1), (1, 0), 0, 1, "alpha soft + hard"), ((1, 1), (0, -1), 0, 1, "(1 + alpha) soft + -alpha hard"),
        ((0, 1), (2, 0), 0, 3, "3 alpha soft + 6 hard"), ((0, -2), (1, 2), 0, 1, "-2 alpha soft + (1 + 2 alpha) hard"),
        ((1, 1), (2, 2), 1, 1, "soft + 2 hard"),
        ((1, 1.00005), (1, 1.01), 1, 1, "soft + (1 + 1.01 alpha) / (1 + alpha) hard"),
        ((0.01, 0.0101), (9, 9.01), 1, 1,
         "(0.01 + 0.0101 alpha) / (1 + alpha) soft + (9 + 9.01 alpha) / (1 + alpha) hard"),
        ((0.5, 5e-5), (-5e-5, 1), 0, 1, "0.5 soft + alpha hard"),
        ((1 / 3, 0), (0, 1), 0, 1, "0.3333 soft + alpha hard"),
        ((1, -1), (1, 1), 1, 1, "(1 - alpha) / (1 + alpha) soft + hard"),
    ],
)  # fmt: skip
def test_weights_read_as_a_person_would_write_them(soft, hard, d, times, words):
    term = Term({1.0: 1.0}, sums=FORMS[KL].sums, power=0.0, constant=times)
    assert Weights({}, {}, soft, hard, d).words(term, term) == words


def terms_of(loss):
    weights = weights_of(domain := asked(loss))
    soft_term(domain, weights.soft_alone)
    hard_term(domain, weights.hard_alone)


@pytest.mark.parametrize(
    ("loss", "make"),
    [(museum.weighted_classes, terms_of), (museum.odd_weights, terms_of),
     (museum.t2_wrong_at_7, lambda loss: Judge(Loss(loss)))],
    ids=["weighted classes", "odd weights", "a temperature that is wrong"],
)  # fmt: skip
def test_a_loss_is_asked_the_same_each_time_it_is_judged(loss, make):
    calls = [[], []]
    for one in calls:

        @functools.wraps(loss)
        def recorded(z, v, T, *rest, one=one):
            one.append((z.sum(), v.sum(), T, *map(np.sum, rest)))
            return loss(z, v, T, *rest)

        make(recorded)
    assert calls[0] == calls[1]
    assert len(calls[0]) > 50


def kl_of_rows(z, v, T):
    return (md.softmax(v, T) * (md.log_softmax(v, T) - md.log_softmax(z, T))).sum(-1)


def flat(z, v, T):
    assert z.ndim == 2
    return kl_of_rows(z, v, T).mean()


def over_the_middle_axis(z, v, T):
    return kl_of_rows(*(u.swapaxes(1, -1) if u.ndim > 2 else u for u in (z, v)), T).mean()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda z, v, T: kl_of_rows(z, v, T).mean(), "rows"),
        (lambda z, v, T: kl_of_rows(z, v, T).sum() / len(z), "divided by B alone, not by B L"),
        (lambda z, v, T: kl_of_rows(z, v, T).mean() / (z.shape[1] if z.ndim > 2 else 1), "divided by L too"),
        (over_the_middle_axis, "something else"),
        (flat, "not taken"),
    ],
)
def test_what_logits_of_three_axes_give_is_told(loss, words):
    assert Judge(Loss(loss)).fingerprint.leading.startswith(words)


def rows_of(times, precision="float64", size=1.0):
    """What logits of three axes give, of a loss of labelled rows that is times(B, L) as much there."""

    def at(mix, z, v, T, y=None):
        assert (mix, T) == (SOFT, 4.0)
        rows = (z[..., 0] - v[..., 1]) * (1 + y)
        return outcome(size * rows.sum() * (times(*z.shape[:2]) if z.ndim > 2 else 1.0))

    return leading(SimpleNamespace(base=(4, 5), T=4.0, epsilon=EPSILONS[precision], at=at), Term(SOFT))


@pytest.mark.parametrize("size", [1e-5, 1.0, 1e5])
def test_what_logits_of_three_axes_are_divided_by_is_told_to_a_millionth_or_the_losss_rounding(size):
    other = "something else than B L rows: a softmax over another axis?"
    for times, words in ((lambda B, L: 1.0, "rows"), (lambda B, L: L, "divided by B alone, not by B L"),
                         (lambda B, L: 1 / L, "divided by L too"), (lambda B, L: 1 / B, other)):  # fmt: skip
        assert rows_of(times, size=size) == words
        for off, told in ((0.9e-6, words), (-0.9e-6, words), (1.2e-6, other), (-1.2e-6, other)):
            assert rows_of(lambda B, L, t=times, off=off: t(B, L) * (1 + off), size=size) == told
    for off, told in ((0.03, "rows"), (0.04, other)):
        assert rows_of(lambda B, L, off=off: 1 + off, "float16", size) == told


@pytest.mark.parametrize("error", [Unusable("no"), ValueError("no"), IndexError("no")])
def test_logits_of_three_axes_that_are_refused_are_not_taken(error):
    def refuses(B, L):
        raise error

    assert rows_of(refuses) == "not taken"


@pytest.mark.parametrize(
    ("weights", "words", "reduction", "hard_reduction"),
    [
        (((0.0, 1.0), (1.0, -1.0)), "soft", "batchmean times 3", "sum times 5"),
        (((1.0, -1.0), (0.0, 1.0)), "hard", "batchmean times 3", "sum times 5"),
        (((0.0, 1.0), (1.0, 0.0)), "3 alpha soft + 5 hard", "batchmean", "sum"),
    ],
)
def test_a_factor_is_told_once_with_the_weights_or_with_the_reduction(weights, words, reduction, hard_reduction):
    soft = Term(SOFT, FORMS[KL], SUMS, KL, constant=3.0, of_B=-1.0, power=2.0)
    hard = Term(HARD, None, SUMS, "weighted", constant=5.0, power=1.0)
    types = {"student": "float64", "teacher": "float16", "T": "float32"}
    domain = SimpleNamespace(base=(4, 5), T=4.0, types=types, at=lambda mix, z, v, T, y=None: Outcome(1.0, z, 0 * v))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint_module, "leading", lambda domain, soft: f"of {soft.kind}")
        found = fingerprint_module.fingerprint(domain, Weights(SOFT, HARD, *weights), soft, hard)
        alone = fingerprint_module.fingerprint(domain, Weights(SOFT), soft, None)
    assert found == Fingerprint(
        KL, reduction, 2.0, words, 1.0, True, "weighted", hard_reduction, "teacher in float16, T in float32", f"of {KL}"
    )
    assert alone == Fingerprint(
        KL, "batchmean times 3", 2.0, None, None, True, None, None, "teacher in float16, T in float32", f"of {KL}"
    )


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_form_is_told_to_a_ten_thousandth_of_the_loss_whatever_its_size(factor):
    def loss(error):
        return Judge(
            Loss(lambda z, v, T: factor * museum.kl_value_alone(z, v, T) * (1 + error * np.sign(z[0, 0])))
        ).fingerprint.form

    assert (loss(4e-5), loss(4e-4)) == (KL, "unknown")


@given(logits_BN(shapes_BN(leading=st.just(()))), temperatures)
def test_the_kits_own_log_softmax_is_the_projects_though_written_apart(z, T):
    np.testing.assert_allclose(log_softmax(z, T), md.log_softmax(z, T), rtol=1e-12, atol=1e-12)


def test_random_logits_have_mean_0_and_deviation_2_and_every_class_is_a_label():
    z, v, y = random_batch(300, 100, 0)
    for u in (z, v):
        assert abs(u.mean()) < 0.05
        assert abs(u.std() - 2) < 0.05
    assert set(y) <= set(range(100))
    assert {0, 99} <= set(y)
    assert not np.array_equal(z, v)
    assert not np.array_equal(z, random_batch(300, 100, 1)[0])


def test_the_temperatures_that_are_drawn_are_as_often_in_each_decade_from_a_tenth_to_100():
    rng = np.random.default_rng(0)
    found = [T for _ in range(300) for T in drawn_temperatures(rng)]
    assert len(found) == 300 * 8
    counts, _ = np.histogram(np.log10(found), bins=3, range=(-1, 2))
    assert counts.sum() == len(found)
    np.testing.assert_allclose(counts / len(found), 1 / 3, atol=0.03)
    assert all(float(f"{T:.3g}") == T for T in found), "as a person would write it"


def test_the_alphas_that_are_drawn_are_anywhere_from_0_to_1():
    rng = np.random.default_rng(0)
    found = [a for _ in range(300) for a in drawn_alphas(rng)]
    assert len(found) == 300 * 3
    counts, _ = np.histogram(found, bins=3, range=(0, 1))
    assert counts.sum() == len(found)
    np.testing.assert_allclose(counts / len(found), 1 / 3, atol=0.05)
    assert all(a == float(f"{a:.3g}") for a in found)


def test_a_shape_is_drawn_of_each_pair_with_any_of_its_B_and_any_of_its_N():
    pairs, rng = [((3,), (4, 5)), (range(7, 10, 2), (2,))], np.random.default_rng(0)
    found = [drawn_shapes(pairs, rng) for _ in range(20)]
    assert {first for first, _ in found} == {(3, 4), (3, 5)}
    assert {second for _, second in found} == {(7, 2), (9, 2)}


def asking_nothing(function):
    """A domain of which nothing is known but where it was answered first."""
    domain = object.__new__(Domain)
    domain.loss, domain.notes, domain.types, domain._known, domain._bytes = Loss(function), [], {}, {}, 0
    domain.base, domain.T, domain.alpha, domain.steady = (4, 5), 4.0, 1.0, 0.0
    domain.temperatures, domain.alphas = [1], [1.0]
    return domain


def shapes_of(function, framework="numpy"):
    loss = Loss(function)
    loss.framework = framework
    return Domain(loss).shapes


@pytest.fixture
def of_shapes_alone(monkeypatch):
    """Domains that ask for shapes, and for little else."""
    monkeypatch.setattr(domain_module, "TEMPERATURES", (4.0,))
    monkeypatch.setattr(Domain, "_precision", lambda self: "float64")


@pytest.mark.usefixtures("of_shapes_alone")
def test_shapes_are_few_where_each_must_be_compiled_and_have_one_row_and_many_and_two_classes_and_a_thousand():
    flat = lambda z, v, T: 0.0  # noqa: E731
    plain, compiled = shapes_of(flat), shapes_of(flat, "jax")
    assert compiled == shapes_of(flat, "keras")
    assert 4 < len(compiled) < 7 < 15 < len(plain)
    for shapes in (plain, compiled):
        (Bs, Ns) = (set(numbers) for numbers in zip(*shapes, strict=True))
        assert {1, 2, 4, 67} <= Bs
        assert {2, 5, 1000} <= Ns
        assert max(Bs) == 67
        assert max(Ns) == 1000


@pytest.mark.usefixtures("of_shapes_alone")
def test_a_loss_of_10_classes_is_tried_with_one_row_and_with_67():
    loss = museum.refuses_all_but_10_classes
    assert {(1, 10), (4, 10), (67, 10)} <= set(shapes_of(loss))
    assert shapes_of(loss, "jax") == [(4, 10), (1, 10), (67, 10)]
    assert {N for _, N in shapes_of(loss)} == {10}


@pytest.mark.usefixtures("of_shapes_alone")
def test_what_a_loss_refuses_of_each_kind_is_noted():
    loss = museum.refusing(lambda z, T, y, alpha: T <= 4 and len(z) > 2 and alpha >= 0.5, "no")(lambda *given: 0.0)
    domain = Domain(Loss(lambda z, v, T, y, alpha: loss(z, v, T, y, alpha)))
    assert domain.notes == [
        "it refuses temperatures above 4 (it raised ValueError: no)",
        "it refuses B = 1, 2 (it raised ValueError: no)",
        "it refuses alphas below 0.5 (it raised ValueError: no)",
    ]
    assert (max(domain.temperatures), min(domain.alphas)) == (4.0, 0.5)


@pytest.mark.usefixtures("of_shapes_alone")
def test_a_seed_draws_what_is_tried_and_0_is_the_default():
    def tried(*seed):
        domain = Domain(Loss(lambda z, v, T, y, alpha: 0.0), *seed)
        return domain.temperatures, domain.shapes, domain.alphas

    first, other = tried(), tried(1)
    assert first == tried(0)
    for mine, its in zip(first, other, strict=True):
        assert mine != its
        assert len(mine) == len(its)
    assert (len(first[0]), len(first[2])) == (1 + 8, len(ALPHAS) + 3)


def test_every_domain_asks_for_the_same_logits(monkeypatch):
    monkeypatch.setattr(domain_module, "TEMPERATURES", (4.0,))

    def asked():
        given = []
        Domain(Loss(lambda z, v, T: given.append((z.tobytes(), v.tobytes(), T)) or 0.0))
        return given

    assert asked() == asked()


@pytest.mark.parametrize(
    ("answers", "first"),
    [
        (lambda z, T, y, alpha: y.shape == (len(z),), ((4, 5), 4.0, 1.0)),
        (lambda z, T, y, alpha: alpha < 1, ((4, 5), 4.0, 0.5)),
        (lambda z, T, y, alpha: T == 1, ((4, 5), 1.0, 1.0)),
        (lambda z, T, y, alpha: T == 20, ((4, 5), 20.0, 1.0)),
        (lambda z, T, y, alpha: T == 0.5, ((4, 5), 0.5, 1.0)),
        (lambda z, T, y, alpha: z.shape[1] == 100, ((4, 100), 4.0, 1.0)),
        (lambda z, T, y, alpha: z.shape[1] == 2 and T < 4 and alpha < 1, ((4, 2), 1.0, 0.5)),
        (lambda z, T, y, alpha: len(z) == 1, ((1, 5), 4.0, 1.0)),
        (lambda z, T, y, alpha: len(z) == 32, ((32, 10), 4.0, 1.0)),
    ],
)
def test_a_loss_is_known_by_the_first_shape_T_and_alpha_that_it_answers(answers, first):
    loss = museum.refusing(answers, "no")(lambda z, v, T, y, alpha: 0.0)
    assert asking_nothing(loss)._first_answer() == first


def test_a_loss_without_labels_is_asked_at_an_alpha_of_1():
    assert asking_nothing(museum.kl_value_alone)._first_answer() == ((4, 5), 4.0, 1.0)


def test_a_loss_that_answers_nowhere_is_known_by_its_first_error():
    def fails(z, v, T):
        raise ValueError(f"{z.shape} at {T}")

    with pytest.raises(Unusable, match=re.escape("it raised ValueError: (4, 5) at 4.0")):
        asking_nothing(fails)._first_answer()


@pytest.mark.parametrize("size", [1e-9, 1.0, -1e9])
def test_a_loss_may_differ_from_call_to_call_by_what_float32_sums_in_another_order_do(size):
    def after_four_calls(apart):
        values = iter([1, 1, 1, 1 + apart])
        domain = asking_nothing(lambda z, v, T: size * next(values))
        domain._first_answer()
        return domain

    domain = after_four_calls(4e-7)
    assert domain.finite
    assert domain.steady == pytest.approx(4e-7, rel=1e-6)
    assert after_four_calls(0.0).steady == 0.0
    with pytest.raises(Unusable) as raised:
        after_four_calls(6e-7)
    assert str(raised.value) == "the same logits gave two values: freeze its dropout, or its seed"


@pytest.mark.parametrize(("value", "finite"), [(0.0, True), (np.nan, False), (np.inf, False)])
def test_a_loss_of_zero_or_of_nothing_finite_is_steady(value, finite):
    domain = asking_nothing(lambda z, v, T: value)
    domain._first_answer()
    assert (domain.finite, domain.steady) == (finite, 0.0)


def test_what_a_loss_answers_is_kept_once_and_what_it_refuses_is_noted_with_its_first_error():
    def loss(z, v, T, y, alpha):
        if T * alpha > 5:
            raise ValueError(f"{T:g} {alpha:g}")
        return 0.0

    domain = asking_nothing(loss)
    domain.alpha = 2.0
    assert domain._answered("temperatures", [1, 3, 2, 1.0, 30], lambda T: (4, 5, T)) == [1, 2]
    assert domain._answered("alphas", [1, 0.5], lambda alpha: (4, 5, 6.0, alpha)) == [0.5]
    assert domain.notes == [
        "it refuses temperatures above 2 (it raised ValueError: 3 2)",
        "it refuses alphas above 0.5 (it raised ValueError: 6 1)",
    ]


@pytest.mark.parametrize(("seed", "answered"), [(0, [(3, 2)]), (4, [(3, 2)]), (5, [])])
def test_a_loss_refuses_what_it_answers_on_none_of_five_batches(seed, answered):
    (z, v, y), asked = random_batch(3, 2, seed), []

    def choosy(*given):
        asked.append(given)
        assert all(map(np.array_equal, given, (z, v, 4.0, y))), "another"
        return 0.0

    domain = asking_nothing(lambda z, v, T, y, alpha: choosy(z, v, T, y))
    assert domain._answered("shapes", [(3, 2)], lambda shape: (*shape, 4.0)) == answered
    assert domain.notes == ([] if answered else ["it refuses B = 3 (it raised AssertionError: another)"])
    assert len(asked) == min(seed + 1, 5)


@pytest.mark.parametrize(
    ("what", "answered", "refused", "words"),
    [
        ("temperatures", [2, 1, 3], [0.5, 0.1], "temperatures below 1"),
        ("temperatures", [2, 1, 3], [4.5], "temperatures above 3"),
        ("alphas", [0.25, 0.5], [0, 1, 0.75], "alphas below 0.25 and above 0.5"),
        ("temperatures", [1, 3], [0.5, 2], "temperatures 0.5, 2"),
        ("temperatures", [1, 3], [2, 4], "temperatures 2, 4"),
        ("temperatures", [], [1e4, 2.5], "temperatures 2.5, 10000"),
        ("shapes", [(2, 3), (2, 4)], [(1, 4), (1, 3)], "B = 1"),
        ("shapes", [(2, 3), (4, 3), (1, 3)], [(2, 2), (4, 10)], "N = 2, 10"),
        ("shapes", [(4, 10), (67, 10)], [(1, 2), (3, 5)], "N = 2, 5"),
        ("shapes", [(4, 10), (4, 2)], [(1, 3), (3, 5)], "B = 1, 3"),
        ("shapes", [(4, 10)], [(1, 3), (3, 5)], "B = 1, 3"),
        ("shapes", [(1, 2), (2, 3)], [(2, 2), (1, 4)], "shapes (1, 4), (2, 2)"),
        ("shapes", [(1, 2), (2, 3)], [(4, 2), (1, 4)], "shapes (1, 4), (4, 2)"),
        ("shapes", [], [(4, 2), (1, 4)], "B = 1, 4"),
    ],
)
def test_what_is_refused_is_said_by_its_border_or_by_what_all_of_it_has_in_common(what, answered, refused, words):
    errors = dict.fromkeys(refused, "another") | {refused[0]: "the first"}
    assert _described(what, answered, errors) == f"{words} (the first)"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([3, 1, 2.5], "1, 2.5, 3"),
        ({1e-7: "", 1e6: ""}, "1e-07, 1e+06"),
        ([(2, 3), (1, 5)], "(1, 5), (2, 3)"),
        (range(7, 0, -1), "1, 2, 3, 4, 5, 6, 7"),
        (range(8, 0, -1), "1, 2, 3, ..., 8"),
    ],
)
def test_numbers_and_shapes_are_listed_in_order_and_of_many_the_first_three_and_the_last(values, words):
    assert _listed(values) == words


def test_a_mix_of_alphas_is_the_sum_of_the_losses_there_and_as_large_as_its_parts():
    def call(function, z, v, T, rest):
        y, alpha = rest
        assert y.dtype == np.int64
        return alpha * T + 10 * y.sum(), z + alpha, alpha * v

    domain = asking_nothing(lambda z, v, T, y, alpha: 0.0)
    domain.loss._call = call
    z, v, y = random_batch(2, 3, 0)
    for mix in ({1.0: 1.0}, {1.0: 3.0}, {0.5: 2.0, 2.0: -1.0}):
        for labels, n in ((None, 0), (y, 10 * y.sum())):
            found = domain.at(mix, z, v, 4.0, labels)
            assert found.value == sum(w * (4 * a + n) for a, w in mix.items())
            np.testing.assert_allclose(found.gradient, sum(w * (z + a) for a, w in mix.items()))
            np.testing.assert_allclose(found.teacher_gradient, sum(w * a * v for a, w in mix.items()))
            assert found.size == sum(abs(w) * (4 * a + n) for a, w in mix.items())
            assert found.changed == ""
    domain.loss._call = lambda function, z, v, T, rest: (z.fill(0) or 1.0, None, None)
    found = domain.at({3.0: 1.0, 4.0: 1.0}, z, v, 4.0)
    assert (found.gradient, found.teacher_gradient, found.changed) == (None, None, "student's logits")


def test_answers_are_remembered_by_all_that_was_asked_up_to_so_many_bytes(monkeypatch):
    z, v, y = random_batch(5, 5, 0)
    kept = 10
    monkeypatch.setattr(domain_module, "MEMORY", (kept + 0.5) * 4 * z.nbytes)  # both logits and both gradients
    asked = []

    def loss(z, v, T, y, alpha):
        asked.append((alpha, T))
        return alpha * T + y[0] + z[0, 0] + 2 * v[0, 0] + 10 * (z.dtype == "f") + 20 * (v.dtype == "f")

    domain = asking_nothing(loss)
    for question in [(1.0, z, v, 2.0, y), (3.0, z, v, 2.0, y), (1.0, z, v, 3.0, y), (1.0, v, v, 2.0, y),
                     (1.0, z, z, 2.0, y), (1.0, z, v, 2.0, y + 1), (1.0, z.astype("f"), v, 2.0, y),
                     (1.0, z, v.astype("f"), 2.0, y)]:  # fmt: skip
        alpha, *others = question
        assert domain.ask(*question).value == domain.ask(*question).value == pytest.approx(loss(*others, alpha))
    domain._known, domain._bytes = {}, 0
    for first in (1.0, 101.0):  # which is one too many
        for i in range(kept):
            asked.clear()
            domain.ask(1.0, z, v, first + i, y)
            domain.ask(1.0, z, v, first, y)
            assert asked == [(1.0, first + i)], "the first is remembered"
        assert len(domain._known) == kept


def half(x):
    return x.astype(np.float16).astype(x.dtype)


def single(x):
    return float(np.float32(x)) if np.ndim(x) == 0 else x.astype(np.float32).astype(x.dtype)


def exactly(x):
    return x


def nearly_whole(T):
    assert abs(T - round(T)) < 1e-6
    return float(round(T))


@pytest.mark.parametrize(
    ("student", "teacher", "temperature", "types"),
    [
        (exactly, exactly, exactly, ("float64", "float64", "float64")),
        (single, exactly, exactly, ("float32", "float64", "float64")),
        (exactly, half, exactly, ("float64", "float16", "float64")),
        (museum.bfloat16, single, exactly, ("bfloat16", "float32", "float64")),
        (exactly, exactly, single, ("float64", "float64", "float32")),
        (exactly, exactly, lambda T: round(T, 1), ("float64", "float64", "float64")),
        (exactly, exactly, nearly_whole, ("float64", "float64", "float64")),
        (exactly, exactly, lambda T: 3.0, ("float64", "float64", "float64")),
        (lambda z: 0 * z, exactly, exactly, ("float64", "float64", "float64")),
        (lambda z: 1.0 * (z == z.max(-1, keepdims=True)), exactly, exactly, ("float64", "float64", "float64")),
    ],
    ids=["none", "student", "teacher", "both", "T", "T in tenths", "whole T", "no T", "no student", "a class"],
)  # fmt: skip
def test_a_type_is_told_by_the_small_changes_that_it_loses_and_of_what_matters_alone(
    student, teacher, temperature, types
):
    domain = asking_nothing(lambda z, v, T: museum.kl_value_alone(student(z), teacher(v), temperature(T)))
    coarsest = domain._precision()
    assert domain.types == dict(zip(("student", "teacher", "T"), types, strict=True))
    assert coarsest == next(t for t in ("bfloat16", "float16", "float32", "float64") if t in types)


def cross_entropy_alone(z, v, T):
    return -(np.exp(museum.log_softmax(v / T)) * museum.log_softmax(z / T)).sum() / len(z)


@pytest.mark.parametrize("N", [2, 10, 100, 1000])
@pytest.mark.parametrize("loss", [museum.kl_value_alone, cross_entropy_alone])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_type_is_told_among_any_number_of_classes_though_one_logit_of_many_hardly_changes_a_value(N, loss, dtype):
    domain = asking_nothing(lambda z, v, T: dtype(loss(z.astype(dtype), v.astype(dtype), T)))
    domain.base = (4, N)
    assert domain._precision() == np.dtype(dtype).name


def test_the_type_of_a_loss_that_is_unsteady_is_told_all_the_same():
    calls = itertools.count()
    jitters = lambda z, v, T: museum.kl_value_alone(single(z), v, T) * (1 + 1e-8 * (next(calls) % 2))  # noqa: E731
    domain = asking_nothing(jitters)
    domain._first_answer()
    domain._precision()
    assert domain.types["student"] == "float32"


@pytest.mark.parametrize("mixed", [museum.alpha_weighs_the_soft_term, museum.alpha_weighs_the_hard_term])
def test_the_teachers_type_is_told_whichever_term_an_alpha_of_1_leaves(mixed):
    domain = asking_nothing(lambda z, v, T, y, alpha: mixed(z, single(v), T, y, alpha))
    domain.alphas = [1.0, 0.5]
    domain._precision()
    assert domain.types["teacher"] == "float32"


@pytest.mark.parametrize(
    ("refuses", "known"),
    [
        (lambda T, alpha: T == 1, {"temperatures": [2, 4]}),
        (lambda T, alpha: T == 2, {"temperatures": [1, 4]}),
        (lambda T, alpha: alpha == 0.5, {"alphas": [1.0, 0.0]}),
        (lambda T, alpha: alpha == 1.0, {"alphas": [0.5], "alpha": 0.5}),
        (lambda T, alpha: T != 4, {"temperatures": [4]}),
    ],
)
def test_arithmetic_is_looked_at_where_a_loss_answers(refuses, known):
    loss = museum.refusing(lambda z, T, y, alpha: not refuses(T, alpha), "no")(museum.alpha_weighs_the_soft_term)
    domain = asking_nothing(lambda z, v, T, y, alpha: loss(z, single(v), T, y, alpha))
    vars(domain).update(known)
    assert domain._precision() == "float32"


@pytest.mark.parametrize(
    ("word", "fields"),
    [("kl", {"form": KL}), ("ce", {"form": "cross-entropy(teacher, student)"}),
     ("batchmean", {"reduction": "batchmean"}), ("sum", {"reduction": "sum"}), ("t2", {"power": 2.0}),
     ("t0", {"power": 0.0}), ("detached", {"detached": True}), ("rows", {"leading": "rows"})],
)  # fmt: skip
def test_each_word_of_expect_means_one_thing(word, fields):
    other = {"form": "unknown", "reduction": "mean", "power": 1.0, "detached": False, "leading": "not taken"}
    assert _expectation(word, Fingerprint(**(other | fields)), None).broken is None
    ((_, wanted),) = fields.items()
    (name,) = fields
    assert _expectation(word, Fingerprint(**other), None).broken == f"it is {other[name]}, declared was {wanted}"


@pytest.mark.parametrize("expect", ["kl,t2", "kl t2", "kl, t2,", " kl\tt2 t2,kl"])
def test_words_of_expect_have_commas_or_spaces_between_them_and_count_once(expect):
    report = check_distillation_loss(museum.kl_batchmean_t2, expect=expect, examples=1)
    assert [verdict.law for verdict in report.verdicts[len(LAWS) :]] == ["it_is_kl_as_declared", "it_is_t2_as_declared"]
    assert report.passed


@pytest.mark.parametrize("pair", [("kl", "ce"), ("kl", "dist"), ("batchmean", "sum"), ("t2", "t0")])
def test_words_of_expect_that_contradict_each_other_are_refused(pair):
    first, second = pair
    with pytest.raises(md.ArgumentError, match=f"^expect must hold at most one of {first} and .*{second}.*, got "):
        check_distillation_loss(museum.kl_batchmean_t2, expect=f"{second}, detached {first}")


def test_asserting_takes_what_checking_takes_and_passes_it_on():
    asked, told = (inspect.signature(f).parameters for f in (assert_distillation_loss, check_distillation_loss))
    assert dict(asked) == dict(told)
    for name, value in (("framework", "caffe"), ("expect", "fast"), ("examples", 0), ("seed", -1)):
        with pytest.raises(md.ArgumentError, match=f"^{name} must"):
            assert_distillation_loss(museum.kl_batchmean_t2, **{name: value})


@pytest.mark.parametrize(
    ("constant", "of_B", "of_N", "words"),
    [
        (1.0, -1.0, 0.0, "batchmean"), (1.0, 0.0, 0.0, "sum"), (1.0, -1.0, -1.0, "mean"), (1.0, 0.0, -1.0, "sum / N"),
        (3.0, -1.0, 0.0, "batchmean times 3"), (0.5, 0.0, -1.0, "sum / N times 0.5"),
        (1.0, -0.5, 0.0, "B^-0.50 N^0.00 times 1"), (2.0, 0.0, 1.0, "B^0.00 N^1.00 times 2"),
    ],
)  # fmt: skip
def test_a_reduction_is_told_from_its_powers_of_B_and_N(constant, of_B, of_N, words):
    assert Term({1.0: 1.0}, constant=constant, of_B=of_B, of_N=of_N).reduction() == words


def test_a_broken_law_says_what_and_its_mistake_if_it_knows_one():
    assert (str(Broken("a")), Broken("a").mistake, Broken("a", "b").mistake) == ("a", "", "b")


def test_noise_is_the_roundings_of_the_logits_over_T_times_the_terms_factor():
    judge = Judge(Loss(museum.kl_sum_t2))
    z, v, _ = random_batch(3, 5, 0)
    found, largest = judge.soft(z, v, 4.0), max(np.abs(z).max(), np.abs(v).max())
    expected = 16e-12 * (found.size + 16 * 3 * (1 + np.log(5) + largest / 4))
    assert judge.noise(judge.soft_term.mix, z, v, 4.0, found) == pytest.approx(expected)
    coarse = judge.noise(judge.soft_term.mix, z, v, 4.0, found, "float32")
    assert coarse == pytest.approx(expected / 1e-12 * 2**-24)


def test_a_judge_measures_an_unknown_loss_by_its_size_on_random_logits():
    judge = Judge(Loss(lambda z, v, T: np.abs(z - v).sum()))
    z, v, _ = random_batch(2, 3, 5)
    largest = max(np.abs(np.subtract(*random_batch(2, 3, seed)[:2])).sum() for seed in range(3))
    found = judge.soft(z, v, 4.0)
    assert judge.noise(judge.soft_term.mix, z, v, 4.0, found) == pytest.approx(
        1e-7 * max(largest, found.size), rel=1e-3
    )


def knows(soft, hard=None, precision="float64", **other):
    """A judge of these terms that has asked nothing, measured at T = 4, of a loss of size 100."""
    judge = Judge.__new__(Judge)
    judge.soft_term, judge.hard_term = soft, hard
    judge.domain = SimpleNamespace(precision=precision, epsilon=EPSILONS[precision], T=4.0, base=(3, 5), **other)
    judge.magnitude = lambda mix, B, N, T: {(3, 5, 8.0): 100.0, (3, 5, 0.5): 100.0}[B, N, T] if mix else np.nan
    return judge


def log_q_at(z, v, T):
    """What log q of a row, and 1, are made of."""
    return 1 + np.log(z.shape[1]) + max(np.abs(z).max(), np.abs(v).max()) / T


@pytest.mark.parametrize("alone", [{1.0: 1.0}, {0.25: -0.5, 0.75: 1.5}])
def test_of_one_alpha_a_term_may_be_alone_and_of_two_what_rounds_is_both(alone):
    soft, hard = Term(alone), Term(HARD)
    judge = knows(soft, hard)
    assert judge.terms(alone) == ([(soft, True)] if len(alone) == 1 else [(soft, True), (hard, False)])
    assert judge.terms(HARD) == [(hard, False)]
    assert judge.terms({0.5: 1.0}) == [(soft, True), (hard, False)]
    assert knows(soft).terms(alone) == [(soft, True)]


@pytest.mark.parametrize(
    ("form", "soft", "divides"),
    [
        (FORMS[KL], True, (4.0, 0.5)), (None, True, (4.0, 0.5)), (FORMS["KL, T on neither"], True, (1.0, 0.5)),
        (FORMS["KL, T on the teacher alone"], True, (1.0, 0.5)), (FORMS[KL], False, (1.0, 1.0)),
        (None, False, (1.0, 1.0)),
    ],
)  # fmt: skip
def test_what_divides_the_students_logits_is_T_or_1_and_for_the_teachers_no_more_than_T(form, soft, divides):
    assert tuple(_temperature(Term(SOFT, form), soft, T) for T in (4.0, 0.5)) == divides


@pytest.mark.parametrize(("mix", "terms", "weights"), [(SOFT, (1, 0), 1), (HARD, (0, 1), 1), (BOTH, (1, 1), 3)])
def test_the_noise_of_a_mix_is_that_of_its_terms_and_what_is_known_of_their_formulas(mix, terms, weights):
    z, v, _ = random_batch(3, 5)
    soft = Term(SOFT, FORMS[KL], SUMS, constant=-2.0, power=1.0, of_B=-1.0, epsilon=1e-9)
    hard = Term(HARD, None, SUMS, constant=0.5, power=0.0, slack=1e-6)
    found = outcome(7.0)
    in_a_row = 16e-9 * log_q_at(z, v, 8.0), (16e-12 + 1e-6) * log_q_at(z, v, 1.0)
    each = 2 * 8 / 3 * 3 * in_a_row[0], 0.5 * 3 * in_a_row[1]
    expected = 16e-12 * 7 + weights * np.dot(terms, each)
    assert knows(soft, hard).noise(mix, z, v, 8.0, found) == pytest.approx(expected, rel=1e-12)
    rounded = knows(soft, hard, "float32").noise(mix, z, v, 8.0, found)
    assert rounded == knows(soft, hard).noise(mix, z, v, 8.0, found, "float32") > expected


@pytest.mark.parametrize(("T", "squares"), [(8.0, 4.0), (0.5, 1.0)])
def test_a_formula_whose_power_of_T_is_unknown_may_round_as_one_of_T2_does(T, squares):
    z, v, _ = random_batch(3, 5)
    term = Term(SOFT, FORMS[KL], SUMS, constant=1e9, power=None, of_B=-1.0)
    for size in (20.0, 200.0):
        measured = 16e-12 * size + 1e-7 * max(size, 100.0)
        expected = measured + 1e9 * squares * 16e-12 * log_q_at(z, v, T)
        judge = knows(term)
        assert judge.noise(SOFT, z, v, T, outcome(size)) == pytest.approx(expected, rel=1e-12)
        term_alone = knows(Term(SOFT))
        assert term_alone.noise(SOFT, z, v, T, outcome(size)) == pytest.approx(measured, rel=1e-12)
    assert knows(Term(SOFT), precision="float32").noise(SOFT, z, v, T, outcome(1.0)) == pytest.approx(
        2**-24 * (16 + 1e3 * 100), rel=1e-12
    )


@pytest.mark.parametrize("N", [3, 4])
def test_a_gradient_may_be_off_by_the_rounding_of_smoothed_labels_where_the_student_says_never(N):
    z, y = np.array([[0.0, -300.0, 1.0, 2.0]])[:, :N], np.array([0])
    smoothed = lambda y, z: targets_of(epsilon=0.1)(y, z.shape[1])  # noqa: E731
    for classes in (None, 3):  # a weight of each class is known at the N at which it was measured
        hard = Term(HARD, None, SUMS, constant=1.0, power=0.0, of_B=-1.0, shares=smoothed, classes=classes)
        noise = knows(Term(SOFT), hard).gradient_noise(HARD, z, 0 * z, 1.0, y)
        held = smoothed(y, z) if classes in (None, N) else np.eye(N)[y]
        np.testing.assert_allclose(noise, 16e-12 * log_q_at(z, 0 * z, 1.0) * (museum.softmax(z) + held), rtol=1e-9)


@pytest.mark.parametrize("T", [8.0, 0.5])
def test_each_component_of_a_gradient_may_round_as_its_probabilities_do(T):
    z, v, y = random_batch(3, 5)
    q, p, q1, labels = museum.softmax(z, T), museum.softmax(v, T), museum.softmax(z), np.eye(5)[y]
    soft = Term(SOFT, FORMS[KL], SUMS, constant=-2.0, power=2.0, of_B=-1.0)
    hard = Term(HARD, None, SUMS, constant=0.5, power=0.0, of_B=-1.0, slack=1e-6)
    each = {
        1: 2 * T / 3 * 16e-12 * log_q_at(z, v, T) * (q + p),
        0: 0.5 / 3 * (16e-12 * log_q_at(z, v, 1.0) + 1e-6) * (q1 + labels),
    }
    judge = knows(soft, hard)
    for mix, expected in ((SOFT, each[1]), (HARD, each[0]), (BOTH, 3 * (each[0] + each[1]))):
        np.testing.assert_allclose(judge.gradient_noise(mix, z, v, T, y), expected, rtol=1e-12)
    for mix, large in ((SOFT, (2 * T / 3, T, q + p)), (HARD, (0.5 / 3, 1.0, q1 + labels))):
        factor, divisor, shares = large
        expected = factor * 16 * 2**-24 * log_q_at(z, v, divisor) * (shares.max(-1, keepdims=True) + 1 / 5)
        expected = np.broadcast_to(expected, (3, 5)) + (factor * 1e-6 * (shares.max(-1, keepdims=True) + 1 / 5)) * (
            mix is HARD
        )
        for found in (judge.gradient_noise(mix, z, v, T, y, "float32"),
                      knows(soft, hard, "float32").gradient_noise(mix, z, v, T, y)):  # fmt: skip
            np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_gradient_may_lose_what_is_too_small_for_its_type(dtype):
    z = np.array([[300.0, 0.0, -300.0]])
    soft = Term(SOFT, FORMS[KL], SUMS, constant=1.0, power=2.0)
    noise = knows(soft).gradient_noise(SOFT, 10 * z, 10 * z, 1.0, np.zeros(1, dtype=int), dtype)
    smallest = float(np.finfo(dtype).tiny)
    assert (noise >= smallest).all(), "a component below is rounded to nothing"
    assert noise[0, 2] <= (1e10 * smallest if dtype == "float64" else 1000)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("T", [8.0, 0.5])
def test_a_gradient_without_a_formula_is_measured_by_the_losss_size_over_T_or_1(T, precision):
    z, v, y = random_batch(3, 5)
    known, unknown = Term(SOFT, FORMS[KL], SUMS, constant=1e9, power=2.0), Term(HARD)
    measured = max(1e-5, 1e4 * EPSILONS[precision]) * 100 / min(T, 1.0)
    judge = knows(known, unknown, precision)
    np.testing.assert_allclose(judge.gradient_noise(HARD, z, v, T, y), np.full((3, 5), measured), rtol=1e-12)
    both = 3 * judge.gradient_noise(SOFT, z, v, T, y) + measured
    np.testing.assert_allclose(judge.gradient_noise(BOTH, z, v, T, y), both, rtol=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize(("B", "N"), [(1, 2), (3, 5), (17, 300)])
@pytest.mark.parametrize("T", [1.0, 20.0])
def test_a_gradient_in_coarse_numbers_is_off_by_less_than_the_noise_and_more_than_a_thousandth(kind, B, N, T):
    z, v, y = random_batch(B, N)
    judge = knows(Term(SOFT, FORMS[KL], SUMS, constant=1.0, power=2.0, of_B=-1.0))
    z, v = z.astype(kind), v.astype(kind)
    fine, coarse = (museum.kl_batchmean_t2(a, b, T)[1] for a, b in ((z.astype("d"), v.astype("d")), (z, v)))
    noise = judge.gradient_noise(SOFT, z, v, T, y, kind.__name__)
    assert 1e-3 < (np.abs(coarse - fine) / noise).max() < 1


def test_the_size_of_a_loss_is_its_largest_on_random_logits_of_each_shape_T_and_mix():
    judge = Judge.__new__(Judge)
    judge._magnitudes, asked = {}, []

    def at(mix, z, v, T, y):
        asked.append((z, v, y))
        return outcome(-sum(mix) * T * (np.abs(z).sum() + v[0, 0] ** 2 + y.sum()))

    judge.at = at
    for mix, B, N, T in ((SOFT, 3, 5, 2.0), (BOTH, 3, 5, 2.0), (SOFT, 4, 5, 2.0), (SOFT, 3, 6, 2.0), (SOFT, 3, 5, 3.0)):
        values = [abs(at(mix, z, v, T, y).value) for z, v, y in (random_batch(B, N, seed) for seed in range(3))]
        asked.clear()
        for _ in range(2):
            assert judge.magnitude(mix, B, N, T) == max(values)
        assert len(asked) == 3, "and is remembered"


def mixing(f, alphas, d=0.0, noise=1e-9):
    """A judge of a loss that is f(alpha), answered at these alphas, whose weights are lines over 1 + d alpha."""
    judge = knows(Term(SOFT), alphas=alphas)
    judge.weights = SimpleNamespace(d=d)
    judge.asked = set()

    def at(mix, *given):
        judge.asked.add(tuple(map(str, given)))
        return outcome(f(*mix))

    judge.at = at
    judge.noise = lambda mix, z, v, T, found: noise * sum(mix.values()) * found.size
    return judge


BETWEEN = [0.2, 0.9, 0.5, 0.75]


@pytest.mark.parametrize("d", [0.0, 1.0])
def test_a_loss_that_is_a_line_in_alpha_or_that_over_1_and_alpha_is_on_the_line_at_each(d):
    judge = mixing(lambda a: (3 + 5 * a) / (1 + d * a), BETWEEN, d)
    assert [judge.off_the_line("z", "v", 4.0, "y", alpha) for alpha in BETWEEN] == [""] * 4
    assert judge.asked == {("z", "v", "4.0", "y")}
    assert judge.bent == ""
    other = mixing(lambda a: (3 + 5 * a) / (1 + (1 - d) * a), BETWEEN, d)
    assert all(other.off_the_line("z", "v", 4.0, "y", alpha) for alpha in BETWEEN)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("alpha", "expected"), [(0.5, 1), (0.2, 1), (0.9, 1)])
def test_a_loss_may_be_off_the_line_in_alpha_by_the_noise_of_the_three_and_no_further(sign, alpha, expected):
    for times, holds in ((2.9, True), (3.2, False)):
        judge = mixing(lambda a, off=times * sign * 1e-2: expected + off * (a == alpha), BETWEEN, noise=1e-2)
        found = judge.off_the_line("z", "v", 4.0, "y", alpha)
        value = expected + times * sign * 1e-2
        text = f"at alpha = {alpha:g} it is {value:.10g}, between its ends it should be 1"
        assert found == ("" if holds else text)


def test_a_bend_in_alpha_is_told_where_it_is_nearest_to_a_half():
    def bent(at, alphas=(0.0, 0.9, 0.25, 0.6, 1.0)):
        return mixing(lambda a: a + (a in at), alphas).bent

    assert bent({0.6, 0.9}) == "at alpha = 0.6 it is 1.6, between its ends it should be 0.6"
    assert bent({0.25, 0.9}) == "at alpha = 0.25 it is 1.25, between its ends it should be 0.25"
    assert bent(()) == ""
    assert mixing(lambda a: a * (a == 1), (0.0, 0.4, 1.0)).bent.startswith("at alpha = 0.4 it is 0,")
    assert mixing(lambda a: np.nan, (0.0, 1.0)).bent == "", "two are always on a line"
    judge = mixing(lambda a: a, (0.0, 0.5, 1.0))
    assert (judge.bent, len(judge.asked)) == ("", 1)
    ((z, v, T, y),) = judge.asked
    assert (z, v, y) == tuple(map(str, random_batch(3, 5)))
    assert T == "4.0"


@pytest.mark.parametrize(("temperatures", "at"), [((1, 4.0), 1.0), ((2, 4.0), 4.0)])
def test_float16_is_tried_at_temperature_1_where_that_is_answered(temperatures, at):
    judge, asked = knows(Term(SOFT), temperatures=temperatures), []

    def soft(z, v, T):
        asked.append((z.dtype.name, v.dtype.name, z.shape, T))
        return outcome(1.0)

    judge.soft = soft
    assert judge.offers_float16
    assert asked == [(kind, kind, (3, 5), at) for kind in ("float16", "float64")]


def test_a_judge_asks_for_the_soft_term_where_it_is_alone_with_the_labels_that_are_given():
    judge, asked = knows(Term(SOFT)), []
    judge.domain.at = lambda *given: asked.append(given)
    judge.soft("z", "v", 3.0, "y")
    judge.soft("z", "v", 3.0)
    judge.at(BOTH, "z", "v", 3.0, "y")
    assert asked == [(SOFT, "z", "v", 3.0, "y"), (SOFT, "z", "v", 3.0, None), (BOTH, "z", "v", 3.0, "y")]


def test_a_judge_looks_for_the_domain_of_its_loss_by_seed_0_unless_another_is_given(monkeypatch):
    asked = []

    def domain(*given):
        asked.append(given)
        raise Unusable("it answers nowhere")

    monkeypatch.setattr(judge_module, "Domain", domain)
    for arguments in (("loss",), ("loss", 9)):
        with pytest.raises(Unusable):
            Judge(*arguments)
    assert asked == [("loss", 0), ("loss", 9)]


def test_the_third_mix_is_the_alpha_that_is_nearest_to_a_half():
    def loss(z, v, T, y, alpha):
        assert alpha in (1.0, 0.4, 0.05)
        return museum.alpha_weighs_the_soft_term(z, v, T, y, alpha)

    judge = Judge(Loss(loss))
    assert judge.mixes == [judge.soft_term.mix, judge.hard_term.mix, {0.4: 1.0}]
    assert set(judge.soft_term.mix) == {1.0}


def test_a_later_loss_that_needs_the_labels_in_all_of_it_is_known_by_its_formula():
    judge = Judge(Loss(museum.decoupled))
    assert (judge.soft_term.form.word, judge.hard_term) == ("decoupled", None)
    assert judge.mixes == [judge.soft_term.mix]
    unknown = Loss(lambda z, v, T, y, alpha: (np.abs(z - v).sum(-1) * (1 + y)).sum())
    with pytest.raises(Unrecognised, match=r"^the soft term is alone at no mix of two alphas"):
        Judge(unknown)


def test_two_values_are_equal_up_to_the_noise_and_a_nan_names_its_likely_mistake():
    judge = Judge(Loss(museum.kl_value_alone))
    one, other = (judge.soft(*random_batch(2, 3, seed)[:2], 1.0) for seed in (0, 1))
    judge.require_equal(one, other, abs(one.value - other.value) * 1.01, "the same")
    nan = type(one)(np.nan, None)
    for b, mistake in ((other, ""), (nan, "0 log 0: a probability underflows to 0, and its logarithm is taken")):
        with pytest.raises(Broken) as raised:
            judge.require_equal(one, b, abs(one.value - other.value) * 0.99, "something else")
        assert str(raised.value) == f"something else: {one.value:.10g} became {b.value:.10g}"
        assert raised.value.mistake == mistake


def test_a_judge_asks_a_loss_once_for_the_same_and_with_its_labels_at_the_mixes_of_alpha():
    asked = []

    def loss(z, v, T, y, alpha):
        asked.append((z.tobytes(), v.tobytes(), T, y.tobytes(), alpha))
        return museum.alpha_weighs_the_hard_term(z, v, T, y, alpha)

    judge = Judge(Loss(loss))
    assert judge.mixes == [{0.0: 1.0}, {1.0: 1.0}, {0.5: 1.0}]
    assert Judge(Loss(museum.kl_value_alone)).mixes == [{1.0: 1.0}]
    z, v, y = random_batch(4, 5, 99)
    asked.clear()
    for _ in range(2):
        judge.soft(z, v, 3.0, y)
    judge.soft(z, v, 3.0)
    assert asked == [(z.tobytes(), v.tobytes(), 3.0, labels.tobytes(), 0.0) for labels in (y, 0 * y)]


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e9])
def test_a_judge_knows_the_coarsest_type_whatever_the_losss_size(factor):
    def of(student, teacher):
        loss = lambda z, v, T: factor * float(museum.kl_value_alone(z.astype(student), v.astype(teacher), T))  # noqa: E731
        domain = Judge(Loss(loss)).domain
        return domain.types["student"], domain.types["teacher"], domain.precision

    assert of("d", "d") == ("float64", "float64", "float64")
    assert of("f", "f") == ("float32", "float32", "float32")
    assert of("d", "e") == ("float64", "float16", "float16")
    rounded_T = lambda z, v, T: museum.kl_value_alone(z, v, float(np.float32(T)))  # noqa: E731
    assert Judge(Loss(rounded_T)).domain.types == {"student": "float64", "teacher": "float64", "T": "float32"}
    ignored_T = lambda z, v, T: museum.kl_value_alone(z, v, 3.0)  # noqa: E731
    assert Judge(Loss(ignored_T)).domain.precision == "float64"


def test_float16_is_offered_by_a_loss_whose_value_there_is_within_a_twentieth():
    def loss(factor, of=("float16", "float16")):
        def function(z, v, T):
            kinds = z.dtype.name, v.dtype.name
            return museum.kl_value_alone(z.astype("d"), v.astype("d"), T) * (factor if kinds == of else 1.0)

        return Loss(function)

    def refuses(z, v, T):
        if z.dtype == np.float16:
            raise TypeError("not in float16")
        return museum.kl_value_alone(z, v, T)

    for factor, offered in ((1.04, True), (0.96, True), (1.06, False), (0.94, False), (np.nan, False)):
        assert Judge(loss(factor)).offers_float16 == offered
    for mixed in (("float16", "float64"), ("float64", "float16")):
        assert Judge(loss(np.nan, mixed)).offers_float16
    assert not Judge(Loss(refuses)).offers_float16


def test_what_a_law_needs_and_a_loss_has_not_is_not_judged():
    for loss, known in ((museum.kl_value_alone, set()), (museum.alpha_weighs_the_soft_term, {"labels", "gradient"})):
        judge = Judge(Loss(loss))
        for name, law in LAWS.items():
            assert has(judge, law.needs) == (set(law.needs.split()) <= known)
            assert try_law(judge, name, examples=3) == Verdict(name, judged=set(law.needs.split()) <= known)


def judge_of(shapes=((1, 2), (2, 3), (1, 500)), temperatures=(2.0, 1.0), alphas=(0.25, 1.0), **known):
    """A judge that a law of the test's own needs no more of."""
    unknown = {"has_gradient": False, "hard_term": None, "loss": SimpleNamespace(framework="numpy")}
    domain = SimpleNamespace(shapes=shapes, temperatures=temperatures, alphas=alphas)
    return SimpleNamespace(**{"domain": domain, "soft_term": SimpleNamespace(form=None), **unknown, **known})


@pytest.fixture
def tried(monkeypatch):
    """What try_law says of a law that does this with a case."""

    def judged(check, judge=None, *, needs="", **options):
        monkeypatch.setitem(LAWS, "a_law", Law(lambda judge, case: check(case), "its mistake", needs))
        return try_law(judge or judge_of(), "a_law", **options)

    return judged


def test_the_shapes_that_a_person_can_read_have_up_to_5_rows_and_classes():
    pool = Pool(((5, 5), (6, 2), (1, 2), (2, 6), (67, 5), (5, 1000)), (1.0,), (0.5,))
    assert pool.by_size() == ([(5, 5), (1, 2)], [(6, 2), (2, 6), (67, 5), (5, 1000)])
    assert pool.readable() == Pool(((5, 5), (1, 2)), (1.0,), (0.5,))


def test_cases_are_of_what_the_loss_answers_and_most_can_be_read():
    found = drawn(judge_of(), 200, 0)
    assert {case.z.shape for case in found} == {(1, 2), (2, 3), (1, 500)}
    assert {case.T for case in found} == {1.0, 2.0}
    assert {case.alpha for case in found} == {0.25, 1.0}
    small, large = ([case for case in found if (case.seed is None) == readable] for readable in (True, False))
    assert len(small) > len(large) > 5
    for case in small:
        for u in (case.z, case.v):
            np.testing.assert_array_equal(u, np.round(2 * u) / 2)
            assert np.abs(u).max() <= 10
    assert any((case.z == 0).all(axis=-1).any() and case.z.any() for case in small), "a row of zeros"
    assert {label for case in small for label in case.y} == {0, 1, 2}
    for case in large:
        np.testing.assert_array_equal(case.z, random_batch(1, 500, case.seed)[0])
    assert all(case.z.shape == case.v.shape == (len(case.y), case.z.shape[1]) for case in found)


def test_a_law_that_holds_is_judged_and_what_the_loss_refuses_on_the_way_breaks_none(tried):
    def refuses(case):
        if case.T > 1:
            raise Unusable(f"not at {case.T}, {next(calls)}")

    calls = itertools.count()
    assert tried(lambda case: None, examples=20) == Verdict("a_law")
    assert tried(refuses, examples=20) == Verdict("a_law", refused="not at 2.0, 0")
    calls = itertools.count()
    verdict = tried(refuses, judge_of(temperatures=(2.0,)), examples=20)
    assert verdict == Verdict("a_law", judged=False, refused="not at 2.0, 0")


def test_a_law_that_a_loss_of_its_form_does_not_obey_is_not_judged(tried):
    def never(case):
        raise Broken("asked all the same")

    def of(*apart):
        return judge_of(soft_term=SimpleNamespace(form=SimpleNamespace(apart=apart)))

    assert tried(never, of("another_law", "a_law")) == Verdict("a_law", judged=False)
    assert tried(never, of("another_law")).broken
    assert tried(never, needs="gradient") == Verdict("a_law", judged=False)
    assert tried(never, judge_of(has_gradient=True), needs="gradient").broken


@pytest.mark.parametrize("words", ["", "gradient", "labels", "autodiff", "labels gradient"])
def test_a_loss_has_what_a_law_needs_if_it_has_all_of_it(words):
    for gradient, labels, autodiff in itertools.product((False, True), repeat=3):
        judge = judge_of(
            has_gradient=gradient,
            hard_term=object() if labels else None,
            loss=SimpleNamespace(framework="torch" if autodiff else "numpy"),
        )
        known = {"gradient": gradient, "labels": labels, "autodiff": autodiff}
        assert has(judge, words) == all(known[word] for word in words.split())


def test_a_case_that_breaks_a_law_is_made_as_small_as_it_can_be(tried):
    def above_3(case):
        if np.abs(case.z).max() > 3 and case.seed is None:
            raise Broken(f"at {case.z.max():g}")

    verdict = tried(above_3, examples=20)
    assert (verdict.law, verdict.broken, verdict.mistake) == ("a_law", "at 3.5", "its mistake")
    case = verdict.case
    assert sorted(case.z.ravel()) == [0, 3.5]
    assert not case.v.any()
    assert (case.z.shape, case.T, case.alpha, case.y.tolist()) == ((1, 2), 2.0, 0.25, [0])


def test_a_mistake_that_the_check_names_is_likelier_than_that_of_its_law(tried):
    def fails(case):
        raise Broken("all", "another mistake")

    assert tried(fails).mistake == "another mistake"


def test_a_law_that_large_shapes_alone_break_is_shown_at_the_first_of_them(tried):
    def large(case):
        if case.z.shape[1] > 5:
            raise Broken(f"{case.z.shape}")

    verdict = tried(large, judge_of(((1, 2), (1, 500), (67, 6))), examples=20)
    assert (verdict.broken, verdict.case.seed, verdict.case.T) == ("(1, 500)", 0, 2.0)


def test_of_a_law_that_is_broken_everywhere_a_case_is_shown_that_a_person_can_read(tried):
    def above_3(case):
        if case.z.max() > 3:
            raise Broken("above 3")

    assert tried(above_3, examples=20).case.seed is None


def test_a_law_is_tried_on_60_cases_of_seed_0_or_on_those_that_are_given(tried):
    def asked(**options):
        cases = []
        tried(cases.append, **options)
        return [str(case) for case in cases]

    assert asked() == asked(seed=0) == [str(case) for case in drawn(judge_of(), 60, 0)]
    assert len(asked()) == 60
    assert asked(seed=1) != asked()
    assert asked(examples=7) == [str(case) for case in drawn(judge_of(), 7, 0)]
    assert asked(tried=[CASE]) == [str(CASE)]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_law_that_is_broken_now_and_then_is_an_answer_that_cannot_be_trusted_and_no_error(tried, times):
    calls = itertools.count()

    def now_and_then(case):
        if next(calls) < times:
            raise Broken("now")

    text = "the same logits gave two answers: freeze its dropout, or its seed"
    verdict = tried(now_and_then, examples=1)
    assert verdict == Verdict("a_law", text, verdict.case)
    assert verdict.case is not None


def test_cases_are_of_all_shapes_up_to_67_rows_and_1000_classes_and_of_temperatures_on_both_sides_of_1():
    found = drawn(Judge(Loss(museum.alpha_weighs_the_soft_term)), 300, 0)
    shapes = {case.z.shape for case in found}
    assert {(1, 2), (3, 5)} <= shapes
    assert max(B for B, _ in shapes) == 67
    assert max(N for _, N in shapes) == 1000
    assert any(case.T < 1 for case in found)
    assert any(round(case.T) != case.T for case in found)
    assert len({case.alpha for case in found}) > 15


def test_a_law_that_is_broken_once_and_then_not_is_an_answer_that_cannot_be_trusted():
    judge, name = Judge(Loss(museum.kl_value_alone)), "shift_of_the_student_changes_nothing"
    answers = iter([1.0, 2.0])
    judge.soft = lambda z, v, T: outcome(next(answers, 1.0))
    verdict = try_law(judge, name)
    assert verdict.case is not None
    text = "the same logits gave two answers: freeze its dropout, or its seed"
    assert verdict == Verdict(name, text, verdict.case)


def outcome(value):
    return Outcome(value, None, None, abs(value))


def test_no_warning_of_numpys_escapes_a_check():
    with np.errstate(all="raise"):
        assert not check_distillation_loss(lambda z, v, T: np.inf, examples=3).passed


def test_a_check_hands_on_its_name_its_framework_its_examples_and_its_seed(monkeypatch):
    seen = []

    def try_nothing(judge, name, examples, seed, tried):
        assert len(tried) == examples
        seen.append((name, examples, seed))
        return Verdict(name)

    monkeypatch.setattr(report_module, "try_law", try_nothing)
    report = check_distillation_loss(museum.kl_value_alone, examples=7, seed=9)
    assert seen == [(name, 7, 9) for name in LAWS]
    for judging in (check_distillation_loss, assert_distillation_loss):
        seen.clear()
        judging(museum.kl_value_alone)
        assert seen == [(name, 60, 0) for name in LAWS]
    assert (report.name, report.framework) == ("kl_value_alone", "numpy")
    report = check_distillation_loss(raises)
    assert (report.name, report.framework, report.verdicts) == ("raises", "numpy", [])
    with pytest.raises(md.ArgumentError) as raised:
        check_distillation_loss(raises, expect="fast")
    words = ", ".join(["kl, ce", *LATER, "batchmean, sum, t2, t0, detached, rows"])
    assert str(raised.value) == f"expect must be some of {words}, got 'fast'"
    assert set(LATER) == {form.word for form in FORMS.values() if form.word}


def raises(z, v, T):
    raise KeyError("no such thing")


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (raises, "it raised KeyError"),
        (lambda z, v, T: z, r"its value must be one number, got shape \(4, 5\)"),
        (lambda z, v, T: "much", "its value must be a number, got str"),
        (lambda z, v, T: None, "its value must be a number, got NoneType"),
        (lambda z, v, T: (1.0, np.zeros(3)), r"its gradient must have the logits' shape \(4, 5\), got \(3,\)"),
        (lambda z, v, T: (1.0, z, z), r"it must return a value or \(value, gradient\), got 3 things"),
        (
            lambda z, v, T, y, alpha: museum.kl_value_alone(z, v, T) + museum.hard(z, y)[0],
            "the soft term is alone at no",
        ),
    ],
)
def test_a_function_that_cannot_be_judged_gets_a_report_that_says_so(loss, text):
    report = check_distillation_loss(loss)
    assert not report.passed
    with pytest.raises(AssertionError, match=text):
        assert_distillation_loss(loss)


def test_a_loss_that_fails_on_some_inputs_is_reported_with_them_once():
    def fragile(z, v, T):
        if v[0, 0] == v.max() > 0:
            raise ValueError("too certain")
        return museum.kl_batchmean_t2(z, v, T)

    report = check_distillation_loss(fragile)
    assert [verdict.law for verdict in report.broken] == ["it_answers_where_it_is_asked"]
    assert report.broken[0].broken == "it raised ValueError: too certain"
    assert report.broken[0].case.v[0, 0] > 0


NOISE = np.random.default_rng(0)


def stochastic(z, v, T):
    return museum.kl_value_alone(z, v, T) * (1 + 1e-6 * NOISE.normal())


def later_stochastic(z, v, T):
    return museum.kl_value_alone(z, v, T) * (1 + (len(z) == 3) * 1e-1 * NOISE.normal())


def leaves(z, v, T):
    raise SystemExit(0)


def demanding(z, v, T):
    assert z.shape[1] >= 4
    return museum.kl_batchmean_t2(z, v, T)


def test_a_loss_that_is_not_a_function_of_its_arguments_is_said_to_be_none():
    text = "the same logits gave two values: freeze its dropout, or its seed"
    assert check_distillation_loss(stochastic).unusable == text
    assert "it raised SystemExit: 0" in check_distillation_loss(leaves).unusable
    verdict = try_law(Judge(Loss(later_stochastic)), "shift_of_the_student_changes_nothing")
    assert verdict.broken
    report = check_distillation_loss(demanding, examples=EXAMPLES)
    assert report.passed
    assert report.notes[0].startswith("it refuses N = 2, 3 (it raised AssertionError: ")


def test_a_loss_of_one_temperature_is_judged_at_it():
    def plain(z, v, T):
        assert T == 1
        return museum.kl_batchmean_t2(z, v, T)

    report = check_distillation_loss(plain, examples=EXAMPLES)
    assert report.passed, report
    assert report.notes[0].startswith("it refuses temperatures ")


def test_rounding_in_float32_is_allowed_the_T2_that_an_epsilon_hides():
    def clipped(z, v, T):  # the power of T is known at no T, as the epsilon is a large part of a small KL
        p = md.softmax(v, T)
        return T**2 * (p * (np.log(p + 1e-9) - md.log_softmax(z, T))).sum(-1).mean()

    assert try_law(Judge(Loss(clipped)), "float32_agrees_with_float64").broken is None


def test_where_T_divides_the_teacher_alone_the_student_rounds_as_at_T_1():
    law = "float32_agrees_with_float64"
    assert try_law(Judge(Loss(museum.temperature_on_the_teacher_alone)), law).broken is None


def test_arguments_that_have_defaults_are_not_taken_for_labels():
    def optional(z, v, T=4.0, reduction="batchmean", log_target=True):
        assert reduction == "batchmean"
        return museum.kl_batchmean_t2(z, v, T)

    def labelled(z, v, T, labels=None, alpha=1.0):
        return museum.alpha_weighs_the_soft_term(z, v, T, labels, alpha)

    class Module:
        def forward(self, z, v, T, y, alpha):
            return museum.alpha_weighs_the_soft_term(z, v, T, y, alpha)

        def __call__(self, *arguments):
            return self.forward(*arguments)

    for function, labels in ((optional, False), (labelled, True), (Module(), True), (lambda *a: 0.0, False)):
        assert Loss(function).takes_labels == labels
    assert check_distillation_loss(optional, examples=EXAMPLES).passed
    assert check_distillation_loss(Module(), examples=EXAMPLES).passed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_never_finite_is_a_broken_law_and_not_a_crash_and_with_labels_no_riddle(value):
    for loss in (
        lambda z, v, T: value,
        lambda z, v, T, y, alpha: value,
        lambda z, v, T, y, alpha: alpha * value + (1 - alpha) * museum.hard(z, y)[0],
        lambda z, v, T, y, alpha: alpha * museum.kl_value_alone(z, v, T) + (1 - alpha) * value,
    ):
        report = check_distillation_loss(loss, examples=EXAMPLES)
        assert "finite_at_extreme_logits" in [verdict.law for verdict in report.broken]


@pytest.mark.parametrize(
    ("options", "text"),
    [({"framework": "caffe"}, "framework must be one of"), ({"expect": "kl,fast"}, "expect must be some of"),
     ({"examples": 0}, "examples must be a whole number >= 1")],
)  # fmt: skip
def test_a_wrong_option_is_one_clear_line(options, text):
    with pytest.raises(md.ArgumentError, match=text):
        check_distillation_loss(museum.kl_batchmean_t2, **options)


def test_a_missing_framework_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(md.BackendUnavailable, match=r"--framework torch needs the package torch.*pip install torch"):
        check_distillation_loss(museum.kl_batchmean_t2, "torch")


CASE = Case(np.array([[0.0, 0.5]]), np.array([[1.0, 0.0]]), 2.0, np.array([1]), 0.5)
VERDICTS = [
    Verdict("first_law"),
    Verdict("second_law", "3 became 4", CASE, "a factor"),
    Verdict("third_law", judged=False),
    Verdict("it_is_sum_as_declared", "it is mean"),
]


def test_a_report_reads_as_it_should():
    found = Fingerprint(
        KL, "batchmean", 2.0, "soft", 0.0, True, "label smoothing 0.1", "sum", "teacher in float16", "rows"
    )
    report = Report("loss", "torch", found, VERDICTS, notes=["it refuses B = 1"])
    assert str(report).splitlines() == [
        "loss (torch): it is KL(teacher || student), batchmean, times T^2: 2 of 3 laws broken, second law: 3 became 4",
        "",
        "  form             KL(teacher || student)",
        "  reduction        batchmean",
        "  power of T       2",
        "  alpha weighs     the soft term",
        "  hard term        label smoothing 0.1, sum",
        "  T, hard term     0",
        "  teacher          detached",
        "  arithmetic       teacher in float16",
        "  logits (B, L, N) rows",
        "  note             it refuses B = 1",
        "",
        "  holds   first law",
        "  BROKEN  second law",
        "  -       third law",
        "  BROKEN  it is sum as declared",
        "",
        "second law: 3 became 4",
        "  at z = [[0.0, 0.5]], v = [[1.0, 0.0]], y = [1], T = 2, alpha = 0.5",
        "  likely: a factor",
        "",
        "it is sum as declared: it is mean",
        "",
        "1 of 3 laws hold",
    ]
    assert [verdict.law for verdict in report.broken] == ["second_law", "it_is_sum_as_declared"]
    assert not report.passed


FOUND = Fingerprint(KL, "sum", 0.0)
BROKEN_LAW = Verdict("shift_of_the_student_changes_nothing", "3 became 4", CASE, "a factor")
SCRIPT = (
    "from minidistill.testing import check_law\n"
    "check_law(\"losses.py:loss\", \"shift_of_the_student_changes_nothing\", {'z': [[0.0, 0.5]], 'v': [[1.0, 0.0]], "
    "'y': [1], 'T': 2.0, 'alpha': 0.5}, framework='torch', labels='truth')"
)


def test_a_report_of_plain_arithmetic_leaves_that_out_and_says_what_was_refused_and_how_to_ask_again():
    verdicts = [
        Verdict("first_law", refused="it raised"),
        Verdict("second_law", judged=False, refused="no"),
        BROKEN_LAW,
    ]
    options = {"framework": "torch", "labels": "truth"}
    report = Report("loss", "torch", FOUND, verdicts, target="losses.py:loss", options=options)
    assert report.reproducer(BROKEN_LAW) == SCRIPT
    assert str(report).splitlines()[1:] == [
        "",
        "  form             KL(teacher || student)",
        "  reduction        sum",
        "  power of T       0",
        "  logits (B, L, N) not taken",
        "",
        "  holds   first law: some not tried, it raised",
        "  -       second law: not tried, no",
        "  BROKEN  shift of the student changes nothing",
        "",
        "shift of the student changes nothing: 3 became 4",
        "  at z = [[0.0, 0.5]], v = [[1.0, 0.0]], y = [1], T = 2, alpha = 0.5",
        "  likely: a factor",
        "",
        *(f"    {line}" for line in SCRIPT.splitlines()),
        "",
        "1 of 2 laws hold",
    ]
    unnamed = Report("loss", "numpy", FOUND, verdicts).reproducer(BROKEN_LAW).splitlines()
    assert unnamed[:2] == ["from minidistill.testing import check_law", "# loss is the function that was checked"]
    assert unnamed[2:] == [
        'check_law(loss, "shift_of_the_student_changes_nothing", '
        "{'z': [[0.0, 0.5]], 'v': [[1.0, 0.0]], 'y': [1], 'T': 2.0, 'alpha': 0.5})"
    ]


def test_a_report_in_markdown_reads_as_it_should():
    verdicts = [Verdict("first_law"), BROKEN_LAW, Verdict("second_law", "it is mean", CASE)]
    options = {"framework": "torch", "labels": "truth"}
    report = Report("loss", "torch", FOUND, verdicts, None, ["it refuses B = 1"], None, "losses.py:loss", options)
    assert report.markdown().splitlines() == [
        "### `loss` (torch)",
        "",
        "It is KL(teacher || student), sum: 2 of 3 laws broken, shift of the student changes nothing: 3 became 4.",
        "",
        "| | |",
        "|---|---|",
        "| form | KL(teacher ‖ student) |",
        "| reduction | sum |",
        "| power of T | 0 |",
        "| logits (B, L, N) | not taken |",
        "| note | it refuses B = 1 |",
        "",
        "**shift of the student changes nothing**: 3 became 4.",
        "Likely: a factor.",
        "",
        "```python",
        *SCRIPT.splitlines(),
        "```",
        "",
        "**second law**: it is mean.",
    ]
    assert Report("loss", "numpy", None, [], "it raised").markdown().splitlines() == [
        "### `loss` (numpy)", "", "Cannot be judged: it raised."
    ]  # fmt: skip


DIVERGES = Verdict("it_is_a_divergence_from_teacher_to_student", "it is KL(student || teacher)")


@pytest.mark.parametrize(
    ("fields", "broken", "form", "sentence"),
    [
        ({}, [], None, "it is KL(teacher || student), sum: all 1 laws that apply hold"),
        ({"power": 1.5}, [], None, "it is KL(teacher || student), sum, times T^1.5: all 1 laws that apply hold"),
        ({"power": None}, [BROKEN_LAW], None,
         "it is KL(teacher || student), sum, times no power of T: 1 of 2 laws broken, "
         "shift of the student changes nothing: 3 became 4"),
        ({"form": "unknown"}, [], None, "it is none of the known formulas: all 1 laws that apply hold"),
        ({}, [DIVERGES], "KL(student || teacher)",
         "this is reverse-kl (Gu et al. 2024, arXiv:2306.08543), no mistake where it is meant; judged by its own "
         "formula, all 1 laws that apply hold: --expect reverse-kl"),
        ({}, [], "KL(student || teacher)",
         "this is reverse-kl (Gu et al. 2024, arXiv:2306.08543), no mistake where it is meant; judged by its own "
         "formula, all 1 laws that apply hold"),
        ({}, [DIVERGES, BROKEN_LAW], "KL(student || teacher)",
         "this is reverse-kl (Gu et al. 2024, arXiv:2306.08543), no mistake where it is meant; judged by its own "
         "formula, it breaks 1 of 2 laws, shift of the student changes nothing: 3 became 4"),
        ({}, [BROKEN_LAW], "KL(student || teacher)",
         "this is reverse-kl (Gu et al. 2024, arXiv:2306.08543), no mistake where it is meant; judged by its own "
         "formula, it breaks 1 of 2 laws, shift of the student changes nothing: 3 became 4"),
        ({}, [], KL, "it is KL(teacher || student), sum: all 1 laws that apply hold"),
    ],
)  # fmt: skip
def test_a_sentence_says_what_a_loss_is_and_what_it_breaks(fields, broken, form, sentence):
    found = Fingerprint(**({"form": KL, "reduction": "sum", "power": 0.0} | fields))
    verdicts = [Verdict("first_law"), Verdict("second_law", judged=False), *broken]
    report = Report("loss", "numpy", found, verdicts, later=form and FORMS[form])
    assert report.sentence == sentence
    assert report.passed == (not broken)


@pytest.mark.parametrize(
    ("word", "form", "broken"),
    [
        ("dist", None, f"it is {KL}, declared was dist"),
        ("dist", FORMS[KL], f"it is {KL}, declared was dist"),
        ("dist", FORMS["KL(student || teacher)"], "it is reverse-kl, declared was dist"),
        ("dist", FORMS["DIST"], None),
        ("kl", FORMS["DIST"], None),
        ("ce", None, f"it is {KL}, declared was cross-entropy(teacher, student)"),
    ],
)
def test_a_word_of_expect_that_is_not_so_says_what_is(word, form, broken):
    assert _expectation(word, FOUND, form) == Verdict(f"it_is_{word}_as_declared", broken)


class Untried:
    """Checks of which no law is tried: what they were asked for, and a judge that knows a form and a note alone."""

    def __init__(self, monkeypatch, form=None, broken=()):
        self.form, self.broken, self.laws, self.judges = form, dict(broken), [], []
        monkeypatch.setattr(report_module, "Judge", self.judge)
        monkeypatch.setattr(report_module, "drawn", lambda judge, examples, seed: ["cases", examples, seed])
        monkeypatch.setattr(report_module, "try_law", self.try_law)
        monkeypatch.setattr(frameworks, "_import", lambda name: None)

    def judge(self, loss, seed):
        assert np.log(np.zeros(1)) == -np.inf, "what NumPy warns of is no one's concern"
        self.judges.append((loss, seed))
        form, notes = SimpleNamespace(form=self.form), SimpleNamespace(notes=["a note"])
        return SimpleNamespace(loss=loss, soft_term=form, domain=notes, fingerprint=FOUND)

    def try_law(self, judge, name, examples, seed, tried):
        assert np.log(np.zeros(1)) == -np.inf
        assert tried == ["cases", examples, seed]
        assert (judge.loss, seed) == self.judges[-1]
        self.laws.append((name, examples))
        return Verdict(name, self.broken.get(name))


def of_other_names(z, v, T=4.0, truth=None, w=0.5):
    return float(truth[0]) + w


def test_a_check_asks_for_every_law_with_what_it_was_given_and_tells_what_is_next(monkeypatch):
    untried, told = Untried(monkeypatch), []
    with np.errstate(all="raise"):
        report = check_distillation_loss(
            of_other_names, "torch", examples=7, seed=9, labels="truth", alpha="w", progress=told.append
        )
    assert untried.laws == [(name, 7) for name in LAWS]
    assert told == ["what it computes", *(name.replace("_", " ") for name in LAWS)]
    ((loss, seed),) = untried.judges
    assert (loss.name, loss.framework, loss.takes_labels, seed) == ("of_other_names", "torch", True, 9)
    assert loss.function(None, None, None, [3], 0.25) == 3.25
    options = {"framework": "torch", "labels": "truth", "alpha": "w"}
    target = f"{__file__}:of_other_names"
    assert report == Report(
        "of_other_names", "torch", FOUND, [Verdict(name) for name in LAWS], None, ["a note"], None, target, options
    )
    for judging in (check_distillation_loss, assert_distillation_loss):
        untried.laws.clear()
        report = judging(museum.kl_value_alone)
        assert untried.laws == [(name, 60) for name in LAWS]
        assert untried.judges[-1][1] == 0
        assert (report.name, report.framework, report.options) == ("kl_value_alone", "numpy", {})
    report = check_distillation_loss(of_other_names)
    assert report.notes == ["a note", "not given: truth, w; a hard term takes --labels NAME --alpha NAME"]


@pytest.mark.parametrize(("examples", "tried"), [(60, 15), (16, 15), (14, 14), (1, 1)])
def test_of_a_loss_that_jax_cannot_compile_no_more_than_15_cases_are_tried(examples, tried, monkeypatch):
    untried = Untried(monkeypatch)
    monkeypatch.setattr(frameworks, "_reads_numbers", {id(museum.kl_value_alone)})
    report = check_distillation_loss(museum.kl_value_alone, examples=examples)
    assert untried.laws == [(name, tried) for name in LAWS]
    text = f"JAX cannot compile it, as it reads the value of T or alpha: {tried} cases for each law"
    assert report.notes == ["a note", text]
    assert check_distillation_loss(museum.kl_sum_t2, examples=examples).notes == ["a note"]


@pytest.mark.parametrize(
    ("form", "expect", "apart"),
    [("DIST", "dist", True), ("DIST", "sum dist", True), ("DIST", "", False), ("DIST", "sum", False),
     ("KL(student || teacher)", "dist", False), (KL, "kl", False), (None, "kl", False)],
)  # fmt: skip
def test_a_later_loss_need_not_be_hintons_where_it_is_expected(form, expect, apart, monkeypatch):
    other, form = "shift_of_the_student_changes_nothing", form and FORMS[form]
    Untried(monkeypatch, form, {DIVERGES.law: "it is none", other: "3 became 4"})
    report = check_distillation_loss(museum.kl_value_alone, expect=expect)
    verdicts = {verdict.law: verdict for verdict in report.verdicts}
    assert list(verdicts) == [*LAWS, *(f"it_is_{word}_as_declared" for word in expect.split())]
    assert verdicts[DIVERGES.law] == (
        Verdict(DIVERGES.law, judged=False) if apart else Verdict(DIVERGES.law, "it is none")
    )
    assert verdicts[other] == Verdict(other, "3 became 4")
    assert all(verdicts[law] == Verdict(law) for law in set(LAWS) - {DIVERGES.law, other})
    assert report.later == (form if form and form.word else None)
    declared = {word: report_module._expectation(word, FOUND, form) for word in expect.split()}
    assert [verdicts[verdict.law] for verdict in declared.values()] == list(declared.values())


def test_asserting_passes_everything_on_and_returns_the_report_or_raises_its_text(monkeypatch):
    given, reports = [], [Report("a", "jax", FOUND, []), Report("b", "jax", None, [], "it raised")]
    signature = inspect.signature(check_distillation_loss)

    def check(*arguments, **named):
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        given.append(list(bound.arguments.values()))
        return reports[len(given) - 1]

    monkeypatch.setattr(report_module, "check_distillation_loss", check)
    arguments, named = (len, "jax", "kl", 7, 9), {"labels": "y", "alpha": "w", "progress": print}
    assert assert_distillation_loss(*arguments, **named) is reports[0]
    with pytest.raises(AssertionError) as raised:
        assert_distillation_loss(len)
    assert str(raised.value) == str(reports[1])
    assert given == [[*arguments, *named.values()], [len, "numpy", "", 60, 0, None, None, None]]


def test_a_law_is_asked_of_the_loss_and_the_names_that_are_given_and_refused_where_it_lacks_something(monkeypatch):
    asked = []

    def judge(loss):
        return SimpleNamespace(loss=loss, has_gradient=False, hard_term=None)

    def check(judge, case):
        assert np.log(np.zeros(1)) == -np.inf, "what NumPy warns of is no one's concern"
        asked.append((judge.loss, case))
        if case.T > 2:
            raise Broken("3 became 4")

    monkeypatch.setattr(report_module, "Judge", judge)
    monkeypatch.setattr(frameworks, "_import", lambda name: None)
    monkeypatch.setitem(LAWS, "a_law", Law(check, ""))
    monkeypatch.setitem(LAWS, "another", Law(check, "", "labels gradient"))
    with np.errstate(all="raise"):
        check_law(of_other_names, "a_law", CASE.arguments(), framework="torch", labels="truth", alpha="w")
    check_law("minidistill.losses:kl_divergence", "a_law", CASE.arguments())
    (named, case), (plain, _) = asked
    assert (str(case), named.framework, named.takes_labels) == (str(CASE), "torch", True)
    assert named.function(None, None, None, [3], 0.25) == 3.25
    assert (plain.function, plain.framework, plain.takes_labels) == (md.kl_divergence, "numpy", False)
    for law, T, error, text in (
        ("a_law", 3.0, AssertionError, "a law: 3 became 4"),
        ("no_law", 1.0, md.ArgumentError, f"law must be one of {', '.join(LAWS)}, got 'no_law'"),
        ("another", 1.0, md.ArgumentError,
         "law must be one that needs no labels gradient, which the loss has not, got 'another'"),
    ):  # fmt: skip
        with pytest.raises(error) as raised:
            check_law(of_other_names, law, CASE.arguments() | {"T": T})
        assert str(raised.value) == text


@pytest.mark.parametrize("loss", [museum.t_once, museum.first_64_classes, museum.alpha_bent_at_a_half])
def test_a_reproducer_runs_as_it_is_pasted_and_says_the_same(loss):
    report = check_distillation_loss(loss, examples=10)
    verdict = report.broken[0]
    script = report.reproducer(verdict)
    assert len(script) < 400, "of large arrays, the seed and the shape"
    assert script in str(report).replace("\n    ", "\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"AssertionError: {verdict.law.replace('_', ' ')}: {verdict.broken}" in done.stderr


def test_a_reproducer_of_a_function_without_a_name_says_what_is_missing():
    report = check_distillation_loss(lambda z, v, T: T * museum.kl_value_alone(z, v, T), examples=1)
    script = report.reproducer(report.broken[0])
    assert "# loss is the function that was checked\ncheck_law(loss, " in script


def test_a_report_in_markdown_has_the_sentence_and_each_reproducer():
    report = check_distillation_loss(museum.t_once, examples=1)
    text = report.markdown()
    assert text.startswith("### `t_once` (numpy)\n\nIt is KL(teacher || student), batchmean, times T^1: 1 of ")
    assert "| reduction | batchmean |" in text
    assert f"```python\n{report.reproducer(report.broken[0])}\n```" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("no_law", {}), "law must be one of it_"), (("alpha_mixes_the_two_terms", {}), "needs no labels, which"),
     (("it_leaves_its_inputs_alone", {"z": 3}), "case must have z, v, y, T and alpha, or shape, seed, T and")],
)  # fmt: skip
def test_a_law_that_cannot_be_asked_is_said_to(arguments, text):
    with pytest.raises(md.ArgumentError, match=text):
        check_law(museum.kl_value_alone, *arguments)
    assert check_law(museum.kl_value_alone, "it_leaves_its_inputs_alone", CASE.arguments()) is None


def test_labels_and_alpha_of_other_names_are_given_by_name_and_else_said_not_to_be():
    def other_names(z, v, T=4.0, truth=None, w=0.5):
        soft = museum.kl_value_alone(z, v, T)
        return soft if truth is None else w * soft + (1 - w) * len(z) * museum.hard(z, truth)[0]

    report = check_distillation_loss(other_names, examples=EXAMPLES)
    assert report.passed
    assert report.notes == ["not given: truth, w; a hard term takes --labels NAME --alpha NAME"]
    report = check_distillation_loss(other_names, examples=EXAMPLES, labels="truth", alpha="w")
    assert [verdict.law for verdict in report.broken] == ["the_two_terms_are_reduced_alike"]
    assert ", labels='truth', alpha='w')" in report.reproducer(report.broken[0])


@pytest.mark.parametrize(
    ("fingerprint", "lines"),
    [
        (Fingerprint(KL, "sum", None), ["  power of T       none"]),
        (Fingerprint(KL, "sum", 0.0, "hard", None, hard="unknown"),
         ["  alpha weighs     the hard term", "  hard term        unknown, unknown", "  T, hard term     unknown"]),
        (Fingerprint(KL, "sum", 0.0, "soft + alpha hard", 0.0), ["  weights          soft + alpha hard"]),
        (Fingerprint(KL, "sum", 1.5, None, None, False),
         ["  power of T       1.5",
          "  teacher          takes a gradient: call it without one for the teacher"]),
    ],
)  # fmt: skip
def test_a_report_says_what_it_does_not_know(fingerprint, lines):
    shown = str(Report("loss", "numpy", fingerprint, [Verdict("a_law")])).splitlines()
    assert shown[-1] == "1 of 1 laws hold"
    for line in lines:
        assert line in shown
    assert sum("alpha" in line for line in shown) == (fingerprint.alpha is not None)
    assert sum("teacher   " in line for line in shown) == (fingerprint.detached is not None)


def test_a_report_of_a_function_that_cannot_be_judged_says_why():
    report = Report("loss", "numpy", None, [], "it raised KeyError: 'x'")
    assert str(report).splitlines() == ["loss (numpy): cannot be judged: it raised KeyError: 'x'", WANTED]
    for word in ("student_logits, teacher_logits, temperature)", "temperature, labels, alpha)", "(value, gradient)"):
        assert word in WANTED
    assert not report.passed
    assert report.as_dict() == {
        "name": "loss", "framework": "numpy", "passed": False, "sentence": "cannot be judged: it raised KeyError: 'x'",
        "unusable": "it raised KeyError: 'x'", "notes": [], "fingerprint": None, "laws": {}}  # fmt: skip


def test_a_report_as_a_dict_for_json():
    found = Report("loss", "jax", Fingerprint(KL, "batchmean", 2.0), VERDICTS).as_dict()
    assert found == json.loads(json.dumps(found)) == {
        "name": "loss", "framework": "jax", "passed": False, "unusable": None, "notes": [],
        "sentence": "it is KL(teacher || student), batchmean, times T^2: 2 of 3 laws broken, second law: 3 became 4",
        "fingerprint": {"form": KL, "reduction": "batchmean", "power": 2.0, "alpha": None, "hard_power": None,
                        "detached": None, "hard": None, "hard_reduction": None, "arithmetic": "float64",
                        "leading": "not taken"},
        "laws": {
            "first_law": {"verdict": "holds", "what": None, "mistake": None, "case": None},
            "second_law": {"verdict": "broken", "what": "3 became 4", "mistake": "a factor", "case": str(CASE)},
            "third_law": {"verdict": "not judged", "what": None, "mistake": None, "case": None},
            "it_is_sum_as_declared": {"verdict": "broken", "what": "it is mean", "mistake": None, "case": None},
        },
    }  # fmt: skip


def test_a_report_passes_if_no_law_is_broken():
    assert Report("loss", "numpy", Fingerprint(KL, "sum", 0.0), VERDICTS[:1]).passed


def test_without_hypothesis_the_kit_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(md.BackendUnavailable) as raised:
        importlib.reload(minidistill.testing)
    expected = "minidistill.testing needs the package hypothesis: pip install '.[testing]' in the checkout"
    assert str(raised.value) == expected


def test_a_file_may_import_its_neighbours_and_its_path_may_hold_a_colon(tmp_path, monkeypatch):
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    (decoy / "antigravity.py").write_text("scale = 3.0")
    monkeypatch.setattr(sys, "path", [str(decoy), *sys.path])
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "antigravity.py").write_text("scale = 4.0")  # not the standard library's
    (folder / "losses.py").write_text("import antigravity\ndef loss(z, v, T):\n    return antigravity.scale")
    assert load_function(f"{folder}/losses.py:loss")(0, 0, 0) == 4.0
    monkeypatch.delitem(sys.modules, "antigravity")


def test_a_module_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "decoy").mkdir()
    (tmp_path / "decoy" / "antigravity.py").write_text("def loss(z, v, T):\n    return 3.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "decoy"), *(path for path in sys.path if path)])
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "antigravity.py").write_text("def loss(z, v, T):\n    return 5.0")
    assert load_function("antigravity:loss")(0, 0, 0) == 5.0
    monkeypatch.delitem(sys.modules, "antigravity")


def test_a_function_of_a_module_is_found_by_its_name():
    assert load_function("minidistill.losses:kl_divergence") is md.kl_divergence


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write files, by their names, into the folder that is imported from first; what they imported is forgotten."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("names", "loss"),
    [
        ("z, v, T", True), ("student_logits, teacher_logits, temperature", True), ("logits, targets, tau", True),
        ("y_s, y_t, temp=4.0, alpha=0.5", True), ("s_out, t_out, t, y", True), ("pred, target, T", True),
        ("z, v", False), ("T", False), ("", False), ("v, z, T", False), ("z, v, alpha", False), ("z, y, T", False),
        ("epoch, v, T", False), ("z, y, v, T", False), ("*z", False),
    ],
)  # fmt: skip
def test_a_loss_is_known_by_the_names_of_its_first_three_parameters(names, loss):
    assert _looks_like_a_loss(eval(f"lambda {names}: 0.0")) == loss


LOSSES = """
from dataclasses import dataclass
from museum import kl_value_alone

def first(z, v, T):
    return 1.0

def second(student, teacher, temperature):
    return 2.0

def helper(z):
    return z

class Loss:
    def __call__(self, z, v, T):
        return 3.0

@dataclass
class Options:
    T: "float" = 3.0

third = Loss()
T = 4.0
"""


def test_all_losses_of_a_file_are_found_and_neither_what_it_imports_nor_what_is_no_function(written, capsys):
    file = written(of_losses=LOSSES) / "of_losses.py"
    found = find_losses(str(file))
    assert {target: loss(0, 0, 0) for target, loss in found.items()} == {f"{file}:first": 1.0, f"{file}:second": 2.0}
    assert capsys.readouterr() == ("", "")
    ((target, loss),) = find_losses(f"{file}:third").items()
    assert (target, loss(0, 0, 0)) == (f"{file}:third", 3.0)


def test_all_losses_of_a_package_are_found_and_a_module_that_fails_is_said_to_be_left_out(written, capsys):
    written(
        of_a_kit__in____init__="",
        of_a_kit__in__good="def loss(z, v, T):\n    return 1.0",
        of_a_kit__in__fails="1 / 0",
        of_a_kit__in__leaves="import sys\nsys.exit(3)",
        of_a_kit__in__last="def loss(z, v, T):\n    return 2.0",
    )
    found = find_losses("of_a_kit")
    assert {target: loss(0, 0, 0) for target, loss in found.items()} == {
        "of_a_kit.good:loss": 1.0,
        "of_a_kit.last:loss": 2.0,
    }
    assert capsys.readouterr() == ("", (
        "of_a_kit.fails left out: ZeroDivisionError: division by zero\n"
        "of_a_kit.leaves left out: SystemExit: 3\n"
    ))  # fmt: skip
    for target, loss in found.items():
        assert name_of(loss) == target
        assert load_function(target) is loss


def test_a_function_is_named_by_its_module_or_file_if_it_can_be_found_there(written):
    file = written(of_losses=LOSSES) / "of_losses.py"
    assert name_of(load_function(f"{file}:first")) == f"{file}:first"
    assert name_of(time.sleep) == "time:sleep", "a module without a file"
    assert name_of(md.losses.kl_divergence).endswith(":kl_divergence")
    assert load_function(name_of(md.losses.kl_divergence)) is md.losses.kl_divergence
    nowhere = functools.partial(museum.kl_value_alone), load_function(f"{file}:third"), lambda z, v, T: 0.0
    other = types.FunctionType(museum.kl_value_alone.__code__, {}, "kl_value_alone")
    lost = load_function(f"{file}:second")
    lost.__module__ = "of_no_module"
    for function in (*nowhere, other, lost):
        assert name_of(function) == ""


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("losses.py", "target must be FILE.py:function or package.module:function, got 'losses.py'"),
        ("losses.py:", "target must be FILE.py:function or package.module:function, got 'losses.py:'"),
        ("of_no_file.py:loss", "target must name a file that exists, got 'of_no_file.py'"),
        ("{}/of_losses.py:T", "target must name a function of {}/of_losses.py, got 'T'"),
        ("{}/of_losses.py:fourth", "target must name a function of {}/of_losses.py, got 'fourth'"),
        ("of_no_module:loss",
         "target of_no_module cannot be imported: ModuleNotFoundError: No module named 'of_no_module'"),
        ("{}/of_errors.py:loss", "target {}/of_errors.py cannot be imported: ZeroDivisionError: division by zero"),
        ("of_errors:loss", "target of_errors cannot be imported: ZeroDivisionError: division by zero"),
        ("{}/of_exits.py:loss", "target {}/of_exits.py cannot be imported: SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_target_that_names_no_function_is_said_to(written, target, text):
    folder = written(of_losses=LOSSES, of_errors="1 / 0", of_exits="import sys\nsys.exit(3)")
    with pytest.raises(md.ArgumentError) as raised:
        load_function(target.format(folder))
    assert str(raised.value) == text.format(folder)


@pytest.mark.parametrize("target", ["{}/of_helpers.py", "of_helpers"])
def test_a_file_without_a_loss_is_said_to_hold_none(written, target):
    folder = written(of_helpers="def helper(z):\n    return z")
    with pytest.raises(md.ArgumentError) as raised:
        find_losses(target.format(folder))
    assert str(raised.value) == (
        f"target must hold a function (student, teacher, temperature, ...), got {target.format(folder)!r}: "
        "name one of it, as in FILE.py:function"
    )
