"""Distillation losses judged: what a loss computes, and which laws it breaks."""

from .fingerprint import Fingerprint
from .report import Report, assert_distillation_loss, check_distillation_loss, load_function
from .search import hypothesis_keeps_nothing

__all__ = [
    "Fingerprint",
    "Report",
    "assert_distillation_loss",
    "check_distillation_loss",
    "hypothesis_keeps_nothing",
    "load_function",
]
