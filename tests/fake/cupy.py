"""What `import cupy` finds with this folder on PYTHONPATH: the stand-in, on which examples then run."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
import fake_cupy

sys.modules["cupy"] = fake_cupy
