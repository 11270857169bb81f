"""What a loss is, told from its values: its soft term, its hard term, their weights and its fingerprint."""

import functools
import re
from types import SimpleNamespace

import museum
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import HARD, KL, SOFT, SUMS, asked, outcome, targets_of

import minidistill as md
import minidistill.testing
from minidistill.testing.gradients.strategies import logits_BN, shapes_BN, temperatures
from minidistill.testing.losses import fingerprint as fingerprint_module
from minidistill.testing.losses.domain import (
    EPSILONS,
    random_batch,
)
from minidistill.testing.losses.fingerprint import Fingerprint, leading
from minidistill.testing.losses.forms import FORMS, decoupled, log_softmax
from minidistill.testing.losses.frameworks import Loss, Outcome, Unusable
from minidistill.testing.losses.hard import hard_term
from minidistill.testing.losses.judge import Judge
from minidistill.testing.losses.terms import Term, rounding, scale, soft_term, value_of
from minidistill.testing.losses.weights import Unrecognised, Weights, weights_of


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
