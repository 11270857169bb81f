"""The proof kit: every mistake in the museum is caught by the law meant for it, and no correct loss is accused."""

import importlib
import re
import sys

import museum
import numpy as np
import pytest
from known import CASE, KL
from strategies import EXAMPLES

import minidistill as md
import minidistill.testing
from minidistill.testing import assert_distillation_loss, check_distillation_loss, check_law
from minidistill.testing.losses import report as report_module
from minidistill.testing.losses.fingerprint import Fingerprint
from minidistill.testing.losses.forms import FORMS, LATER
from minidistill.testing.losses.frameworks import Loss
from minidistill.testing.losses.judge import Judge
from minidistill.testing.losses.laws import LAWS
from minidistill.testing.losses.report import Report
from minidistill.testing.losses.search import Verdict, try_law

NAMES = [loss.__name__ for loss in museum.CORRECT]


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


def test_without_hypothesis_the_kit_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(md.BackendUnavailable) as raised:
        importlib.reload(minidistill.testing)
    expected = "minidistill.testing needs the package hypothesis: pip install '.[testing]' in the checkout"
    assert str(raised.value) == expected
