"""Gradients held against numerical derivatives, and Hypothesis strategies to try them on."""

from . import strategies
from .check import GradientCheck, WrongGradient, check_gradient
from .layers import WrongLayer, check_backward, check_layer

__all__ = [
    "GradientCheck",
    "WrongGradient",
    "WrongLayer",
    "check_backward",
    "check_gradient",
    "check_layer",
    "strategies",
]
