"""An epoch of distillation end to end: 60,000 images, soft targets at T = 20, and the evaluation on 10,000.

Against the usual PyTorch pipeline (a Dataset of images and a DataLoader, the teacher's forward pass in each step, as in
PyTorch's tutorial on knowledge distillation) and against a PyTorch loop written with the same care as ours (tensors in
memory, teacher logits cached). Student 784-800-800-10, teacher 784-1600-1600-10 with its first weights, batch 128.
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from harness import compare, options, save, serve

import minidistill as md

STUDENT, TEACHER = [784, 800, 800, 10], [784, 1600, 1600, 10]
BATCH, T, RATE, MOMENTUM = 128, 20.0, 0.05, 0.9
OURS, USUAL, CAREFUL = "minidistill", "torch, the usual pipeline", "torch, with care"


def make_minidistill() -> Callable[[], object]:
    train, test = md.mnist()
    transfer = md.TransferSet.from_teacher(md.Network.mlp(TEACHER), train)

    def epoch() -> None:
        student = md.Network.mlp(STUDENT)
        soft, optimizer = md.Objective(T, alpha=1.0), md.SGD(RATE, MOMENTUM)
        md.fit(student, transfer, soft, optimizer, epochs=1, batch_size=BATCH, progress=False)
        md.errors(student, test)

    return epoch


def make_torch(careful: bool) -> Callable[[], object]:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812  # its usual name
    from torch.utils.data import DataLoader, Dataset

    def mlp(sizes: list[int]) -> Any:
        layers = [layer for n, m in pairwise(sizes) for layer in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers[:-1])

    sets = []
    for data in md.mnist():
        sets.append((torch.from_numpy(data.inputs.copy()), torch.from_numpy(data.labels)))
    (x, _), (test_x, test_y) = sets
    teacher = mlp(TEACHER).eval()

    class Images(Dataset):
        """What torchvision's MNIST and ToTensor do: an image at a time, from bytes to a float tensor (1, 28, 28)."""

        def __init__(self, images: Any, labels: Any) -> None:
            self.images, self.labels = images, labels

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            return self.images[i][None].float().div(255), int(self.labels[i])

    def loss_of(z: Any, v: Any) -> Any:
        return F.kl_div(F.log_softmax(z / T, dim=1), F.softmax(v / T, dim=1), reduction="batchmean") * T**2

    def start() -> tuple[Any, Any]:
        student = mlp(STUDENT)
        return student, torch.optim.SGD(student.parameters(), lr=RATE, momentum=MOMENTUM, fused=careful or None)

    def usual() -> None:
        student, optimizer = start()
        for images, _ in DataLoader(Images(*sets[0]), batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            with torch.no_grad():
                v = teacher(images)
            loss_of(student(images), v).backward()
            optimizer.step()
        with torch.no_grad():
            sum(int((student(images).argmax(1) != y).sum()) for images, y in DataLoader(Images(*sets[1]), BATCH))

    if not careful:
        return usual
    with torch.no_grad():
        v = torch.cat([teacher(block.float() / 255) for block in x.split(1000)])

    def with_care() -> None:
        student, optimizer = start()
        for index in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss_of(student(x[index].float() / 255), v[index]).backward()
            optimizer.step()
        with torch.no_grad():
            blocks = zip(test_x.split(1000), test_y.split(1000), strict=True)
            sum((student(images.float() / 255).argmax(1) != y).sum() for images, y in blocks).item()

    return with_care


def make(name: str) -> Callable[[], object]:
    return make_minidistill() if name == OURS else make_torch(careful=name == CAREFUL)


def report(record: dict[str, Any]) -> str:
    """Return a sentence with our time and the ratio to each peer's."""
    (r,) = record["results"]
    ratios = "; ".join(f"{ratio:.2f} x as fast as {name}" for name, ratio in r["ratios"].items())
    return f"An epoch of distillation with its evaluation takes {r['seconds'][OURS]:.2f} s: {ratios}."


def main() -> None:
    arguments = options(__doc__, rounds=3, repeats=1).parse_args()
    commands = {name: [__file__, "--serve", name] for name in (OURS, USUAL, CAREFUL)}
    seconds, absent = compare(commands, arguments.rounds, arguments.repeats)
    ratios = {name: s / seconds[OURS] for name, s in seconds.items() if name != OURS}
    for name, s in seconds.items():
        print(f"{name:28} {s:7.2f} s" + (f"   minidistill is {ratios[name]:.2f} x as fast" if name in ratios else ""))
    for name, why in absent.items():
        print(f"{name:28} absent: {why}")
    result = {"shape": STUDENT, "batch_size": BATCH, "seconds": seconds, "absent": absent, "ratios": ratios}
    save(arguments.json, [result | {"ratio_to_best_peer": min(ratios.values(), default=None)}])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(make, sys.argv[2], warmups=0)
    else:
        main()
