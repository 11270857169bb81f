"""Losses judged: what does this distillation loss compute, and which laws of one does it break?"""

from .fingerprint import Fingerprint
from .report import Report, assert_distillation_loss, check_distillation_loss, load_function

__all__ = ["Fingerprint", "Report", "assert_distillation_loss", "check_distillation_loss", "load_function"]
