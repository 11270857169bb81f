"""A student as an estimator of scikit-learn, which the extra `sklearn` installs: `from minidistill.sklearn import ...`.

Left out: sample weights, several labels a row, and sparse inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Backend
from .checks import ArgumentError, Array, as_array
from .datasets import TransferSet
from .distil import Settings, distil
from .softmax import softmax

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"minidistill.sklearn needs scikit-learn >= 1.6, of the extra 'sklearn': {error}") from None

FLOATS: dict[str, Any] = {"dtype": [np.float32, np.float64]}  # anything else becomes the first


class DistilledClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classify by a small network that learns from a teacher's logits, and from labels where there are any.

    teacher: a classifier with predict_proba or decision_function, or a function of inputs (N, n_in) to logits
    (N, classes), the classes in sorted order. A classifier that is fitted is asked as it is; one that is not is cloned
    and fitted on what the student is. Searches and cross-validation clone what they are given, fitted or not: put it
    into sklearn.frozen.FrozenEstimator to keep it. None: `fit` is given the logits.

    The others are those of `distil`, as for `python -m minidistill distill`. random_state: of the first weights, the
    shuffles, the masks and the validation rows. The network computes in the dtype of the inputs, float32 or float64.

    After fit: network_, summary_ (what it reached on the validation rows), classes_, and teacher_ where it was asked.
    """

    def __init__(
        self,
        teacher: Any = None,
        *,
        hidden: Sequence[int] = (800, 800),
        temperature: float | str = 4.0,
        soft_weight: float | None = None,
        epochs: int = 60,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        dropout: float = 0.0,
        validation: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.teacher = teacher
        self.hidden = hidden
        self.temperature = temperature
        self.soft_weight = soft_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.validation = validation
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, teacher_logits: Any = None) -> "DistilledClassifier":
        """Train the student on X (N, n_in), and labels y (N,) or none; return it.

        teacher_logits: (N, classes) of these rows, the classes in sorted order, instead of a teacher's own. Raises
        ArgumentError, a ValueError, for what does not fit, and Diverged.
        """
        original = X  # a teacher may want its columns' names
        if y is None:
            X = validate_data(self, X, ensure_min_samples=2, **FLOATS)
        else:
            X, y = validate_data(self, X, y, ensure_min_samples=2, **FLOATS)
            check_classification_targets(y)
        classes = None if y is None else np.unique(y)
        if teacher_logits is not None:
            logits, taught, probabilities = as_array("teacher_logits", teacher_logits), classes, None
        else:
            logits, taught, probabilities = self._ask(original, y, classes)
        self.classes_ = np.arange(logits.shape[-1]) if taught is None else taught
        if logits.shape != (len(X), len(self.classes_)):
            name = "teacher_logits" if teacher_logits is not None else "teacher's logits"
            raise ArgumentError(f"{name} must have shape {(len(X), len(self.classes_))}, got {logits.shape}")
        if classes is not None and not np.isin(classes, self.classes_).all():
            raise ArgumentError(f"y must hold the teacher's classes, {self.classes_}, got {classes}")
        labels = None if y is None else np.searchsorted(self.classes_, y)
        names = ("hidden", "temperature", "soft_weight", "epochs", "batch_size", "learning_rate", "dropout")
        settings = Settings(
            **{name: getattr(self, name) for name in names}, validation=self.validation, dtype=X.dtype.name,
            seed=int(check_random_state(self.random_state).randint(2**31)),
        )  # fmt: skip
        data = TransferSet(X, logits, labels, Backend(), probabilities)
        self.network_, self.summary_ = distil(data, settings, progress=False)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities (N, classes) at T = 1."""
        return np.asarray(softmax(self._logits(X)))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class (N,) of each row."""
        z = self._logits(X)
        return np.asarray(self.classes_[z.argmax(axis=-1)])

    def _logits(self, X: Any) -> Array:
        check_is_fitted(self)
        return self.network_.predict(validate_data(self, X, reset=False, **FLOATS))

    def _ask(self, X: Any, y: Any, classes: Any) -> tuple[np.ndarray, Any, bool | None]:
        """Return what the teacher gives for X, its classes, None where it does not tell, and whether p's."""
        teacher: Any = self.teacher
        if teacher is None:
            raise ArgumentError("teacher must be given, or fit be called with teacher_logits, got None")
        if not hasattr(teacher, "fit"):
            if not callable(teacher):
                raise ArgumentError(f"teacher must be a classifier or a function, got {type(teacher).__name__}")
            self.teacher_ = teacher
            return as_array("teacher(X)", teacher(X)), classes, None
        try:
            check_is_fitted(teacher)
        except NotFittedError:
            if y is None:
                raise ArgumentError(
                    "fit requires y to be passed, but the target y is None: the teacher is not fitted"
                ) from None
            teacher = clone(teacher).fit(X, y)
        self.teacher_ = teacher
        for name, probabilities in (("predict_proba", True), ("decision_function", False)):
            ask: Callable[[Any], Any] | None = getattr(teacher, name, None)
            if ask is not None:
                answer = np.asarray(ask(X), np.float64)
                two = np.stack([np.zeros_like(answer), answer], axis=-1) if answer.ndim == 1 else answer
                return two, teacher.classes_, probabilities
        raise ArgumentError(f"teacher must have predict_proba or decision_function, got {type(teacher).__name__}")
