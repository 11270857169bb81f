"""Whatever a person gives a public call, the answer is a result or one line of ours: no traceback from the inside.

Hypothesis fills each argument of each public call with something hostile or sound. `python tests/test_hostile.py 10000`
tries as many calls of each, and prints the counts and each escape once.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import examples as examples_of

import minidistill as md
from minidistill.datasets import read_idx
from minidistill.measure import prediction_cost

Z = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
X = np.array([[0.1, 0.9, 0.3, 0.4], [0.8, 0.2, 0.6, 0.1]], dtype=np.float32)
Y = np.array([0, 2])


class Tensor:
    """Another library's array."""

    shape, ndim, dtype = (2, 3), 2, "torch.float32"

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Contrary:
    """An object whose every question is an error."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __float__(self) -> float:
        raise OverflowError("no float")

    def __len__(self) -> int:
        raise ValueError("no len")

    def __iter__(self) -> Any:
        raise KeyError("no iter")


def network() -> md.Network:
    return md.Network.mlp([4, 5, 3], backend="numpy")


def seen() -> md.Network:
    net = network()
    net.forward(X)
    return net


def dataset() -> md.Dataset:
    return md.Dataset(X, Y, "numpy", classes=3)


HOSTILE = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            2,
            3,
            10**30,
            -5,
            0.0,
            0.5,
            -0.1,
            1e300,
            1e-300,
            1 + 2j,
            "",
            "abc",
            b"\0",
            (),
            [],
            {},
            {1},
            [1, [2, 3]],
            [[1, 2], [3, 4]],
            [None],
            ["a"],
            (1, 2, 3),
            range(3),
            slice(1),
            ...,
            int,
            md.Network,
            md.SGD,
            np.ndarray,
            np,
            print,
            len,
        ]
    ),
    st.sampled_from(
        [float("nan"), float("inf"), -float("inf"), np.float64("inf"), np.float32(2), np.int64(3), np.bool_(True)]
    ),
    st.builds(lambda: lambda *arguments: None),
    st.builds(lambda: lambda: 0.1),
    st.builds(Tensor),
    st.builds(Contrary),
    st.builds(network),
    st.builds(dataset),
    st.builds(lambda: md.SGD(0.1)),
    st.builds(lambda: md.Objective(2.0, alpha=0.5)),
    st.builds(lambda: md.Dense(4, 3)),
    st.sampled_from([np.zeros(shape) for shape in ((), (0,), (3,), (2, 0), (2, 3), (2, 4), (2, 2, 3), (1, 1, 1, 1))]),
    st.sampled_from([np.zeros((2, 3), kind) for kind in ("i4", "u1", "?", "c16", "f2", "O", "U3", "M8[s]")]),
    st.sampled_from([np.full((2, 3), odd) for odd in (np.nan, np.inf, 1e308)]),
    st.builds(lambda: np.ma.array(Z)),
    st.builds(lambda: np.ones((2, 3)).view(np.matrix)),
    st.builds(lambda: np.array([{}, []], dtype=object)),
)
numbers = st.sampled_from([0.5, 1.0, 1])


def one_of(*sound: Any) -> st.SearchStrategy[Any]:
    """Something sound in three of four calls, so that the arguments behind it are looked at."""
    return st.integers(0, 3).flatmap(lambda k: st.sampled_from(sound) if k else HOSTILE)


def made_by(make: Callable[[], Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 3).flatmap(lambda k: st.builds(make) if k else HOSTILE)


def sum_of_squares(z: Any, v: Any, y: Any) -> Any:
    return (z * z).sum() / len(z), 2 * z / len(z)


def fit(net: Any, data: Any, objective: Any, optimizer: Any, epochs: Any, options: dict[str, Any]) -> Any:
    return md.fit(net, data, objective, optimizer, epochs=epochs, **{"progress": False} | options)


OPTIONS = {"batch_size": 1, "jitter": 0, "validation": None, "total_epochs": None, "after_epoch": None, "title": "t"}
few_options = st.dictionaries(st.sampled_from(sorted(OPTIONS)), HOSTILE, max_size=2)

CALLS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "softmax": (md.softmax, [one_of(Z), one_of(1.0)]),
    "log_softmax": (md.log_softmax, [one_of(Z), one_of(1.0)]),
    "cross_entropy": (md.cross_entropy, [one_of(Z), one_of(Y)]),
    "soft_cross_entropy": (md.soft_cross_entropy, [one_of(Z), one_of(Z), one_of(2.0)]),
    "kl_divergence": (md.kl_divergence, [one_of(Z), one_of(Z), one_of(2.0)]),
    "distillation": (md.distillation, [one_of(Z), one_of(Z), one_of(Y), one_of(2.0), one_of(0.5)]),
    "logit_matching": (md.logit_matching, [one_of(Z), one_of(Z)]),
    "reverse_kl": (md.reverse_kl, [one_of(Z), one_of(Z), one_of(2.0)]),
    "jensen_shannon": (md.jensen_shannon, [one_of(Z), one_of(Z), one_of(2.0), one_of(0.5)]),
    "decoupled": (md.decoupled, [one_of(Z), one_of(Z), one_of(Y), one_of(2.0), one_of(1.0), one_of(8.0)]),
    "normalised": (md.normalised, [one_of(Z), one_of(Z), one_of(Y), one_of(2.0), one_of(1.5)]),
    "dist": (md.dist, [one_of(Z), one_of(Z), one_of(2.0), one_of(1.0), one_of(1.0)]),
    "standardised": (md.standardised, [one_of(Z), one_of(Z), one_of(2.0)]),
    "label_smoothing": (md.label_smoothing, [one_of(Z), one_of(Y), one_of(0.1)]),
    "arithmetic_mean": (md.arithmetic_mean, [one_of(np.stack([Z, Z])), one_of(2.0)]),
    "geometric_mean": (md.geometric_mean, [one_of(np.stack([Z, Z]))]),
    "Dense": (md.Dense, [one_of(4), one_of(3)]),
    "DenseReLU": (md.DenseReLU, [one_of(4), one_of(3), one_of(0.5)]),
    "Dropout": (md.Dropout, [one_of(0.5)]),
    "Network": (md.Network, [made_by(lambda: [md.Dense(4, 3)]), one_of(0, [1, 2]), one_of("f4"), one_of("numpy")]),
    "Network.mlp": (lambda sizes, rate: md.Network.mlp(sizes, dropout=rate, backend="numpy"),
                    [one_of([4, 5, 3]), one_of(0.5)]),
    "Network.predict": (lambda net, x: net.predict(x), [st.builds(network), one_of(X)]),
    "Network.forward": (lambda net, x: net.forward(x), [st.builds(network), one_of(X)]),
    "Network.backward": (lambda net, dz: net.backward(dz), [st.builds(seen), one_of(np.float32(Z))]),
    "SGD.step": (lambda net, dz: md.SGD(0.1).step(net, dz, 0.1), [made_by(seen), one_of(np.float32(Z))]),
    "Network.replica": (lambda net, r: net.replica(r), [st.builds(network), one_of(0)]),
    "Network.parameters": (lambda net, value: setattr(net, "parameters", value), [st.builds(network), HOSTILE]),
    "SGD": (lambda rate, m, decay, norm: md.SGD(rate, m, weight_decay=decay, max_norm=norm),
            [one_of(0.1), one_of(0.9), one_of(0.0), one_of(None)]),
    "AdamW": (lambda rate, b1, b2, eps: md.AdamW(rate, b1, b2, epsilon=eps),
              [one_of(0.1), one_of(0.9), one_of(0.9), one_of(1e-8)]),
    "linear_decay": (md.linear_decay, [one_of(0.1), one_of(0.1)]),
    "step_decay": (md.step_decay, [one_of(0.1), one_of((0.5,)), one_of(0.1), one_of(0.1)]),
    "Objective": (md.Objective, [one_of(2.0, [1.0, 2.0]), one_of(0.5)]),
    "Dataset": (md.Dataset, [one_of(X), one_of(Y), one_of("numpy"), one_of(3, None)]),
    "Dataset.subset": (lambda data, rows: data.subset(rows), [st.builds(dataset), one_of([0])]),
    "TransferSet": (md.TransferSet, [one_of(X), one_of(Z), one_of(Y, None), one_of("numpy"), one_of(None)]),
    "TransferSet.from_teacher": (md.TransferSet.from_teacher, [made_by(network), made_by(dataset), one_of(0)]),
    "load_images": (md.load_images, [one_of("/nowhere")]),
    "read_idx": (read_idx, [one_of("/nowhere")]),
    "errors": (md.errors, [made_by(network), made_by(dataset)]),
    "prediction_cost": (prediction_cost, [made_by(network), one_of(1), st.just(1e-9)]),
    "set_backend": (md.set_backend, [one_of("numpy")]),
    "fit": (fit, [made_by(network), made_by(dataset), one_of(md.Objective(alpha=0), sum_of_squares),
                  made_by(lambda: md.SGD(0.1)), one_of(1), few_options]),
}  # fmt: skip
OURS = (md.MinidistillError, NotImplementedError)


def attempt(call: Callable[..., Any], arguments: list[Any]) -> str:
    """What came of a call: "result", or "ours" for an error of ours in one line. Anything else is raised."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            call(*arguments)
    except OURS as error:
        told = str(error)
    else:
        return "result"
    assert "\n" not in told, f"more than a line: {told}"
    return "ours"


@pytest.fixture(autouse=True)
def _same_backend(monkeypatch):
    monkeypatch.setattr("minidistill.backend._current", None)


@pytest.mark.parametrize(("call", "strategies"), CALLS.values(), ids=CALLS)
def test_no_call_ends_in_anything_but_a_result_or_one_line_of_ours(call, strategies):
    @settings(max_examples=examples_of(40), suppress_health_check=list(HealthCheck))
    @given(st.tuples(*strategies))
    def tried(arguments):
        attempt(call, arguments)

    tried()


def test_the_fuzzer_notices_a_raw_error():
    with pytest.raises(TypeError):
        attempt(lambda x: x + 1, ["a"])
    with pytest.raises(AssertionError, match="more than a line"):
        attempt(lambda: (_ for _ in ()).throw(md.ArgumentError("a\nb")), [])


def main(examples: int) -> int:
    """Try every call so often, and print what came of them."""
    escapes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for name, (call, strategies) in CALLS.items():

        @settings(max_examples=examples, derandomize=False, database=None, suppress_health_check=list(HealthCheck))
        @given(st.tuples(*strategies))
        def tried(arguments: Any) -> None:
            try:
                counts[attempt(call, arguments)] += 1  # noqa: B023  # called before the loop goes on
            except Exception as error:
                text = str(error).splitlines()[0][:80] if str(error) else ""
                escapes[f"{name}: {type(error).__name__}: {text}"] += 1  # noqa: B023  # as above

        tried()
    total = sum(counts.values()) + sum(escapes.values())
    for what, n in escapes.most_common():
        print(f"{n:6} {what}")
    results, ours, escaped = counts["result"], counts["ours"], sum(escapes.values())
    print(f"{total:,} calls: {results:,} results, {ours:,} errors of ours, {escaped:,} escapes")
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
