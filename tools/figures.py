"""Redraw docs/results/NAME.png from docs/results/NAME.json, without any training: all, or those that are named.

--check draws nothing and needs no matplotlib: it tells which figures were drawn from other results than the committed
ones, by the digest of the results that a figure carries.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

from tables import RESULTS, ROOT, SCRIPTS

NUMBERED = {name: script for name, script in SCRIPTS.items() if script.partition("/")[2][:2].isdigit()}
FIGURES = {name: (name, script, "draw") for name, script in NUMBERED.items()}
FIGURES |= {"growth": ("growth", SCRIPTS["growth"], "draw")}
FIGURES |= {"gradient": ("soft_targets", SCRIPTS["soft_targets"], "draw_gradient")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="draw nothing; exit code 1 if a figure is stale")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(FIGURES)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(FIGURES):
        parser.error(f"NAME must be one of {', '.join(FIGURES)}, got {', '.join(sorted(unknown))}")
    sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests" / "benchmarks")]
    plots = importlib.import_module("plots")
    stale = []
    for name in arguments.names or FIGURES:
        of, script, draw = FIGURES[name]
        results = json.loads((RESULTS / f"{of}.json").read_text(encoding="utf-8"))
        figure = RESULTS / f"{name}.png"
        if not arguments.check:
            plots.save(figure, results, getattr(importlib.import_module(Path(script).name), draw))
        elif not figure.is_file() or plots.digest(results).encode() not in figure.read_bytes():
            stale.append(name)
    if stale:
        print(f"drawn from other results, renew them by tools/figures.py: {', '.join(stale)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
