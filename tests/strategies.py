"""What the tests draw beside the strategies of minidistill.testing, and how many examples they try."""

import os

from hypothesis import Phase, settings
from hypothesis import strategies as st

MUTATING = "MUTANT_UNDER_TEST" in os.environ  # by mutmut
OTHER_VERSIONS = os.environ.get("MINIDISTILL_TESTS") == "versions"  # the second of two runs, as in .ci/run


def examples(number: int) -> int:
    """So many examples, or a quarter where other versions are tried: the mathematics is the same, calls may not be."""
    return max(number // 4, 4) if OTHER_VERSIONS else number


settings.register_profile("laws", deadline=None, derandomize=True, max_examples=examples(60), database=None)
# under mutmut nobody reads the smallest example, and one backend will do
settings.register_profile("mutants", settings.get_profile("laws"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutants" if MUTATING else "laws")

law = settings(max_examples=examples(20))  # a theorem, on every backend
some = settings(max_examples=examples(10))  # one that is tried on many losses, or must reject what is wrong
few = settings(max_examples=examples(20))  # a theorem whose every example trains a network

alphas = st.floats(0.01, 0.99)
EXAMPLES = 6 if MUTATING else examples(10)  # of each law of the kit; benchmarks/false_alarms.py tries far more
