"""What a network does to outlive the process. The work is in folder.py and export.py, imported where it is asked for:
importing minidistill stays as cheap as it was.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from .backend import Backend
from .copies import Copyable
from .layers import Layer


class Storable(Copyable):
    """Save a network into a folder, and load it again, bit for bit, on any backend."""

    labels: tuple[str, ...] | None = None  # the classes' names, in the order of the logits

    def save(self, folder: str | os.PathLike[str], labels: Sequence[str] | None = None) -> None:
        """Write the network into a folder, which is made, or whose network is replaced.

        model.safetensors holds everything, config.json says it for people, README.md is a short card. labels: the
        classes' names. Raises ArgumentError for labels that do not fit, or a layer of one's own that holds other things
        than numbers, texts and arrays; OSError for a folder that cannot be written.
        """
        from .folder import write_network

        write_network(self, folder, labels)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], backend: Backend | str | None = None, layers: Iterable[type[Layer]] = ()
    ) -> Any:
        """Return the network that `save` wrote into this folder. layers: the classes of layers of one's own in it.

        Raises DataError if the network is missing, damaged, changed, or of a later version.
        """
        from .folder import read_network

        return read_network(cls, folder, backend, layers)

    def export_npz(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays of model.safetensors, each layer's as NUMBER.NAME, as .npz, which NumPy reads alone."""
        from .folder import write_npz

        write_npz(self, path)

    def export_onnx(self, path: str | os.PathLike[str], pixels: bool = False) -> None:
        """Write the network as an ONNX model from "inputs" (rows, n_in) to "logits" (rows, n_out).

        pixels: the inputs are uint8, and are divided by 255 as `predict` does. Raises ArgumentError as in export.py.
        """
        from .export import export_onnx

        export_onnx(self, path, pixels)

    def folded(self) -> Any:
        """Return a network for prediction without the first layer's Standardise, whose numbers the next layer takes in.

        So a network that was trained on centred inputs is deployed as its matrices alone. Raises ArgumentError for
        another stack than Standardise, Dense or DenseReLU, and any others.
        """
        from .standardise import fold

        return fold(self)
