"""Distillation by hand: a network of two matrices learns MNIST from a large network's logits, in NumPy alone.

Every line is the textbook's. minidistill computes the same numbers, only faster (tests/test_by_hand.py). A batch has
B rows, and there are N = 10 classes; Eq. 2 is that of Hinton, Vinyals, Dean 2015.
"""

import numpy as np

from minidistill import mnist, mnist_transfer


def softmax(z, T):
    e = np.exp((z - z.max(axis=1, keepdims=True)) / T)  # (B, N); the maximum cancels, and nothing overflows
    return e / e.sum(axis=1, keepdims=True)


def forward(parameters, x):
    W1, b1, W2, b2 = parameters
    h = np.maximum(x @ W1 + b1, 0)  # (B, hidden units)
    return h, h @ W2 + b2  # and the logits z (B, N)


def gradients(parameters, x, v, T):
    """Return dC/dW1, dC/db1, dC/dW2, dC/db2 of C = T² mean_B(-Σ p log q), with p of the teacher's logits v, q of z."""
    _, _, W2, _ = parameters
    h, z = forward(parameters, x)
    p, q = softmax(v, T), softmax(z, T)  # (B, N)
    dz = T**2 * ((q - p) / T) / len(x)  # T² times Eq. 2: as T grows, q - p shrinks as 1/T too, and T² undoes both
    da = (dz @ W2.T) * (h > 0)  # back through the second matrix, and through the units above 0 alone
    return x.T @ da, da.sum(axis=0), h.T @ dz, dz.sum(axis=0)


def train(parameters, x, v, T, learning_rate, momentum, orders, batch_size=128):
    """Train in place, an epoch over x (n, inputs) and v (n, N) for each order of their rows; yield after each."""
    velocities = [np.zeros_like(w) for w in parameters]
    for order in orders:
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            of_batch = gradients(parameters, x[rows], v[rows], T)
            for w, u, g in zip(parameters, velocities, of_batch, strict=True):
                u[...] = momentum * u + learning_rate * g  # in place
                w -= u
        yield


def main():
    transfer, (_, test) = mnist_transfer("numpy"), mnist("numpy")
    x, x_test = (data.inputs.reshape(len(data), -1).astype(np.float32) / 255 for data in (transfer, test))
    certain = 30 * np.eye(10, dtype=np.float32)[transfer.labels]  # logits whose softmax is the label's one-hot row
    for name, v, T, rate in (("hard labels", certain, 1.0, 0.1), ("soft targets", transfer.logits, 20.0, 0.02)):
        rng, shapes = np.random.default_rng(0), [(784, 300), (300,), (300, 10), (10,)]
        parameters = [(rng.normal(0, 0.05, s) if len(s) == 2 else np.zeros(s)).astype(np.float32) for s in shapes]
        orders = [rng.permutation(len(x)) for _ in range(5)]
        for epoch, _ in enumerate(train(parameters, x, v, T, rate, 0.9, orders), start=1):
            wrong = forward(parameters, x_test)[1].argmax(axis=1) != test.labels
            print(f"{name}, epoch {epoch}: {wrong.sum()} errors on {len(wrong):,} test images", flush=True)


if __name__ == "__main__":
    main()
