"""What an object says that it is, in one line: the `repr` of layers, networks, optimisers and schedules."""

from inspect import signature
from typing import Any

OFF = ("0.0", "False", "None")  # a default of these goes without saying


def call(made: Any) -> str:
    """Return the call that makes an object, such as "SGD(linear_decay(0.1), momentum=0.9)".

    "..." stands for an argument that the object does not keep, or that is an array.
    """
    shown = []
    for name, parameter in signature(type(made)).parameters.items():
        text = _argument(made, name)
        if parameter.default is parameter.empty:
            shown.append(text)
        elif text not in OFF or text != repr(parameter.default):
            shown.append(f"{name}={text}")
    return f"{type(made).__name__}({', '.join(shown)})"


def network(made: Any) -> str:
    """Return "<Network 784-800-10, float32, 636,010 parameters, on numpy>", with the layers if they are no mlp's."""
    first, *rest = layers = made.layers
    inputs, layers = ([first], rest) if type(first).__name__ == "Dropout" else ([], layers)
    hidden = layers[:-1]
    kinds = [type(layer).__name__ for layer in layers]
    if kinds == ["DenseReLU"] * len(hidden) + ["Dense"] and len({layer.threshold for layer in hidden}) <= 1:
        words = ["-".join(str(n) for n in (made.n_in, *(layer.n_out for layer in layers)))]
        words += [f"input_dropout={_rate(layer.threshold)}" for layer in inputs]
        words += [f"dropout={_rate(layer.threshold)}" for layer in hidden[:1] if layer.threshold < 256]
    else:
        words = [str(made.layers)]
    words += [f"replicas={made.replicas}"] if made.replica_shape else []
    each = " each" if made.replica_shape else ""
    return f"<Network {', '.join(words)}, {made.dtype}, {made.size:,} parameters{each}, on {made.backend.name}>"


def _argument(made: Any, name: str) -> str:
    if name in ("rate", "dropout") and "threshold" in vars(made):  # layers keep their dropout rate as a threshold
        return repr(_rate(made.threshold))
    value = vars(made).get(name, ...)
    return "..." if value is ... or hasattr(value, "shape") else repr(value)


def _rate(threshold: int) -> float:
    """Return the shortest dropout rate that keeps a unit on `threshold` of 256 byte values."""
    rates = (round(1 - threshold / 256, digits) for digits in range(1, 9))
    return next(rate for rate in rates if round(256 * (1 - rate)) == threshold)
