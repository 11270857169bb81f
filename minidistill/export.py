"""A network as an ONNX model, which runtimes without this package run."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from .checks import ArgumentError
from .fused import DenseReLU
from .layers import Dense, Dropout, ReLU
from .shell import whole_file
from .standardise import Standardise

OPSET, IR_VERSION = 17, 9  # what runtimes of 2022 and later know


def export_onnx(network: Any, path: str | os.PathLike[str], pixels: bool = False) -> None:
    """Write a model from "inputs" (rows, n_in) to "logits" (rows, n_out), any number of rows; dropout is left out.

    pixels: the inputs are uint8, and are divided by 255 as `predict` does. Raises ArgumentError for replicas, for a
    layer that ONNX has no words for here, and without the package onnx, of the extra `onnx`.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise ArgumentError("export_onnx needs the package onnx, which the extra 'onnx' installs") from None
    if network.replica_shape:
        raise ArgumentError(f"network must be one network, got {network.replicas} replicas: export network.replica(r)")
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {}

    def add(operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node that makes a new name of these."""
        name = f"{operation.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def constant(name: str, array: Any) -> str:
        constants[name] = np.ascontiguousarray(network.backend.to_host(array), np.float32)
        return name

    h = "inputs"
    if pixels:
        h = add("Mul", add("Cast", h, to=TensorProto.FLOAT), constant("unit", np.array(1 / 255)))
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Standardise):
            h = add("Mul", add("Sub", h, constant(f"{i}.mean", layer.mean)), constant(f"{i}.scale", layer.scale))
        elif type(layer) in (Dense, DenseReLU):
            h = add("Gemm", h, constant(f"{i}.W", layer.W), constant(f"{i}.b", layer.b[0]))
            h = add("Relu", h) if isinstance(layer, DenseReLU) else h
        elif type(layer) is ReLU:
            h = add("Relu", h)
        elif type(layer) is not Dropout:
            raise ArgumentError(f"layers must be the package's own to be exported, got {layer}")
    nodes.append(helper.make_node("Identity", [h], ["logits"]))
    kind = TensorProto.UINT8 if pixels else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "minidistill",
        [helper.make_tensor_value_info("inputs", kind, ["rows", network.n_in])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", network.n_out])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    with whole_file(Path(path)) as unfinished:
        unfinished.write_bytes(model.SerializeToString())
