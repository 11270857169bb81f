"""What is damaged, forged, full or shared: is it told, and is nothing lost? A row for each kind, with what made it.

python tests/benchmarks/evidence.py --json docs/results/evidence.json

"told" counts errors of the package's own (MinidistillError), one line each; "read" what was read as if nothing were
wrong with it, which for a file with a checksum must be 0. Any other exception is printed, and the exit code is then 1.
"""

import argparse
import gzip
import io
import json
import random
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import harness
import numpy as np

import minidistill as md
from minidistill.checks import MinidistillError
from minidistill.datasets.arrays import read_array
from minidistill.datasets.idx import read_idx
from minidistill.tensor_file import read_tensors, write_tensors

SELF = "python tests/benchmarks/evidence.py"
JUNK = [None, -1, 0, 7, 2**31, 2**60, 2**80, 1e308, "", "x", "F32", "nan", [], [[]], {}, {"x": 1}, True, [1, "x"]]


class Count:
    """Count what a kind of damage led to, and the memory that it took at most, in MiB."""

    def __init__(self, event: str, only: str, checked: bool = True) -> None:
        self.event, self.only, self.checked = event, only, checked
        self.told = self.read = 0
        self.other: list[str] = []
        self.peak: int | None = None

    def __call__(self, read: Callable[[], object]) -> None:
        if traced := tracemalloc.is_tracing():
            tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read()
            self.read += 1
        except MinidistillError as error:
            if " must " not in str(error) or "\n" in str(error):
                self.other.append(f"{error}")
            self.told += 1
        except Exception as error:
            self.other.append(f"{type(error).__name__}: {error}")
        if traced:
            self.peak = max(self.peak or 0, tracemalloc.get_traced_memory()[1] - before)

    def result(self) -> dict[str, Any]:
        for one in sorted(set(self.other))[:9]:
            print(f"{self.event}: {one}", file=sys.stderr)
        return {
            "event": self.event, "tried": self.told + self.read + len(self.other), "told": self.told, "read": self.read,
            "read_is_wrong": self.checked, "other": len(self.other), "command": f"{SELF} --only {self.only}",
            "peak_mib": None if self.peak is None else round(self.peak / 2**20, 2),
        }  # fmt: skip


def small(folder: Path, **options: Any) -> md.Network:
    """A training of as few bytes as can be, kept in a folder."""
    data = md.Dataset(np.random.default_rng(0).normal(size=(6, 2)), [0, 1] * 3)
    network = md.Network([md.Dense(2, 2)])
    given = {"epochs": 2, "batch_size": 2, "checkpoint_seconds": 1e9, "progress": False} | options
    md.fit(network, data, md.Objective(alpha=0), md.SGD(0.1), checkpoint=folder, **given)
    return network


def damage(content: bytes) -> Iterator[bytes]:
    """Every truncation, and every flipped bit."""
    yield from (content[:length] for length in range(len(content)))
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def damaged_files(folder: Path, inputs: int) -> Iterator[dict[str, Any]]:
    small(folder / "training")
    (kept,) = (folder / "training").iterdir()
    small(folder / "none").save(folder / "network")
    model = folder / "network" / "model.safetensors"
    (folder / "network" / "config.json").unlink()
    for event, path, read in (
        ("a checkpoint: every bit flipped, every truncation", kept, lambda: small(folder / "training")),
        ("a network's file: every bit flipped, every truncation", model, lambda: md.Network.load(folder / "network")),
    ):
        count, whole = Count(event, "damage"), path.read_bytes()
        for content in damage(whole):
            path.write_bytes(content)
            count(read)
        yield count.result()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, one in inner for leaf in leaves(one, (*path, key)))]


def changed(value: Any, rng: random.Random) -> Any:
    """A copy of JSON with something in it replaced, removed or doubled."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = leaves(value)[1:]
        if not places:
            break
        *inner, last = rng.choice(places)
        place = value
        for key in inner:
            place = place[key]
        if rng.random() < 0.2:
            del place[last]
        else:
            place[last] = rng.choice(JUNK)
    return value


def forged_files(folder: Path, inputs: int) -> Iterator[dict[str, Any]]:
    """Files whose checksum is right and whose content is not."""
    rng = random.Random(0)
    small(folder / "training")
    (kept,) = (folder / "training").iterdir()
    small(folder / "none").save(folder / "network")
    model = folder / "network" / "model.safetensors"
    (folder / "network" / "config.json").unlink()
    for event, path, name, read in (
        ("a checkpoint's record, forged with a right checksum", kept, "checkpoint", lambda: small(folder / "training")),
        (
            "a network's config, forged with a right checksum",
            model,
            "config",
            lambda: md.Network.load(folder / "network"),
        ),
    ):
        count = Count(event, "forged", checked=False)
        arrays, texts = read_tensors(path)
        for _ in range(inputs // 10):
            record = changed(json.loads(texts[name]), rng)
            other = dict(arrays)
            if rng.random() < 0.2:
                other[rng.choice([*arrays, "x"])] = np.zeros(
                    rng.choice(((), (0,), (1,), (2**20, 0), (3, 2))), np.float32
                )
            write_tensors(path, other, {name: json.dumps(record)})
            for leftover in path.parent.glob("checkpoint-1*"):
                leftover.unlink()
            count(read)
        yield count.result()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes changed, cut out, put in, or exchanged with others."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        head = len(data) if rng.random() < 0.5 else min(len(data), 160)  # headers are where the harm is
        at, length = rng.randrange(head), rng.choice((1, 1, 2, 4, 8, 40))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = rng.choice(
                (b"9" * length, b"[" * length, b"\xff" * length, b"\0" * length, b"-1", b"e9", b"nan")
            )
        elif kind == 4:
            data[at : at + 8] = struct.pack(
                rng.choice("<>") + "Q", rng.choice((0, 1, 2**31, 2**32 - 1, 2**60, 2**64 - 1))
            )
        else:
            del data[at:]
    return bytes(data)


def samples(folder: Path) -> dict[str, tuple[list[bytes], str, Callable[[Path], object], bool]]:
    """Sound files of each kind, the name that they go by, and what reads them."""
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    write_tensors(folder / "x", {"W": x, "b": x[0].astype(np.float16), "none": x[:0]}, {"text": "x"})

    def saved(save: Callable[..., None], *arrays: Any, **options: Any) -> bytes:
        file = io.BytesIO()
        save(file, *arrays, **options)
        return file.getvalue()

    npz = [saved(np.savez, inputs=x), saved(np.savez_compressed, inputs=x.astype(np.uint8))]
    csv = [
        b"a,b,c\n1,2.5,3\n-4,5e3,6\n",
        '"ü",b\n1,nan\n2,inf\n'.encode(),
        saved(np.savetxt, x, delimiter=",", header="a"),
    ]
    idx = [struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 2, 2) + bytes(8), struct.pack(">BBBBI", 0, 0, 13, 1, 3) + bytes(12)]
    idx.append(gzip.compress(idx[0]))
    npy = [saved(np.save, x), saved(np.save, np.arange(4)), saved(np.save, np.asfortranarray(x))]
    return {
        "safetensors": ([(folder / "x").read_bytes()], "y.safetensors", read_tensors, True),
        "npz": (npz, "y.npz", lambda path: read_array("--inputs", path), False),
        "npy": (npy, "y.npy", lambda path: read_array("--inputs", path), False),
        "CSV": (csv, "y.csv", lambda path: read_array("--inputs", path), False),
        "IDX": (idx, "y-idx3-ubyte", read_idx, False),
    }


def fuzzed_files(folder: Path, inputs: int) -> Iterator[dict[str, Any]]:
    for kind, (contents, name, read, checked) in samples(folder).items():
        rng, count = random.Random(0), Count(f"{kind} files, mutated at random", "fuzz", checked)
        for _ in range(inputs):
            whole = rng.choice(contents)
            content = mutated(whole, rng)
            if content != whole:
                (folder / name).write_bytes(content)
                count(lambda: np.array(read(folder / name)) if not checked else read(folder / name))  # noqa: B023  # called now
        yield count.result()


FULL = """
import resource, sys, warnings
from pathlib import Path
sys.path.insert(0, "tests/benchmarks")
from evidence import md, small
from minidistill.shell import run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
warnings.simplefilter("ignore")
def main():
    if sys.argv[3] == "fit": small(Path(sys.argv[1]), checkpoint_seconds=0)
    else: md.Network([md.Dense(2, 2)], seeds=7).save(sys.argv[1])
sys.exit(run(main))
"""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def full_disk(folder: Path, inputs: int) -> Iterator[dict[str, Any]]:
    """Writes that the system refuses after so many bytes, as on a full disk."""
    for event, what in (("a checkpoint, on a disk full after n bytes", "fit"), ("Network.save, likewise", "save")):
        place = folder / what
        if what == "fit":
            interrupted(place)
        else:
            md.Network([md.Dense(2, 2)]).save(place)
        before, told, lost = files(place), 0, 0
        limits = list(range(0, max(map(len, before.values())), 400))
        for limit in limits:
            command = [sys.executable, "-c", FULL, str(place), str(limit), what]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            one_line = done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
            told += done.returncode == 2 and one_line
            lost += files(place) != before
            if not (done.returncode == 2 and one_line):
                print(f"{event}, {limit} bytes: {done.returncode} {done.stderr}", file=sys.stderr)
        yield {"event": event, "tried": len(limits), "told": told, "read": lost, "read_is_wrong": True,
               "other": len(limits) - told, "peak_mib": None, "command": f"{SELF} --only full"}  # fmt: skip


def interrupted(folder: Path) -> None:
    """Leave a checkpoint in the middle of the small training."""

    def stop(epoch: int) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        small(folder, after_epoch=stop, checkpoint_seconds=0)


def shared(folder: Path, inputs: int) -> Iterator[dict[str, Any]]:
    """A second training in a folder, and predictions in threads."""
    count = Count("a second process on one folder", "shared")
    code = "import sys; sys.path.insert(0, 'tests/benchmarks'); from evidence import *; small(Path(sys.argv[1]))"

    def second(epoch: int) -> None:
        done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
        last = (done.stderr.strip().splitlines() or [""])[-1]

        def read() -> None:
            if done.returncode:
                raise MinidistillError(last) if "one training at a time" in last else RuntimeError(last)

        count(read)

    small(folder, after_epoch=second)
    yield count.result()
    network = md.Network.mlp([20, 50, 3])
    batches = [np.random.default_rng(i).random((30, 20), dtype=np.float32) for i in range(100)]
    alone = [network.predict(x).copy() for x in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(network.predict, batches * max(1, inputs // 100)))
    equal = sum((a == b).all() for a, b in zip(together, alone * max(1, inputs // 100), strict=True))
    yield {"event": "predictions of one network in 4 threads, compared with one's", "tried": len(together),
           "told": None, "read": int(len(together) - equal), "read_is_wrong": True, "other": 0, "peak_mib": None,
           "command": f"{SELF} --only shared"}  # fmt: skip


SECTIONS = {"damage": damaged_files, "forged": forged_files, "fuzz": fuzzed_files, "full": full_disk, "shared": shared}


def report(record: dict[str, Any]) -> str:
    """Return a row for each kind, the kills of docs/results/kills.json first."""
    rows = [
        "| what happened | times | told by an error | used or lost unnoticed | tracebacks | most memory | command |",
        "|---|---|---|---|---|---|---|",
    ]
    kills = json.loads((Path(__file__).parents[2] / "docs" / "results" / "kills.json").read_text("utf-8"))["results"]
    times, lost = sum(r["kills"] for r in kills), sum(r["kills"] for r in kills if not r["equal"])
    rows.append(f"| a training killed (SIGKILL) at a random instant and called again | {times} | - | {lost} | 0 | - | "
                "`python tests/benchmarks/kills.py` |")  # fmt: skip
    for r in record["results"]:
        told = "-" if r["told"] is None else f"{r['told']:,}"
        used = f"{r['read']:,}" if r["read_is_wrong"] else f"- ({r['read']:,} still sound)"
        most = "-" if r["peak_mib"] is None else f"{r['peak_mib']:g} MiB"
        cells = (r["event"], f"{r['tried']:,}", told, used, r["other"], most, f"`{r['command']}`")
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*rows, "", harness.machine(record)])


def section(name: str, inputs: int) -> list[dict[str, Any]]:
    """Return the rows of a section. Memory is traced where content is new to the reader; it makes all slower."""
    rows = []
    if name in ("forged", "fuzz"):
        tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        for row in SECTIONS[name](Path(folder), inputs):
            print({key: value for key, value in row.items() if key != "command"}, file=sys.stderr)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="of each fuzzed kind (default: 20,000)")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS), help="some of the sections")
    parser.add_argument("--jobs", type=int, help="sections at a time (default: one for each core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, into what others wrote")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        results = [
            row for rows in pool.map(section, options.only, [options.inputs] * len(options.only)) for row in rows
        ]
    if options.json and options.json.exists():  # other sections keep the rows that they had
        before = json.loads(options.json.read_text(encoding="utf-8"))["results"]
        results += [r for r in before if r["command"] not in {new["command"] for new in results}]
    results.sort(key=lambda r: list(SECTIONS).index(r["command"].split()[-1]))
    harness.save(options.json, results)
    wrong = [r for r in results if r["other"] or (r["read_is_wrong"] and r["read"])]
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
