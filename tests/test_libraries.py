"""The proof kit on other people's libraries, as they are installed: what their distillation losses compute and break.

    pip install torch==2.13.0 keras==3.15.1 optax==0.2.8 jax scipy hypothesis pytest
    pip install --no-deps -r tests/libraries/requirements.txt
    KERAS_BACKEND=torch python -m pytest -m libraries
    KERAS_BACKEND=torch python tests/test_libraries.py docs/results/verdicts.json [NAME ...]

tests/libraries/ has the functions that call each library, and which release; what a loss does not use need not be
installed. Not among the tests of this project's own code: a new release may change what is asserted here.
"""

import json
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from libraries import general, language
from libraries.loading import LIBRARIES

from minidistill.testing import check_distillation_loss

pytestmark = pytest.mark.libraries
DOCS = Path(__file__).parents[1] / "docs"
globals().update(
    {name: getattr(room, name) for name in LIBRARIES for room in (general, language) if hasattr(room, name)}
)


def judged(name):
    """Return the record of a library's loss. Raises ImportError if the library is absent."""
    one = LIBRARIES[name]
    version, began = metadata.version(one.distribution), time.process_time()
    found = check_distillation_loss(one.function, one.framework, one.expect).as_dict()
    laws = found.pop("laws")
    return found | {
        "package": one.distribution,
        "version": version,
        "expect": one.expect,
        "broken": {law: verdict for law, verdict in laws.items() if verdict["verdict"] == "broken"},
        "judged": sum(verdict["verdict"] != "not judged" for verdict in laws.values()),
        "seconds": round(time.process_time() - began, 1),
        "date": time.strftime("%Y-%m-%d"),
        "python": sys.version.split()[0],
    }


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.filterwarnings("default")
def test_the_verdict_on_a_library_is_the_committed_one(name):
    record = json.loads((DOCS / "results" / "verdicts.json").read_text(encoding="utf-8"))
    (committed,) = (one for one in record["verdicts"] if one["name"] == name)
    try:
        found = judged(name)
    except ImportError as error:
        pytest.skip(f"{name}: absent ({error})")
    assert set(found["broken"]) == set(committed["broken"]), found


def test_every_loss_has_a_committed_verdict():
    record = json.loads((DOCS / "results" / "verdicts.json").read_text(encoding="utf-8"))
    assert {one["name"] for one in record["verdicts"]} == set(LIBRARIES)


REPORTS = re.findall(
    r"```python\n(.*?)```\n\n```text\n(.*?)```", (DOCS / "verdicts.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.parametrize(("code", "printed"), REPORTS, ids=range(1, 1 + len(REPORTS)))
def test_a_report_prints_what_the_docs_say(code, printed):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    if "PackageNotFoundError" in done.stderr or "ModuleNotFoundError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stdout == printed, done.stderr


def report(record):
    """Return a row for each loss, and below a line for each that breaks laws, with the first of the counterexamples."""
    rows = [
        "| loss | package | it computes | T | reduction | broken laws | in a sentence |",
        "|---|---|---|---|---|---|---|",
    ]
    below = []
    for one in record["verdicts"]:
        laws, f = [law.replace("_", " ") for law in one["broken"]], one["fingerprint"]
        shown = "; ".join(laws[:3]) + (f"; {len(laws) - 3} more" if len(laws) > 3 else "") or "none"
        what, T, reduction = ("cannot be judged", "", "") if f is None else described(f, one["notes"])
        says = LIBRARIES[one["name"]].says or ("as in the paper" if not laws and T == "T²" else "")
        rows.append(
            f"| `{one['name']}` | {one['package']} {one['version']} | {what} | {T} | {reduction} | {shown} | {says} |"
        )
        if laws:
            first = next(iter(one["broken"].values()))
            below.append(f"- `{one['name']}`, {laws[0]}: {first['what']}, at `{first['case']}`")
    dates, versions = (sorted({one[key] for one in record["verdicts"]}) for key in ("date", "python"))
    passed = sum(not one["broken"] for one in record["verdicts"])
    count = f"{passed} of {len(record['verdicts'])} break no law."
    return "\n".join([*rows, "", *below, "", f"{count} Python {', '.join(versions)}, {', '.join(dates)}."])


def described(f, notes):
    """Return in words what a loss computes, what it makes of T, and its reduction."""
    what = f["form"].replace("||", "‖")
    if f["alpha"] is not None:
        what += f", and {f['hard']}; " + (
            f"alpha on the {f['alpha']} term" if f["alpha"] in ("soft", "hard") else f["alpha"]
        )
    power = {2.0: "T²", 0.0: "no T²", None: "no power of it"}.get(f["power"]) or f"T^{f['power']:g}"
    if any("temperatures" in note and "it has no temperature" in note for note in notes):
        power = "1 alone"
    return what, power, f["reduction"]


def main(path, *names):
    """Write the verdicts on all libraries that are installed, or on those named, beside those in the file."""
    file = Path(path)
    known = json.loads(file.read_text(encoding="utf-8"))["verdicts"] if names and file.exists() else []
    found = {one["name"]: one for one in known}
    for name in names or LIBRARIES:
        try:
            found[name] = judged(name)
        except ImportError as error:
            print(f"{name}: absent ({error})")
            continue
        print(f"{name}: {found[name]['sentence']}", flush=True)
        verdicts = [found[one] for one in LIBRARIES if one in found]
        file.write_text(json.dumps({"verdicts": verdicts}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
