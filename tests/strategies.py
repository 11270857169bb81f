"""What the tests draw beside the strategies of minidistill.testing, and how many examples they try."""

import os

from hypothesis import settings
from hypothesis import strategies as st

law = settings(max_examples=20, deadline=None)  # a theorem: tried anew on every run, on every backend
some = settings(max_examples=10, deadline=None)  # one that is tried on many losses, or must reject what is wrong
few = settings(max_examples=20, deadline=None)  # a theorem whose every example trains a network

alphas = st.floats(0.01, 0.99)
MUTATING = "MUTANT_UNDER_TEST" in os.environ  # by mutmut
EXAMPLES = 6 if MUTATING else 10  # of each law of the kit; benchmarks/false_alarms.py tries far more
