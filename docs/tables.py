"""Write the measured tables into README.md and docs/ from docs/results/*.json; --check only tells if one is stale.

A table stands between <!-- name --> and <!-- /name -->, and comes from the result file of that name; the table of the
laws comes from the code.
"""

import argparse
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def example(script: str) -> Callable[[dict[str, Any]], str]:
    """What an example printed at its end, by the example's own function."""

    def printed(results: dict[str, Any]) -> str:
        folder = ROOT / "examples"
        sys.path.insert(0, str(folder))
        spec = importlib.util.spec_from_file_location(f"example_{script[:2]}", folder / f"{script}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        commit = f", commit {results['commit']}, {results['date']}"
        return "```text\n" + str(module.report(results)).strip() + commit + "\n```"

    return printed


def step(record: dict[str, Any]) -> str:
    """A row for each shape: ours against the matrix products alone and against each peer."""
    rows = ["| step, batch 128 | " + " | ".join(names := list(record["results"][0]["seconds"])) + " |"]
    rows.append("|---|" + "---:|" * len(names))
    for r in record["results"]:
        times = " | ".join(f"{1e3 * r['seconds'][name]:.2f} ms" for name in names)
        rows.append(f"| {'-'.join(map(str, r['shape']))}, {r['kind']} | {times} |")
    return "\n".join([*rows, "", step_line(record)])


def step_line(record: dict[str, Any]) -> str:
    """The ratios in words, with where they were measured."""
    parts = [
        f"{r['ratio_to_products']:.2f} x its matrix products, {r['ratio_to_best_peer']:.2f} x as fast as the best peer "
        f"({'-'.join(map(str, r['shape']))}, {r['kind']})"
        for r in record["results"]
    ]
    versions = record["versions"]
    where = f"{record['date']}, {versions['cpu']}, {versions['cores']} cores, NumPy {versions['numpy']}"
    peers = ", ".join(f"{name} {versions[name]}" for name in ("torch", "jax") if name in versions)
    return f"A training step takes {'; '.join(parts)}. Measured {where}, {peers}."


def prediction(record: dict[str, Any]) -> str:
    rows = ["| network | rows | minidistill | ONNX Runtime | its time over ours |", "|---|---:|---:|---:|---:|"]
    for r in record["results"]:
        ours, theirs = (1e6 * r["seconds"][name] for name in ("minidistill", "onnxruntime"))
        rows.append(
            f"| {r['network']} | {r['batch_size']:,} | {ours:,.0f} µs | {theirs:,.0f} µs | {theirs / ours:.2f} |"
        )
    return "\n".join(rows)


def growth(record: dict[str, Any]) -> str:
    rows = [
        "| images | replicas | data | an epoch | own memory | an image and replica |",
        "|---:|---:|---|---:|---:|---:|",
    ]
    for r in record["results"]:
        replicas, memory = r.get("replicas", 1), f"{r['megabytes']:.0f} MB" if "megabytes" in r else ""
        each = 1e6 * r["seconds"] / r["images"] / replicas
        kind = r.get("kind", "in memory")
        rows.append(f"| {r['images']:,} | {replicas} | {kind} | {r['seconds']:.2f} s | {memory} | {each:.1f} µs |")
    return "\n".join(rows)


def epoch(record: dict[str, Any]) -> str:
    (r,) = record["results"]
    ratios = "; ".join(f"{ratio:.2f} x as fast as {name}" for name, ratio in r["ratios"].items())
    return f"An epoch of distillation with its evaluation takes {r['seconds']['minidistill']:.2f} s: {ratios}."


def gradient_error(record: dict[str, Any]) -> str:
    """A row for each layer and loss: the worst relative error, that of 999 in 1,000 cases, and the median."""
    columns = [f"{what}_{dtype}" for dtype in ("float64", "float32") for what in ("worst", "most", "median")]
    rows = ["| gradient of | cases | with digits | worst, float64 | 99.9% | median | worst, float32 | 99.9% | median |",
            "|---|" + "---:|" * 8]  # fmt: skip
    for name, r in record["results"].items():
        errors = " | ".join(f"{r[column]:.1e}" for column in columns)
        rows.append(f"| {name} | {r['cases']:,} | {r['sound']:,} | {errors} |")
    return "\n".join([*rows, "", f"NumPy {record['numpy']}, {record['date']}, {record['seconds']} s."])


def false_alarms(record: dict[str, Any]) -> str:
    """What the kit did on the museum, in a few sentences."""
    R, found = record["searches_for_each"], record["found_in"]
    missed = [f"{name} {R - n} times" for name, n in found.items() if n < R]
    return (
        f"{len(record['false_alarms'])} false alarms in {record['examples']:,} examples, over "
        f"{record['correct_losses']} correct losses and {record['laws']} laws. Of {R} searches for each of "
        f"{record['mistakes']} mistakes, {sum(found.values()):,} of {R * len(found):,} found it"
        + (f"; missed: {', '.join(missed)}." if missed else ".")
        + f" {record['date']}, {record['seconds']} s."
    )


def mutants(record: dict[str, Any]) -> str:
    """A row for each room: how many mutants, how many were killed."""
    rows = ["| room | mutants run | killed | survived | not run |", "|---|---:|---:|---:|---:|"]
    sums = {what: sum(r[what] for r in record["rooms"].values()) for what in ("mutants", "killed", "not_run")}
    for room, r in [*record["rooms"].items(), ("all", sums)]:
        killed, share = r["killed"], r["killed"] / r["mutants"]
        rows.append(
            f"| `{room}` | {r['mutants']:,} | {killed:,} ({share:.1%}) | {r['mutants'] - killed} | {r['not_run']} |"
        )
    return "\n".join([*rows, "", f"mutmut {record['mutmut']}, {record['date']}."])


def verdicts(record: dict[str, Any]) -> str:
    """A row for each library: what its loss is, and the laws it breaks, each with its smallest counterexample below."""
    rows = ["| loss | version | it computes | broken laws |", "|---|---|---|---|"]
    below = []
    for one in record["verdicts"]:
        f, broken = one["fingerprint"], {name: v for name, v in one["laws"].items() if v["verdict"] == "broken"}
        what = (
            f"{f['form'].replace('||', '‖')}, {f['reduction']}, T to the {f['power'] + 0.0:g}"
            if f["power"] is not None
            else f["form"]
        )
        laws = "; ".join(name.replace("_", " ") for name in broken) or "none"
        rows.append(f"| `{one['name']}` | {one['distribution']} {one['version']} | {what} | {laws} |")
        below += [
            f"- `{one['name']}`, {name.replace('_', ' ')}: {v['what']}, at `{v['case']}`" for name, v in broken.items()
        ]
    return "\n".join([*rows, "", *below, "", f"Python {record['python']}, {record['date']}."])


def laws() -> str:
    """A row for each law of minidistill.testing: what it says and the mistake that it catches."""
    sys.path.insert(0, str(ROOT))
    from minidistill.testing.losses.laws import LAWS

    rows = ["| law | it says | the likely mistake where it is broken |", "|---|---|---|"]
    for name, law in LAWS.items():
        says = " ".join((law.check.__doc__ or "").split())
        rows.append(f"| {name.replace('_', ' ')} | {says} | {law.mistake} |".replace("||", "‖"))
    return "\n".join(rows)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "headline_default": example("01_headline"),
    "headline_full": example("01_headline"),
    "temperature": example("02_temperature"),
    "less_data": example("03_less_data"),
    "unseen_class": example("04_unseen_class"),
    "ensemble": example("05_ensemble"),
    "high_temperature": example("06_high_temperature"),
    "soft_targets": example("07_what_soft_targets_know"),
    "controls": example("08_controls"),
    "losses_compared": example("09_losses_compared"),
    "further": example("10_further"),
    "validation": example("validate"),
    "validation_teacher": example("validate"),
    "validation_more": example("validate"),
    "verdicts": verdicts,
    "gradient_error": gradient_error,
    "false_alarms": false_alarms,
    "mutants": mutants,
    "step": step,
    "step_line": step_line,
    "epoch": epoch,
    "prediction": prediction,
    "growth": growth,
}


def rewritten(text: str) -> str:
    for name in re.findall(r"<!-- (\w+) -->\n", text):
        path = ROOT / "docs" / "results" / f"{name.removesuffix('_line')}.json"
        if name == "laws":
            body = laws()
        elif path.exists():
            body = TABLES[name](json.loads(path.read_text(encoding="utf-8")))
        else:
            continue
        head, tail = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, after = text.partition(head)
        text = before + head + body + "\n" + tail + after.partition(tail)[2]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table is stale")
    arguments = parser.parse_args()
    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if (new := rewritten(old)) != old:
            stale.append(path.name)
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(("stale: " if arguments.check else "written: ") + ", ".join(stale))
        sys.exit(1 if arguments.check else 0)


if __name__ == "__main__":
    main()
