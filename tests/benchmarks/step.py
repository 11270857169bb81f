"""A training step against its matrix products alone, and against the same step in other frameworks.

plain: the paper's student, 784-800-800-10, and this project's teacher without regularisation, 784-1600-1600-10, on soft
targets, T = 20. teacher: 784-1600-1600-10 on hard labels with dropout on inputs and hidden units, jitter, max-norm.
Batch 128, momentum 0.9, images kept as uint8 and gathered, scaled (and jittered) in the step. `products` is the forward
and backward matrix products alone, by NumPy, without the gradient of the images that nobody needs.
"""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from harness import compare, images, options, save, serve

SHAPES = ([784, 800, 800, 10], [784, 1600, 1600, 10])
OURS, PRODUCTS = "minidistill", "products"
PEERS = ("torch eager", "torch fused SGD", "torch compile", "jax jit")
N, BATCH, T, RATE, MOMENTUM = 20_000, 128, 20.0, 1e-3, 0.9
INPUT_DROPOUT, DROPOUT, JITTER, MAX_NORM = 0.2, 0.5, 2, 3.0
Step = Callable[[], object]


def data(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 28, 28), teacher logits (N, classes), labels (N,)."""
    rng = np.random.default_rng(1)
    return images(N), rng.standard_normal((N, classes)).astype(np.float32), rng.integers(0, classes, N)


def make_minidistill(sizes: list[int], kind: str) -> Step:
    import minidistill as md
    from minidistill.batches import Batches

    x, v, y = data(sizes[-1])
    teacher = kind == "teacher"
    rates = {"input_dropout": INPUT_DROPOUT, "dropout": DROPOUT} if teacher else {}
    network = md.Network.mlp(sizes, **rates)
    optimizer = md.SGD(RATE, MOMENTUM, max_norm=MAX_NORM if teacher else None)
    batches = Batches(network, md.Dataset(x, y) if teacher else md.TransferSet(x, v), BATCH, JITTER if teacher else 0)
    full = (batch for epoch in range(10**6) for batch in batches.epoch(epoch) if batch.x.shape[-2] == BATCH)
    loss, dz = np.empty((), np.float32), np.empty((BATCH, sizes[-1]), np.float32)
    steps = iter(range(10**9))

    def step() -> None:
        batch = next(full)
        z = network.forward(batch.x, next(steps))
        network.backend.objective(z, batch.v, batch.y, T, 0.0 if teacher else 1.0, loss, dz)
        optimizer.step(network, dz, RATE)

    return step


def make_products(sizes: list[int], kind: str) -> Step:
    rng = np.random.default_rng(0)
    layers = list(pairwise(sizes))
    W = [rng.standard_normal(shape).astype(np.float32) for shape in layers]
    h = [rng.standard_normal((BATCH, n)).astype(np.float32) for n in sizes]
    dW, dh = [np.empty_like(w) for w in W], [np.empty_like(x) for x in h]
    rest = [rng.standard_normal((BATCH, n)).astype(np.float32) for n in sizes]  # operands that stay of order 1

    def products() -> None:
        for i, w in enumerate(W):
            np.matmul(rest[i], w, out=h[i + 1])
        for i in reversed(range(len(W))):
            np.matmul(rest[i].T, rest[i + 1], out=dW[i])
            if i:
                np.matmul(rest[i + 1], W[i].T, out=dh[i])

    return products


def make_torch(sizes: list[int], kind: str, variant: str) -> Step:
    """In memory, logits cached, no copies that can be avoided: as careful as ours."""
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812  # its usual name

    torch.manual_seed(0)
    x, v, y = (torch.from_numpy(a) for a in data(sizes[-1]))
    teacher = kind == "teacher"
    layers: list[nn.Module] = [nn.Dropout(INPUT_DROPOUT)] if teacher else []
    for n, m in pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU()] + ([nn.Dropout(DROPOUT)] if teacher else [])
    network = nn.Sequential(*layers[: -2 if teacher else -1])
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, fused=variant == "fused SGD" or None)
    rows, side = torch.arange(BATCH), 2 * JITTER + 1

    def loss_of(index: Any, dy: Any, dx: Any) -> Any:
        pixels = x[index]
        if teacher:
            windows = F.pad(pixels, (JITTER,) * 4).unfold(1, 28, 1).unfold(2, 28, 1)  # (B, side, side, 28, 28)
            z = network(windows[rows, dy, dx].reshape(BATCH, -1).float() / 255)
            return F.cross_entropy(z, y[index])
        z = network(pixels.reshape(BATCH, -1).float() / 255)
        p = F.softmax(v[index] / T, dim=1)
        return F.kl_div(F.log_softmax(z / T, dim=1), p, reduction="batchmean") * T**2

    forward = torch.compile(loss_of) if variant == "compile" else loss_of
    order, start = torch.randperm(N), 0

    def step() -> None:
        nonlocal order, start
        if start + BATCH > N:
            order, start = torch.randperm(N), 0
        index, start = order[start : start + BATCH], start + BATCH
        dy, dx = torch.randint(0, side, (2, BATCH))
        optimizer.zero_grad()
        forward(index, dy, dx).backward()
        optimizer.step()
        if teacher:
            with torch.no_grad():
                for layer in network:
                    if isinstance(layer, nn.Linear):
                        layer.weight.copy_(torch.renorm(layer.weight, 2, 0, MAX_NORM))

    return step


def make_jax(sizes: list[int], kind: str) -> Step:
    """One jitted function for the whole step, its parameters donated."""
    import jax
    import jax.numpy as jnp

    x, v, y = (jnp.asarray(a) for a in data(sizes[-1]))
    teacher = kind == "teacher"
    keys = jax.random.split(jax.random.key(0), len(sizes))
    W = [jax.random.normal(k, (n, m)) * (2 / n) ** 0.5 for k, (n, m) in zip(keys, pairwise(sizes), strict=False)]
    parameters = [(w, jnp.zeros(w.shape[1])) for w in W]
    velocity = jax.tree.map(jnp.zeros_like, parameters)

    def drop(h: Any, key: Any, rate: float) -> Any:
        return h * jax.random.bernoulli(key, 1 - rate, h.shape) / (1 - rate) if teacher else h

    def shifted(image: Any, move: Any) -> Any:
        return jax.lax.dynamic_slice(jnp.pad(image, JITTER), move, image.shape)

    def loss_of(parameters: Any, pixels: Any, index: Any, key: Any) -> Any:
        h = drop(pixels.reshape(BATCH, -1) / jnp.float32(255), jax.random.fold_in(key, 0), INPUT_DROPOUT)
        for i, (w, b) in enumerate(parameters):
            h = h @ w + b
            if i < len(parameters) - 1:
                h = drop(jax.nn.relu(h), jax.random.fold_in(key, i + 1), DROPOUT)
        if teacher:
            return -jnp.take_along_axis(jax.nn.log_softmax(h), y[index][:, None], axis=1).mean()
        p = jax.nn.softmax(v[index] / T)
        return T**2 * (p * (jnp.log(p) - jax.nn.log_softmax(h / T))).sum(axis=1).mean()

    def constrained(w: Any) -> Any:
        norm = jnp.sqrt((w * w).sum(axis=0))
        return w * jnp.minimum(1, MAX_NORM / jnp.maximum(norm, 1e-9))

    def update(parameters: Any, velocity: Any, index: Any, key: Any) -> Any:
        pixels = x[index]
        if teacher:
            moves = jax.random.randint(jax.random.fold_in(key, 99), (BATCH, 2), 0, 2 * JITTER + 1)
            pixels = jax.vmap(shifted)(pixels, moves)
        gradients = jax.grad(loss_of)(parameters, pixels, index, key)
        velocity = jax.tree.map(lambda a, g: MOMENTUM * a + g, velocity, gradients)
        parameters = jax.tree.map(lambda w, a: w - RATE * a, parameters, velocity)
        return [(constrained(w), b) for w, b in parameters] if teacher else parameters, velocity

    jitted = jax.jit(update, donate_argnums=(0, 1))
    rng, steps = np.random.default_rng(2), iter(range(10**9))

    def step() -> None:
        nonlocal parameters, velocity
        key = jax.random.key(next(steps), impl="rbg")  # the cheapest of its generators
        parameters, velocity = jitted(parameters, velocity, rng.integers(0, N, BATCH), key)
        jax.block_until_ready(parameters)

    return step


def make(name: str, sizes: list[int], kind: str) -> Step:
    library, _, variant = name.partition(" ")
    if library == "torch":
        return make_torch(sizes, kind, variant)
    return {OURS: make_minidistill, PRODUCTS: make_products, "jax": make_jax}[library](sizes, kind)


def measure(sizes: list[int], kind: str, peers: tuple[str, ...], rounds: int, repeats: int) -> dict[str, Any]:
    commands = {name: [__file__, "--serve", name, json.dumps(sizes), kind] for name in (OURS, PRODUCTS, *peers)}
    seconds, absent = compare(commands, rounds, repeats)
    fastest = min((s for name, s in seconds.items() if name in peers), default=None)
    flops = 2 * BATCH * (3 * sum(n * m for n, m in pairwise(sizes)) - sizes[0] * sizes[1])
    return {
        "shape": sizes,
        "kind": kind,
        "batch_size": BATCH,
        "seconds": seconds,
        "absent": absent,
        "ratio_to_products": seconds[OURS] / seconds[PRODUCTS],
        "ratio_to_best_peer": fastest / seconds[OURS] if fastest is not None else None,
        "gflops_of_products": flops / seconds[PRODUCTS] / 1e9,
    }


def describe(r: dict[str, Any]) -> str:
    lines = [f"{'-'.join(map(str, r['shape']))}, {r['kind']} step, batch {r['batch_size']}:"]
    lines += [f"  {name:16} {1e3 * s:7.2f} ms" for name, s in sorted(r["seconds"].items(), key=lambda item: item[1])]
    lines += [f"  {name:16}  absent: {why}" for name, why in r["absent"].items()]
    lines.append(
        f"  the step takes {r['ratio_to_products']:.3f} x its products ({r['gflops_of_products']:.0f} GFLOP/s)"
    )
    if r["ratio_to_best_peer"] is not None:
        lines.append(f"  and is {r['ratio_to_best_peer']:.2f} x as fast as the fastest peer")
    return "\n".join(lines)


def report(record: dict[str, Any]) -> str:
    """Return a row for each shape, ours against the products and each peer, and then a line with the ratios."""
    names, ratios = list(record["results"][0]["seconds"]), []
    rows = ["| step, batch 128 | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for r in record["results"]:
        what = f"{'-'.join(map(str, r['shape']))}, {r['kind']}"
        rows.append(f"| {what} | " + " | ".join(f"{1e3 * r['seconds'][name]:.2f} ms" for name in names) + " |")
        ratios.append(
            f"of {what}: {100 * (r['ratio_to_products'] - 1):.0f}% more time than its matrix products alone, "
            f"{r['ratio_to_best_peer']:.2f} times as fast as the fastest of PyTorch and JAX"
        )
    versions = record["versions"]
    where = f"{record['date']}, {versions['cpu']}, {versions['cores']} cores, NumPy {versions['numpy']}"
    peers = ", ".join(f"{name} {versions[name]}" for name in ("torch", "jax") if name in versions)
    return "\n".join([*rows, "", f"A training step {'; '.join(ratios)}. {where}, {peers}."])


def main() -> None:
    parser = options(__doc__, rounds=10, repeats=20)
    parser.add_argument("--no-peers", action="store_true", help="the products alone for comparison")
    arguments = parser.parse_args()
    peers = () if arguments.no_peers else PEERS
    results = []
    for sizes, kind in ((SHAPES[0], "plain"), (SHAPES[1], "plain"), (SHAPES[1], "teacher")):
        results.append(measure(sizes, kind, peers, arguments.rounds, arguments.repeats))
        print(describe(results[-1]), flush=True)
    save(arguments.json, results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        name, sizes, kind = sys.argv[2:]
        serve(make, name, json.loads(sizes), kind)
    else:
        main()
