"""Distillation losses judged: what a loss computes, and which laws it breaks."""

from .fingerprint import Fingerprint
from .report import Report, assert_distillation_loss, check_distillation_loss, load_function

__all__ = ["Fingerprint", "Report", "assert_distillation_loss", "check_distillation_loss", "load_function"]
