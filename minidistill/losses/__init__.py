"""Losses, one file for each family; each loss returns its value and its gradient by the student's logits."""

from .distillation import (
    cross_entropy,
    distillation,
    high_temperature_gradient,
    kl_divergence,
    logit_matching_gradient,
    soft_cross_entropy,
)

__all__ = [
    "cross_entropy",
    "distillation",
    "high_temperature_gradient",
    "kl_divergence",
    "logit_matching_gradient",
    "soft_cross_entropy",
]
