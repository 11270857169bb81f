"""Write the measured tables into README.md and docs/ from docs/results/*.json; --check only tells if one is stale.

A table stands between <!-- name --> and <!-- /name -->. It is what the `report` of the script that made
docs/results/name.json returns for it; name_line is its last line, and name_finding the sentence over its figure. The
tables of the laws and of the public names come from the code.
"""

import argparse
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SCRIPTS = {
    "headline_default": "examples/01_headline",
    "headline_full": "examples/01_headline",
    "headline_held": "examples/01_headline",
    "headline_longest": "examples/01_headline",
    "temperature": "examples/02_temperature",
    "less_data": "examples/03_less_data",
    "unseen_class": "examples/04_unseen_class",
    "ensemble": "examples/05_ensemble",
    "high_temperature": "examples/06_high_temperature",
    "soft_targets": "examples/07_what_soft_targets_know",
    "controls": "examples/08_controls",
    "losses_compared": "examples/09_losses_compared",
    "further": "examples/10_further",
    "which_teacher": "examples/11_which_teacher",
    "steps": "examples/12_steps",
    "validation": "examples/validate",
    "validation_teacher": "examples/validate",
    "validation_more": "examples/validate",
    "validation_start": "examples/validate",
    "validation_few": "examples/validate",
    "validation_freer": "examples/validate",
    "validation_freer_teacher": "examples/validate",
    "step": "tests/benchmarks/step",
    "epoch": "tests/benchmarks/epoch",
    "prediction": "tests/benchmarks/prediction",
    "growth": "tests/benchmarks/growth",
    "subnormal": "tests/benchmarks/subnormal",
    "gradient_error": "tests/benchmarks/gradient_error",
    "false_alarms": "tests/benchmarks/false_alarms",
    "mutants": "tests/benchmarks/mutants",
    "kills": "tests/benchmarks/kills",
    "evidence": "tests/benchmarks/evidence",
    "allreduce": "tests/benchmarks/allreduce",
    "ranks": "tests/benchmarks/ranks",
    "real_teachers": "tests/benchmarks/real_teachers",
    "verdicts": "tests/test_libraries",
}


def of_script(name: str, what: str) -> tuple[str, dict[str, Any]]:
    """Return what a function of the script that made docs/results/name.json returns for it, and the record."""
    folder, _, script = SCRIPTS[name].rpartition("/")
    sys.path.insert(0, str(ROOT / folder))
    record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return getattr(importlib.import_module(script), what)(record), record


def measured(name: str) -> str:
    """Return the table of docs/results/name.json, an example's as the text that it printed."""
    report, record = of_script(name, "report")
    if SCRIPTS[name].startswith("examples/"):
        return f"```text\n{report.strip()}, commit {record['commit']}, {record['date']}\n```"
    return report


def laws() -> str:
    """Return a row for each law of minidistill.testing: what it says and the mistake that it catches."""
    from minidistill.testing.losses.laws import LAWS

    rows = ["| law | it says | the likely mistake where it is broken |", "|---|---|---|"]
    for name, law in LAWS.items():
        says = " ".join((law.check.__doc__ or "").split())
        rows.append(f"| {name.replace('_', ' ')} | {says} | {law.mistake} |".replace("||", "‖"))
    return "\n".join(rows)


def laws_finding() -> str:
    """Say how many laws there are, and how many losses tests/test_testing.py holds them to."""
    from minidistill.testing.losses.laws import LAWS

    sys.path.insert(0, str(ROOT / "tests"))
    museum = importlib.import_module("museum")
    return (
        f"There are {len(LAWS)} laws. `tests/museum.py` holds {len(museum.MISTAKES)} mistakes, each caught by the law "
        f"meant for it, and {len(museum.CORRECT)} correct losses of many conventions, which pass."
    )


def aims() -> str:
    """Return a row for each aim of docs/performance.md with what the committed results reached."""

    def result(name: str) -> Any:
        return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))

    def both(of: dict[str, float], invert: bool = False) -> str:
        shown = {name.removeprefix("minidistill").strip(", ") or "without MKL": x for name, x in of.items()}
        return ", ".join(f"{1 / x if invert else x:.2f} {name}" for name, x in shown.items())

    steps = {(r["shape"][1], r["kind"]): r["trained"] for r in result("step")["results"]}
    (whole,), predictions = result("epoch")["results"], result("prediction")["results"]
    many = {r["network"]: r["ratio_to_best_peer"] for r in predictions if r["batch_size"] > 1}
    peak = result("headline_default").get("peak_megabytes")
    rows = {}
    for (units, kind), aims in {
        (800, "plain"): ("0.85", "1.2 x the fastest peer with MKL, 1.0 without"),
        (1600, "plain"): ("0.92", "1.2 x the fastest peer with MKL, 1.0 without"),
        (1600, "teacher"): ("0.80", "1.4 x the fastest peer with MKL"),
    }.items():
        if (units, kind) not in steps:
            continue
        step = steps[units, kind]
        name = f"{kind} step, {units} units"
        rows[f"{name}: {aims[0]} of its products' speed"] = both(step["ratio_to_products"], invert=True)
        rows[f"{name}: {aims[1]}"] = both(step["ratio_to_best_peer"])
    rows |= {
        "whole student: 1.0 x the fastest peer": both(whole["ratio_to_best_peer"]),
        "prediction of 1,000 rows: 1.0 x ONNX Runtime": both(many),
        "peak memory of the default main job: 250 MB": f"{peak:.0f} MB" if peak else "not in the committed run",
    }
    return "\n".join(["| aim | reached |", "|---|---|", *(f"| {aim} | {reached} |" for aim, reached in rows.items())])


def public_names(module: str) -> str:
    """Return a row for each public name of a module: its arguments, and the first sentence of its docstring."""
    of = importlib.import_module(module)
    rows = ["| name | what it does |", "|---|---|"]
    for name in of.__all__:
        one = getattr(of, name)
        arguments = f"({', '.join(inspect.signature(one).parameters)})" if callable(one) and name.islower() else ""
        first = " ".join((inspect.getdoc(one) or "").partition("\n\n")[0].split())
        rows.append(f"| `{name}{arguments}` | {first} |".replace("||", "‖"))
    return "\n".join(rows)


def reached() -> str:
    """Return a row for each arm of docs/reproduction.md: the paper's errors, the aim, and what the results reached."""

    def result(name: str) -> Any:
        return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))

    sys.path.insert(0, str(ROOT / "examples"))
    shown = importlib.import_module("common").mean_and_spread
    names = ("headline_full", "headline_held", "headline_default", "headline_longest")
    full, held, short, longest = (result(name) for name in names)
    three = result("unseen_class")["sets"]["no 3"]
    right = [100 * (1 - wrong / three["unseen"]) for wrong in three["by"]["prior"]["on_unseen"]]
    rows = [
        ("teacher, jitter, dropout and max-norm", "67", "≤ 67, then 60", held["teacher"]["errors"]),
        ("teacher, jitter alone", "67", "≤ 67, then 60", full["teacher"]["errors"]),
        ("student, soft targets of one teacher", "74", "≤ 74, then 67", full["student"]["errors"]),
        ("student, mean soft targets of three teachers", "74", "≤ 74, then 67", full["clean_ensemble"]["errors"]),
        ("student, soft targets, jitter", "-", "≤ 65, then 60", full["jittered"]["errors"]),
        ("student of three teachers, jitter", "-", "≤ 60, then 55", longest["from_ensemble"]["errors"]),
        ("student of the default run", "-", "≤ 90, then 80", short["student"]["errors"]),
        ("% of the 3s that are right, none seen", "98.6", "≥ 98.6", right),
    ]
    lines = [f"| {arm} | {paper} | {aim} | {shown(values)} | {len(values)} |" for arm, paper, aim, values in rows]
    return "\n".join(["| arm | the paper | aim | reached | seeds |", "|---|---:|---|---:|---:|", *lines])


FROM_CODE = {"laws": laws, "laws_finding": laws_finding, "aims": aims, "reached": reached}


def table(name: str) -> str:
    """Return what stands between the marks of this name; KeyError if there is no such table."""
    if name in FROM_CODE:
        return FROM_CODE[name]()
    if name.startswith("names_of_"):
        return public_names(name.removeprefix("names_of_"))
    if name.endswith("_finding"):
        return of_script(name.removesuffix("_finding"), "finding")[0] + "."
    stem = name.removesuffix("_line")
    return measured(stem) if stem == name else measured(stem).splitlines()[-1]


def rewritten(text: str) -> str:
    """Return a page with what stands between its marks written anew."""
    marked = re.compile(r"(<!-- ([\w.]+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{table(found[2])}\n{found[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table is stale")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # this checkout's minidistill, whatever is installed
    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        old = path.read_text(encoding="utf-8")
        if (new := rewritten(old)) != old:
            stale.append(path.name)
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(("stale: " if arguments.check else "written: ") + ", ".join(stale))
        sys.exit(1 if arguments.check else 0)


if __name__ == "__main__":
    main()
