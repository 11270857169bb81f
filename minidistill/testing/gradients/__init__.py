"""Gradients checked: is this the derivative of that function? And numbers to ask with, tame and hostile."""

from . import strategies
from .check import GradientCheck, WrongGradient, check_gradient
from .layers import check_layer

__all__ = ["GradientCheck", "WrongGradient", "check_gradient", "check_layer", "strategies"]
