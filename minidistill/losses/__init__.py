"""Losses, one file for each family; each loss returns its value and its gradient by the student's logits."""

from .decoupled import decoupled, normalised
from .distillation import (
    cross_entropy,
    distillation,
    high_temperature_gradient,
    kl_divergence,
    logit_matching_gradient,
    soft_cross_entropy,
)
from .divergences import jensen_shannon, reverse_kl
from .logit_matching import logit_matching
from .relational import dist
from .smoothing import label_smoothing
from .standardised import standardised

__all__ = [
    "cross_entropy",
    "decoupled",
    "dist",
    "distillation",
    "high_temperature_gradient",
    "jensen_shannon",
    "kl_divergence",
    "label_smoothing",
    "logit_matching",
    "logit_matching_gradient",
    "normalised",
    "reverse_kl",
    "soft_cross_entropy",
    "standardised",
]
