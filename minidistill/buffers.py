"""The buffers of a network: an array for each layer's y and dx, shared where nobody would read what is written over."""

from typing import Any

from .checks import Array


def make_buffers(network: Any, batch_size: int) -> tuple[list[Array], list[Array | None], list[Any]]:
    """Make each layer's y, each layer's dx where somebody reads it, and its scratch, for batches of this size.

    Nobody reads the dx of the first layer with parameters. A layer writes over the y before it if neither of the two
    reads it in backward; never over the input, which belongs to the caller.
    """
    activations: list[Array] = []
    input_gradients: list[Array | None] = []
    scratches = []
    width, dx_needed, y_is_free = network.n_in, False, False
    for layer in network.layers:
        shape = (*network.replica_shape, batch_size, width)  # x's
        in_place = y_is_free and not layer.reads_x and layer.n_out in (None, width)
        width = layer.n_out or width
        y = activations[-1] if in_place else network.xp.empty((*shape[:-1], width), dtype=network.dtype)
        activations.append(y)
        scratches.append(layer.make_scratch(shape))
        input_gradients.append(network.xp.empty(shape, dtype=network.dtype) if dx_needed else None)
        dx_needed, y_is_free = dx_needed or bool(layer.parameters()), not layer.reads_y
    return activations, input_gradients, scratches
