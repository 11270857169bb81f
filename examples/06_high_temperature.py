"""What T does to the gradient, on real logits: in the limit distillation is logit matching (Eq. 4), at a rate that a
derived bound gives; and the soft gradient shrinks as 1/T², so the balanced objective multiplies the soft term by T².

The student is one that has seen an epoch of hard labels.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, parser, run, start, table
from recipes import PLAIN, suited
from store import Store, soft_targets

import minidistill as md
from minidistill.losses import logit_matching_gradient

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0, 50.0, 100.0, 300.0, 1000.0, 10_000.0)
SEEN, ROWS = 6000, 1000  # images that the student has seen, and those of the batch


def main() -> None:
    arguments = parser(__doc__, seeds=1).parse_args()
    train, _ = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    transfer = soft_targets(arguments, store, train.subset(slice(SEEN)))
    student = store.train(replace(suited(PLAIN[kind], arguments), epochs=1), transfer, 0, "an epoch of hard labels")
    to_host = train.backend.to_host
    z = to_host(student.predict(transfer.inputs[:ROWS])).astype(np.float64)
    v, y = to_host(transfer.unmoved[:ROWS]).astype(np.float64), to_host(transfer.labels[:ROWS])
    _, hard = md.cross_entropy(z, y)
    z_width, v_width = (u.max(-1) - u.min(-1) for u in (z, v))  # (B,), W_z and W_v of the bound
    rows = []
    for T in TEMPERATURES:
        _, soft = md.soft_cross_entropy(z, v, T)
        scale = z.shape[-1] * T * T * len(z)  # N T² B
        residual = scale * np.abs(soft - logit_matching_gradient(z, v, T)).max(axis=-1)  # (B,)
        with np.errstate(over="ignore"):
            bound = (z_width**2 * np.exp(z_width / T) + v_width**2 * np.exp(v_width / T)) / (2 * T)
        rows.append({"T": T, "residual": residual.max(), "bound": bound.max(), "worst": (residual / bound).max(),
                     "soft": np.linalg.norm(soft), "soft_T2": T * T * np.linalg.norm(soft)})  # fmt: skip
    finish(arguments, store.seconds, {"rows": rows, "hard": float(np.linalg.norm(hard))}, report, draw)


def report(results: dict[str, Any]) -> str:
    """Return a row for each temperature."""
    rows: list[list[object]] = [["T", "residual of Eq. 4", "its bound", "worst ratio", "|soft|", "T² |soft|", "|hard|"]]
    for r in results["rows"]:
        numbers = [f"{r[name]:.3g}" for name in ("residual", "bound", "worst", "soft", "soft_T2")]
        rows.append([f"{r['T']:g}", *numbers, f"{results['hard']:.3g}"])
    note = "residual: the largest |N T² (q - p)/T - ((z - mean z) - (v - mean v))|; norms of the gradients of a batch"
    return f"\n{table(rows)}\n\n{note}\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say what the theorem says; the figure shows it on real logits."""
    return "At a high T, twice the temperature is half the error of Eq. 4, and T² keeps the soft gradient's size"


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw on the left the residual below its bound, falling as 1/T, and on the right the norms with and without T²."""
    axes.remove()
    left, right = figure.subplots(1, 2)
    T = [r["T"] for r in results["rows"]]
    left.plot(T, [r["residual"] for r in results["rows"]], label="error of Eq. 4")
    left.plot(T, [min(r["bound"], 1e9) for r in results["rows"]], label="its derived bound")
    right.plot(T, [r["soft_T2"] for r in results["rows"]], label="T² times the soft gradient")
    right.plot(T, [r["soft"] for r in results["rows"]], label="the soft gradient")
    right.axhline(results["hard"], color="black", linestyle=":", marker="", label="the hard gradient, T = 1")
    for half, powers in ((left, range(-1, 6)), (right, range(-9, 1, 2))):
        plots.plain(half.xaxis, [1, 4, 20, 100, 1000, 10_000])
        plots.plain(half.yaxis, [10.0**power for power in powers])
        half.set(xlabel="temperature T")
        half.legend()
    left.set(ylim=(0.1, 1e5), ylabel="largest |N T² (q - p)/T - (z - v)|, z and v centred")
    right.set(ylabel="norm of the gradient of a batch")
    figure.set_size_inches(9, 4.2)
    plots.title(figure, finding(results), 110)


if __name__ == "__main__":
    run(main)
