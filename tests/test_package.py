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
PAGES = README + "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("proof.md", "distil.md"))
BLOCK = r"```python\n((?:(?!```).)*)```\n+"
SHOWN = re.findall(BLOCK + r"```text\n(.*?)```", PAGES, re.DOTALL)  # and what they print
MAIN_ACT, *OTHERS = re.findall(BLOCK + r"(```text)?", README, re.DOTALL)


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

    assert any(median(ratio() for _ in range(9)) <= 1.3 for _round in range(4))


@pytest.mark.parametrize("snippet", SHOWN)
def test_a_readme_snippet_prints_exactly_what_the_readme_shows(snippet: tuple[str, str]) -> None:
    code, output = snippet
    assert python("-c", code) == output


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


def test_every_other_python_snippet_of_the_readme_is_followed_by_its_output() -> None:
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
