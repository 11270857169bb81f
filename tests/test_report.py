"""What is said of a loss: the text, the Markdown and the JSON of a report, and the words of expect."""

import inspect
import json
import subprocess
import sys
from types import SimpleNamespace

import museum
import numpy as np
import pytest
from known import CASE, KL

import minidistill as md
import minidistill.testing
from minidistill.testing import assert_distillation_loss, check_distillation_loss, check_law
from minidistill.testing.losses import frameworks
from minidistill.testing.losses import report as report_module
from minidistill.testing.losses.fingerprint import Fingerprint
from minidistill.testing.losses.forms import FORMS
from minidistill.testing.losses.judge import Broken
from minidistill.testing.losses.laws import LAWS, Law
from minidistill.testing.losses.report import WANTED, Report, _expectation
from minidistill.testing.losses.search import Verdict


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
