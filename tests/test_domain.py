"""Where a loss answers, by what it refuses, how steady it is, and in which arithmetic it computes."""

import itertools
import re

import museum
import numpy as np
import pytest

from minidistill.testing.losses import domain as domain_module
from minidistill.testing.losses.domain import (
    ALPHAS,
    Domain,
    _described,
    _listed,
    drawn_alphas,
    drawn_shapes,
    drawn_temperatures,
    random_batch,
)
from minidistill.testing.losses.frameworks import Loss, Unusable


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
