"""What importing costs, and what the README promises."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "tools"))
import snippets  # noqa: E402

BLOCK = r"```python\n((?:(?!```).)*)```\n+(```text)?"
SHOWN = [(path.stem, *snippet) for path in snippets.pages() for snippet in snippets.snippets(path)]
MAIN_ACT, *OTHERS = [
    block for path in snippets.pages() for block in re.findall(BLOCK, path.read_text(encoding="utf-8"), re.DOTALL)
]


def python(*arguments: str) -> str:
    """Return what this Python prints when called with these arguments in the root."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as when installed
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_importing_brings_in_numpy_and_the_standard_library_and_nothing_else() -> None:
    new = python(
        "-c",
        "import sys; before = set(sys.modules); import minidistill; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))",
    ).split()
    assert "numpy" in new
    foreign = set(new) - {"numpy", "minidistill"} - set(sys.stdlib_module_names)
    assert not {name for name in foreign if not name.startswith("_")}


def test_importing_costs_at_most_1_3_times_the_import_of_numpy_and_dataclasses() -> None:
    # NumPy 2.0 does not import `inspect`, later ones do, and dataclasses need it. Other processes
    # lengthen the processor's time less than the time on the clock, but they do, so a round that they disturbed is
    # followed by another.
    code = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"

    def ratio() -> float:
        return float(python("-c", code.format("minidistill"))) / float(python("-c", code.format("numpy, dataclasses")))

    assert any(median(ratio() for _ in range(5)) <= 1.3 for _round in range(6))


@pytest.mark.parametrize(("page", "code", "about", "output"), SHOWN, ids=[of for of, *_ in SHOWN])
def test_a_snippet_prints_what_its_page_shows(page: str, code: str, about: bool, output: str) -> None:
    assert snippets.alike(printed := snippets.printed(code), output, about), printed


def test_a_printed_number_may_differ_by_a_quarter_only_where_the_page_says_about() -> None:
    assert snippets.alike("a 110 errors\n", "a 100 errors\n", True)
    assert not snippets.alike("a 110 errors\n", "a 100 errors\n", False)
    assert not snippets.alike("a 130 errors\n", "a 100 errors\n", True)
    assert not snippets.alike("b 100 errors\n", "a 100 errors\n", True)
    assert not snippets.alike("a 100 errors 2\n", "a 100 errors\n", True)


def test_no_docstring_holds_a_snippet_that_nothing_runs() -> None:
    for path in (ROOT / "minidistill").rglob("*.py"):
        assert ">>>" not in path.read_text(encoding="utf-8"), f"{path.name}: examples go into docs/, where they are run"


def test_the_measured_tables_are_those_of_the_committed_results() -> None:
    assert python("tools/tables.py", "--check") == ""


def test_the_main_act_of_the_readme_is_seven_lines_and_distils() -> None:
    """As it stands there, but for a smaller student and fewer epochs, which keep the test short."""
    code = MAIN_ACT[0]
    assert len(code.splitlines()) == 2 + 7  # with the import and the empty line
    for long, short in (("784, 800, 800, 10", "784, 60, 10"), ("epochs=8", "epochs=1, progress=False")):
        assert long in code
        code = code.replace(long, short)
    errors, *rest = python("-c", code).split()
    assert 0 < int(errors) < 1000
    assert rest == ["errors", "on", "10,000", "test", "images"]


def test_every_other_python_snippet_of_the_readme_and_the_docs_is_followed_by_its_output() -> None:
    assert OTHERS
    assert all(output for _, output in OTHERS)


def test_the_readme_is_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_every_command_of_the_readme_names_files_extras_and_options_that_exist() -> None:
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    scripts = re.findall(r"\bpython3? ((?:examples|tests)/\S+\.py)((?: --\S+(?: [^-\s&]\S*)?)*)", commands)
    assert scripts
    for script, arguments in scripts:
        assert (ROOT / script).is_file()
        shown = python(script, "--help") if arguments else ""  # 00_by_hand.py has no options
        for option in re.findall(r"--[a-z]+", arguments):
            assert option in shown, f"{script} has no {option}"
    given = [words.split() for words in re.findall(r"\bsh setup\.sh((?: \w+)*)", README)]
    given += [names.split(",") for names in re.findall(r"'\.\[([\w,]+)\]'", README)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"test", "cuda12x"} <= set().union(*given) <= set(project["optional-dependencies"])
