"""Layers written by the contract alone, as a user would: two activations, and one with parameters that is no Dense."""

import math

import numpy as np

from minidistill import Layer, Parameter


class Tanh(Layer):
    """y = tanh x, dx = dy (1 - y²): backward reads y alone."""

    reads_x = False

    def forward(self, x, out, step):
        self.y = out
        return self.xp.tanh(x, out=out)

    def backward(self, dy, out, momentum=0.0):
        if out is not None:
            out[...] = dy * (1 - self.y * self.y)
        return out


class GELU(Layer):
    """y = x Φ(x), by the approximation with a tanh (Hendrycks and Gimpel 2016): backward reads x alone."""

    reads_y = False

    def forward(self, x, out, step):
        self.x = x
        out[...] = 0.5 * x * (1 + self._tanh())
        return out

    def backward(self, dy, out, momentum=0.0):
        if out is not None:
            x, t = self.x, self._tanh()
            slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
            out[...] = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope)
        return out

    def _tanh(self):
        return self.xp.tanh(math.sqrt(2 / math.pi) * (self.x + 0.044715 * self.x * self.x * self.x))


class LayerNorm(Layer):
    """y = γ x̂ + β with x̂ = (x - mean)/σ over the units of a row (Ba et al. 2016).

    dγ = Σ_B dy x̂, dβ = Σ_B dy; with g = γ dy, dx = (g - mean g - x̂ mean(g x̂))/σ, as mean and σ depend on x too.
    """

    reads_x = reads_y = False

    def __init__(self, n):
        self.n_in = self.n_out = n

    def parameters(self):
        return {"gamma": Parameter((1, self.n_in), value=1.0), "beta": Parameter((1, self.n_in))}

    def make_scratch(self, shape):
        return self.xp.empty(shape, dtype=self.dtype)

    def forward(self, x, out, step):
        centred = x - x.mean(axis=-1, keepdims=True)
        self.sigma = self.xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)  # (..., B, 1)
        self.scratch[...] = centred / self.sigma  # x̂
        out[...] = self.gamma * self.scratch + self.beta
        return out

    def backward(self, dy, out, momentum=0.0):
        normal = self.scratch
        self.backend.accumulate_sum(dy * normal, out=self.dgamma, beta=momentum)
        self.backend.accumulate_sum(dy, out=self.dbeta, beta=momentum)
        if out is not None:
            g = self.gamma * dy
            along = (g * normal).mean(axis=-1, keepdims=True)
            out[...] = (g - g.mean(axis=-1, keepdims=True) - normal * along) / self.sigma
        return out


def inputs(B: int, n: int, seed: int = 0) -> np.ndarray:
    """Numbers of size 0.1 to 1, off the kinks at 0."""
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], (B, n)) * rng.uniform(0.1, 1, (B, n))
