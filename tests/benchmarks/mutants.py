"""How many mutants the tests kill, and why each survivor lives: written after a run of mutmut in the current folder.

    pip install mutmut && python -m mutmut run && python tests/benchmarks/mutants.py docs/results/mutants.json

There are ten thousand, and hours of them. `mutmut run none` makes them without running any, and learns which tests run
which function; then --draw 200 runs some, drawn at random, each in a fork of a process that has read the tests, with
the Python that calls this script. It should have PyTorch and JAX, which do not survive mutmut's own forks: --again runs
in this way every mutant that mutmut left alive. A reason comes from REASONS, by the mutant's name or what it changed; a
survivor without one is printed, and the exit code is then 1.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

CODES = "exit_code_by_key"  # in mutmut's own files
KILLED = {1, 3, -14, -24, -27, 24, 36, 152, 255}  # a failed test, or one that never ends
LONGEST = 900  # seconds for the tests of a mutant
REASONS = [  # a pattern over "name\n-removed\n+added", and why the two do the same, or why it was left
    (r"^minidistill\.testing.*\n-(.*) ([<>])=? (.*)\n\+\1 \2=? \3$", "the border itself, where a tolerance ends"),
    (r"(Layer|ReLU|Dropout)ǁbackward.*\n.*\n.*momentum", "a layer without parameters does not read momentum"),
    (r"x_uniform.*\n.*\n.*astype\(None\)", "None is float64"),
    (r"x_permutation.*\n.*\n.*sort\(keys, \)", "the last axis is sort's default"),
    (r"standardised__.*\n.*\n.*sigma == 0, 2", "where sigma is 0, what it stands for is multiplied by a u of 0"),
    (r"_pearson.*\n.*\n.*norm_a == 0, 2", "where the norm is 0, what it stands for divides a vector of 0"),
    (r"_pearson.*\n.*\n.*- TINY", "TINY matters where nothing varies, and both signs keep that finite"),
    (r"x_compare.*\n.*safe = ", "both forms are exact at the border between them, and near it"),
    (r"x_kl_rows.*\n.*near = ", "both forms are exact at the border between them, and near it"),
    (r"x_kl_rows.*\n.*\n.*-d, 1", "the value where `near` is False is not taken"),
    (r"x_objective_rows.*\n.*\n.*if alpha <", "at alpha = 1 the hard term is added with weight 0"),
    (r"x_logit_matching__.*\n.*\n.*check_pair\(z, v, 2.0\)", "this loss has no temperature: any that passes will do"),
    (r"read_only.*\n.*\n.*= None", "None is False"),
    (r"x_strided.*\n.*\n.*, 1\]", "the two are equal"),
    (r"x_fingerprint.*\n.*random_batch\(", "any random logits will do"),
    (r"x_check_gradient.*\n.*\n.*min\(\[9", "x's own size, 8 at the most, is among them"),
    (r"(value|gradient)_laws.*\n.*\n.*\+1[,)]", "logits are (B, N): the last axis is the second"),
    (r"(value|gradient)_laws.*\n.*101 \*|(value|gradient)_laws.*\n.*\n.*101 \*", "a hundredth more is tolerated"),
    (r"gradient_laws.*\n.*\n.*range\(3\)", "one direction more"),
    (r"gradient_laws.*\n.*\n.*default_rng\(1\)", "any directions will do"),
    (r"(value|gradient)_laws.*\n.*random_batch\(", "any random logits will do"),
    (r"finite_at_extreme.*\n.*\n.*dtype\(None\)", "None is float64"),
    (r"x__number.*\n.*\n.*XXfiuXX", "no kind of number is X"),
    (r"x_log_softmax__.*\n.*\n.*axis=\+1", "logits are (B, N): the last axis is the second"),
    (r"x_fingerprint.*\n.*ratios = .*\n.*(None\)|range\(5)", "any random logits will do, and some more"),
    (r"x_fingerprint.*\n.*\n.*sizes\[(\+1|-2)\]", "a shortcut: all sizes are tried afterwards"),
    (r"x_fingerprint.*\n.*\n.*- 0.0 if", "a power of -0 equals one of 0"),
    (r"x_fingerprint.*\n.*\n.*powers\[1\]\), 2", "the two are alike where one is taken"),
    (r"Judgeǁ(__init__|_offers_float16).*\n.*random_batch\(", "any random logits will do"),
    (r"Judgeǁ__init__.*\n.*moved = ", "any few changes as small as these will do, of any random logits"),
    (r"x_check_gradient.*\n.*\n.*astype\(None\)", "None is float64"),
    (r"x_softmax_backward.*\n.*\n.*top, \)", "NumPy's default is the last axis; CuPy has none"),
    (r"x_decoupled.*\n.*\n.*>= 0.5", "at one half both differences have the same digits"),
    (r"zip\(.*, \)", "strict guards against lengths that cannot differ here"),
    (r"x__is_analytic.*\n.*\n.*uniform\(0\.5, 2\.0", "any directions will do"),
    (r"Componentsǁenough.*\n.*\n.*== 0 or", "a step more than is needed"),
    (r"Slopesǁcentral.*\n.*model = .*\n.*/ 4", "an estimate of an error, which a quarter less does not mend or break"),
    (r"x__guesses.*\n.*\n.*digits = 7", "the weights that are guessed have fewer digits"),
    (r"x__call_torch.*\n.*np.asarray\(rest", "the labels are int64 already"),
]


TESTS = {  # of a room, the first that fits, for what runs while a module is imported, or once and is then remembered
    "testing/gradients/strategies": ("strategies", "softmax"),
    "testing/gradients/layers": ("contracts", "layers"),
    "testing/gradients/optimizers": ("contracts", "optim"),
    "testing/gradients/": ("gradients", "layers", "optim"),
    "testing/losses/frameworks": ("frameworks", "testing"),
    "testing/losses/": ("testing", "laws"),
    "losses/": ("losses", "later_losses", "high_temperature"),
    "": ("softmax", "layers", "optim", "random", "later_losses"),
}
FEW = 3  # tests that run a function: fewer, and the room's are run as well
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-m", "libraries or not libraries"]
SECONDS, KILLERS = (
    Path("seconds.json"),
    Path("killers"),
)  # in mutants/: of each test; of each function, the test that last killed one


class Watch:
    """Let a mutant run each test for ten times what it takes without, note the one that fails, and time each."""

    def __init__(self, seconds: dict[str, float], killer: Path) -> None:
        self.allowed, self.killer, self.began = seconds, killer, 0.0
        self.taken: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.began = time.process_time()
        if self.allowed:
            signal.setitimer(signal.ITIMER_PROF, 10 + 10 * self.allowed.get(nodeid, 0.0))  # its signal ends the process

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.taken[report.nodeid] = time.process_time() - self.began
        if report.failed:
            self.killer.write_text(report.nodeid)


def forked(names: list[str], jobs: int, work: Callable[[str], int]) -> Iterator[tuple[str, int]]:
    """Do the work of each name in a fork of this process, `jobs` at a time, and yield the exit codes as they come."""
    running: dict[int, str] = {}
    waiting = list(reversed(names))
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop()
            if not (pid := os.fork()):
                code = int(pytest.ExitCode.USAGE_ERROR)  # of work that raises, which must not count as killed
                try:
                    code = work(name)
                finally:
                    os._exit(code)
            running[pid] = name
        pid, status = os.wait()
        yield running.pop(pid), os.waitstatus_to_exitcode(status)


def read_tests() -> set[str]:
    """Read every test, so that forks need not, and return the functions that run meanwhile."""
    from mutmut.mutation import trampoline  # type: ignore[import-not-found]

    at_import: set[str] = set()
    trampoline.record_trampoline_hit = lambda name, caller=None: at_import.add(name)
    os.environ["MUTANT_UNDER_TEST"] = "stats"
    files = sorted({f"tests/test_{name}.py" for names in TESTS.values() for name in names})
    pytest.main([*PYTEST, "--collect-only", "-qq", *files])
    os.environ["MUTANT_UNDER_TEST"] = ""
    if not SECONDS.exists():

        def timed(_: str) -> int:
            watch = Watch({}, KILLERS / "none")
            code = pytest.main([*PYTEST, *files], plugins=[watch])
            if not code:
                SECONDS.write_text(json.dumps(watch.taken))
            return int(code)

        if any(code for _, code in forked(["none"], 1, timed)):
            sys.exit("the tests fail without a mutant")
    return at_import


def exit_codes() -> dict[Path, dict[str, int | None]]:
    """Return what each mutant of each room ended with, None for one that has not run, by mutmut's files."""
    return {path: json.loads(path.read_text())[CODES] for path in sorted(Path("mutants").absolute().rglob("*.meta"))}


def run(names: list[str], jobs: int) -> None:
    """Run these mutants in this order and keep their exit codes.

    Each has a fork of this process, in which the tests have been read already; what runs while a module is imported
    has a process of its own. First comes the test that killed another mutant of the function, then the quickest.
    """
    here, of = Path.cwd(), {name: path for path, codes in exit_codes().items() for name in codes}
    os.chdir("mutants")
    sys.path.insert(0, str(Path.cwd()))
    os.environ["PYTHONPATH"] = "."
    KILLERS.mkdir(exist_ok=True)
    at_import = read_tests()
    by_function = json.loads(Path("mutmut-stats.json").read_text())["tests_by_mangled_function_name"]
    seconds = json.loads(SECONDS.read_text())

    def one(name: str) -> int:
        function = name.rpartition("__mutmut_")[0]
        killer = KILLERS / function
        tests = sorted(by_function.get(function, []), key=lambda test: seconds.get(test, 0.0))
        if killer.exists():
            tests.insert(0, killer.read_text())
        if len(tests) < FEW or function in at_import:
            files = next(files for room, files in TESTS.items() if room in name.replace(".", "/"))
            tests += [f"tests/test_{file}.py" for file in files]
        command = [*PYTEST, *dict.fromkeys(tests)]
        os.environ["MUTANT_UNDER_TEST"] = name
        signal.alarm(LONGEST)
        output = os.open(os.devnull, os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if function in at_import:
            return int(subprocess.run([sys.executable, "-m", "pytest", *command], check=False).returncode != 0)
        return int(pytest.main(command, plugins=[Watch(seconds, killer)]))

    for name, code in forked(names, jobs, one):
        if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.exit(f"pytest could not run the tests of {name}: exit code {code}")
        path = of[name]
        meta = json.loads(path.read_text())
        meta[CODES][name] = code
        path.write_text(json.dumps(meta))  # hours of them may be cut off
        print("killed" if code in KILLED else "ALIVE ", name, flush=True)
    os.chdir(here)


@cache
def changed(name: str) -> str:
    shown = subprocess.run([sys.executable, "-m", "mutmut", "show", name], capture_output=True, text=True, check=True)
    lines = [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(f"{line[0]}{line[1:].strip()}" for line in lines)


@cache
def reason(name: str) -> str:
    """Why this mutant lives, or nothing."""
    found = f"{name}\n{changed(name)}"
    return next((reason for pattern, reason in REASONS if re.search(pattern, found)), "")


def drawn(number: int) -> list[str]:
    """Return the names of so many of the mutants, in an order that is the same every time."""
    names = sorted(name for codes in exit_codes().values() for name in codes)
    random.Random(0).shuffle(names)
    return names[:number]


def interval(killed: int, run: int) -> tuple[float, float]:
    """Return the share of all mutants that is killed, as far as the ones that ran can tell: Wilson's 95% interval."""
    share, z2 = killed / run, 1.96**2
    middle, half = share + z2 / (2 * run), (z2 * (share * (1 - share) / run + z2 / (4 * run**2))) ** 0.5
    return (middle - half) / (1 + z2 / run), (middle + half) / (1 + z2 / run)


def report(record: dict[str, Any]) -> str:
    """Return a row for each room: how many mutants, how many were killed; and what a sample says of all."""
    rows = ["| room | mutants run | killed | survived | not run |", "|---|---:|---:|---:|---:|"]
    sums = {what: sum(r[what] for r in record["rooms"].values()) for what in ("mutants", "killed", "not_run")}
    for room, r in [*record["rooms"].items(), ("all", sums)]:
        killed, share = r["killed"], r["killed"] / r["mutants"]
        rows.append(
            f"| `{room}` | {r['mutants']:,} | {killed:,} ({share:.1%}) | {r['mutants'] - killed} | {r['not_run']} |"
        )
    sentence = f"mutmut {record['mutmut']}, {record['date']}."
    if sums["not_run"]:
        low, high = interval(sums["killed"], sums["mutants"])
        sentence += (
            f" Of {sums['mutants'] + sums['not_run']:,} mutants {sums['mutants']:,} were drawn at random; with 95% "
            f"confidence {low:.1%} to {high:.1%} of all would be killed."
        )
    return "\n".join([*rows, "", sentence])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="results are written there")
    parser.add_argument(
        "--draw", type=int, metavar="N", help="N mutants alone, drawn at random: first run those that have not run"
    )
    parser.add_argument("--again", action="store_true", help="first run what is not killed and has no reason to live")
    parser.add_argument("--jobs", type=int, metavar="J", default=os.cpu_count(), help="mutants at a time")
    options = parser.parse_args()
    done = {name: code for codes in exit_codes().values() for name, code in codes.items()}
    counted = drawn(options.draw) if options.draw else list(done)
    new = [name for name in counted if done[name] is None] if options.draw else []
    again = [name for name in counted if done[name] not in {None, *KILLED} and not reason(name)]
    if wanted := [*new, *(again if options.again else [])]:
        shutil.copytree("tests", "mutants/tests", dirs_exist_ok=True)  # with tests written since mutmut copied them
        run(wanted, options.jobs)
    rooms: dict[str, dict[str, int]] = {}
    survivors, unexplained = [], []
    for path, every in exit_codes().items():
        codes = {name: every[name] for name in counted if every.get(name) is not None}
        if not codes:
            continue
        counts = Counter(code in KILLED for code in codes.values())
        rooms[str(path.relative_to(Path("mutants").absolute()).with_suffix(""))] = {
            "mutants": len(codes),
            "killed": counts[True],
            "not_run": len(every) - len(codes),
        }
        for name in sorted(name for name, code in codes.items() if code not in KILLED):
            survivors.append({"mutant": name, "change": changed(name), "reason": reason(name)})
            if not reason(name):
                unexplained.append(f"{name}\n{changed(name)}")
    record = {"date": time.strftime("%Y-%m-%d"), "mutmut": metadata.version("mutmut"), "rooms": rooms,
              "survivors": survivors}  # fmt: skip
    options.json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    killed, all_of_them = (sum(room[what] for room in rooms.values()) for what in ("killed", "mutants"))
    print(*unexplained, f"{killed} of {all_of_them} killed, {killed / all_of_them:.1%}", sep="\n")
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
