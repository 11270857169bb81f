"""Gradients held against numerical derivatives, and Hypothesis strategies to try them on."""

from . import strategies
from .check import check_gradient
from .components import GradientCheck, WrongGradient
from .derivative import CannotJudge
from .layers import WrongLayer, check_backward, check_layer
from .optimizers import WrongOptimizer, check_optimizer

__all__ = [
    "CannotJudge",
    "GradientCheck",
    "WrongGradient",
    "WrongLayer",
    "WrongOptimizer",
    "check_backward",
    "check_gradient",
    "check_layer",
    "check_optimizer",
    "strategies",
]
