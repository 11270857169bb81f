"""A solution of exercise 3, and wrong answers that its tests must refuse."""

from minidistill import softmax


def gradient(z, v, T):
    return (softmax(z, T) - softmax(v, T)) / (T * len(z))


WRONG = {
    "1/T forgotten": lambda z, v, T: (softmax(z, T) - softmax(v, T)) / len(z),
    "the batch's mean forgotten": lambda z, v, T: (softmax(z, T) - softmax(v, T)) / T,
    "the wrong sign": lambda z, v, T: (softmax(v, T) - softmax(z, T)) / (T * len(z)),
    "the student at T = 1": lambda z, v, T: (softmax(z, 1.0) - softmax(v, T)) / (T * len(z)),
}
