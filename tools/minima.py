"""Print the lowest versions that pyproject.toml declares, as constraints for pip: NAME==VERSION, a line each."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
requirements = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
for requirement in requirements:
    if found := re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)(?:;.*)?", requirement):
        print(f"{found[1]}=={found[2]}")
