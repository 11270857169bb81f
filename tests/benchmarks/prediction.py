"""Prediction, one image and a batch of 1,000, against ONNX Runtime on the same network with the same weights."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import compare, machine, options, save, serve

import minidistill as md

SHAPES = {"teacher": [784, 1600, 1600, 10], "student": [784, 800, 800, 10]}
ROWS = (1, 1000)
OURS, PEER = "minidistill", "onnxruntime"


def pixels(rows: int) -> np.ndarray:
    """Floats, which both take as they are."""
    return np.random.default_rng(0).random((rows, 784), dtype=np.float32)


def make_minidistill(sizes: list[int], rows: int) -> Callable[[], np.ndarray]:
    network = md.Network.mlp(sizes)
    x = network.backend.asarray(pixels(rows))
    return lambda: network.predict(x)


def make_onnxruntime(sizes: list[int], rows: int) -> Callable[[], np.ndarray]:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    layers = [layer for layer in md.Network.mlp(sizes).layers if isinstance(layer, md.Dense)]
    nodes, weights, h = [], [], "x"
    for i, layer in enumerate(layers):
        W, b = map(md.get_backend().to_host, (layer.W, layer.b[0]))
        weights += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [h, f"W{i}", f"b{i}"], [f"a{i}"]))
        h = f"a{i}"
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [h], [f"h{i}"]))
            h = f"h{i}"
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, n])
        for name, n in (("x", sizes[0]), (h, sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = pixels(rows)
    ours = md.get_backend().to_host(make_minidistill(sizes, rows)())
    np.testing.assert_allclose(session.run(None, {"x": x})[0], ours, rtol=1e-3, atol=1e-4 * np.abs(ours).max())
    return lambda: session.run(None, {"x": x})[0]


def make(name: str, sizes: list[int], rows: int) -> tuple[Callable[[], object], Callable[[], object]]:
    if name != OURS:
        return make_onnxruntime(sizes, rows), lambda: None
    predict = make_minidistill(sizes, rows)
    return lambda: md.get_backend().to_host(predict()), lambda: None  # logits that nobody has are worth nothing


def report(record: dict[str, Any]) -> str:
    """Return a row for each network and batch: the time of either, and the ratio."""
    rows = ["| network | rows | minidistill | ONNX Runtime | its time over ours |", "|---|---:|---:|---:|---:|"]
    for r in record["results"]:
        ours, theirs = (1e6 * r["seconds"][name] for name in (OURS, PEER))
        rows.append(
            f"| {r['network']} | {r['batch_size']:,} | {ours:,.0f} µs | {theirs:,.0f} µs | {theirs / ours:.2f} |"
        )
    return "\n".join([*rows, "", machine(record)])


def main() -> None:
    arguments = options(__doc__, rounds=10, repeats=50).parse_args()
    results = []
    for network, sizes in SHAPES.items():
        for rows in ROWS:
            commands = {name: [__file__, "--serve", name, json.dumps(sizes), str(rows)] for name in (OURS, PEER)}
            (seconds,), absent = compare(commands, arguments.rounds, arguments.repeats)
            ratio = seconds[PEER] / seconds[OURS] if PEER in seconds else None
            results.append(
                {
                    "network": network,
                    "shape": sizes,
                    "batch_size": rows,
                    "seconds": seconds,
                    "absent": absent,
                    "ratio_to_best_peer": ratio,
                }
            )
            times = ", ".join(f"{name} {1e6 * s:,.0f} µs" for name, s in seconds.items())
            print(
                f"{network}, {rows} rows: {times}" + (f", ratio {ratio:.2f}" if ratio is not None else ""), flush=True
            )
    save(arguments.json, results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(make, sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
