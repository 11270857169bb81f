"""How often does the kit accuse a correct loss, and miss a mistake? Searches of many seeds over the museum.

python tests/benchmarks/false_alarms.py docs/results/false_alarms.json
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import museum

import minidistill as md
from minidistill.testing.losses.frameworks import Loss
from minidistill.testing.losses.judge import Judge
from minidistill.testing.losses.laws import LAWS
from minidistill.testing.losses.report import DIVERGENCE
from minidistill.testing.losses.search import drawn, try_law

OURS = [
    md.kl_divergence,
    md.soft_cross_entropy,
    lambda z, v, T, y, alpha: md.distillation(z, v, y, T, alpha),
]


def report(record: dict[str, Any]) -> str:
    """Return in two sentences how often the kit accused a correct loss, and how often it missed a mistake."""
    R, found = record["searches_for_each"], record["found_in"]
    missed = [f"{name} {R - n} times" for name, n in found.items() if n < R]
    return (
        f"{len(record['false_alarms'])} false alarms in {record['examples']:,} examples, over "
        f"{record['correct_losses']} correct losses and {record['laws']} laws. Of {R} searches for each of "
        f"{record['mistakes']} mistakes, {sum(found.values()):,} of {R * len(found):,} found it"
        + (f"; missed: {', '.join(missed)}." if missed else ".")
        + f" {record['date']}, {record['seconds']} s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="results are written there")
    parser.add_argument(
        "--examples", type=int, default=20_000, help="of all correct losses and laws together, at least"
    )
    parser.add_argument("--seeds", type=int, default=20, help="searches for each mistake")
    options = parser.parse_args()
    later = {loss for loss, _ in museum.LATER}
    correct = [Judge(Loss(loss)) for loss in [*museum.CORRECT, *later, *OURS]]
    pairs = [(judge, law) for judge in correct for law in LAWS if try_law(judge, law, 1).judged]
    pairs = [(judge, law) for judge, law in pairs if law != DIVERGENCE or judge.loss.function not in later]
    each = -(-options.examples // len(pairs))
    began, alarms = time.perf_counter(), []
    cases = {judge: drawn(judge, each, seed=1) for judge in correct}
    for judge, law in pairs:
        verdict = try_law(judge, law, each, seed=1, tried=cases[judge])
        if verdict.broken:
            alarms.append([judge.loss.name, law, verdict.broken, str(verdict.case)])
    found = {}
    for loss, law in museum.MISTAKES:
        judge = Judge(Loss(loss))
        found[loss.__name__] = sum(try_law(judge, law, seed=seed).broken is not None for seed in range(options.seeds))
    record = {
        "date": time.strftime("%Y-%m-%d"), "correct_losses": len(correct), "laws": len(LAWS),
        "examples": each * len(pairs), "false_alarms": alarms, "mistakes": len(found),
        "searches_for_each": options.seeds, "found_in": found, "seconds": round(time.perf_counter() - began),
    }  # fmt: skip
    options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(report(record))


if __name__ == "__main__":
    main()
