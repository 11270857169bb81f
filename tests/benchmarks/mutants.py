"""How many mutants the tests kill, and why each survivor lives.

    pip install mutmut torch jax keras
    OPENBLAS_NUM_THREADS=1 python tests/benchmarks/mutants.py docs/results/mutants.json

mutmut makes them, some ten thousand, in mutants/ of the current folder, with tests that have been read once and run in
a fork for each: first those that killed others of the function, then the quickest that run few other functions, which
are the function's own. What each ended with is kept there, so that a run may be cut off and go on, and changed
functions alone are run anew. --draw 200 runs some, drawn at random. A reason comes from REASONS, by the mutant's name
or what it changed; a survivor without one is printed, and the exit code is then 1. --again tries those once more, with
tests written since.
"""

import argparse
import gc
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module, metadata
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
    (r"Domainǁ_precision.*\n.*\n.*(/ \(1 \+ by|\(1 - by)", "a type loses a change down as it does one up"),
    (r"x__described.*\n.*\n.*(low <=|<= high|<= low|>= high)", "what is refused is not answered, and low and high are"),
    (r"x_name_of.*\n.*\n.*__name__., .XXXX", "no module holds such a name"),
    (r"x_jensen_shannon.*\n.*below = r\.real", "both forms are exact at the border between them, and near it"),
    (r"x_compare.*\n.*near = .*\n.*abs\(apart\) < ", "both ways are rounded alike at the border between them"),
    (r"x_kl_rows.*\n.*small, series = .*\n.*<= 0.05", "both forms are exact at the border between them"),
    (
        r"(x_kl_rows|x_compare).*\n.*\n.*where\((small, r|safe, d), 1\)",
        "the value where the condition is False is not taken",
    ),
    (r"zip\(.*, strict=(False|None)\)", "strict guards against lengths that cannot differ here"),
    (
        r"x__require_replicas.*\n.*(np\.flip|trial\.seed \+ 1)",
        "any other numbers will do for the second replica",
    ),
    (r"optimizers\.x__descend.*\n.*replica_shape, 5, n.*\n.*replica_shape, 6, n", "a batch of any size will do"),
    (r"x__unwritten.*\n.*\n.*np\.full\(shape, None", "None is NaN"),
    (r"x__guesses.*\n.*\n.*else 4", "one digit more of an ε that somebody chose"),
    (r"x__shares.*\n.*\n.*divided: bool = True", "without weights, the mean weight is 1 either way"),
    (r"x_soft_term.*\n.*\n.*(nearest / 11|<= 5 \* same)", "a tolerance a little other"),
    (r"x_soft_term.*\n.*\n.*form\.word or form\.word ==", "none of the others is ten times as near"),
    (r"x_scale.*\n.*\n.*(3 \* off\.min|11 \* off)", "a tolerance a little larger"),
    (r"x_scale.*\n.*\n.*if term\.sums else 2\.0", "any constant will do for an unknown formula"),
    (r"x__changes.*\n.*\n.*min\(T, 2\.0\)", "a tolerance a little smaller"),
    (
        r"value_laws.*the_hard_term_is_the_cross.*\n.*value_of.*\n.*(z, None|v, None|z, case\.T|case\.v, case\.y)",
        "a hard term reads neither",
    ),
    (r"x_finite_at_extreme_logits.*\n.*\n.*dtype\(None\)", "None is float64"),
    (r"gradient_laws.*\n.*8 \* noise.*\n.*9 \* noise", "an eighth more is tolerated"),
    (r"x_the_gradient_is_proportional.*\n.*1e4 \*.*\n.*10001\.0 \*", "a ten thousandth more is tolerated"),
    (r"gradients\.check\.x__near__.*\n.*\n.*dtype\(None\)", "None is float64"),
    (r"gradients\.check\.x__near__.*\n.*\n.*51 \* own\.noise", "a fiftieth more is tolerated"),
    (r"Componentsǁrounding__.*\n.*\n.*\(1 - ULPS", "the numbers are as likely of either sign"),
    (r"Slopesǁfound__.*\n.*\n.*range\(k, -1, -2\)", "the step that was exact enough is among them"),
    (r"Nearǁmeasure_noise__.*\n.*\n.*self\.x - j", "the numbers are as likely of either sign"),
    (r"Nearǁmeasure_noise__.*\n.*\n.*tolist\(\)\)\) > 5", "one look more, where values hardly change"),
    (r"x_random_direction__.*\n.*\n.*/ rng\.choice", "to divide by a sign is to multiply by it"),
    (r"x_check_layer.*\n.*first = .*p\.value \+ .*\n.*p\.value - ", "random numbers of either sign, alike likely"),
]


TESTS = {  # of a room, the first that fits, for what runs while a module is imported, or once and is then remembered
    "testing/gradients/strategies": ("strategies", "softmax"),
    "testing/gradients/layers": ("contracts", "layers"),
    "testing/gradients/optimizers": ("contracts", "optim"),
    "testing/gradients/derivative": ("derivative", "gradients"),
    "testing/gradients/components": ("components", "gradients"),
    "testing/gradients/trees": ("trees", "gradients"),
    "testing/gradients/": ("gradients", "layers", "optim"),
    "testing/losses/frameworks": ("frameworks", "testing"),
    "testing/losses/": ("terms", "domain", "judge", "search", "forms", "laws", "report", "targets", "testing", "cli"),
    "losses/": ("losses", "later_losses", "high_temperature"),
    "": ("softmax", "layers", "optim", "random", "later_losses"),
}
FEW = 3  # tests that run a function: fewer, and the room's are run as well
NOT_HERE = "tests/test_cli.py::test_a_check_leaves_nothing_in_the_working_directory"  # mutmut's settings are not there
PYTEST = ["-x", "-q", "-s", "--tb=native", "-p", "no:cacheprovider", "-m", "libraries or not libraries",
          "--deselect", NOT_HERE]  # fmt: skip
SLOW_TO_IMPORT = ("torch", "jax", "keras")  # and nothing of theirs may run before the forks
LEARNED, KILLERS = Path("tests.json"), Path("killers")  # of each test; of each function, tests that killed a mutant


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


class Mutants:
    """A plugin of pytest: what it has collected is run for each mutant, in a fork, and not once."""

    def __init__(self, names: list[str], jobs: int, seconds: float) -> None:
        from mutmut.mutation import trampoline  # type: ignore[import-not-found]

        self.names, self.jobs, self.seconds = names, jobs, seconds
        self.alone = ""  # a mutant for which the tests are read anew
        self.reached: set[str] = set()  # functions, by all that has run
        trampoline.record_trampoline_hit = lambda name, caller=None: self.reached.add(name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        if self.alone:
            os._exit(self.run(self.alone))
        self.at_import = frozenset(self.reached)
        self.reached.clear()
        gc.freeze()  # or each fork copies what it only counts
        learned = self.learn()
        self.taken = {test: learned[test]["seconds"] for test in self.items}
        self.tests_of: dict[str, list[str]] = {}
        for test in sorted(self.items, key=lambda test: self.taken[test] * len(learned[test]["functions"])):
            for function in learned[test]["functions"]:
                self.tests_of.setdefault(function, []).append(test)
        self.require_that_killers_pass()
        for name, code in forked(self.names, self.jobs, self.run):
            if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
                sys.exit(f"pytest could not run the tests of {name}: exit code {code}")
            meta = json.loads(metas()[name].read_text())
            meta[CODES][name] = code
            kept = metas()[name].with_suffix(".new")
            kept.write_text(json.dumps(meta))  # hours of them may be cut off, and at any moment
            kept.replace(metas()[name])
            print("killed" if code in KILLED else "ALIVE ", name, flush=True)
        self.require_that_killers_pass()
        return True

    def results(self, tests: list[str], allowed: Callable[[str], float]) -> Iterator[tuple[str, bool]]:
        """Run tests in turn, each in the seconds it is allowed or this process ends, and yield whether they pass."""
        items = [self.items[test] for test in tests]
        for test, item, following in zip(tests, items, [*items[1:], None], strict=True):
            signal.setitimer(signal.ITIMER_PROF, allowed(test))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            yield test, not item.session.testsfailed

    def learn(self) -> dict[str, Any]:
        """Return of every test the seconds that it takes without a mutant, and the functions that it runs."""
        learned = json.loads(LEARNED.read_text()) if LEARNED.exists() else {}
        new = [test for test in self.items if test not in learned]

        def learn(part: str) -> int:
            os.environ["MUTANT_UNDER_TEST"] = "stats"
            found, began = {}, time.process_time()
            for test, passed in self.results(new[int(part) :: self.jobs], lambda test: LONGEST):
                if not passed:
                    print(f"{test} fails without a mutant", file=sys.stderr)
                    return 1
                found[test] = {"seconds": time.process_time() - began, "functions": sorted(self.reached)}
                began = time.process_time()
                self.reached.clear()
            Path(f"{part}.json").write_text(json.dumps(found))
            return 0

        for part, code in forked([str(part) for part in range(min(self.jobs, len(new)))], self.jobs, learn):
            if code:
                sys.exit("the tests do not pass without a mutant")
            learned |= json.loads(Path(f"{part}.json").read_text())
        LEARNED.write_text(json.dumps(learned))
        return learned

    def require_that_killers_pass(self) -> None:
        """End unless each test that killed a mutant passes without one, alone and first, as it ran then."""

        def passes(test: str) -> int:
            os.environ["MUTANT_UNDER_TEST"] = ""
            return int(not all(passed for _, passed in self.results([test], lambda test: LONGEST)))

        killers = {test for path in KILLERS.iterdir() for test in path.read_text().splitlines()}
        for test, code in forked(sorted(killers & self.items.keys()), self.jobs, passes):
            if code:
                sys.exit(f"{test} killed a mutant, but fails without one too: exit code {code}")

    def run(self, name: str) -> int:
        """Run the tests of a mutant until one fails, in a fork of its own, and return the exit code."""
        os.environ["MUTANT_UNDER_TEST"] = name
        function = name.rpartition("__mutmut_")[0]
        output = os.open(os.devnull, os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if function in self.at_import and not self.alone:  # what it made then must be made again
            self.alone = name
            for module, made in list(sys.modules.items()):
                if (getattr(made, "__file__", None) or "").startswith(os.getcwd()):
                    del sys.modules[module]
            ended = pytest.main([*PYTEST, *files_of(name)], plugins=[self])
            broken = ended == pytest.ExitCode.INTERNAL_ERROR  # or else the tests cannot be read with this mutant
            return int(pytest.ExitCode.USAGE_ERROR if broken else pytest.ExitCode.TESTS_FAILED)
        killers, began = KILLERS / function, time.process_time()
        earlier = killers.read_text().splitlines() if killers.exists() else []
        tests = [test for test in [*earlier, *self.tests_of.get(function, [])] if test in self.items]
        if self.alone or len(tests) < FEW:
            room = [test for test in self.items if test.partition("::")[0] in files_of(name)]
            tests += sorted(room, key=self.taken.__getitem__)
        for test, passed in self.results(list(dict.fromkeys(tests)), lambda test: 5 + 10 * self.taken[test]):
            if not passed:
                killers.write_text("\n".join(dict.fromkeys([test, *earlier])))
                return int(pytest.ExitCode.TESTS_FAILED)
            if time.process_time() - began > self.seconds:
                break
        return 0


def files_of(name: str) -> list[str]:
    """Return the tests of a mutant's room."""
    return [f"tests/test_{f}.py" for f in next(fs for part, fs in TESTS.items() if part in name.replace(".", "/"))]


def exit_codes() -> dict[Path, dict[str, int | None]]:
    """Return what each mutant of each room ended with, by mutmut's files; None for one that has not run."""
    return {path: json.loads(path.read_text())[CODES] for path in sorted(Path("mutants").absolute().rglob("*.meta"))}


@cache
def metas() -> dict[str, Path]:
    """Return mutmut's file of each mutant."""
    return {name: path for path, codes in exit_codes().items() for name in codes}


def room(meta: Path) -> str:
    """Return what was changed, of a file of mutmut's: minidistill/layers.py."""
    return str(meta.relative_to(Path("mutants").absolute()).with_suffix(""))


def make(jobs: int) -> None:
    """Let mutmut write the mutants, those of functions that have changed anew, and copy the tests beside them."""
    from mutmut import __main__ as mutmut

    os.environ["MUTANT_UNDER_TEST"] = "mutant_generation"
    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(jobs)


def run(names: list[str], jobs: int, seconds: float) -> None:
    """Run these mutants in this order and keep their exit codes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    here, plugin = Path.cwd(), Mutants(names, jobs, seconds)
    os.chdir("mutants")
    sys.path.insert(0, str(Path.cwd()))
    os.environ |= {"PYTHONPATH": ".", "MUTANT_UNDER_TEST": "stats"}
    KILLERS.mkdir(exist_ok=True)
    for package in SLOW_TO_IMPORT:
        import_module(package)
    files = sorted({f"tests/test_{name}.py" for names in TESTS.values() for name in names})
    if code := pytest.main([*PYTEST, *files], plugins=[plugin]):
        sys.exit(f"pytest ended with {code!r}")
    os.chdir(here)


@cache
def changed(name: str) -> str:
    """Return the lines that a mutant lacks and those that it has instead, after - and +."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # type: ignore[import-not-found]

    shown = get_diff_for_mutant(name, path=room(metas()[name])).splitlines()
    lines = [line for line in shown if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]
    return "\n".join(f"{line[0]}{line[1:].strip()}" for line in lines)


@cache
def reason(name: str) -> str:
    """Why this mutant lives, or nothing."""
    found = f"{name}\n{changed(name)}"
    return next((reason for pattern, reason in REASONS if re.search(pattern, found)), "")


def drawn(number: int) -> list[str]:
    """Return the names of so many of the mutants, in an order that is the same every time."""
    names = sorted(metas())
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
    for name, r in [*record["rooms"].items(), ("all", sums)]:
        killed, share = r["killed"], r["killed"] / r["mutants"]
        rows.append(
            f"| `{name}` | {r['mutants']:,} | {killed:,} ({share:.1%}) | {r['mutants'] - killed} | {r['not_run']} |"
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
    parser.add_argument("--draw", type=int, metavar="N", help="N mutants alone, drawn at random")
    parser.add_argument("--again", action="store_true", help="first run what is not killed and has no reason to live")
    parser.add_argument(
        "--seconds", type=float, metavar="S", default=LONGEST, help="a mutant lives that outlives such a time of tests"
    )
    parser.add_argument("--jobs", type=int, metavar="J", default=os.cpu_count(), help="mutants at a time")
    options = parser.parse_args()
    make(options.jobs)
    done = {name: code for codes in exit_codes().values() for name, code in codes.items()}
    counted = drawn(options.draw) if options.draw else list(metas())
    new = [name for name in counted if done[name] is None]
    again = [name for name in counted if done[name] not in {None, *KILLED} and not reason(name)]
    if wanted := [*new, *(again if options.again else [])]:
        run(wanted, options.jobs, options.seconds)
    rooms: dict[str, dict[str, int]] = {}
    survivors, unexplained = [], []
    for path, every in exit_codes().items():
        codes = {name: every[name] for name in counted if every.get(name) is not None}
        if not codes:
            continue
        counts = Counter(code in KILLED for code in codes.values())
        rooms[room(path)] = {
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
