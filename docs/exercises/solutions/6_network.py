"""A solution of exercise 6, and wrong answers that its tests must refuse."""


def backward(x, W, dy):
    return x.T @ dy, dy.sum(axis=0), dy @ W.T


WRONG = {
    "a mean over the batch": lambda x, W, dy: (x.T @ dy, dy.mean(axis=0), dy @ W.T),
    "the input forgotten": lambda x, W, dy: (x.T @ dy, dy.sum(axis=0), dy @ W.T * (x > 0)),
    "half of dW": lambda x, W, dy: (0.5 * (x.T @ dy), dy.sum(axis=0), dy @ W.T),
}
