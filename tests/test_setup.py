"""setup.sh before a Python, an apt-get and a sudo that only write down how they were called."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = " ".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
PYTHON = """#!/bin/sh
echo "python3 $*" >> "$CALLS"
case "$*" in
  "-c "*) exit "${OLD:-0}" ;;
  --version) echo "Python 3.10.2" ;;
  "-m venv "*)
    mkdir -p .venv/bin
    if [ -n "${LACKS_VENV:-}" ] && ! grep -q "apt-get.* install" "$CALLS"; then
      echo "The virtual environment was not created successfully because ensurepip is not"
      echo "available.  On Debian/Ubuntu systems, you need to install the python3-venv"
      echo "package using the following command."
      exit 1
    fi
    if [ -n "${FULL_DISK:-}" ]; then echo "Error: No space left on device" >&2; exit 1; fi
    cp "$0" .venv/bin/python ;;
esac
"""
APT_GET = '#!/bin/sh\necho "apt-get $*" >> "$CALLS"\n'
SUDO = '#!/bin/sh\necho "sudo" >> "$CALLS"\nexec "$@"\n'
USER = "#!/bin/sh\necho 1000\n"  # what `id -u` prints


class Checkout:
    """A folder with a space in its name, and a PATH on which the programs that setup.sh calls stand first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.calls = folder / "a checkout", folder / "bin", folder / "calls"
        self.folder.mkdir()
        self.bin.mkdir()
        for name in ("setup.sh", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        for name in ("sh", "sed", "dirname", "mkdir", "grep", "cp"):
            (self.bin / name).symlink_to(shutil.which(name) or pytest.skip(f"no {name} here"))
        for name, script in (("python3", PYTHON), ("apt-get", APT_GET), ("id", "#!/bin/sh\necho 0\n")):
            self.put(name, script)

    def put(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def setup(self, *extras: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Call setup.sh from a folder that is not its own."""
        self.calls.write_text("")
        env = {"PATH": str(self.bin), "CALLS": str(self.calls)} | environment
        command = [str(self.bin / "sh"), str(self.folder / "setup.sh"), *extras]
        return subprocess.run(command, cwd=self.bin, env=env, capture_output=True, text=True, timeout=60, check=False)

    def called(self) -> list[str]:
        """Return the calls that change something, in their order."""
        return [line for line in self.calls.read_text().splitlines() if "--version" not in line and " -c" not in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize(
    ("extras", "installed", "command"),
    [
        ("", "plots,progress", "examples/01_headline.py --figure headline.png"),
        ("test", "test", "-m pytest"),
        ("cuda12x plots progress", "cuda12x,plots,progress", "examples/01_headline.py --backend cupy --full"),
        ("testing", "testing", "examples/01_headline.py"),
    ],
)
def test_it_installs_the_extras_and_ends_with_what_to_run(
    checkout: Checkout, extras: str, installed: str, command: str
) -> None:
    done = checkout.setup(*extras.split())
    assert done.returncode == 0, done.stderr
    make, install = checkout.called()
    assert make == "python3 -m venv --clear .venv"
    assert install == f"python3 -m pip install -q --disable-pip-version-check .[{installed}]"
    assert done.stdout == f"Next: .venv/bin/python {command}  # in {checkout.folder}\n"


def test_a_second_call_keeps_the_environment(checkout: Checkout) -> None:
    checkout.setup()
    assert checkout.setup("test").returncode == 0
    assert "venv --clear" not in checkout.calls.read_text()


@pytest.mark.parametrize("extra", ["tests", "", "plots progress", "--full"])
def test_an_unknown_extra_is_one_line_and_exit_code_2(checkout: Checkout, extra: str) -> None:
    done = checkout.setup("plots", extra)
    assert (done.returncode, done.stdout, checkout.called()) == (2, "", [])
    assert done.stderr == f"error: EXTRA must be one of {EXTRAS}, got '{extra}'\n"


def test_help_names_the_extras(checkout: Checkout) -> None:
    done = checkout.setup("--help")
    assert done.returncode == 0
    assert EXTRAS in done.stdout
    assert checkout.called() == []


@pytest.mark.parametrize("root", [True, False])
def test_debians_package_is_installed_where_the_environment_cannot_be_made_without(
    checkout: Checkout, root: bool
) -> None:
    if not root:
        checkout.put("id", USER)
        checkout.put("sudo", SUDO)
    done = checkout.setup(LACKS_VENV="yes")
    assert done.returncode == 0, done.stderr
    make, by = "python3 -m venv --clear .venv", [] if root else ["sudo"]
    packages = [*by, "apt-get -qq update", *by, "apt-get -qq install -y python3-venv"]
    assert checkout.called()[:-1] == [make, *packages, make]


def test_without_root_and_sudo_the_command_that_needs_them_is_named(checkout: Checkout) -> None:
    checkout.put("id", USER)
    done = checkout.setup(LACKS_VENV="yes")
    assert done.returncode == 1
    assert done.stderr == "error: this must be run as root, and there is no sudo: apt-get -qq update\n"


@pytest.mark.parametrize(
    ("environment", "text"),
    [({"OLD": "1"}, "python3 must be Python 3.11 or later, it is Python 3.10.2"), ({"FULL_DISK": "yes"}, "No space")],
)
def test_another_failure_is_shown_and_nothing_is_installed(
    checkout: Checkout, environment: dict[str, str], text: str
) -> None:
    done = checkout.setup(**environment)
    assert done.returncode == 1
    assert text in done.stderr
    assert "install" not in checkout.calls.read_text()


def test_without_python_it_says_so(checkout: Checkout) -> None:
    (checkout.bin / "python3").unlink()
    done = checkout.setup()
    assert (done.returncode, done.stderr) == (1, "error: python3 must be Python 3.11 or later, and there is none\n")
