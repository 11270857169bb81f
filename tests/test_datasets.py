"""Data comes in as it was written or not at all: IDX files, the embedded MNIST, data sets, transfer sets."""

import gzip
import json
import struct
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistill import ArgumentError, DataError, Dataset, Network, TransferSet, load_images, mnist, mnist_transfer
from minidistill.datasets import read_idx

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
    path.write_bytes(gzip.compress(idx_bytes(array)) if compressed else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@given(array=arrays, compressed=st.booleans(), data=st.data())
def test_a_file_cut_short_anywhere_is_refused(
    folder: Path, array: np.ndarray, compressed: bool, data: st.DataObject
) -> None:
    whole = gzip.compress(idx_bytes(array)) if compressed else idx_bytes(array)
    path = folder / "cut"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError, match="cut must"):
        read_idx(path)


@given(array=arrays, data=st.data())
def test_a_changed_byte_in_a_compressed_body_is_noticed(folder: Path, array: np.ndarray, data: st.DataObject) -> None:
    whole = bytearray(gzip.compress(idx_bytes(array)))
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
    ],
)
def test_what_is_no_idx_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"odd must.*{message}" if "magic" in message else message):
        read_idx(path)


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
            gzip.compress(idx_bytes(changes.get(f"{part}_labels", labels)))
        )


def test_a_folder_may_mix_plain_and_compressed_files(tmp_path: Path) -> None:
    write_folder(tmp_path)
    train, test = load_images(tmp_path)
    assert (len(train), len(test), train.classes, train.n_in) == (5, 3, 3, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.zeros(4, "u1")}, "train-labels.* must hold 5 uint8 labels"),
        ({"train_images": np.zeros((5, 16), "u1")}, "train-images.* must hold uint8 images"),
        ({"train_images": np.zeros((5, 4, 4), "f4")}, "train-images.* must hold uint8 images"),
        ({"t10k_labels": np.zeros((3, 4, 4), "u1")}, "t10k-labels.* must hold 3 uint8 labels"),  # mislabelled file
        ({"t10k_images": np.zeros((3, 5, 5), "u1")}, "images of one size"),
        ({"t10k_labels": np.array([0, 1, 7], "u1")}, "test labels below 3"),
    ],
)
def test_a_folder_whose_files_do_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    write_folder(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_images(tmp_path)


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data folder must exist, got .*nowhere"):
        load_images(tmp_path / "nowhere")
    write_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="must contain t10k-labels-idx1-ubyte"):
        load_images(tmp_path)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_loads_from_its_folder() -> None:
    train, test = load_images(FASHION)
    assert (len(train), len(test), train.classes, train.n_in) == (60_000, 10_000, 10, 784)


IMAGES = np.zeros((4, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (IMAGES, [0, 1, 2], r"labels must have shape \(4,\), one label for each row, got \(3,\)"),
        (IMAGES, [[0], [1], [2], [1]], r"labels must have shape \(4,\)"),
        (IMAGES, None, "labels must hold integer"),
        (IMAGES, [0, 1, 2, -1], "labels must lie in"),
        (IMAGES, [0.0, 1.0, 2.0, 1.0], "labels must hold integer"),
        (IMAGES[:0], [], "inputs must have shape"),
        (np.full((4, 2), np.nan), [0, 1, 2, 1], "inputs must be finite"),
        (np.array([[np.inf]] * 4), [0, 1, 2, 1], "inputs must be finite"),
        (np.zeros((4, 2), np.int32), [0, 1, 2, 1], "inputs must hold uint8 or floating-point"),
    ],
)
def test_a_data_set_checks_its_parts_at_the_door(inputs: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Dataset(inputs, labels)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((3, 5)), None, r"logits must have shape \(4, classes\)"),
        (np.full((4, 5), np.nan), None, "logits must be finite"),
        (np.zeros((4, 5), np.int64), None, "logits must hold floating-point"),
        (np.zeros((4, 5)), np.array([0, 1, 2, 5]), "labels must lie in 0..4"),
        (np.zeros((4, 5)), np.array([0, 1, 2]), "labels must have shape"),
    ],
)
def test_a_transfer_set_checks_its_parts_at_the_door(
    logits: np.ndarray, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        TransferSet(IMAGES, logits, labels)


def test_a_subset_keeps_the_classes_and_a_transfer_set_its_logits(backend) -> None:
    data = Dataset(IMAGES, [0, 1, 2, 1], backend)
    assert data.subset(slice(2)).classes == 3
    logits = np.arange(12.0).reshape(4, 3)
    part = TransferSet(IMAGES, logits, backend=backend).subset(slice(1, 3))
    np.testing.assert_array_equal(backend.to_host(part.logits), logits[1:3])
    moved = TransferSet(IMAGES, np.arange(9 * 12.0).reshape(9, 4, 3), backend=backend).subset(slice(1, 3))
    assert (moved.jitter, moved.logits.shape, moved.classes) == (1, (9, 2, 3), 3)
    np.testing.assert_array_equal(backend.to_host(moved.unmoved), 4 * 12 + logits[1:3])


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


def test_the_embedded_transfer_set_is_mnist_with_a_good_teachers_logits(backend) -> None:
    transfer, (train, _) = mnist_transfer(backend), mnist(backend)
    assert (transfer.logits.shape, transfer.classes, transfer.jitter) == ((60_000, 10), 10, 0)
    np.testing.assert_array_equal(backend.to_host(transfer.inputs), backend.to_host(train.inputs))
    wrong = backend.to_host(transfer.logits).argmax(axis=-1) != backend.to_host(transfer.labels)
    assert wrong.mean() < 0.002
    about = json.loads((files("minidistill") / "datasets/mnist/teacher.json").read_text("utf-8"))
    assert {"preset", "seed", "recipe", "commit", "test_errors"} == set(about)
    assert about["test_errors"] < 100
