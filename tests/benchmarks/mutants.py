"""How many mutants the tests kill, and why each survivor lives: written after a run of mutmut in the current folder.

    pip install mutmut && python -m mutmut run && python tests/benchmarks/mutants.py docs/results/mutants.json

A reason comes from REASONS, by the mutant's name or what it changed; a survivor without one is printed, and the exit
code is then 1.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

KILLED = {1, 3, -24, 24, 36, 152, 255}  # a failed test, or one that never ends
REASONS: list[tuple[str, str]] = []  # a pattern over "name\n-removed\n+added", and why the two do the same
NOT_MUTATED = "laws.py: mutmut leaves decorated functions alone; the museum tests the laws"


def changed(name: str) -> str:
    shown = subprocess.run([sys.executable, "-m", "mutmut", "show", name], capture_output=True, text=True, check=True)
    lines = [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(f"{line[0]}{line[1:].strip()}" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="results are written there")
    options = parser.parse_args()
    rooms: dict[str, dict[str, int]] = {}
    survivors, unexplained = [], []
    for path in sorted(Path("mutants").rglob("*.meta")):
        codes = {
            name: code for name, code in json.loads(path.read_text())["exit_code_by_key"].items() if code is not None
        }
        if not codes:
            continue
        counts = Counter(code in KILLED for code in codes.values())
        rooms[str(path.relative_to("mutants").with_suffix(""))] = {"mutants": len(codes), "killed": counts[True]}
        for name in sorted(name for name, code in codes.items() if code not in KILLED):
            change = changed(name)
            reasons = [reason for pattern, reason in REASONS if re.search(pattern, f"{name}\n{change}")]
            survivors.append({"mutant": name, "change": change, "reason": reasons[0] if reasons else ""})
            if not reasons:
                unexplained.append(f"{name}\n{change}")
    record = {"date": time.strftime("%Y-%m-%d"), "mutmut": metadata.version("mutmut"), "rooms": rooms,
              "note": NOT_MUTATED, "survivors": survivors}  # fmt: skip
    options.json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    killed, all_of_them = (sum(room[what] for room in rooms.values()) for what in ("killed", "mutants"))
    print(*unexplained, f"{killed} of {all_of_them} killed, {killed / all_of_them:.1%}", sep="\n")
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
