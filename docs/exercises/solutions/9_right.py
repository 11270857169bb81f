"""A solution of exercise 9, and wrong answers that its tests must refuse."""

import numpy as np

H = 1e-30


def complex_step(f, z):
    steps = H * np.eye(len(z))
    return np.array([f(z + 1j * step).imag / H for step in steps])


def _differences(f, z, h=1e-6):
    return np.array([(f(z + step) - f(z - step)) / (2 * h) for step in h * np.eye(len(z))])


WRONG = {
    "central differences": _differences,
    "the real part": lambda f, z: np.array([f(z + 1j * step).real for step in H * np.eye(len(z))]),
    "all components at once": lambda f, z: np.full(len(z), f(z + 1j * H).imag / H),
}
