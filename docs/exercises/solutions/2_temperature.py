"""A solution of exercise 2, and wrong answers that its tests must refuse."""

import numpy as np


def softmax(z, T):
    e = np.exp((z - z.max()) / T)
    return e / e.sum()


def _overflows(z, T):
    with np.errstate(all="ignore"):
        e = np.exp(z / T)
        return e / e.sum()


WRONG = {
    "T times the logits": lambda z, T: softmax(z, 1 / T),
    "T after the softmax": lambda z, T: softmax(z, 1.0) / T,
    "overflow": _overflows,
}
