"""minidistill: knowledge distillation (Hinton, Vinyals, Dean 2015) in plain NumPy or CuPy, every gradient by hand."""

from .backend import Backend, CupyBackend, get_backend, set_backend
from .checks import ArgumentError, BackendUnavailable, DataError, Diverged, MinidistillError
from .datasets import Dataset, TransferSet, load_images, mnist, mnist_transfer
from .ensemble import arithmetic_mean, geometric_mean
from .layers import Dense, Dropout, Hidden, ReLU
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
from .network import Network
from .optim import SGD, constant, cosine, linear, steps
from .softmax import log_softmax, softmax
from .train import History, Objective, errors, fit

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "ArgumentError",
    "Backend",
    "BackendUnavailable",
    "CupyBackend",
    "DataError",
    "Dataset",
    "Dense",
    "Diverged",
    "Dropout",
    "Hidden",
    "History",
    "MinidistillError",
    "Network",
    "Objective",
    "ReLU",
    "TransferSet",
    "arithmetic_mean",
    "constant",
    "cosine",
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
    "linear",
    "load_images",
    "log_softmax",
    "logit_matching",
    "mnist",
    "mnist_transfer",
    "normalised",
    "reverse_kl",
    "set_backend",
    "soft_cross_entropy",
    "softmax",
    "standardised",
    "steps",
]
