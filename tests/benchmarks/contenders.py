"""One training on MNIST in minidistill and, with the same care, in PyTorch and in JAX.

With care: images and the teacher's logits in memory, images kept as bytes and gathered and scaled in the step, float32
throughout, no copy that can be avoided. A contender is a Training: `step()` trains on the next batch, `errors()` counts
the mistakes on the test set, `wait()` returns when the device has done all that it was given.
"""

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

OURS, MKL, PRODUCTS = "minidistill", "minidistill, MKL", "products"
PEERS = ("torch eager", "torch fused SGD", "torch fused SGD, flushing", "torch compile", "jax jit")
BATCH, T, MOMENTUM = 128, 20.0, 0.9
INPUT_DROPOUT, DROPOUT, JITTER, MAX_NORM = 0.2, 0.5, 2, 3.0  # of the teacher
RATES = {"plain": 0.05, "teacher": 0.1}
Rate = Callable[[int], float]  # the learning rate of a step, from 0


class Training:
    """Hold what all contenders share: which rows come next, and at which rate."""

    def __init__(self, rate: Rate, rows: int) -> None:
        self.rate, self.rows, self.done = rate, rows, 0
        self.order = self._order()

    def _order(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        while True:
            order = rng.permutation(self.rows)
            yield from (order[start : start + BATCH] for start in range(0, self.rows, BATCH))

    def step(self) -> None:
        self.train(next(self.order), self.rate(self.done))
        self.done += 1

    def warm_up(self) -> None:
        """Let what compiles compile: a step for full and for last batches, at rate 0, and an evaluation."""
        for size in (BATCH, self.rows % BATCH or BATCH):
            self.train(np.arange(size), 0.0)
        self.errors()

    def train(self, index: np.ndarray, rate: float) -> None: ...
    def wait(self) -> None: ...
    def errors(self) -> int: ...


def mnist(library: str = "openblas") -> Any:
    """minidistill with this BLAS, the training set with the embedded teacher's logits, and the test set."""
    os.environ["MINIDISTILL_BLAS"] = library
    import minidistill as md

    return md, md.mnist_transfer(), md.mnist()[1]


class Minidistill(Training):
    """The loop of `fit`, one step at a time."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate, library: str) -> None:
        md, data, self.test = mnist(library)
        super().__init__(rate, len(data))
        from minidistill.batches import Batches

        teacher = kind == "teacher"
        rates = {"input_dropout": INPUT_DROPOUT, "dropout": DROPOUT} if teacher else {}
        self.network = md.Network.mlp(sizes, **rates)
        self.optimizer = md.SGD(1.0, MOMENTUM, max_norm=MAX_NORM if teacher else None)
        self.alpha, self.count = 0.0 if teacher else 1.0, md.errors
        batches = Batches(self.network, data, BATCH, JITTER if teacher else 0, soft=not teacher)
        self.batches = (batch for epoch in range(10**6) for batch in batches.epoch(epoch))
        self.loss = self.network.xp.empty((), np.float32)

    def step(self) -> None:
        batch, network = next(self.batches), self.network
        z = network.forward(batch.x, self.done)
        dz = network.xp.empty_like(z)
        network.backend.objective(z, batch.v, batch.y, T, self.alpha, self.loss, dz)
        self.optimizer.step(network, dz, self.rate(self.done))
        self.done += 1

    def warm_up(self) -> None:
        """Nothing is compiled."""

    def wait(self) -> None:
        self.network.backend.to_host(self.loss)

    def errors(self) -> int:
        return self.count(self.network, self.test)


class Products(Training):
    """Only the matrix products of a step, by NumPy, without the gradient of the images that nobody needs."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate) -> None:
        super().__init__(rate, BATCH)
        rng = np.random.default_rng(0)
        self.W = [rng.standard_normal(shape).astype(np.float32) for shape in pairwise(sizes)]
        self.h = [rng.standard_normal((BATCH, n)).astype(np.float32) for n in sizes]
        self.dW, self.dh = [np.empty_like(w) for w in self.W], [np.empty_like(x) for x in self.h]
        self.rest = [rng.standard_normal((BATCH, n)).astype(np.float32) for n in sizes]  # operands that stay of order 1

    def train(self, index: np.ndarray, rate: float) -> None:
        for i, w in enumerate(self.W):
            np.matmul(self.rest[i], w, out=self.h[i + 1])
        for i in reversed(range(len(self.W))):
            np.matmul(self.rest[i].T, self.rest[i + 1], out=self.dW[i])
            if i:
                np.matmul(self.rest[i + 1], self.W[i].T, out=self.dh[i])


class Torch(Training):
    def __init__(self, sizes: list[int], kind: str, rate: Rate, variant: str) -> None:
        import torch
        from torch import nn
        from torch.nn import functional as F  # noqa: N812  # its usual name

        _, data, test = mnist()
        super().__init__(rate, len(data))
        self.torch = torch
        torch.manual_seed(0)
        torch.set_flush_denormal("flushing" in variant)
        x, v, y = (torch.from_numpy(np.array(a)) for a in (data.inputs, data.logits, data.labels))
        self.test = [torch.from_numpy(np.array(a)) for a in (test.inputs, test.labels)]
        self.teacher = kind == "teacher"
        layers: list[Any] = [nn.Dropout(INPUT_DROPOUT)] if self.teacher else []
        for n, m in pairwise(sizes):
            layers += [nn.Linear(n, m), nn.ReLU()] + ([nn.Dropout(DROPOUT)] if self.teacher else [])
        network = self.network = nn.Sequential(*layers[: -2 if self.teacher else -1])
        for layer in (layer for layer in network if isinstance(layer, nn.Linear)):  # He's, as ours
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        fused = "fused" in variant or None
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=MOMENTUM, fused=fused)

        def loss_of(index: Any, dy: Any, dx: Any) -> Any:
            pixels, rows = x[index], len(index)
            if self.teacher:
                windows = F.pad(pixels, (JITTER,) * 4).unfold(1, 28, 1).unfold(2, 28, 1)  # (B, side, side, 28, 28)
                z = network(windows[torch.arange(rows), dy, dx].reshape(rows, -1).float() / 255)
                return F.cross_entropy(z, y[index])
            z = network(pixels.reshape(rows, -1).float() / 255)
            p = F.softmax(v[index] / T, dim=1)
            return F.kl_div(F.log_softmax(z / T, dim=1), p, reduction="batchmean") * T**2

        self.loss_of = torch.compile(loss_of, dynamic=False) if variant == "compile" else loss_of

    def train(self, index: np.ndarray, rate: float) -> None:
        torch = self.torch
        dy, dx = torch.randint(0, 2 * JITTER + 1, (2, len(index)))
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        self.loss_of(torch.from_numpy(index), dy, dx).backward()
        self.optimizer.step()
        if self.teacher:
            with torch.no_grad():
                for weight in (w for w in self.network.parameters() if w.ndim == 2):
                    weight.copy_(torch.renorm(weight, 2, 0, MAX_NORM))

    def errors(self) -> int:
        self.network.eval()
        with self.torch.no_grad():
            blocks = zip(*(part.split(1000) for part in self.test), strict=True)
            wrong = [self.network(x.reshape(len(x), -1).float() / 255).argmax(1) != y for x, y in blocks]
        self.network.train()
        return int(self.torch.cat(wrong).sum())


class Jax(Training):
    """One jitted function for the whole step, its parameters donated."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate) -> None:
        import jax
        import jax.numpy as jnp

        _, data, test = mnist()
        super().__init__(rate, len(data))
        self.jax = jax
        x, v, y = (jnp.asarray(a) for a in (data.inputs, data.logits, data.labels))
        self.test = [jnp.asarray(a) for a in (test.inputs, test.labels)]
        teacher = kind == "teacher"
        keys = jax.random.split(jax.random.key(0), len(sizes))
        he = [jax.random.normal(k, (n, m)) * (2 / n) ** 0.5 for k, (n, m) in zip(keys, pairwise(sizes), strict=False)]
        self.parameters = [(w, jnp.zeros(w.shape[1])) for w in he]
        self.velocity = jax.tree.map(jnp.zeros_like, self.parameters)

        def drop(h: Any, key: Any, p: float) -> Any:
            return h * jax.random.bernoulli(key, 1 - p, h.shape) / (1 - p) if teacher and key is not None else h

        def logits(parameters: Any, pixels: Any, key: Any) -> Any:
            keys = [None if key is None else jax.random.fold_in(key, i) for i in range(len(sizes))]
            h = drop(pixels.reshape(len(pixels), -1) / jnp.float32(255), keys[0], INPUT_DROPOUT)
            for i, (w, b) in enumerate(parameters):
                h = h @ w + b
                if i < len(parameters) - 1:
                    h = drop(jax.nn.relu(h), keys[i + 1], DROPOUT)
            return h

        def loss_of(parameters: Any, pixels: Any, index: Any, key: Any) -> Any:
            z = logits(parameters, pixels, key)
            if teacher:
                return -jnp.take_along_axis(jax.nn.log_softmax(z), y[index][:, None], axis=1).mean()
            p = jax.nn.softmax(v[index] / T)
            return T**2 * (p * (jnp.log(p) - jax.nn.log_softmax(z / T))).sum(axis=1).mean()

        def shifted(image: Any, move: Any) -> Any:
            return jax.lax.dynamic_slice(jnp.pad(image, JITTER), move, image.shape)

        def constrained(w: Any) -> Any:
            norm = jnp.sqrt((w * w).sum(axis=0))
            return w * jnp.minimum(1, MAX_NORM / jnp.maximum(norm, 1e-9))

        def update(parameters: Any, velocity: Any, index: Any, key: Any, rate: Any) -> Any:
            pixels = x[index]
            if teacher:
                moves = jax.random.randint(jax.random.fold_in(key, 99), (len(index), 2), 0, 2 * JITTER + 1)
                pixels = jax.vmap(shifted)(pixels, moves)
            gradients = jax.grad(loss_of)(parameters, pixels, index, key)
            velocity = jax.tree.map(lambda a, g: MOMENTUM * a + g, velocity, gradients)
            parameters = jax.tree.map(lambda w, a: w - rate * a, parameters, velocity)
            return [(constrained(w), b) for w, b in parameters] if teacher else parameters, velocity

        self.update = jax.jit(update, donate_argnums=(0, 1))
        self.wrong = jax.jit(lambda parameters, x, y: (logits(parameters, x, None).argmax(1) != y).sum())

    def train(self, index: np.ndarray, rate: float) -> None:
        key = self.jax.random.key(self.done, impl="rbg")  # the cheapest of its generators
        self.parameters, self.velocity = self.update(self.parameters, self.velocity, index, key, rate)

    def wait(self) -> None:
        self.jax.block_until_ready(self.parameters)

    def errors(self) -> int:
        x, y = self.test
        blocks = (slice(start, start + 1000) for start in range(0, len(x), 1000))
        return int(sum(self.wrong(self.parameters, x[block], y[block]) for block in blocks))


def make(name: str, sizes: list[int], kind: str, rate: Rate) -> Training:
    """The contender of this name. ImportError, or minidistill's BackendUnavailable, if it is not installed."""
    library, _, variant = name.partition(" ")
    if library == "torch":
        return Torch(sizes, kind, rate, variant)
    if name in (OURS, MKL):
        return Minidistill(sizes, kind, rate, "mkl" if name == MKL else "openblas")
    return {PRODUCTS: Products, "jax jit": Jax}[name](sizes, kind, rate)
