"""A kept network is the same network, bit for bit, and a damaged or forged file is told, never used."""

import copy
import json
import re
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_layers import LayerNorm
from strategies import few

import minidistill as md
from minidistill.backend import Backend
from minidistill.tensor_file import read_tensors, write_tensors

NETWORKS = {
    "mlp": lambda **o: md.Network.mlp([6, 5, 4, 3], input_dropout=0.2, dropout=0.5, **o),
    "plain layers": lambda **o: md.Network([md.Dense(6, 4), md.ReLU(), md.Dropout(0.3), md.Dense(4, 3)], **o),
    "standardised": lambda **o: md.Network([md.Standardise(np.arange(6.0), np.full(6, 0.1)), md.Dense(6, 3)], **o),
}


def trained(backend: Any, kind: str, seeds: Any = 3, dtype: Any = np.float32) -> md.Network:
    network = NETWORKS[kind](seeds=seeds, dtype=dtype, backend=backend)
    rng = np.random.default_rng(0)
    data = md.Dataset(rng.normal(size=(40, 6)), rng.integers(0, 3, 40), backend)
    md.fit(network, data, md.Objective(alpha=0), md.SGD(0.01), epochs=2, batch_size=8, progress=False)
    return network


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seeds", [3, [3, 4]], ids=["one network", "replicas"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_comes_back_bit_for_bit_on_every_backend_and_goes_on_as_it_would_have(
    backend: Any, kind: str, seeds: Any, dtype: Any, tmp_path: Path
) -> None:
    network = trained(backend, kind, seeds, dtype)
    network.save(tmp_path / "kept", labels=["a", "b", "c"])
    again, on_host = md.Network.load(tmp_path / "kept", backend), md.Network.load(tmp_path / "kept", Backend())
    assert (repr(again), again.seeds, again.labels) == (repr(network), network.seeds, ("a", "b", "c"))
    for other in (again, on_host):
        np.testing.assert_array_equal(
            other.backend.to_host(other.parameters), network.backend.to_host(network.parameters)
        )
    x, options = np.random.default_rng(1).normal(size=(9, 6)), {"epochs": 1, "batch_size": 4, "progress": False}
    for one in (network, again):
        data = md.Dataset(x, np.arange(9) % 3, backend)
        md.fit(one, data, md.Objective(alpha=0), md.SGD(0.01), **options)  # the same masks and shuffles: steps are kept
    np.testing.assert_array_equal(backend.to_host(again.parameters), backend.to_host(network.parameters))


def test_a_layer_of_ones_own_is_kept_with_its_arguments_and_loaded_with_its_class(tmp_path: Path) -> None:
    network = md.Network([md.Dense(4, 5), LayerNorm(5), md.Dense(5, 2)])
    network.parameters += 0.5
    network.save(tmp_path)
    with pytest.raises(md.DataError, match=r"load\(folder, layers=\[LayerNorm\]\)"):
        md.Network.load(tmp_path)
    again = md.Network.load(tmp_path, layers=[LayerNorm])
    on_host = network.backend.to_host
    np.testing.assert_array_equal(on_host(again.parameters), on_host(network.parameters))


class Odd(md.ReLU):
    """Remembers what it was given: numbers under other names, arrays, or what a file cannot hold."""

    def __init__(self, given: Any) -> None:
        self.other = given


def test_what_a_layer_of_ones_own_has_learned_beside_its_parameters_is_kept(tmp_path: Path) -> None:
    for value in (0.1, np.arange(3)):
        md.Network([md.Dense(2, 2), Odd(value)]).save(tmp_path)
        np.testing.assert_array_equal(md.Network.load(tmp_path, layers=[Odd]).layers[1].other, value)


def test_a_layer_that_holds_what_a_file_cannot_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(md.ArgumentError, match=r"Odd\.other must be a number, a text or an array to be saved"):
        md.Network([md.Dense(2, 2), Odd(print)]).save(tmp_path)


@pytest.mark.parametrize("labels", [["a"], "abc", [1, 2, 3]])
def test_labels_that_do_not_fit_are_refused(labels: Any, tmp_path: Path) -> None:
    with pytest.raises(md.ArgumentError, match="labels must be 3 texts"):
        md.Network.mlp([2, 3]).save(tmp_path, labels=labels)


def test_pickle_and_deepcopy_keep_the_labels(tmp_path: Path) -> None:
    network = md.Network.mlp([2, 3])
    network.save(tmp_path, labels=["a", "b", "c"])
    assert copy.deepcopy(network).labels == ("a", "b", "c")


# --- the file ----------------------------------------------------------------------------------------------------


arrays = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", ">i4", "|u1", "|b1"]).flatmap(
    lambda dtype: st.lists(st.integers(0, 3), max_size=3).map(
        lambda shape: (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape).astype(dtype)
    )
)

names = st.text(max_size=5).filter(lambda name: name != "__metadata__")


@few
@given(tensors=st.dictionaries(names, arrays, max_size=4), text=st.text())
def test_whatever_is_written_comes_back(tmp_path_factory: Any, tensors: Any, text: str) -> None:
    path = tmp_path_factory.mktemp("file") / "x.safetensors"
    write_tensors(path, tensors, {"text": text})
    found, texts = read_tensors(path)
    assert texts == {"text": text}
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype.newbyteorder("="))
        np.testing.assert_array_equal(found[name], array)


def test_strided_arrays_are_written_as_they_look(tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(4, 6)
    views = {"turned": x.T, "every second": x[::2, ::3], "upside down": x[::-1], "row": np.broadcast_to(x[0], (3, 6))}
    write_tensors(tmp_path / "x", views, {})
    for name, found in read_tensors(tmp_path / "x")[0].items():
        np.testing.assert_array_equal(found, views[name])


def kept(folder: Path) -> Path:
    md.Network.mlp([2, 2, 2]).save(folder)
    (folder / "config.json").unlink()
    return folder / "model.safetensors"


def test_a_flipped_bit_in_any_byte_and_every_truncation_is_told(tmp_path: Path) -> None:
    path = kept(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(md.DataError, match=r"model\.safetensors must "):
            md.Network.load(tmp_path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(md.DataError, match=r"model\.safetensors must "):
            md.Network.load(tmp_path)
    path.write_bytes(whole + bytes(1))
    with pytest.raises(md.DataError, match=r"model\.safetensors must "):
        md.Network.load(tmp_path)


FORGED = {
    "2^60 rows": {"W": {"dtype": "F32", "shape": [2**60, 4], "data_offsets": [0, 2**64]}},
    "a negative size": {"W": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "a hole": {"W": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
    "an overlap": {x: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for x in "ab"},
    "an unknown type": {"W": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}},
    "no place": {"W": {"dtype": "F32", "shape": [1]}},
    "a list": [],
    "a number": 7,
    "no checksum": {"__metadata__": {}},
    "a number for a text": {"__metadata__": {"sha256": 7}},
    "true for a size": {"W": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}},
}


@pytest.mark.parametrize("header", FORGED.values(), ids=FORGED)
def test_a_forged_header_is_told_and_takes_no_memory(header: Any, tmp_path: Path) -> None:
    if isinstance(header, dict):
        header = {"__metadata__": {"sha256": "0" * 64}} | header
    raw = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(4))
    tracemalloc.start()
    try:
        with pytest.raises(md.DataError, match="must "):
            read_tensors(tmp_path / "x")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


CHANGED = {
    "a layer too large": lambda c: c["layers"][0]["arguments"].update(n_in=2**60),
    "another layer": lambda c: c["layers"].pop(),
    "an unknown class": lambda c: c["layers"][0].update({"class": "os.system"}),
    "a later version": lambda c: c.update(version=99),
    "replicas that are not there": lambda c: c.update(seeds=[1, 2, 3]),
    "another dtype": lambda c: c.update(dtype="float64"),
    "no layers": lambda c: c.update(layers=None),
    "nonsense": lambda c: c.update(layers=[7]),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_forged_network_with_a_right_checksum_is_told(change: Any, tmp_path: Path) -> None:
    path = kept(tmp_path)
    tensors, texts = read_tensors(path)
    config = json.loads(texts["config"])
    change(config)
    write_tensors(path, tensors, {"config": json.dumps(config)})
    with pytest.raises(md.DataError, match=r"model\.safetensors must "):
        md.Network.load(tmp_path)


def test_a_config_that_was_edited_is_told(tmp_path: Path) -> None:
    md.Network.mlp([2, 2]).save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"seeds": 0', '"seeds": 1'))
    with pytest.raises(md.DataError, match=r"config\.json must say what model\.safetensors holds"):
        md.Network.load(tmp_path)


@pytest.mark.parametrize("what", ["nothing", "a folder", "another program's"])
def test_what_is_no_network_is_told(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    if what == "a folder":
        path.mkdir()
    elif what == "another program's":
        write_tensors(path, {"x": np.zeros(3)}, {})
    with pytest.raises(md.DataError, match=r"model\.safetensors must "):
        md.Network.load(tmp_path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = md.Network.mlp([2, 2])
    network.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    network.parameters += 1
    with pytest.raises(OSError, match="No space left"):
        network.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


SNIPPETS = re.findall(
    r"```python without minidistill\n(.*?)```",
    (Path(__file__).parents[1] / "docs" / "distil.md").read_text("utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize(("code", "library"), [*zip(SNIPPETS, ("numpy", "torch"), strict=True)])
def test_the_lines_of_the_docs_run_a_student_without_this_package(
    code: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(library)
    pytest.importorskip("safetensors")
    network = md.Network([md.Standardise(np.arange(4), [1.0, 2, 0.5, 1]), md.DenseReLU(4, 30, 0.2), md.Dense(30, 3)])
    network.parameters += 0.01  # biases, too
    network.save(tmp_path / "student")
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    given = {"np": np, "torch": module, "x": x if library == "numpy" else module.from_numpy(x)}
    exec(code, given)
    np.testing.assert_allclose(
        np.asarray(given["z"].tolist()), network.backend.to_host(network.predict(x)), rtol=1e-4, atol=1e-5
    )


# --- ONNX --------------------------------------------------------------------------------------------------------


EXPORTED = {
    "mlp": lambda: md.Network.mlp([6, 5, 4, 3], input_dropout=0.2, dropout=0.5),
    "plain layers": lambda: md.Network([md.Dense(6, 4), md.ReLU(), md.Dropout(0.3), md.Dense(4, 3)]),
    "standardised": lambda: md.Network(
        [md.Standardise(np.arange(6.0), np.full(6, 0.1)), md.DenseReLU(6, 5), md.Dense(5, 3)]
    ),
}


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("make", EXPORTED.values(), ids=EXPORTED)
def test_an_exported_network_gives_the_same_logits_in_onnx_runtime(make: Any, pixels: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    network, rng = make(), np.random.default_rng(0)
    network.parameters += 0.01  # biases, too
    network.export_onnx(tmp_path / "x.onnx", pixels)
    session = runtime.InferenceSession(str(tmp_path / "x.onnx"), providers=["CPUExecutionProvider"])
    for rows in (1, 7):
        x = rng.integers(0, 256, (rows, 6), dtype=np.uint8) if pixels else rng.normal(size=(rows, 6)).astype(np.float32)
        z = network.backend.to_host(network.predict(x))
        np.testing.assert_allclose(session.run(None, {"inputs": x})[0], z, rtol=1e-5, atol=1e-5 * abs(z).max())


def test_what_onnx_has_no_words_for_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(md.ArgumentError, match="network must be one network, got 2 replicas"):
        md.Network.mlp([2, 2], seeds=[0, 1]).export_onnx(tmp_path / "x.onnx")
    with pytest.raises(md.ArgumentError, match=r"layers must be the package's own to be exported, got LayerNorm"):
        md.Network([md.Dense(4, 5), LayerNorm(5)]).export_onnx(tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(md.ArgumentError, match="the extra 'onnx' installs"):
        md.Network.mlp([2, 2]).export_onnx(tmp_path / "x.onnx")


def test_an_npz_holds_all_that_numpy_needs_to_predict(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(7, 4))
    network = md.Network([md.Standardise.of(x), md.DenseReLU(4, 30, 0.2), md.Dense(30, 3)], dtype=np.float64)
    network.export_npz(tmp_path / "student.npz")
    with np.load(tmp_path / "student.npz", allow_pickle=False) as t:
        h = np.maximum((x - t["0.mean"]) * t["0.scale"] @ t["1.W"] + t["1.b"], 0)
        np.testing.assert_allclose(h @ t["2.W"] + t["2.b"], network.backend.to_host(network.predict(x)), rtol=1e-12)
