"""The proof kit: a stranger's distillation loss before the laws that every one obeys (extra: testing)."""

from .check import Report, assert_distillation_loss, check_distillation_loss
from .fingerprint import Fingerprint
from .gradients import GradientCheck, WrongGradient, check_gradient, check_layer

__all__ = [
    "Fingerprint",
    "GradientCheck",
    "Report",
    "WrongGradient",
    "assert_distillation_loss",
    "check_distillation_loss",
    "check_gradient",
    "check_layer",
]
