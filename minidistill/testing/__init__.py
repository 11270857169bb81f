"""The proof kit: check any gradient, and judge any distillation loss (extra: testing)."""

from importlib.util import find_spec

from ..checks import BackendUnavailable

if find_spec("hypothesis") is None:  # before the imports that need it
    raise BackendUnavailable(
        "minidistill.testing needs the package hypothesis: pip install '.[testing]' in the checkout"
    )

from .gradients import (
    CannotJudge,
    GradientCheck,
    WrongGradient,
    WrongLayer,
    WrongOptimizer,
    check_backward,
    check_gradient,
    check_layer,
    check_optimizer,
    strategies,
)
from .losses import Fingerprint, Report, assert_distillation_loss, check_distillation_loss, check_law

__all__ = [
    "CannotJudge",
    "Fingerprint",
    "GradientCheck",
    "Report",
    "WrongGradient",
    "WrongLayer",
    "WrongOptimizer",
    "assert_distillation_loss",
    "check_backward",
    "check_distillation_loss",
    "check_gradient",
    "check_law",
    "check_layer",
    "check_optimizer",
    "strategies",
]
