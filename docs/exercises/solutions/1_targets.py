"""A solution of exercise 1, and wrong answers that its tests must refuse."""

import numpy as np


def cross_entropy(p, q):
    return -(p * np.log(q)).sum()


WRONG = {
    "student and teacher swapped": lambda p, q: -(np.maximum(q, 1e-300) * np.log(np.maximum(p, 1e-300))).sum(),
    "a mean over the classes": lambda p, q: -(p * np.log(q)).mean(),
    "the largest class alone": lambda p, q: -np.log(q[p.argmax()]),
}
