"""The proof kit: a stranger's distillation loss before the laws that every one obeys (extra: testing)."""

from .check import Report, assert_distillation_loss, check_distillation_loss
from .fingerprint import Fingerprint

__all__ = ["Fingerprint", "Report", "assert_distillation_loss", "check_distillation_loss"]
