"""One training on MNIST in minidistill and, with the same care, in PyTorch and in JAX.

With care: images and the teacher's logits in memory, images kept as bytes and gathered and scaled in the step, float32
throughout, no copy that can be avoided. A contender is a Training: `step()` trains on the next batch, `errors()` counts
the mistakes on the test set, `wait()` returns when the device has done all that it was given. On a GPU everything is on
it, and "8 replicas" are as many networks that train side by side, each on batches of its own.
"""

import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

OURS, MKL, PRODUCTS = "minidistill", "minidistill, MKL", "products"
PEERS = (
    "torch eager", "torch fused SGD", "torch fused SGD, flushing", "torch compile", "torch compile reduce-overhead",
    "jax jit",
)  # fmt: skip
ON_CPU = (OURS, MKL, PRODUCTS, *(peer for peer in PEERS if "reduce-overhead" not in peer))
ON_GPU = (
    OURS, "minidistill, 8 replicas", "minidistill, 32 replicas", "minidistill, TF32", PRODUCTS, "torch eager",
    "torch fused SGD", "torch fused SGD, TF32", "torch compile", "torch compile reduce-overhead", "torch, 8 replicas",
    "torch, 32 replicas", "jax jit", "jax jit, TF32",
)  # fmt: skip
BATCH, T, MOMENTUM = 128, 20.0, 0.9
INPUT_DROPOUT, DROPOUT, JITTER, MAX_NORM = 0.2, 0.5, 2, 3.0  # of the teacher
RATES = {"plain": 0.05, "teacher": 0.1}
Rate = Callable[[int], float]  # the learning rate of a step, from 0


class Training:
    """Hold what all contenders share: which rows come next, and at which rate."""

    replicas = 0  # 0: one network, without the axis

    def __init__(self, rate: Rate, rows: int) -> None:
        self.rate, self.rows, self.done = rate, rows, 0
        self.order = self._order()

    def _order(self) -> Iterator[np.ndarray]:
        """Rows (B,), or (R, B) with replicas."""
        rng = np.random.default_rng(0)
        while True:
            orders = [rng.permutation(self.rows) for _ in range(max(1, self.replicas))]
            order = np.stack(orders) if self.replicas else orders[0]
            yield from (order[..., start : start + BATCH] for start in range(0, self.rows, BATCH))

    def step(self) -> None:
        self.train(next(self.order), self.rate(self.done))
        self.done += 1

    def warm_up(self) -> None:
        """Let what compiles compile: a step for full and for last batches, at rate 0, and an evaluation."""
        for size in (BATCH, self.rows % BATCH or BATCH):
            self.train(np.zeros((*([self.replicas] if self.replicas else []), size), np.int64) + np.arange(size), 0.0)
        self.errors()

    def train(self, index: np.ndarray, rate: float) -> None: ...
    def wait(self) -> None: ...
    def errors(self) -> int: ...


def mnist(library: str = "openblas", backend: str = "numpy") -> Any:
    """minidistill with this BLAS or device, the training set with the embedded teachers' logits, and the test set."""
    os.environ["MINIDISTILL_BLAS"] = library
    import minidistill as md

    md.set_backend(backend)
    return md, md.mnist_transfer(), md.mnist()[1]


class Minidistill(Training):
    """The loop of `fit`, one step at a time."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate, variant: str, gpu: bool) -> None:
        md, data, self.test = mnist("mkl" if variant == "MKL" else "openblas", "cupy" if gpu else "numpy")
        super().__init__(rate, len(data))
        self.replicas = replicas_of(variant)
        if gpu:
            cupy = md.get_backend().xp
            mode = cupy.cuda.cublas.CUBLAS_TF32_TENSOR_OP_MATH if variant == "TF32" else 0
            cupy.cuda.cublas.setMathMode(cupy.cuda.device.get_cublas_handle(), mode)
        from minidistill.batches import Batches

        teacher = kind == "teacher"
        rates = {"input_dropout": INPUT_DROPOUT, "dropout": DROPOUT} if teacher else {}
        self.network = md.Network.mlp(sizes, seeds=list(range(self.replicas)) or 0, **rates)
        self.optimizer = md.SGD(1.0, MOMENTUM, max_norm=MAX_NORM if teacher else None)
        self.alpha, self.count = 0.0 if teacher else 1.0, md.errors
        batches = Batches(self.network, data, BATCH, JITTER if teacher else 0, soft=not teacher)
        self.batches = (batch for epoch in range(10**6) for batch in batches.epoch(epoch))
        self.loss = self.network.xp.empty(self.network.replica_shape, dtype=np.float32)

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
        return int(np.sum(self.count(self.network, self.test)))


class Products(Training):
    """Only the matrix products of a step, by NumPy or CuPy, without the gradient of the images that nobody needs."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate, variant: str, gpu: bool) -> None:
        super().__init__(rate, BATCH)
        self.gpu = gpu
        if gpu:
            import cupy

        xp = self.xp = cupy if gpu else np
        rng = np.random.default_rng(0)
        self.W = [xp.asarray(rng.standard_normal(shape), dtype=np.float32) for shape in pairwise(sizes)]
        self.h, self.rest = (  # operands that stay of order 1
            [xp.asarray(rng.standard_normal((BATCH, n)), dtype=np.float32) for n in sizes] for _ in range(2)
        )
        self.dW, self.dh = [xp.empty_like(w) for w in self.W], [xp.empty_like(x) for x in self.h]

    def train(self, index: np.ndarray, rate: float) -> None:
        matmul = self.xp.matmul
        for i, w in enumerate(self.W):
            matmul(self.rest[i], w, out=self.h[i + 1])
        for i in reversed(range(len(self.W))):
            matmul(self.rest[i].T, self.rest[i + 1], out=self.dW[i])
            if i:
                matmul(self.rest[i + 1], self.W[i].T, out=self.dh[i])

    def wait(self) -> None:
        if self.gpu:
            self.xp.cuda.get_current_stream().synchronize()


class Torch(Training):
    """Layers of torch.nn; replicas as batched products."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate, variant: str, gpu: bool) -> None:
        import torch
        from torch.nn import functional as F  # noqa: N812  # its usual name

        if gpu and not torch.cuda.is_available():
            raise RuntimeError("this PyTorch has no CUDA device")
        _, data, test = mnist()
        super().__init__(rate, len(data))
        self.torch, self.gpu, self.teacher, self.replicas = torch, gpu, kind == "teacher", replicas_of(variant)
        torch.manual_seed(0)
        torch.set_flush_denormal("flushing" in variant)
        torch.backends.cuda.matmul.allow_tf32 = "TF32" in variant
        device = self.device = torch.device("cuda" if gpu else "cpu")
        x, v, y = (torch.from_numpy(np.array(a)).to(device) for a in (data.inputs, data.logits, data.labels))
        self.test = [torch.from_numpy(np.array(a)).to(device) for a in (test.inputs, test.labels)]
        network = self.network = (self._replicas if self.replicas else self._network)(sizes).to(device)
        fused = "fused" in variant or None
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=MOMENTUM, fused=fused)

        def loss_of(index: Any, dy: Any, dx: Any) -> Any:
            pixels, shape = x[index], index.shape
            if self.teacher:
                images = F.pad(pixels, (JITTER,) * 4).flatten(0, -3)
                windows = images.unfold(1, 28, 1).unfold(2, 28, 1)  # (M, side, side, 28, 28)
                rows = torch.arange(len(images), device=device)
                pixels = windows[rows, dy.flatten(), dx.flatten()].reshape(pixels.shape)
            z = network(pixels.reshape(*shape, -1).float() / 255).flatten(0, -2)
            if self.teacher:
                loss = F.cross_entropy(z, y[index].flatten())
            else:
                p = F.softmax(v[index] / T, dim=-1).flatten(0, -2)
                loss = F.kl_div(F.log_softmax(z / T, dim=-1), p, reduction="batchmean") * T**2
            return loss * max(1, self.replicas)  # the mean over replicas is their sum

        mode = "reduce-overhead" if "reduce-overhead" in variant else None
        compiled = variant.startswith("compile")
        self.loss_of = torch.compile(loss_of, dynamic=False, mode=mode) if compiled else loss_of

    def _network(self, sizes: list[int]) -> Any:
        nn = self.torch.nn
        layers: list[Any] = [nn.Dropout(INPUT_DROPOUT)] if self.teacher else []
        for n, m in pairwise(sizes):
            layers += [nn.Linear(n, m), nn.ReLU()] + ([nn.Dropout(DROPOUT)] if self.teacher else [])
        network = nn.Sequential(*layers[: -2 if self.teacher else -1])
        for layer in (layer for layer in network if isinstance(layer, nn.Linear)):  # He's, as ours
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        return network

    def _replicas(self, sizes: list[int]) -> Any:
        """R networks by one torch.baddbmm a layer."""
        torch, R, teacher = self.torch, self.replicas, self.teacher

        class Replicas(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                he = (torch.empty(R, n, m).uniform_(-1, 1) * (6 / n) ** 0.5 for n, m in pairwise(sizes))
                self.W = torch.nn.ParameterList(he)
                self.b = torch.nn.ParameterList(torch.zeros(R, 1, m) for m in sizes[1:])

            def forward(self, h: Any) -> Any:
                drop = torch.nn.functional.dropout
                h = drop(h.expand(R, *h.shape[-2:]), INPUT_DROPOUT, self.training) if teacher else h
                for i, (w, b) in enumerate(zip(self.W, self.b, strict=True)):
                    h = torch.baddbmm(b, h.expand(R, *h.shape[-2:]), w)
                    if i < len(self.W) - 1:
                        h = torch.relu(h)
                        h = drop(h, DROPOUT, self.training) if teacher else h
                return h

        return Replicas()

    def train(self, index: np.ndarray, rate: float) -> None:
        torch = self.torch
        dy, dx = torch.randint(0, 2 * JITTER + 1, (2, *index.shape), device=self.device)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        self.loss_of(torch.from_numpy(index).to(self.device, non_blocking=True), dy, dx).backward()
        self.optimizer.step()
        if self.teacher:
            with torch.no_grad():  # a unit's incoming weights are a row of an nn.Linear, a column of a replica
                for weight in (w for w in self.network.parameters() if w.ndim > 1 and w.shape[-2] > 1):
                    norm = weight.norm(dim=1, keepdim=True)
                    weight.mul_((MAX_NORM / norm).clamp(max=1))

    def wait(self) -> None:
        if self.gpu:
            self.torch.cuda.synchronize()

    def errors(self) -> int:
        self.network.eval()
        with self.torch.no_grad():
            blocks = zip(*(part.split(1000) for part in self.test), strict=True)
            wrong = [self.network(x.reshape(len(x), -1).float() / 255).argmax(-1) != y for x, y in blocks]
        self.network.train()
        return int(self.torch.cat(wrong, dim=-1).sum())


class Jax(Training):
    """One jitted function for the whole step, its parameters donated."""

    def __init__(self, sizes: list[int], kind: str, rate: Rate, variant: str, gpu: bool) -> None:
        import jax
        import jax.numpy as jnp

        if gpu and jax.default_backend() != "gpu":
            raise RuntimeError("this JAX has no GPU")
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if "TF32" in variant else "highest")
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


def replicas_of(variant: str) -> int:
    found = re.search(r"(\d+) replicas", variant)
    return int(found[1]) if found else 0


def make(name: str, sizes: list[int], kind: str, rate: Rate, gpu: bool = False) -> Training:
    """The contender of this name. Whatever it raises says why it is absent."""
    library, _, variant = re.sub(",", " ", name, count=1).partition(" ")
    of = {"minidistill": Minidistill, PRODUCTS: Products, "torch": Torch, "jax": Jax}[library]
    return of(sizes, kind, rate, variant.strip(), gpu)
