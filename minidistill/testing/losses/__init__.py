"""Distillation losses judged: what a loss computes, and which laws it breaks."""

from .fingerprint import Fingerprint
from .report import Report, assert_distillation_loss, check_distillation_loss, check_law
from .search import hypothesis_keeps_nothing
from .targets import find_losses, load_function

__all__ = [
    "Fingerprint",
    "Report",
    "assert_distillation_loss",
    "check_distillation_loss",
    "check_law",
    "find_losses",
    "hypothesis_keeps_nothing",
    "load_function",
]
