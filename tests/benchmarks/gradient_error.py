"""The worst relative error of every hand-derived gradient over 100,000 cases each, in float64 and in float32.

    python tests/benchmarks/gradient_error.py docs/results/gradient_error.json

The truth is a complex step in float64 on the same numbers, which are float32 to begin with. An error is the largest
difference of a case's components over the largest component of its truth. Where p and q are certain of the same class,
or equal, to a millionth, the gradient is what rounding left of a difference: such cases are counted apart. Cases are
replicas, so that thousands of them are one call. Logits of 0.1 to 30, T of 0.1 to 1000, both log-uniform.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minidistill as md
from minidistill import Backend, random

H = 1e-30  # of the complex step
LOSSES: dict[str, Callable[..., Any]] = {
    "cross_entropy": lambda z, v, y, T: md.cross_entropy(z, y),
    "soft_cross_entropy": lambda z, v, y, T: md.soft_cross_entropy(z, v, T),
    "kl_divergence": lambda z, v, y, T: md.kl_divergence(z, v, T),
    "distillation": lambda z, v, y, T: md.distillation(z, v, y, T, 0.5),
    "logit_matching": lambda z, v, y, T: md.logit_matching(z, v),
    "reverse_kl": lambda z, v, y, T: md.reverse_kl(z, v, T),
    "jensen_shannon": lambda z, v, y, T: md.jensen_shannon(z, v, T),
    "decoupled": lambda z, v, y, T: md.decoupled(z, v, y, T),
    "normalised": lambda z, v, y, T: md.normalised(z, v, y, T),
    "dist": lambda z, v, y, T: md.dist(z, v, T),
    "standardised": lambda z, v, y, T: md.standardised(z, v, T),
    "label_smoothing": lambda z, v, y, T: md.label_smoothing(z, y),
}
LAYERS: dict[str, Callable[[int, int], Any]] = {
    "Dense": lambda n, m: md.Dense(n, m),
    "DenseReLU": lambda n, m: md.DenseReLU(n, m),
    "DenseReLU, dropout": lambda n, m: md.DenseReLU(n, m, 0.5),
    "ReLU": lambda n, m: md.ReLU(),
    "Dropout": lambda n, m: md.Dropout(0.4),
}


def log_uniform(rng: Any, low: float, high: float, R: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), (R, 1, 1))).astype(np.float32)


def derivative(value: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Of value (R,) by x (R, ...), each replica's by its own, one complex step for each component."""
    found = np.empty(x.shape)
    for index in np.ndindex(x.shape[1:]):
        moved = x.astype(np.complex128)
        moved[(slice(None), *index)] += 1j * H
        found[(slice(None), *index)] = value(moved).imag / H
    return found


def relative(gradient: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(R,), NaN where the truth is 0 throughout and so is the gradient."""
    axes = tuple(range(1, truth.ndim))
    off, scale = np.abs(gradient - truth).max(axis=axes), np.abs(truth).max(axis=axes)
    return np.where((scale == 0) & (off == 0), np.nan, off / np.where(scale == 0, 1e-300, scale))


def errors_of_loss(loss: Callable[..., Any], rng: Any, R: int) -> dict[str, np.ndarray]:
    """Relative errors (R,) by precision, and "sound" (R,): whether the gradient has digits to compare."""
    B, N = rng.integers(2, 5), rng.integers(2, 7)
    z, v = (log_uniform(rng, 0.1, 30, R) * rng.standard_normal((R, B, N), dtype=np.float32) for _ in "zv")
    y, T = rng.integers(0, N, (R, B)), log_uniform(rng, 0.1, 1000, R)
    exact = [u.astype(np.float64) for u in (z, v, T)]
    truth = derivative(lambda u: loss(u, exact[1], y, exact[2])[0], exact[0])
    sound = np.abs(truth).max(axis=(1, 2)) * np.maximum(T[:, 0, 0], 1) * B > 1e-6  # of q's and p's own share, 1/(T B)
    return {"float64": relative(loss(exact[0], exact[1], y, exact[2])[1], truth),
            "float32": relative(loss(z, v, y, T)[1], truth), "sound": sound}  # fmt: skip


def errors_of_layer(make: Callable[[int, int], Any], rng: Any, R: int) -> dict[str, np.ndarray]:
    """The worst of the gradients by x, W and b of each replica, all with dropout masks of one step."""
    B, n, m = rng.integers(1, 5, 3)
    key, step = random.seed_key(rng.integers(0, 2**32, R).tolist()), int(rng.integers(1 << 20))
    shapes = [(R, B, n)] + [(R, *parameter.shape) for parameter in make(n, m).parameters().values()]
    parts = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]  # x, and W and b if it has them
    dy = rng.standard_normal((R, B, make(n, m).n_out or n), dtype=np.float32)

    def run(values: list[np.ndarray], dtype: Any) -> tuple[Any, np.ndarray]:
        layer, (x, *parameters) = make(n, m), (u.astype(dtype) for u in values)
        arrays = dict(zip(layer.parameters(), parameters, strict=True))
        layer.bind(Backend(), np.dtype(dtype), 0, key, arrays | {f"d{k}": np.zeros_like(a) for k, a in arrays.items()})
        layer.scratch = layer.scratch_for(x.shape)
        return layer, layer.forward(x, np.empty(dy.shape, dtype), step).copy()

    worst: dict[str, np.ndarray] = {"sound": np.ones(R, dtype=bool)}
    truths = [
        derivative(lambda u, k=k: (run([*parts[:k], u, *parts[k + 1 :]], np.complex128)[1] * dy).sum(axis=(1, 2)), part)
        for k, part in enumerate(parts)
    ]
    for dtype in (np.float64, np.float32):
        layer, _ = run(parts, dtype)
        dx = layer.backward(dy.astype(dtype), np.empty(shapes[0], dtype))
        found = [dx] + ([layer.dW, layer.db] if len(parts) > 1 else [])
        each = [relative(gradient, truth) for gradient, truth in zip(found, truths, strict=True)]
        worst[np.dtype(dtype).name] = np.fmax.reduce(each)
    return worst


def report(record: dict[str, Any]) -> str:
    """Return a row for each layer and loss: the worst relative error, that of 999 in 1,000 cases, and the median."""
    columns = [f"{what}_{dtype}" for dtype in ("float64", "float32") for what in ("worst", "most", "median")]
    rows = ["| gradient of | cases | with digits | worst, float64 | 99.9% | median | worst, float32 | 99.9% | median |",
            "|---|" + "---:|" * 8]  # fmt: skip
    for name, r in record["results"].items():
        errors = " | ".join(f"{r[column]:.1e}" for column in columns)
        rows.append(f"| {name} | {r['cases']:,} | {r['sound']:,} | {errors} |")
    return "\n".join([*rows, "", f"NumPy {record['numpy']}, {record['date']}, {record['seconds']} s."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="results are written there")
    parser.add_argument("--cases", type=int, default=100_000, help="of each layer and loss")
    options = parser.parse_args()
    began, R, results = time.perf_counter(), min(2000, options.cases), {}
    kinds = [(errors_of_layer, LAYERS), (errors_of_loss, LOSSES)]
    for errors, of in kinds:
        for name, thing in of.items():
            rng, parts = np.random.default_rng(0), []
            for _ in range(options.cases // R):
                parts.append(errors(thing, rng, R))
            e = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            sound = e["sound"] & ~np.isnan(e["float64"])
            results[name] = {"cases": len(sound), "sound": int(sound.sum())} | {
                f"{what}_{dtype}": float(of_them(e[dtype][sound]))
                for dtype in ("float64", "float32")
                for what, of_them in (
                    ("worst", np.max),
                    ("most", lambda e: np.quantile(e, 0.999)),
                    ("median", np.median),
                )
            }
            print(name, results[name], flush=True)
    record = {"date": time.strftime("%Y-%m-%d"), "numpy": np.__version__,
              "seconds": round(time.perf_counter() - began), "results": results}  # fmt: skip
    options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
