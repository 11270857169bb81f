"""minidistill: knowledge distillation (Hinton, Vinyals, Dean 2015) in plain NumPy or CuPy, every gradient by hand."""

from .backend import Backend, CupyBackend, get_backend, set_backend
from .checks import ArgumentError, BackendUnavailable, DataError, Diverged, MinidistillError
from .datasets import Dataset, TransferSet, load_images, mnist, mnist_transfer
from .ensemble import arithmetic_mean, geometric_mean
from .fused import DenseReLU
from .layers import Dense, Dropout, Layer, Parameter, ReLU
from .losses import (
    cross_entropy,
    decoupled,
    dist,
    distillation,
    jensen_shannon,
    kl_divergence,
    label_smoothing,
    logit_matching,
    normalised,
    reverse_kl,
    soft_cross_entropy,
    standardised,
)
from .measure import accuracy, confusion_matrix, errors, predict_proba
from .monitor import History
from .network import Network
from .objective import Objective
from .optim import SGD, AdamW, Optimizer
from .schedules import constant_rate, cosine_decay, linear_decay, step_decay
from .softmax import log_softmax, softmax
from .standardise import Standardise
from .train import fit

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "AdamW",
    "ArgumentError",
    "Backend",
    "BackendUnavailable",
    "CupyBackend",
    "DataError",
    "Dataset",
    "Dense",
    "DenseReLU",
    "Diverged",
    "Dropout",
    "History",
    "Layer",
    "MinidistillError",
    "Network",
    "Objective",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Standardise",
    "TransferSet",
    "accuracy",
    "arithmetic_mean",
    "confusion_matrix",
    "constant_rate",
    "cosine_decay",
    "cross_entropy",
    "decoupled",
    "dist",
    "distillation",
    "errors",
    "fit",
    "geometric_mean",
    "get_backend",
    "jensen_shannon",
    "kl_divergence",
    "label_smoothing",
    "linear_decay",
    "load_images",
    "log_softmax",
    "logit_matching",
    "mnist",
    "mnist_transfer",
    "normalised",
    "predict_proba",
    "reverse_kl",
    "set_backend",
    "soft_cross_entropy",
    "softmax",
    "standardised",
    "step_decay",
]
