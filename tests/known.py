"""What the tests of the proof kit share: functions and losses of which it is known what they answer."""

import numpy as np

from minidistill.testing.gradients.derivative import Near
from minidistill.testing.losses.domain import Domain
from minidistill.testing.losses.forms import FORMS
from minidistill.testing.losses.frameworks import Loss, Outcome
from minidistill.testing.losses.judge import Case

KL = "KL(teacher || student)"
SOFT, HARD, BOTH = {1.0: 1.0}, {0.0: 1.0}, {0.25: -1.0, 0.75: 2.0}  # mixes of alphas
SUMS = FORMS[KL].sums  # of a term that has some formula
CASE = Case(np.array([[0.0, 0.5]]), np.array([[1.0, 0.0]]), 2.0, np.array([1]), 0.5)


def asked(loss, **known):
    """The domain of a loss of which it is known where it answers, and which need not be tried."""
    domain = Domain.__new__(Domain)
    vars(domain).update({"loss": Loss(loss), "_known": {}, "_bytes": 0, "base": (4, 5), "T": 4.0, "epsilon": 1e-12,
                         "temperatures": [1, 2, 0.5, 4, 100, 10000], "alphas": [1, 0, 0.5, 0.25, 0.1]})  # fmt: skip
    vars(domain).update(known)
    return domain


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


def outcome(value):
    """What a loss that has no gradient is said to have answered, of parts no larger than its value."""
    return Outcome(value, None, None, abs(value))


def near(f, x):
    """What is measured of a function near a point, in float64."""
    return Near(lambda u: np.asarray(f(u))[()], np.asarray(x, float), lambda u: u, lambda i: np.dtype(float))
