"""The search for a case that breaks a law: what is drawn, and what is shown of it."""

import itertools
from types import SimpleNamespace

import museum
import numpy as np
import pytest
from known import CASE, outcome

from minidistill.testing.losses.domain import random_batch
from minidistill.testing.losses.frameworks import Loss, Unusable
from minidistill.testing.losses.judge import Broken, Judge
from minidistill.testing.losses.laws import LAWS, Law
from minidistill.testing.losses.search import Pool, Verdict, drawn, has, try_law


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
