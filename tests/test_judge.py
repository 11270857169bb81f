"""What a judge allows a loss: the noise of its terms, of their gradients and of their mixes."""

from types import SimpleNamespace

import museum
import numpy as np
import pytest
from known import BOTH, HARD, KL, SOFT, SUMS, outcome, targets_of

from minidistill.testing.losses import judge as judge_module
from minidistill.testing.losses.domain import (
    EPSILONS,
    random_batch,
)
from minidistill.testing.losses.forms import FORMS
from minidistill.testing.losses.frameworks import Loss, Unusable
from minidistill.testing.losses.judge import Broken, Judge, _temperature
from minidistill.testing.losses.laws import LAWS
from minidistill.testing.losses.search import Verdict, has, try_law
from minidistill.testing.losses.terms import Term
from minidistill.testing.losses.weights import Unrecognised


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
