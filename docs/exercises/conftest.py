"""The settings of the exercises: the same examples on each run, and no limit of time on a busy machine."""

from hypothesis import settings

settings.register_profile("exercises", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("exercises")
