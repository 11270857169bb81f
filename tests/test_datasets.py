"""Data comes in as it was written or not at all: IDX files, the embedded MNIST, data sets, transfer sets."""

import gzip
import io
import json
import re
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistill import (
    ArgumentError,
    DataError,
    Dataset,
    Network,
    TransferSet,
    load_images,
    mnist,
    mnist_transfer,
    softmax,
)
from minidistill.backend import Backend
from minidistill.datasets import read_array, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def idx_bytes(array: np.ndarray) -> bytes:
    """The array as an IDX file, written from the format's definition."""
    kind = array.dtype.str[1:]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[kind], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


arrays = st.sampled_from(sorted(CODES)).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx")


@given(array=arrays, compressed=st.booleans())
def test_reading_inverts_writing_for_every_type_and_shape(folder: Path, array: np.ndarray, compressed: bool) -> None:
    path = folder / "file"
    path.write_bytes(gzip.compress(idx_bytes(array), mtime=0) if compressed else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@given(array=arrays, compressed=st.booleans(), data=st.data())
def test_a_file_cut_short_anywhere_is_refused(
    folder: Path, array: np.ndarray, compressed: bool, data: st.DataObject
) -> None:
    whole = gzip.compress(idx_bytes(array), mtime=0) if compressed else idx_bytes(array)
    path = folder / "cut"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError, match="cut must"):
        read_idx(path)


@given(array=arrays, data=st.data())
def test_a_changed_byte_in_a_compressed_body_is_noticed(folder: Path, array: np.ndarray, data: st.DataObject) -> None:
    whole = bytearray(gzip.compress(idx_bytes(array), mtime=0))
    i = data.draw(st.integers(10, len(whole) - 1))  # behind gzip's header, whose time and name do not matter
    whole[i] ^= data.draw(st.integers(1, 255))
    path = folder / "changed"
    path.write_bytes(whole)
    with pytest.raises(DataError, match="changed must"):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00\x07\x01\x00\x00\x00\x00", "magic number"),
        (b"\x01\x00\x08\x01\x00\x00\x00\x00", "magic number"),
        (b"\x00\x00\x08\x00", "magic number"),
        (idx_bytes(np.zeros(3, "u1")) + b"\x00", "must hold 11 bytes"),
        (b"GIF89a", "magic number"),
        (b"", "magic number.*got nothing"),
        (b"<!DOCTYPE html><html>", "magic number.*got an HTML page"),
        (b"\n  <html lang=en>", "magic number.*got an HTML page"),
        (b"PK\x03\x04\x14", "magic number.*got a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "magic number.*got a Git LFS pointer"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "magic number.*got a NumPy file"),
        (
            gzip.compress(gzip.compress(idx_bytes(np.zeros(3, "u1")), mtime=0), mtime=0),
            "magic number.*got a file compressed twice",
        ),
        (gzip.compress(b"<HTML><body>Not found</body>", mtime=0), "magic number.*got an HTML page"),
        (idx_bytes(np.zeros((0, 28, 28), "u1")), "dimensions of at least 1, got"),
        (b"\x00\x00\x08\x04" + b"\x00\x00\x00\x00" + b"\xff" * 12, "dimensions of at least 1, got"),
        (b"\x00\x00\x0e\x08" + b"\xff" * 32, "must hold [0-9]{70,} bytes"),
    ],
)
def test_what_is_no_idx_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"odd must.*{message}" if "magic" in message else message):
        read_idx(path)


sizes = st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
headers = st.builds(
    lambda kind, shape, ndim: struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, ndim or len(shape), *shape),
    st.sampled_from([*CODES.values(), 0, 7]),
    st.lists(sizes, max_size=9),
    st.none() | st.integers(0, 255),
)
contents = st.binary(max_size=60) | st.builds(bytes.__add__, headers, st.binary(max_size=40)) | arrays.map(idx_bytes)


@given(content=contents, layers=st.integers(0, 2), data=st.data())
def test_whatever_bytes_are_in_a_file_it_is_read_or_refused_by_name(
    folder: Path, content: bytes, layers: int, data: st.DataObject
) -> None:
    for _ in range(layers):
        content = gzip.compress(content, mtime=0)
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    for i in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=2)) if damaged else []:
        damaged[i] ^= 1 << data.draw(st.integers(0, 7))
    path = folder / "fuzzed"
    path.write_bytes(damaged)
    try:
        assert isinstance(read_idx(path), np.ndarray)
    except DataError as error:
        assert re.match(rf"{re.escape(str(path))} must .*, got", str(error))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("shape", "zeros"),
    [((5,), 4 << 30), ((2**32 - 1,), 2**20), ((60_000, 28, 28), 0), ((2**32 - 1,) * 8, 2**20)],
    ids=["a small header", "a header that claims 4 GB", "no data", "a header that claims more than there is"],
)
def test_a_compressed_bomb_is_refused_without_the_memory_it_asks_for(
    tmp_path: Path, shape: tuple[int, ...], zeros: int
) -> None:
    step = 4 << 20
    head = gzip.compress(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape))
    body = gzip.compress(bytes(step), mtime=0) * (zeros // step) + gzip.compress(bytes(zeros % step), mtime=0)
    path = tmp_path / "bomb.gz"
    path.write_bytes(head + body)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"bomb.gz must hold .* bytes by its header"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["no/such/file", "\0", "\ud800", ".", ""])
def test_a_path_that_cannot_be_read_is_a_data_error(path: str) -> None:
    with pytest.raises(DataError, match="must be a readable IDX file, got"):
        read_idx(path)


@pytest.mark.parametrize("path", [None, 3, 2.5, [], object])
def test_what_is_no_path_is_refused_by_the_arguments_name(path: object) -> None:
    with pytest.raises(ArgumentError, match=r"^path must be a path, text or os.PathLike, got \w+$"):
        read_idx(path)
    with pytest.raises(ArgumentError, match=r"^folder must be a path, text or os.PathLike, got \w+$"):
        load_images(path)


def test_a_wrong_checksum_is_refused_and_the_right_one_accepted(tmp_path: Path) -> None:
    import hashlib

    content = idx_bytes(np.arange(5, dtype="u1"))
    path = tmp_path / "file"
    path.write_bytes(content)
    read_idx(path, hashlib.sha256(content).hexdigest())
    with pytest.raises(DataError, match="SHA-256"):
        read_idx(path, "0" * 64)


def test_a_plain_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(idx_bytes(np.arange(6, dtype="u1").reshape(2, 3)))
    assert isinstance(read_idx(path), np.memmap)


def test_the_embedded_mnist_is_the_real_one() -> None:
    train, test = mnist()
    assert train.inputs.shape == (60_000, 28, 28)
    assert test.inputs.shape == (10_000, 28, 28)
    assert train.classes == test.classes == 10
    backend = train.backend
    counts = np.bincount(backend.to_host(test.labels))
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # LeCun's page; 1,010 threes


def write_folder(folder: Path, **changes: np.ndarray) -> None:
    """Four small files that fit, but for the changes."""
    for part, n in (("train", 5), ("t10k", 3)):
        images, labels = np.zeros((n, 4, 4), "u1"), (np.arange(n) % 3).astype("u1")
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(changes.get(f"{part}_images", images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes(changes.get(f"{part}_labels", labels)), mtime=0)
        )


def test_a_folder_may_mix_plain_and_compressed_files(tmp_path: Path) -> None:
    write_folder(tmp_path)
    train, test = load_images(tmp_path)
    assert (len(train), len(test), train.classes, train.n_in) == (5, 3, 3, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.zeros(4, "u1")}, "train-labels.* must hold 5 integer labels"),
        ({"train_images": np.zeros((5, 16), "u1")}, "train-images.* must hold uint8 images"),
        ({"train_images": np.zeros((5, 4, 4), "f4")}, "train-images.* must hold uint8 images"),
        ({"t10k_labels": np.zeros((3, 4, 4), "u1")}, "t10k-labels.* must hold 3 integer labels"),  # mislabelled file
        ({"t10k_images": np.zeros((3, 5, 5), "u1")}, "images of one size"),
        ({"t10k_labels": np.array([0, 1, 7], "u1")}, r"t10k-labels.* must lie in 0\.\.2"),  # the classes of training
    ],
)
def test_a_folder_whose_files_do_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    write_folder(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_images(tmp_path)


NAMES = {  # part and kind to the path of a file, with the endings of images and labels
    "MNIST": "{part}-{kind}-{idx}",
    "a dot": "{part}-{kind}.{idx}",
    "test": "{test}-{kind}-{idx}",
    "compressed": "{part}-{kind}-{idx}.gz",
    "a dot, compressed": "{part}-{kind}.{idx}.gz",
    "folders": "{part}-{kind}-{idx}/{part}-{kind}-{idx}",
    "folders, dots": "{part}-{kind}.{idx}/{part}-{kind}-{idx}",
    "folders, compressed": "{part}-{kind}-{idx}.gz/{part}-{kind}-{idx}.gz",
    "EMNIST": "emnist-letters-{test}-{kind}-{idx}.gz",
    "QMNIST": "qmnist-{test}-{kind}-{idx}.gz",
}


def write_named(folder: Path, pattern: str, labels: np.ndarray | None = None) -> None:
    """Seven training and seven test images of one value each, with labels, in files named by the pattern."""
    labels = np.arange(7, dtype="u1") if labels is None else labels
    for test, part, value in (("train", "train", 1), ("test", "t10k", 2)):
        ending = "idx1-ubyte" if labels.dtype == np.uint8 else f"idx{labels.ndim}-int"
        for kind, idx, array in (("images", "idx3-ubyte", np.full((7, 2, 2), value, "u1")), ("labels", ending, labels)):
            path = folder / pattern.format(part=part, test=test, kind=kind, idx=idx)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(gzip.compress(idx_bytes(array), mtime=0) if path.suffix == ".gz" else idx_bytes(array))


@pytest.mark.parametrize("labels", ["u1", "i4", "QMNIST's columns"])
@pytest.mark.parametrize("pattern", NAMES.values(), ids=NAMES)
def test_a_folder_is_read_under_the_names_of_real_life(tmp_path: Path, pattern: str, labels: str) -> None:
    columns = np.outer(np.arange(7), [1, *range(7, 0, -1)]).astype("i4")
    write_named(tmp_path, pattern, columns if labels[0] == "Q" else np.arange(7, dtype=labels))
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97")
    train, test = load_images(tmp_path)
    for data, value in ((train, 1), (test, 2)):
        assert (data.backend.to_host(data.inputs) == value).all()
        assert data.backend.to_host(data.labels).tolist() == list(range(7))
        assert data.classes == 7


@pytest.mark.parametrize(
    "broken", [b"", b"<html>", gzip.compress(bytes(9), mtime=0)[:-4], gzip.compress(b"x" * 90, mtime=0)]
)
@pytest.mark.parametrize("which", ["{part}-{kind}-{idx}", "{part}-{kind}-{idx}.gz"])
def test_a_good_file_is_used_that_lies_beside_a_broken_one(tmp_path: Path, which: str, broken: bytes) -> None:
    for pattern in ("{part}-{kind}-{idx}", "{part}-{kind}-{idx}.gz"):
        write_named(tmp_path, pattern)
    for path in tmp_path.iterdir():
        if (path.suffix == ".gz") == which.endswith(".gz"):
            path.write_bytes(broken)
    assert [len(data) for data in load_images(tmp_path)] == [7, 7]
    for path in tmp_path.iterdir():
        path.write_bytes(broken)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.* must "):
        load_images(tmp_path)


def test_a_prefix_chooses_among_several_and_is_asked_for(tmp_path: Path) -> None:
    for prefix in ("emnist-digits", "emnist-letters"):
        write_named(tmp_path, prefix + "-{test}-{kind}-{idx}.gz", np.arange(7, dtype="u1") + (prefix[-1] == "r"))
    choice = tmp_path / "emnist-digits"
    message = f"must hold one data set, got emnist-digits, emnist-letters: load_images({str(choice)!r})"
    with pytest.raises(DataError, match=re.escape(message)):
        load_images(tmp_path)
    assert [len(data) for data in load_images(choice)] == [7, 7]
    with pytest.raises(DataError, match=r"got '.*emnist-x', and .* but with emnist-digits, emnist-letters"):
        load_images(tmp_path / "emnist-x")
    write_named(tmp_path, "{part}-{kind}-{idx}")
    assert load_images(tmp_path)[0].classes == 7  # MNIST's own names need no choice


def write_npz(path: Path, **changes: np.ndarray | None) -> None:
    images, labels = np.zeros((4, 2, 2), "u1"), np.arange(4, dtype="u1")
    arrays = {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_keras_archive_is_read_by_its_path_and_from_its_folder(tmp_path: Path) -> None:
    write_npz(tmp_path / "mnist.npz")
    for path in (tmp_path, tmp_path / "mnist.npz"):
        train, test = load_images(path)
        assert (len(train), len(test), train.classes, test.classes) == (4, 2, 4, 4)
    write_npz(tmp_path / "other.npz")
    with pytest.raises(DataError, match=r"must contain train-images-idx3-ubyte.*, got mnist.npz, other.npz"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "must hold an array y_test, got x_train, y_train, x_test"),
        ({"x_train": np.zeros((4, 2, 2))}, r"\[x_train\] must hold uint8 images"),
        ({"x_train": np.zeros((0, 2, 2), "u1")}, r"\[x_train\] must hold uint8 images"),
        ({"y_train": np.array([None] * 4)}, "must hold an array y_train, got"),
        ({"y_train": np.array([0, 1, 2, -1])}, r"\[y_train\]: labels must lie in"),
        ({"y_test": np.zeros(2)}, r"\[y_test\] must hold 2 integer labels"),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray | None], message: str
) -> None:
    write_npz(tmp_path / "mnist.npz", **changes)
    with pytest.raises(DataError, match=f"mnist.npz.*{message}"):
        load_images(tmp_path)


@given(data=st.data())
def test_a_damaged_archive_is_read_or_refused_by_name(folder: Path, data: st.DataObject) -> None:
    path = folder / "mnist.npz"
    write_npz(path)
    content = bytearray(path.read_bytes())
    for i in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[i] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels without a 0
        try:
            assert len(load_images(path)) == 2
        except DataError as error:
            assert "mnist.npz" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data folder must exist, got .*nowhere"):
        load_images(tmp_path / "nowhere")
    write_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        DataError, match=r"must contain t10k-labels-idx1-ubyte, plain or .gz, got t10k-images-idx3-ubyte, "
    ):
        load_images(tmp_path)
    with pytest.raises(DataError, match=r"must be a folder, FOLDER/PREFIX or an .npz archive, got the file"):
        load_images(tmp_path / "t10k-images-idx3-ubyte")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"must contain train-images-idx3-ubyte, plain or .gz, got nothing"):
        load_images(tmp_path)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_loads_from_its_folder() -> None:
    train, test = load_images(FASHION)
    assert (len(train), len(test), train.classes, train.n_in) == (60_000, 10_000, 10, 784)


IMAGES = np.zeros((4, 2, 2), np.uint8)
sparse = type("csr_matrix", (), {"__module__": "scipy.sparse"})()  # what a library that is not installed would give
LABELS = [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (IMAGES, [0, 1, 2], r"labels must have shape \(4,\), one label for each row, got \(3,\)"),
        (IMAGES, [[0], [1], [2], [1]], r"labels must have shape \(4,\)"),
        (IMAGES, None, "labels must be an array of numbers, got None$"),
        (IMAGES, ["a", "b", "c", "d"], "labels must hold integer class labels, got dtype <U1$"),
        (IMAGES, [-1, 1, 1, -1], r"labels must lie in 0..classes-1, got values from -1 to 1: np.unique\(labels, "),
        (IMAGES, [0, 1, 2, 2**31], r"labels must lie in 0..classes-1, got values from 0 to 2147483648: np.unique"),
        (IMAGES, [0.0, 1.0, 2.0, 1.0], r"labels must hold integer .*, got dtype float64: labels.astype\(int\)$"),
        (IMAGES, np.array(LABELS, "f4"), r"labels must hold integer .*, got dtype float32: labels.astype\(int\)$"),
        (IMAGES, [0.5, 1.0, 2.0, 1.0], "labels must hold integer class labels, got dtype float64$"),
        (IMAGES, [0.0, np.nan, np.inf, 1.0], "labels must hold integer class labels, got dtype float64$"),
        (IMAGES, Dataset(IMAGES, LABELS), "labels must hold integer class labels, got Dataset$"),
        (IMAGES[:0], [], "inputs must have shape"),
        (np.zeros(4), LABELS, "inputs must have shape"),
        (np.full((4, 2), np.nan), LABELS, "inputs must be finite"),
        (np.array([[np.inf]] * 4), LABELS, "inputs must be finite"),
        (
            np.zeros((4, 2), np.int32),
            LABELS,
            "inputs must hold uint8 or floating-point .*, got dtype int32: np.asarray",
        ),
        ([[1, 2]] * 4, LABELS, "inputs must hold uint8 or floating-point .*, got dtype int64: np.asarray"),
        (np.zeros((4, 2), object), LABELS, "inputs must hold uint8 or floating-point .*, got dtype object"),
        ([["a"]] * 4, LABELS, "inputs must hold uint8 or floating-point .*, got dtype <U1"),
        (np.zeros((4, 2), complex), LABELS, "inputs must hold uint8 or real floating-point .*, got dtype complex128"),
        (None, LABELS, "inputs must be an array of numbers, got None$"),
        (Dataset(IMAGES, LABELS), LABELS, "inputs must hold uint8 or floating-point numbers, got Dataset$"),
        (sparse, LABELS, r"inputs must be an array of NumPy .*, got scipy's csr_matrix: .* inputs.toarray\(\)"),
        ([[1.0], [2.0, 3.0]], LABELS, "inputs must be an array of numbers, got list"),
    ],
)
def test_a_data_set_checks_its_parts_at_the_door(inputs: object, labels: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        Dataset(inputs, labels)
    if message.startswith("inputs"):
        with pytest.raises(ArgumentError, match=f"^{message}"):
            TransferSet(inputs, np.zeros((4, 3)))


@pytest.mark.parametrize("classes", [0, -1, 2.5, "10", True, [3], np.nan])
def test_classes_is_a_count(classes: object) -> None:
    with pytest.raises(ArgumentError, match=r"^classes must be a whole number >= 1, got "):
        Dataset(IMAGES, LABELS, classes=classes)


@given(labels=st.lists(st.integers(-3, 9), min_size=4, max_size=4), classes=st.none() | st.integers(1, 9))
def test_labels_are_refused_outside_the_classes_and_noted_where_class_0_is_empty(
    labels: list[int], classes: int | None
) -> None:
    if min(labels) < 0 or (classes and max(labels) >= classes):
        with pytest.raises(
            ArgumentError, match=r"^labels must lie in 0\.\.(\d|classes-1), got values from .*: np.unique"
        ):
            Dataset(IMAGES, labels, classes=classes)
    elif min(labels) and not classes:
        message = f"labels from {min(labels)} to {max(labels)} leave class 0 empty"
        with pytest.warns(UserWarning, match=message) as caught:
            assert Dataset(IMAGES, labels).classes == max(labels) + 1
        assert len(caught) == 1
        assert "\n" not in str(caught[0].message)
    else:
        assert Dataset(IMAGES, labels, classes=classes).classes == classes or max(labels) + 1


def test_a_folder_of_letters_is_noted_once(tmp_path: Path) -> None:
    write_named(tmp_path, NAMES["EMNIST"], np.arange(1, 8, dtype="u1"))
    with pytest.warns(UserWarning, match="labels from 1 to 7 leave class 0 empty") as caught:
        assert load_images(tmp_path)[0].classes == 8
    assert len(caught) == 1


@given(images=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=4)), floats=st.booleans())
def test_a_list_of_arrays_is_what_the_array_is(images: np.ndarray, floats: bool) -> None:
    inputs = images / np.float32(255) if floats else images
    labels = np.zeros(len(inputs), int)
    array, rows = Dataset(inputs, labels), Dataset(list(inputs), labels)
    assert array.inputs.dtype == rows.inputs.dtype
    np.testing.assert_array_equal(array.inputs, rows.inputs)
    network = Network.mlp([array.n_in, 3])
    np.testing.assert_array_equal(network.predict(inputs), network.predict(list(inputs)))
    with pytest.raises(ArgumentError, match=r"^x must hold uint8 or floating-point numbers, got dtype int64: "):
        network.predict(images.tolist())


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((3, 5)), None, r"logits must have shape \(4, classes\)"),
        (np.full((4, 5), np.nan), None, "logits must be finite"),
        (np.zeros((4, 5), np.int64), None, "logits must hold floating-point"),
        (np.zeros((4, 5), complex), None, "logits must hold real numbers, got dtype complex128"),
        (None, None, r"logits must (hold|have|be)"),
        (np.zeros((4, 5)), np.array([0, 1, 2, 5]), "labels must lie in 0..4, got values from 0 to 5: np.unique"),
        (np.zeros((4, 5)), np.array([0, 1, 2]), "labels must have shape"),
    ],
)
def test_a_transfer_set_checks_its_parts_at_the_door(
    logits: np.ndarray, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        TransferSet(IMAGES, logits, labels)


@st.composite
def probabilities(draw: st.DrawFn) -> np.ndarray:
    """Rows (4, N) that sum to 1, with exact zeros, in float32 or float64."""
    weights = draw(hnp.arrays(np.float64, (4, draw(st.integers(1, 6))), elements=st.just(0.0) | st.floats(1e-30, 1.0)))
    weights[:, 0] += weights.sum(axis=1) == 0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(draw(st.sampled_from([np.float32, np.float64])))


@given(p=probabilities())
def test_probabilities_are_refused_as_logits_and_come_back_from_their_logarithm(
    backend: Backend, p: np.ndarray
) -> None:
    on_device = backend.asarray(p)
    with pytest.raises(ArgumentError, match=r"^logits must not be probabilities, .*: give probabilities=True"):
        TransferSet(IMAGES, on_device, backend=backend)
    transfer = TransferSet(IMAGES, on_device, backend=backend, probabilities=True)
    q = backend.to_host(softmax(transfer.logits, 1))
    np.testing.assert_allclose(q, p.astype(np.float64), rtol=1e-6, atol=3e-308)  # where 2e-308 stands for 0
    meant = TransferSet(IMAGES, on_device, backend=backend, probabilities=False)
    np.testing.assert_array_equal(backend.to_host(meant.logits), p)
    assert len(meant.subset([0])) == len(transfer.subset(slice(1))) == 1  # what was meant once is not asked again


@given(p=probabilities(), row=st.integers(0, 3), change=st.floats(1.1, 1e300), negative=st.booleans())
def test_one_value_outside_0_to_1_makes_logits_of_them_all(
    p: np.ndarray, row: int, change: float, negative: bool
) -> None:
    p = p.astype(np.float64)
    p[row, 0] += -1 - change if negative else change
    TransferSet(IMAGES, p)
    with pytest.raises(ArgumentError, match=r"^logits must be probabilities, rows in \[0, 1\] that sum to 1, got"):
        TransferSet(IMAGES, p, probabilities=True)


def test_probabilities_in_float16_and_of_moved_images_are_known(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(100, 0.1), (9, 4)).astype(np.float16)
    with pytest.raises(ArgumentError, match="probabilities=True"):
        TransferSet(IMAGES, p, backend=backend)
    q = backend.to_host(softmax(TransferSet(IMAGES, p, backend=backend, probabilities=True).logits, 1))
    p = p.astype(np.float64)
    np.testing.assert_allclose(q, p / p.sum(axis=-1, keepdims=True), rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("answer", ["yes", 1, np.array([True, False]), []])
def test_probabilities_is_yes_no_or_unsaid(answer: object) -> None:
    with pytest.raises(ArgumentError, match=r"^probabilities must be True, False or None, got "):
        TransferSet(IMAGES, np.zeros((4, 5)), probabilities=answer)


@pytest.mark.parametrize(
    "rows",
    [[100], [-5], "a", None, 1, 1.5, [0.5], [], slice(4, None), slice("a", None), [True], np.ones((4, 2), bool),
     np.eye(2, dtype=int), print, {1}, (0, "b"), [None]],
    ids=lambda rows: repr(rows).replace("\n", ""),
)  # fmt: skip
def test_a_subset_of_rows_that_do_not_exist_is_refused(backend: Backend, rows: object) -> None:
    for data in (Dataset(IMAGES, LABELS, backend), TransferSet(IMAGES, np.zeros((4, 5)), None, backend)):
        with pytest.raises(ArgumentError, match=r"^rows must be [^\n]*$"):
            data.subset(rows)


@given(data=st.data())
def test_a_subset_is_what_the_index_chooses(backend: Backend, data: st.DataObject) -> None:
    images = np.arange(6, dtype=np.uint8).reshape(6, 1)
    rows = data.draw(
        st.slices(6)
        | st.lists(st.integers(-6, 5), min_size=1)
        | hnp.arrays(bool, 6)
        | hnp.arrays(int, 3, elements=st.integers(0, 5))
    )
    chosen = images[rows]
    whole = Dataset(images, np.arange(6), backend)
    if not len(chosen):
        with pytest.raises(ArgumentError, match=r"^rows must be "):
            whole.subset(rows)
        return
    for index in (rows, backend.asarray(rows) if isinstance(rows, np.ndarray) else rows):
        part = whole.subset(index)
        np.testing.assert_array_equal(backend.to_host(part.inputs), chosen)
        np.testing.assert_array_equal(backend.to_host(part.labels), chosen[:, 0])


def test_a_data_set_says_in_a_line_what_it_is(backend: Backend) -> None:
    data = Dataset(np.zeros((1200, 28, 28), np.uint8), np.arange(1200) % 10, backend)
    name = backend.name
    assert repr(data) == f"<Dataset of 1,200 uint8 inputs (28, 28), 10 classes, on {name}>"
    transfer = TransferSet(data.inputs, np.zeros((9, 1200, 10), np.float32), backend=backend)
    wanted = "TransferSet of 1,200 uint8 inputs (28, 28), float32 logits of 10 classes, jitter 1, without labels"
    assert repr(transfer) == f"<{wanted}, on {name}>"
    assert "with labels" in repr(TransferSet(IMAGES, np.zeros((4, 5)), LABELS, backend))


def test_a_subset_keeps_the_classes_and_a_transfer_set_its_logits(backend) -> None:
    data = Dataset(IMAGES, [0, 1, 2, 1], backend)
    assert data.subset(slice(2)).classes == 3
    logits = np.arange(12.0).reshape(4, 3)
    part = TransferSet(IMAGES, logits, backend=backend).subset(slice(1, 3))
    np.testing.assert_array_equal(backend.to_host(part.logits), logits[1:3])
    moved = TransferSet(IMAGES, np.arange(9 * 12.0).reshape(9, 4, 3), backend=backend).subset(slice(1, 3))
    assert (moved.jitter, moved.logits.shape, moved.classes) == (1, (9, 2, 3), 3)
    np.testing.assert_array_equal(backend.to_host(moved.unmoved), 4 * 12 + logits[1:3])


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5)))
def test_the_mean_of_pixels_is_that_of_what_a_network_is_given(backend: Backend, images: np.ndarray) -> None:
    labels = np.zeros(len(images), dtype=int)
    wanted = (images / 255).reshape(len(images), -1).mean(axis=0)
    for inputs in (images, images / 255):
        mean = Dataset(inputs, labels, backend).mean()
        assert isinstance(mean, np.ndarray)
        np.testing.assert_allclose(mean, wanted, rtol=1e-12, atol=1e-15)


def test_shifts_are_the_images_moved_row_by_row_of_moves(backend) -> None:
    images = np.arange(1, 13, dtype=np.uint8).reshape(1, 3, 4)
    shifts = [backend.to_host(x) for x in Dataset(images, [0], backend).translations(1)]
    assert len(shifts) == 9
    np.testing.assert_array_equal(shifts[4], images)
    np.testing.assert_array_equal(shifts[0], [[[2 + 4, 7, 8, 0], [10, 11, 12, 0], [0, 0, 0, 0]]])  # up and left
    np.testing.assert_array_equal(shifts[5], [[[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11]]])  # right
    with pytest.raises(ArgumentError, match="jitter needs images"):
        next(Dataset(images, [0], backend).translations(3))


def test_a_transfer_set_asks_its_teacher_once(backend, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Network.mlp([4, 3], backend=backend)
    data = Dataset(IMAGES, [0, 1, 2, 1], backend)
    calls = []
    predict = teacher.predict
    monkeypatch.setattr(teacher, "predict", lambda x: calls.append(len(x)) or predict(x))
    transfer = TransferSet.from_teacher(teacher, data)
    assert calls == [4]
    np.testing.assert_array_equal(backend.to_host(transfer.logits), backend.to_host(predict(data.inputs)))
    with pytest.raises(ArgumentError, match="teacher must be one network, got 2 replicas"):
        TransferSet.from_teacher(Network.mlp([4, 3], seeds=[0, 1], backend=backend), data)


class Estimator:
    """What scikit-learn's classifiers look like."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x), int)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 4), 0.25)


tensor = type("Tensor", (), {"__module__": "torch", "__array__": lambda self: np.zeros((4, 3))})()


def raising(x: np.ndarray) -> np.ndarray:
    raise RuntimeError("Found array\nwith dim 3")


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (Estimator(), "must be a Network or a function .*, got Estimator: give estimator.predict_log_proba, or "),
        (Estimator, "must be a Network or a function .*, got the class Estimator"),
        (Network, "must be a Network or a function .*, got the class Network"),
        (None, "must be a Network or a function .*, got NoneType$"),
        (np.zeros((4, 3)), "must be a Network or a function .*, got ndarray$"),
        (Estimator().predict, r"must return logits \(4, classes\), got ndarray of shape \(4,\)$"),
        (lambda x: np.zeros((3, 5)), r"must return logits \(4, classes\), got ndarray of shape \(3, 5\)$"),
        (lambda x: np.zeros((1, 4, 5)), r"must return logits \(4, classes\), got ndarray of shape \(1, 4, 5\)$"),
        (lambda x: (np.zeros((4, 5)), np.zeros((4, 5))), r"must return logits .*, got tuple of shape \(2, 4, 5\)$"),
        (lambda x: (np.zeros((4, 5)), np.zeros(4)), r"\(inputs\) must be an array of numbers, got tuple$"),
        (lambda x: tensor, r"\(inputs\) must be an array of NumPy .*, got torch's Tensor: convert it by "),
        (lambda x: np.zeros((4, 5), int), r"\(inputs\) must hold floating-point logits, got dtype int64: "),
        (lambda x: None, r"\(inputs\) must be an array of numbers, got None$"),
        (lambda x: np.full((4, 5), -np.inf), r"\(inputs\) must be finite"),
        (lambda: np.zeros((4, 5)), r"must take inputs \(4, 2, 2\), got TypeError: "),
        (raising, r"must take inputs \(4, 2, 2\), got RuntimeError: Found array with dim 3$"),
        (len, r"must return logits \(4, classes\), got int of shape \(\)$"),
    ],
)
@pytest.mark.parametrize("jitter", [0, 1])
def test_a_teacher_that_gives_no_logits_is_refused_by_name(teacher: Callable, message: str, jitter: int) -> None:
    with pytest.raises(ArgumentError, match=f"^teacher ?({message})"):
        TransferSet.from_teacher(teacher, Dataset(IMAGES, LABELS), jitter)


@pytest.mark.parametrize("data", [None, IMAGES, (IMAGES, LABELS), Dataset])
def test_a_teacher_is_asked_about_a_data_set_only(data: object) -> None:
    with pytest.raises(ArgumentError, match=r"^data must be a Dataset, got "):
        TransferSet.from_teacher(lambda x: np.zeros((len(x), 3)), data)


@pytest.mark.parametrize("jitter", [0, 1])
def test_a_teacher_may_give_probabilities_if_it_is_said(backend: Backend, jitter: int) -> None:
    data = Dataset(IMAGES, LABELS, backend)
    teacher = Estimator().predict_proba  # its arrays are NumPy's, whatever the backend
    with pytest.raises(ArgumentError, match="give probabilities=True"):
        TransferSet.from_teacher(teacher, data, jitter)
    transfer = TransferSet.from_teacher(teacher, data, jitter, probabilities=True)
    np.testing.assert_allclose(backend.to_host(softmax(transfer.unmoved, 1)), 0.25)


def test_the_embedded_transfer_set_is_mnist_with_good_teachers_logits(backend) -> None:
    transfer, (train, _) = mnist_transfer(backend), mnist(backend)
    assert (transfer.logits.shape, transfer.classes, transfer.jitter) == ((60_000, 10), 10, 0)
    np.testing.assert_array_equal(backend.to_host(transfer.inputs), backend.to_host(train.inputs))
    wrong = backend.to_host(transfer.logits).argmax(axis=-1) != backend.to_host(transfer.labels)
    assert wrong.mean() < 0.003
    about = json.loads((files("minidistill") / "datasets/mnist/teacher.json").read_text("utf-8"))
    assert {"preset", "seeds", "recipe", "commit", "test_errors"} == set(about)
    assert about["test_errors"] < 100


def test_a_teacher_may_answer_with_a_buffer_that_it_uses_again() -> None:
    teacher, data = (
        Network.mlp([16, 3], backend="numpy"),
        Dataset(np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8), np.arange(5) % 3, "numpy"),
    )

    def answer(x: np.ndarray) -> np.ndarray:
        return teacher.forward(x.reshape(len(x), -1) / np.float32(255))

    found = TransferSet.from_teacher(answer, data, jitter=1)
    truth = TransferSet.from_teacher(teacher, data, jitter=1)
    np.testing.assert_allclose(found.logits, truth.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("digits", [2, 3])
def test_probabilities_that_are_rounded_are_told_from_logits_and_taken_as_what_they_are(digits: int) -> None:
    z = np.random.default_rng(0).normal(0, 3, (50, 10))
    p = (np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)).round(digits)
    x = np.zeros((50, 4), np.float32)
    with pytest.raises(ArgumentError, match=r"^logits must not be probabilities, got rows in \[0, 1\]"):
        TransferSet(x, p, backend="numpy")
    TransferSet(x, p, backend="numpy", probabilities=True)


@pytest.mark.parametrize("kind", ["npy", "npz", "length", "version"])
def test_a_forged_header_of_numpys_takes_no_memory(kind: str, tmp_path: Path) -> None:
    file, path = io.BytesIO(), tmp_path / ("x.npz" if kind == "npz" else "x.npy")
    header = {"descr": "<f4", "fortran_order": False, "shape": (3, 2**40)}
    np.lib.format.write_array_header_2_0(file, header)
    content = bytearray(file.getvalue() + bytes(24))
    if kind == "length":
        content[8:12] = struct.pack("<I", 2**31)
    if kind == "version":
        file = io.BytesIO()
        np.save(file, np.zeros(3))
        content = bytearray(file.getvalue())
        content[7] = 2  # 1.2, which is none
    path.write_bytes(content)
    if kind == "npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", bytes(content))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"--inputs must be a readable array, got .*(in \d+ bytes|bytes in \d+)"):
            read_array("--inputs", path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compressed", [False, True])
def test_sound_files_of_numpys_are_read_whatever_their_version(compressed: bool, tmp_path: Path) -> None:
    x = np.arange(3000.0).reshape(30, 100) * 0
    (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", x=x)
    np.testing.assert_array_equal(read_array("x", tmp_path / "x.npz"), x)
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array(file, x, version)
        np.testing.assert_array_equal(read_array("x", tmp_path / "x.npy"), x)
