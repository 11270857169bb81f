"""The estimator keeps to scikit-learn's contract, and learns from teachers that this package did not write."""

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn, of the extra 'sklearn'")
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import minidistill as md
from minidistill.sklearn import DistilledClassifier

SMALL: dict[str, Any] = {"hidden": (24,), "epochs": 30, "batch_size": 32, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    x, y = make_blobs(240, centers=3, cluster_std=1.0, random_state=1)
    return x, np.array(["a", "b", "c"])[y]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning", "default::FutureWarning")
@parametrize_with_checks([DistilledClassifier(GaussianNB(), **SMALL)])
def test_it_is_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


class Doubting(GaussianNB):
    """A teacher that is never surer than 80%."""

    def predict_proba(self, X: Any) -> np.ndarray:
        return 0.7 * super().predict_proba(X) + 0.1


@pytest.mark.parametrize("teacher", [GaussianNB(), SVC(), RandomForestClassifier(10, random_state=0)])
@pytest.mark.parametrize("fitted", [True, False])
def test_the_student_agrees_with_a_teacher_that_is_fitted_or_not(blobs: Any, teacher: Any, fitted: bool) -> None:
    x, y = blobs
    teacher = clone(teacher).fit(x, y) if fitted else teacher
    student = DistilledClassifier(teacher, soft_weight=1, temperature=2, **SMALL).fit(x, y)
    assert (student.predict(x) == student.teacher_.predict(x)).mean() > 0.9
    assert (student.teacher_ is teacher) == fitted
    np.testing.assert_allclose(student.predict_proba(x).sum(axis=1), 1)
    np.testing.assert_array_equal(student.classes_[student.predict_proba(x).argmax(axis=1)], student.predict(x))


def test_it_is_the_teacher_and_not_the_labels_that_soft_weight_1_learns_from(blobs: Any) -> None:
    x, y = blobs
    for soft_weight, sure in ((1, 0.8), (0, 1.0)):
        student = DistilledClassifier(Doubting(), soft_weight=soft_weight, temperature=1, **SMALL).fit(x, y)
        assert abs(np.median(student.predict_proba(x).max(axis=1)) - sure) < 0.04


def test_logits_may_be_given_and_labels_left_out(blobs: Any) -> None:
    x, y = blobs
    v = np.log(GaussianNB().fit(x, y).predict_proba(x) + 1e-9)
    alone = DistilledClassifier(**SMALL).fit(x, teacher_logits=v)
    assert alone.classes_.tolist() == [0, 1, 2]
    assert (alone.predict(x) == v.argmax(axis=1)).mean() > 0.9
    named = DistilledClassifier(**SMALL).fit(x, y, teacher_logits=v)
    assert named.score(x, y) > 0.8
    asked = DistilledClassifier(lambda rows: v[: len(rows)], **SMALL).fit(x, y)
    np.testing.assert_array_equal(asked.predict_proba(x), named.predict_proba(x))


def test_a_frozen_teacher_of_more_classes_is_kept_by_a_search_and_gives_the_classes(blobs: Any) -> None:
    x, y = blobs
    frozen = FrozenEstimator(GaussianNB().fit(x, y))
    some = y != "b"
    search = GridSearchCV(DistilledClassifier(frozen, **SMALL), {"temperature": [1.0, 4.0]}, cv=2)
    search.fit(x[some], y[some])
    assert search.best_estimator_.classes_.tolist() == ["a", "b", "c"]
    assert search.best_params_["temperature"] in (1.0, 4.0)
    assert search.best_score_ > 0.8


def test_a_pipeline_and_a_search_deal_the_logits_out_with_the_rows(blobs: Any) -> None:
    x, y = blobs
    v = np.log(GaussianNB().fit(x, y).predict_proba(x) + 1e-9)
    pipeline = make_pipeline(StandardScaler(), DistilledClassifier(**SMALL))
    name = "distilledclassifier__"
    search = GridSearchCV(pipeline, {f"{name}temperature": [1.0, 8.0]}, cv=2)
    search.fit(x, y, **{f"{name}teacher_logits": v})
    assert search.best_score_ > 0.8


def test_one_random_state_gives_one_student_and_it_survives_pickle(blobs: Any) -> None:
    x, y = blobs
    first, second = (DistilledClassifier(GaussianNB(), **SMALL).fit(x, y) for _ in range(2))
    other = DistilledClassifier(GaussianNB(), **SMALL | {"random_state": 1}).fit(x, y)
    p = first.predict_proba(x)
    np.testing.assert_array_equal(p, second.predict_proba(x))
    np.testing.assert_array_equal(p, pickle.loads(pickle.dumps(first)).predict_proba(x))
    assert not np.array_equal(p, other.predict_proba(x))
    assert (first.network_.dtype, p.dtype) == (np.float64, np.float64)
    assert DistilledClassifier(GaussianNB(), **SMALL).fit(x.astype(np.float32), y).network_.dtype == np.float32


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no teacher": (None, {}, "teacher must be given"),
    "no function": (3, {}, "teacher must be a classifier or a function, got int"),
    "no probabilities": (StandardScaler(), {}, "teacher must have predict_proba or decision_function"),
    "too few logits": (None, {"teacher_logits": np.zeros((9, 3))}, r"teacher_logits must have shape \(240, 3\)"),
    "too few classes": (None, {"teacher_logits": np.zeros((240, 2))}, r"teacher_logits must have shape \(240, 3\)"),
    "NaN": (None, {"teacher_logits": np.full((240, 3), np.nan)}, "logits must be finite"),
    "probabilities": (None, {"teacher_logits": np.full((240, 3), 1 / 3)}, "logits must not be probabilities"),
    "others' classes": (GaussianNB().fit([[0.0], [1.0]] * 3, [0, 1] * 3), {}, "y must hold the teacher's classes"),
    "no labels": (GaussianNB(), {"y": None}, "requires y to be passed"),
}


@pytest.mark.parametrize(("teacher", "options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_by_name(blobs: Any, teacher: Any, options: dict[str, Any], message: str) -> None:
    x, y = blobs
    x = x[:, :1] if isinstance(teacher, GaussianNB) else x
    with pytest.raises(md.ArgumentError, match=message):
        DistilledClassifier(teacher, **SMALL).fit(x, **{"y": y} | options)


def test_before_fit_it_says_so() -> None:
    with pytest.raises(NotFittedError):
        DistilledClassifier(GaussianNB()).predict_proba([[1.0]])


def test_without_scikit_learn_the_import_names_the_extra() -> None:
    code = "import sys; sys.modules['sklearn.base'] = None; import minidistill.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: minidistill.sklearn needs scikit-learn >= 1.6, of the extra 'sklearn'" in done.stderr


def test_the_docs_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "distil.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python with scikit-learn\n(.*?)```", page, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "True\n"


def test_gradient_boosting_on_digits_teaches_a_student_nearly_all_that_it_knows() -> None:
    x, y = load_digits(return_X_y=True)
    x, y, x_test, y_test = x[:600], y[:600], x[600:1000], y[600:1000]
    teacher = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(x, y)
    student = DistilledClassifier(teacher, hidden=(64,), epochs=20, learning_rate=0.01, random_state=0).fit(x, y)
    assert student.score(x_test, y_test) > teacher.score(x_test, y_test) - 0.02
