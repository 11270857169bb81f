"""How the kit calls a stranger's loss: the same numbers through NumPy, PyTorch, JAX and Keras, and what none may do.

pip install torch==2.13.0 jax keras && KERAS_BACKEND=torch python -m pytest -m libraries tests/test_frameworks.py
"""

import contextlib
import functools
import sys
import types

import museum
import numpy as np
import pytest

import minidistill as md
from minidistill.testing import check_distillation_loss
from minidistill.testing.losses import frameworks
from minidistill.testing.losses.frameworks import Loss, Unusable

Z, V, Y, T = (
    np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]),
    np.array([[2.0, 0.0, -1.0], [1.0, 1.0, 0.0]]),
    np.array([0, 2]),
    3.0,
)
SOFT, SOFT_GRADIENT = museum.kl_batchmean_t2(Z, V, T)
MIXED, MIXED_GRADIENT = museum.alpha_weighs_the_soft_term(Z, V, T, Y, 0.3)


def torch_loss(z, v, T, y=None, alpha=1.0):
    import torch
    from torch.nn import functional

    soft = T**2 * functional.kl_div(
        (z / T).log_softmax(-1), (v / T).log_softmax(-1), log_target=True, reduction="batchmean"
    )
    if y is None:
        return soft
    assert y.dtype == torch.int64
    return alpha * soft + (1 - alpha) * functional.cross_entropy(z, y)


def torch_soft(z, v, T):
    return torch_loss(z, v, T)


def torch_mixed(z, v, T, y, alpha):
    return torch_loss(z, v, T, y, alpha)


def torch_detached(z, v, T):
    return torch_loss(z, v.detach(), T)


def jax_soft(z, v, T):
    import jax

    log_q, log_p = jax.nn.log_softmax(z / T), jax.nn.log_softmax(v / T)
    return T**2 * (jax.numpy.exp(log_p) * (log_p - log_q)).sum() / len(z)


def jax_mixed(z, v, T, y, alpha):
    import jax

    hard = -jax.numpy.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=-1).mean()
    return alpha * jax_soft(z, v, T) + (1 - alpha) * hard


def jax_detached(z, v, T):
    import jax

    return jax_soft(z, jax.lax.stop_gradient(v), T)


@pytest.fixture
def framework(request):
    """Skips where the package is absent."""
    pytest.importorskip(request.param, exc_type=ImportError)
    return request.param


PAIRS = [("torch", torch_soft, torch_mixed), ("jax", jax_soft, jax_mixed)]
libraries = pytest.mark.libraries


@libraries
@pytest.mark.parametrize(("framework", "soft", "mixed"), PAIRS, indirect=["framework"], ids=["torch", "jax"])
def test_autodiff_gives_the_value_and_the_gradients_that_are_derived_by_hand(framework, soft, mixed):
    found = Loss(soft, framework)(Z, V, T)
    np.testing.assert_allclose(found.value, SOFT)
    np.testing.assert_allclose(found.gradient, SOFT_GRADIENT)
    assert found.gradient.dtype == found.teacher_gradient.dtype == np.float64
    np.testing.assert_allclose(found.teacher_gradient.sum(axis=-1), 0, atol=1e-15)
    assert np.abs(found.teacher_gradient).max() > 0.1
    loss = Loss(mixed, framework)
    assert loss.takes_labels
    found = loss(Z, V, T, Y, 0.3)
    np.testing.assert_allclose(found.value, MIXED)
    np.testing.assert_allclose(found.gradient, MIXED_GRADIENT)
    with pytest.raises(Unusable, match=r"its value must be one number, got shape \(2,\)|it raised TypeError: "):
        Loss(lambda z, v, T: z.sum(-1), framework)(Z, V, T)
    single = Loss(soft, framework)(Z.astype(np.float32), V.astype(np.float32), T)
    assert 0 < np.abs(single.gradient - SOFT_GRADIENT).max() < 1e-6


@libraries
@pytest.mark.parametrize(("framework", "detached"), [("torch", torch_detached), ("jax", jax_detached)],
                         indirect=["framework"], ids=["torch", "jax"])  # fmt: skip
def test_a_teacher_that_takes_no_gradient_has_one_of_zeros(framework, detached):
    found = Loss(detached, framework)(Z, V, T)
    np.testing.assert_allclose(found.gradient, SOFT_GRADIENT)
    np.testing.assert_array_equal(found.teacher_gradient, np.zeros_like(V))


@libraries
@pytest.mark.parametrize("framework", ["jax"], indirect=True)
def test_jax_compiles_once_for_every_temperature_unless_the_function_asks_how_large_it_is(framework):
    traced = []

    def asks(z, v, T):
        traced.append(T)
        return jax_soft(z, v, T if T > 1 else 1.0)

    def fills_in(z, v, T):
        traced.append(T)
        return jax_soft(z, v, T)

    for function, times in ((fills_in, 1), (asks, 4)):  # the first of these in vain
        traced.clear()
        loss = Loss(function, "jax")
        for temperature in (2.0, T, 2.0):
            expected = museum.kl_batchmean_t2(Z, V, temperature)
            found = loss(Z, V, temperature)
            np.testing.assert_allclose(found.value, expected[0])
            np.testing.assert_allclose(found.gradient, expected[1])
        assert len(traced) == times


@libraries
@pytest.mark.parametrize("framework", ["torch"], indirect=True)
def test_torch_computes_on_one_thread_and_the_caller_keeps_its_own_number(framework):
    torch = pytest.importorskip("torch")
    before, during = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        Loss(lambda z, v, T: during.append(torch.get_num_threads()) or z.sum(), "torch")(Z, V, T)
        with pytest.raises(Unusable):
            Loss(lambda z, v, T: 1 / 0, "torch")(Z, V, T)
        assert (during, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


@libraries
@pytest.mark.parametrize("framework", ["torch"], indirect=True)
def test_what_torch_cannot_differentiate_is_said(framework):
    with pytest.raises(Unusable, match="its value must be a tensor, got float"):
        Loss(lambda z, v, T: z.detach().sum().item(), "torch")(Z, V, T)
    with pytest.raises(Unusable, match=r"^its value does not depend on the logits by differentiable operations"):
        Loss(lambda z, v, T: z.detach().sum(), "torch")(Z, V, T)


@libraries
@pytest.mark.parametrize("framework", ["torch"], indirect=True)
def test_a_torch_loss_gets_tensors_of_labels_and_what_it_makes_of_its_inputs_is_seen(framework):
    import torch

    def labelled(z, v, T, y, alpha):
        assert (y.dtype, y.tolist(), T, alpha) == (torch.int64, Y.tolist(), 3.0, 0.25)
        return 2 * z.sum() + 3 * v.sum()

    found = Loss(labelled, "torch")(Z, V, T, Y, 0.25)
    assert (found.value, found.changed) == (2 * Z.sum() + 3 * V.sum(), "")
    assert (found.gradient == 2).all()
    assert (found.teacher_gradient == 3).all()
    for function, changed in (
        (lambda z, v, T: z.mul_(2).sum(), "student's logits"),
        (lambda z, v, T: (z.sum(), v.mul_(2))[0], "teacher's logits"),
        (lambda z, v, T: z.unsqueeze_(0).sum(), "student's logits"),
    ):
        assert Loss(function, "torch")(Z, V, T).changed == changed


class FakeJax(types.ModuleType):
    """What is asked of JAX, without its compiler; as it was before 0.8 if `older`."""

    def __init__(self, monkeypatch, older=False):
        super().__init__("jax")
        self.older, self.options, self.bits, self.numpy, self.refuses = older, [], [32], np, ()
        self.experimental = types.ModuleType("jax.experimental")
        (self.experimental if older else self).enable_x64 = self.switch
        monkeypatch.setitem(sys.modules, "jax", self)
        monkeypatch.setitem(sys.modules, "jax.experimental", self.experimental)

    @contextlib.contextmanager
    def switch(self, on):
        self.bits.append(64 if on else 32)
        yield
        self.bits.pop()

    def value_and_grad(self, function, argnums):
        assert argnums == (0, 1)
        return lambda z, v, *rest: (function(z, v, *rest), (4 + 0 * z, 5 + 0 * v))

    def jit(self, function, **options):
        if self.older and options:
            raise TypeError("jit() got an unexpected keyword argument 'compiler_options'")
        self.options.append(options.get("compiler_options"))

        def compiled(z, v, labels, numbers):
            traced = [float("nan") if self.refuses else number for number in numbers]
            return function(z, v, labels, traced)

        return compiled


@pytest.mark.parametrize("older", [False, True])
def test_jax_is_called_in_float64_and_compiles_without_optimising_where_it_can_be_asked_to(older, monkeypatch):
    jax, seen = FakeJax(monkeypatch, older), []

    def loss(z, v, T, y, alpha):
        np.testing.assert_array_equal(z, Z)
        np.testing.assert_array_equal(v, V)
        np.testing.assert_array_equal(y, Y)
        seen.append((jax.bits[-1], T, alpha, type(T), type(alpha)))
        return 2.0

    judged = Loss(loss, "jax")
    for temperature, alpha in ((3, 0), (4.0, 0.5)):
        found = judged(Z, V, temperature, Y, alpha)
        assert (found.value, found.gradient[0, 0], found.teacher_gradient[0, 0]) == (2.0, 4.0, 5.0)
    assert seen == [(64, 3.0, 0.0, float, float), (64, 4.0, 0.5, float, float)]
    assert jax.options == [None if older else {"xla_backend_optimization_level": 0}], "compiled once"
    assert jax.bits == [32]
    assert not judged.slow


def test_jax_runs_as_it_stands_what_cannot_be_compiled_and_what_fails_is_not_slow(monkeypatch):
    jax = FakeJax(monkeypatch)
    jax.refuses = True
    asked = []

    def reads_T(z, v, T):
        asked.append(T)
        if T != T:
            raise TypeError("the value of T is not known here")
        return T

    def fails(z, v, T):
        raise KeyError("a mistake of its own")

    judged = Loss(reads_T, "jax")
    assert not judged.slow
    assert [judged(Z, V, T).value for T in (2.0, 3.0)] == [2.0, 3.0]
    assert str(asked) == "[nan, 2.0, 3.0]", "it is not compiled a second time"
    assert judged.slow
    judged = Loss(fails, "jax")
    with pytest.raises(Unusable, match="it raised KeyError: 'a mistake of its own'"):
        judged(Z, V, T)
    assert not judged.slow


@libraries
@pytest.mark.parametrize("framework", ["keras"], indirect=True)
def test_keras_is_its_backend(framework, monkeypatch):
    import keras

    backend = keras.backend.backend()
    _, soft, mixed = PAIRS[0] if backend == "torch" else PAIRS[1]
    np.testing.assert_allclose(Loss(soft, "keras")(Z, V, T).gradient, SOFT_GRADIENT)
    np.testing.assert_allclose(Loss(mixed, "keras")(Z, V, T, Y, 0.3).gradient, MIXED_GRADIENT)
    other, its_soft, its_mixed = PAIRS[1] if backend == "torch" else PAIRS[0]
    pytest.importorskip(other)
    monkeypatch.setattr(keras.backend, "backend", lambda: other)
    np.testing.assert_allclose(Loss(its_soft, "keras")(Z, V, T).gradient, SOFT_GRADIENT)
    np.testing.assert_allclose(Loss(its_mixed, "keras")(Z, V, T, Y, 0.3).gradient, MIXED_GRADIENT)
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(Unusable, match="keras must run on jax or torch here, got tensorflow: set KERAS_BACKEND"):
        Loss(soft, "keras")(Z, V, T)


def broken(function, framework, expect=""):
    return {verdict.law for verdict in check_distillation_loss(function, framework, expect, examples=20).broken}


@libraries
@pytest.mark.parametrize("framework", ["torch"], indirect=True)
def test_what_torch_alone_lets_a_loss_do_wrong_is_seen(framework):
    import torch

    class Ignoring(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, v, T):
            q, p = (z / T).softmax(-1), (v / T).softmax(-1)
            ctx.save_for_backward(T * (q - p) / len(z))
            return torch_soft(z, v, T)

        @staticmethod
        def backward(ctx, gradient):
            return ctx.saved_tensors[0], None, None

    def ignores_grad_output(z, v, T):
        return Ignoring.apply(z, v, T)

    def centres_in_place(z, v, T):
        v.data.sub_(v.max())
        return torch_soft(z, v, T)

    def batchmean_of_tokens(z, v, T):
        return T**2 * torch.nn.functional.kl_div(
            (z / T).log_softmax(-1), (v / T).log_softmax(-1), log_target=True, reduction="batchmean"
        )

    assert broken(ignores_grad_output, framework) == {"the_gradient_follows_what_is_made_of_the_loss"}
    assert broken(centres_in_place, framework) == {"it_leaves_its_inputs_alone"}
    assert broken(batchmean_of_tokens, framework) == set(), "right for (B, N)"
    report = check_distillation_loss(batchmean_of_tokens, framework, "rows", examples=1)
    assert [verdict.broken for verdict in report.broken] == ["it is divided by B alone, not by B L, declared was rows"]


@libraries
@pytest.mark.parametrize("framework", ["torch"], indirect=True)
def test_unusual_losses_of_torch_are_not_accused(framework):
    import torch
    from torch.nn import functional

    def in_bfloat16(z, v, T):
        return torch_soft(z, v.bfloat16().to(z.dtype), T)

    def softmax_in_half(z, v, T):
        p = (v / T).softmax(-1).half().to(z.dtype)
        return -(p * (z / T).log_softmax(-1)).sum(-1).mean()

    def T_in_float32(z, v, T):
        return torch_soft(z, v, torch.tensor(T))

    def weighted_and_smoothed(z, v, T, labels, alpha):
        weight = torch.linspace(0.5, 2, z.shape[-1], dtype=z.dtype)
        hard = functional.cross_entropy(z, labels, weight=weight, label_smoothing=0.05)
        return (1 - alpha) * torch_soft(z, v, T) + alpha * hard

    for function in (in_bfloat16, softmax_in_half, T_in_float32, weighted_and_smoothed):
        assert broken(function, framework) == set(), function.__name__


@pytest.mark.parametrize("framework", ["torch", "jax", "keras"])
def test_a_package_that_is_missing_is_named(framework, monkeypatch):
    monkeypatch.setitem(sys.modules, framework, None)
    install = "keras and torch or jax" if framework == "keras" else framework
    with pytest.raises(
        md.BackendUnavailable,
        match=rf"^--framework {framework} needs the package {framework}, .*: pip install {install}$",
    ):
        Loss(museum.kl_value_alone, framework)


def test_a_keras_without_its_backend_says_how_to_choose_one(monkeypatch):
    def without_tensorflow(name):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr("importlib.import_module", without_tensorflow)
    with pytest.raises(md.BackendUnavailable) as raised:
        Loss(museum.kl_value_alone, "keras")
    expected = "keras cannot be imported (No module named 'tensorflow'): set KERAS_BACKEND to torch or jax"
    assert str(raised.value) == expected


def test_numpy_functions_of_every_kind_are_called_with_what_they_take():
    class Called:
        def __call__(self, z, v, T):
            return museum.kl_batchmean_t2(z, v, T)

    for function in (museum.kl_batchmean_t2, Called(), functools.partial(museum.kl_batchmean_t2)):
        loss = Loss(function)
        assert not loss.takes_labels
        found = loss(Z, V, T)
        np.testing.assert_allclose((found.value, found.gradient[0, 0]), (SOFT, SOFT_GRADIENT[0, 0]))
        assert found.teacher_gradient is None
    assert Loss(Called()).name == "Called"
    assert Loss(museum.kl_value_alone)(Z, V, T).gradient is None
    mixed = Loss(museum.alpha_weighs_the_soft_term)
    assert mixed.takes_labels
    np.testing.assert_allclose(mixed(Z, V, T, Y, 0.3).value, MIXED)
    assert Loss(lambda z, v, T: np.array([3]))(Z, V, T).value == 3.0


def test_a_function_may_overwrite_what_it_is_given():
    def greedy(z, v, T):
        z *= 0
        v *= 0
        return 0.0

    def with_labels(z, v, T, y, alpha):
        y += 1
        return 0.0

    before = Z.copy(), V.copy(), Y.copy()
    assert Loss(greedy)(Z, V, T).changed == "student's logits and teacher's logits"
    assert Loss(with_labels)(Z, V, T, Y).changed == "labels"
    assert Loss(museum.kl_value_alone)(Z, V, T).changed == ""
    for array, was in zip((Z, V, Y), before, strict=True):
        np.testing.assert_array_equal(array, was)


def test_what_a_loss_returns_is_kept_if_the_next_call_leaves_it():
    mine = np.zeros(2), np.zeros(Z.shape)

    def loss(z, v, T):
        mine[0][:1], mine[1][...] = v.sum(), z
        return mine[0][:1], mine[1]

    first, others = (Z, V, T, None, 1.0), {"z": (2 * Z, V, T, None, 1.0), "v": (Z, 2 * V, T, None, 1.0)}
    for second in others.values():
        assert not Loss(loss).kept(first, second), "one of the two is overwritten"
        assert Loss(lambda *given: tuple(part.copy() for part in loss(*given))).kept(first, second)
        assert Loss(lambda *given: loss(*given)[0].copy()).kept(first, second)


def test_twice_a_loss_and_the_sum_of_the_logits_is_of_the_same_arguments():
    loss = Loss(lambda z, v, T, y, alpha: museum.alpha_weighs_the_soft_term(z, v, T, y, alpha)[0])
    np.testing.assert_allclose(loss.in_a_sum()(Z, V, T, Y, 0.3).value, 2 * MIXED + Z.sum())
    np.testing.assert_allclose(loss(Z, V, T, Y, 0.3).value, MIXED)
    np.testing.assert_allclose(Loss(museum.kl_value_alone).in_a_sum()(Z, V, T).value, 2 * SOFT + Z.sum())


def raising(z, v, T):
    raise ValueError("first line\nsecond line")


def silent(z, v, T):
    raise ValueError


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (raising, "it raised ValueError: first line$"),
        (silent, "it raised ValueError: $"),
        (lambda z, v, T: z, r"its value must be one number, got shape \(2, 3\)"),
        (lambda z, v, T: "x", "its value must be a number, got str"),
        (lambda z, v, T: (1.0, z[:, :2]), r"its gradient must have the logits' shape \(2, 3\), got \(2, 2\)"),
        (lambda z, v, T: (1.0, z, v), r"it must return a value or \(value, gradient\), got 3 things"),
    ],
)
def test_what_a_numpy_function_must_not_return_is_said(function, text):
    with pytest.raises(Unusable, match=text):
        Loss(function)(Z, V, T)


def test_a_loss_must_be_callable_and_its_framework_known():
    with pytest.raises(md.ArgumentError, match="function must be callable, got int"):
        Loss(3)
    with pytest.raises(md.ArgumentError, match="framework must be one of numpy, torch, jax, keras, got 'caffe'"):
        Loss(raising, "caffe")


def test_alpha_is_1_if_nothing_is_said_and_a_function_without_a_signature_takes_no_labels():
    assert Loss(lambda z, v, T, y, alpha: alpha)(Z, V, T, Y).value == 1.0
    assert not Loss(max).takes_labels


def test_labels_and_alpha_are_given_by_the_names_that_are_told():
    def loss(z, v, T=1.0, truth=None, reduction="mean", w=0.5):
        assert reduction == "mean"
        return float(truth.sum()) + w

    assert Loss(loss).not_given == ["truth", "reduction", "w"]
    told = Loss(loss, labels="truth", alpha="w")
    assert (told.takes_labels, told.not_given, told.name) == (True, [], "loss")
    assert told(Z, V, T, Y, 0.25).value == 2.25
    for names, text in (
        ({"labels": "y", "alpha": "w"}, "labels must be one of z, v, T, truth, reduction, w, got 'y'"),
        ({"labels": "truth", "alpha": "b"}, "alpha must be one of z, v, T, truth, reduction, w, got 'b'"),
        ({"labels": "truth"}, "labels and alpha must be named both or neither, got 'truth' and None"),
    ):
        with pytest.raises(md.ArgumentError) as raised:
            Loss(loss, **names)
        assert str(raised.value) == text


def test_each_argument_goes_where_it_belongs_by_place_or_by_name():
    def by_place(z, v, T, y, alpha):
        np.testing.assert_array_equal(z, Z)
        np.testing.assert_array_equal(v, V)
        np.testing.assert_array_equal(y, Y)
        assert (T, alpha) == (3.0, 0.25)
        return 1.0

    def by_name(z, v, T, w, truth):
        return by_place(z, v, T, truth, w)

    assert Loss(by_place)(Z, V, T, Y, 0.25).value == 1.0
    assert Loss(by_name, labels="truth", alpha="w")(Z, V, T, Y, 0.25).value == 1.0


def test_the_parameters_of_a_module_are_those_of_its_forward():
    class Module:
        def forward(self, z, v, T, y, alpha):
            return float(y.sum()) + alpha

        def __call__(self, *arguments):
            return self.forward(*arguments)

    assert Loss(Module()).takes_labels
    assert Loss(Module())(Z, V, T, Y, 0.25).value == 2.25
    assert not Loss(lambda *arguments, key=1: 0.0).takes_labels
    assert Loss(lambda z, v, T, /, a=1, *more, b=2, **rest: 0.0).not_given == ["a"]


@pytest.mark.parametrize("name", ["labels", "label", "targets", "target", "y"])
def test_a_fourth_and_a_fifth_argument_are_labels_and_alpha_by_their_names_or_if_they_are_needed(name):
    def takes(arguments):
        return Loss(eval(f"lambda {arguments}: 0.0")).takes_labels  # the name is what matters

    assert takes(f"z, v, T=1.0, {name}=None, alpha=1.0")
    assert takes(f"z, v, T=1.0, {name}=None, alpha=1.0, reduction='mean'")
    assert not takes(f"z, v, T=1.0, {name.upper()}=None, alpha=1.0")
    assert not takes(f"z, v, T=1.0, {name}=None, beta=1.0")
    assert not takes(f"z, v, T=1.0, {name}=None")
    assert takes("a, b, c, d, e")
    assert takes("a, b, c, d, e, f=1")
    assert not takes("a, b, c, d, e=1")
    assert not takes("a, b=1, c=1, d=1, e=1, f=1")


def test_numpy_needs_no_import_of_a_framework(monkeypatch):
    monkeypatch.setattr(frameworks, "_import", lambda name: pytest.fail(f"imported {name}"))
    assert Loss(museum.kl_value_alone).framework == "numpy"


def test_a_gradient_is_float64_whatever_it_comes_as_and_no_warning_of_the_losss_escapes():
    found = Loss(lambda z, v, T: (0.0, z.astype(np.float32)))(Z, V, T)
    assert found.gradient.dtype == np.float64
    with np.errstate(all="raise"):
        assert Loss(lambda z, v, T: np.exp(1e5 * z).sum())(Z, V, T).value == np.inf
