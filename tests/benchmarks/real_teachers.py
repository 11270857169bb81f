"""Students of teachers that this project did not write: scikit-learn's gradient boosting, and a small CNN of PyTorch.

Gradient boosting on scikit-learn's digits (8 x 8 pixels); a CNN on MNIST and on Fashion-MNIST, whose files
--fashion names (Debian's package dataset-fashion-mnist has them). The student is `distil` as the command line calls it,
2 x 800 units, with its defaults but for the epochs; beside it the same on labels alone. A tenth of the training rows
chooses its epoch. Nothing was chosen by the test sets: they are asked once, at the end.
"""

import argparse
import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine, options, save

import minidistill as md
from minidistill.distil import Settings, distil

Parts = tuple[md.Dataset, md.Dataset]
Logits = Callable[[np.ndarray], np.ndarray]
NAMES = {
    "digits": ("gradient boosting, scikit-learn", "digits"),
    "mnist": ("CNN, PyTorch", "MNIST"),
    "fashion": ("CNN, PyTorch", "Fashion-MNIST"),
}


def digits(seed: int) -> Parts:
    """1,297 images to learn from and 500 for the test, dealt by the seed."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    test, train = np.split(np.random.default_rng(seed).permutation(len(x)), [500])
    data = md.Dataset(x.astype(np.float32), y)
    return data.subset(train), data.subset(test)


def gradient_boosting(data: md.Dataset, seed: int, epochs: int) -> Logits:
    """As scikit-learn has it: 100 rounds of trees of depth 3."""
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=seed).fit(data.inputs, data.labels).predict_log_proba  # type: ignore[no-any-return]


def cnn(data: md.Dataset, seed: int, epochs: int) -> Logits:
    """Two convolutions of 5 x 5, each halved, and one hidden layer: Adam, batches of 128."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip

    def tensor(images: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(images)).float()[:, None] / 255

    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(data)).split(128):
            x, y = data.inputs[rows.numpy()], torch.from_numpy(data.labels[rows.numpy()])
            loss = nn.functional.cross_entropy(network(tensor(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()

    def logits(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.vstack([network(tensor(images[i : i + 1000])).numpy() for i in range(0, len(images), 1000)])

    return logits


def measure(parts: Parts, teach: Any, seed: int, teacher_epochs: int, epochs: int) -> dict[str, Any]:
    """The test errors of a teacher, of its student, and of a student of labels alone."""
    train, test = parts
    teacher = teach(train, seed, teacher_epochs)
    v, answers = (teacher(part.inputs) for part in (train, test))
    found: dict[str, Any] = {"seed": seed, "rows": len(test), "teacher": int((answers.argmax(1) != test.labels).sum())}
    data = md.TransferSet(train.inputs, v, train.labels, probabilities=False)
    for name, soft_weight in (("student", 0.9), ("labels alone", 0.0)):
        student, _ = distil(data, Settings(soft_weight=soft_weight, epochs=epochs, seed=seed), progress=False)
        found[name] = md.errors(student, test)
        if soft_weight:
            found["agreement"] = float((student.predict(test.inputs).argmax(1) == answers.argmax(1)).mean())
    return found


def report(record: dict[str, Any]) -> str:
    """Return a row for each pair of a teacher and its data."""
    rows = [
        "| teacher | data | test errors: the teacher | its student | a student of labels alone | the two agree on |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for r in record["results"]:

        def shown(name: str, runs: list[dict[str, Any]] = r["runs"]) -> str:
            counts = [run[name] for run in runs]
            return f"{statistics.fmean(counts) / runs[0]['rows']:.2%} ({' '.join(map(str, counts))})"

        agreement = statistics.fmean(run["agreement"] for run in r["runs"])
        epochs = f", {r['teacher_epochs']} epochs" if r["teacher_epochs"] else ""
        data = f"{r['data']}, {r['runs'][0]['rows']:,} for the test"
        counts = " | ".join(shown(name) for name in ("teacher", "student", "labels alone"))
        rows.append(f"| {r['teacher']}{epochs} | {data}, {r['epochs']} epochs | {counts} | {agreement:.1%} |")
    return "\n".join([*rows, "", f"Means, and the errors of each seed. {machine(record)}"])


def job(key: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """A process's part: one data set and one seed."""
    if key == "digits":
        return measure(digits(seed), gradient_boosting, seed, 0, 10 * arguments.epochs)
    parts = md.mnist() if key == "mnist" else md.load_images(arguments.fashion)
    return measure(parts, cnn, seed, arguments.repeats, arguments.epochs)


def main() -> None:
    parser = options(__doc__, rounds=3, repeats=2)
    parser.description = "Students of teachers that others wrote. --rounds: seeds; --repeats: epochs of a CNN"
    parser.add_argument("--epochs", type=int, default=4, help="of a student on images; on digits ten times as many")
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="Fashion-MNIST's four files; else it is left out")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="some of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    arguments = parser.parse_args()
    keys = [key for key in arguments.only if key != "fashion" or arguments.fashion]
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        jobs = {(key, seed): pool.submit(job, key, seed, arguments) for key in keys for seed in range(arguments.rounds)}
        results = []
        for key in keys:
            runs = []
            for seed in range(arguments.rounds):
                runs.append(jobs[key, seed].result())
                print(NAMES[key][1], runs[-1], flush=True)
            digits_alone = key == "digits"
            epochs = {
                "teacher_epochs": 0 if digits_alone else arguments.repeats,
                "epochs": (10 if digits_alone else 1) * arguments.epochs,
            }
            results.append({"teacher": NAMES[key][0], "data": NAMES[key][1], **epochs, "runs": runs})
            save(arguments.json, results)  # what is done is kept


if __name__ == "__main__":
    main()
