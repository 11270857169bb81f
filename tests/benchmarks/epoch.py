"""The whole student of the headline, 784-800-800-10 on soft targets at T = 20: eight epochs of MNIST, evaluated each.

Against a PyTorch loop and a JAX function written with the same care as ours (contenders.py), an epoch of each in turn;
and an epoch against the usual PyTorch pipeline: a Dataset of images and a DataLoader, the teacher's forward pass in
each step, as in PyTorch's tutorial on knowledge distillation. The whole is eight times the median epoch, so that what
else the machine did in one of them does not count. Compiling is not counted: two steps and an evaluation come before.
"""

import statistics
import sys
from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

from contenders import BATCH, MKL, MOMENTUM, ON_CPU, ON_GPU, OURS, PEERS, PRODUCTS, RATES, T, make, mnist
from harness import machine, options, save, serve, turns

from minidistill import linear_decay

STUDENT, TEACHER = [784, 800, 800, 10], [784, 1600, 1600, 10]
EPOCHS, STEPS = 8, 469  # of a whole student; of an epoch
USUAL = "torch, the usual pipeline"
Calls = tuple[Callable[[], object], Callable[[], object]]


def make_epoch(name: str, steps: int, device: str) -> Calls:
    if name == USUAL:
        return make_usual(steps, device), lambda: None
    schedule = linear_decay(RATES["plain"], warmup=0.1)

    def rate(step: int) -> float:
        return float(schedule(min(1.0, step / (EPOCHS * STEPS))))

    training = make(name, STUDENT, "plain", rate, device == "gpu")

    def epoch() -> int:
        for _ in range(steps):
            training.step()
        return training.errors()

    training.warm_up()
    return epoch, training.wait


def make_usual(steps: int, device: str) -> Callable[[], object]:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812  # its usual name
    from torch.utils.data import DataLoader, Dataset

    def mlp(sizes: list[int]) -> Any:
        layers = [layer for n, m in pairwise(sizes) for layer in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers[:-1])

    class Images(Dataset):
        """What torchvision's MNIST and ToTensor do: an image at a time, from bytes to a float tensor (1, 28, 28)."""

        def __init__(self, data: Any) -> None:
            self.images, self.labels = (torch.from_numpy(array.copy()) for array in (data.inputs, data.labels))

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            return self.images[i][None].float().div(255), int(self.labels[i])

    _, *sets = mnist()
    training, test = map(Images, sets)
    where = torch.device("cuda" if device == "gpu" else "cpu")
    teacher, student = mlp(TEACHER).eval().to(where), mlp(STUDENT).to(where)
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3, momentum=MOMENTUM)

    def epoch() -> None:
        for images, _ in islice(DataLoader(training, batch_size=BATCH, shuffle=True), steps):
            optimizer.zero_grad()
            images = images.to(where)
            with torch.no_grad():
                p = F.softmax(teacher(images) / T, dim=1)
            (F.kl_div(F.log_softmax(student(images) / T, dim=1), p, reduction="batchmean") * T**2).backward()
            optimizer.step()
        with torch.no_grad():
            sum(int((student(x.to(where)).argmax(1).cpu() != y).sum()) for x, y in DataLoader(test, BATCH))

    return epoch


def report(record: dict[str, Any]) -> str:
    """Return a row for each contender: the whole student, its median epoch and its last."""
    (r,) = record["results"]
    rows = [
        f"| 784-800-800-10, {EPOCHS} epochs, evaluated | whole | median epoch | last epoch | its time over ours |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, s in r["seconds"].items():
        whole = f"{s:.1f} s" if name != USUAL else f"{s:.1f} s, from one epoch"
        median, last = statistics.median(r["epochs"][name]), r["epochs"][name][-1]
        rows.append(f"| {name} | {whole} | {median:.2f} s | {last:.2f} s | {s / r['seconds'][OURS]:.2f} |")
    return "\n".join([*rows, "", machine(record)])


def main() -> None:
    parser = options(__doc__, rounds=EPOCHS, repeats=1)
    parser.add_argument("--steps", type=int, default=STEPS, help="of an epoch; fewer for a look")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="of all contenders")
    arguments = parser.parse_args()
    everybody = ON_GPU if arguments.device == "gpu" else ON_CPU
    names = (*(name for name in everybody if name != PRODUCTS), USUAL)
    commands = {name: [__file__, "--serve", name, str(arguments.steps), arguments.device] for name in names}
    times, absent = turns(commands, arguments.rounds, arguments.repeats, once=(USUAL,))
    seconds = {name: statistics.median(epochs) * EPOCHS for name, epochs in times.items()}
    fastest = min((s for name, s in seconds.items() if name in PEERS), default=None)
    result = {"shape": STUDENT, "batch_size": BATCH, "seconds": seconds, "epochs": times, "absent": absent}
    ratios = {name: fastest / seconds[name] for name in (OURS, MKL) if name in seconds} if fastest is not None else {}
    results = [result | {"ratio_to_best_peer": ratios}]
    for name, one in seconds.items():
        print(f"{name:28} {one:7.1f} s")
    for name, why in absent.items():
        print(f"{name} absent: {why}")
    save(arguments.json, results, arguments.device)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(make_epoch, sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
