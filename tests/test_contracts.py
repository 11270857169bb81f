"""What others build on: the contracts of layers, backends and losses, and that a breach of each is noticed."""

import ast
import contextlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from own_layers import GELU, LayerNorm, Tanh, inputs

import minidistill as md
from minidistill import Dense, DenseReLU, Dropout, Layer, Network, Parameter, ReLU, Standardise, random
from minidistill.backend import Backend, BlasBackend, CupyBackend
from minidistill.backend.reference import XP_FUNCTIONS
from minidistill.testing import WrongGradient, WrongLayer, check_gradient, check_layer
from minidistill.testing.gradients import layers
from minidistill.testing.gradients.layers import _require_close

PACKAGE = Path(md.__file__).parent
LAYERS = {
    "Dense": lambda: Dense(4, 3),
    "DenseReLU": lambda: DenseReLU(4, 5),
    "DenseReLU with dropout": lambda: DenseReLU(4, 5, 0.4),
    "ReLU": ReLU,
    "Dropout": lambda: Dropout(0.4),
    "Tanh": Tanh,
    "GELU": GELU,
    "LayerNorm": lambda: LayerNorm(4),
    "Standardise": lambda: Standardise([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 0.5, 0.1]),
}


# --- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("step", [None, 7])
def test_every_layer_keeps_the_contract(make, step):
    layer = make()
    found = check_layer(layer, inputs(6, 4), step=step)
    assert set(found) == {"x", *layer.parameters()}
    assert all(check.error < 1e-6 for check in found.values())
    assert {check.method for check in found.values()} == {"complex"}


def test_every_layer_of_the_package_is_in_the_table_of_the_tested():
    public = {getattr(md, name) for name in md.__all__}
    layers = {one for one in public if isinstance(one, type) and issubclass(one, Layer)} - {Layer}
    assert layers <= {type(make()) for make in LAYERS.values()}, "add it to LAYERS"


class Forgetful(Tanh):
    reads_y = False  # although it does


class Greedy(GELU):
    reads_x = False  # although it does


class HalfSlope(Tanh):
    def backward(self, dy, out, momentum=0.0):
        return super().backward(0.5 * dy, out)


class NoMomentum(LayerNorm):
    def backward(self, dy, out, momentum=0.0):
        return super().backward(dy, out, 0.0)


class ReadsOldGradient(LayerNorm):
    def backward(self, dy, out, momentum=0.0):
        self.dbeta *= momentum  # which leaves NaN and infinity at momentum 0
        self.dbeta += dy.sum(axis=-2, keepdims=True)
        self.backend.accumulate_sum(dy * self.scratch, out=self.dgamma, beta=momentum)
        return super().backward(dy, out, 1.0) if out is not None else None


class OneMeanForAllReplicas(LayerNorm):
    def forward(self, x, out, step):
        out[...] = x - x.mean(axis=0, keepdims=True)
        return out

    def backward(self, dy, out, momentum=0.0):
        self.dgamma[...], self.dbeta[...] = momentum * np.nan_to_num(self.dgamma), momentum * np.nan_to_num(self.dbeta)
        if out is not None:
            out[...] = dy - dy.mean(axis=0, keepdims=True)
        return out


class SizedByItsFirstBatch(LayerNorm):
    def forward(self, x, out, step):
        if not hasattr(self, "ones"):
            self.ones = self.xp.ones(x.shape)
        return super().forward(x * self.ones, out, step)


class WritesX(GELU):
    def forward(self, x, out, step):
        super().forward(x, out, step)
        x *= 2
        return out


class ReturnsAnother(Tanh):
    def forward(self, x, out, step):
        self.y = self.xp.tanh(x)
        return self.y


class ClearsOutFirst(Tanh):
    def forward(self, x, out, step):
        out[...] = 0
        return super().forward(x, out, step)


class MindsWhereOutIs(Tanh):
    def forward(self, x, out, step):
        self.factor = 2 if out is x else 1
        return super().forward(x, out, step)

    def backward(self, dy, out, momentum=0.0):
        return super().backward(self.factor * dy, out)


class WritesHalfOfDx(Tanh):
    def backward(self, dy, out, momentum=0.0):
        out[::2] = dy[::2] * (1 - self.y * self.y)[::2]
        return out


class AlwaysReturnsDx(Tanh):
    def backward(self, dy, out, momentum=0.0):
        return super().backward(dy, self.xp.empty_like(dy) if out is None else out)


class OffInTraining(LayerNorm):
    """Twice a part of what LayerNorm gives, "y" or of its gradients, in training and where `wrong` says so."""

    def __init__(self, part, wrong):
        super().__init__(4)
        self.part, self.wrong = part, wrong

    def forward(self, x, out, step):
        sizes = vars(self).get("sizes", set()) | ({len(x)} if step is not None else set())
        self.sizes, self.rank, self.in_place, self.step = sizes, x.ndim, out is x, step
        super().forward(x, out, step)
        self.double("y", out)
        return out

    def backward(self, dy, out, momentum=0.0):
        super().backward(dy, out, momentum)
        for part, array in (("dx", out), ("dgamma", self.dgamma), ("dbeta", self.dbeta)):
            self.double(part, array)
        return out

    def double(self, part, array):
        if part == self.part and array is not None and self.step is not None and self.wrong(self):
            array *= 2


class TakesTwoAxes(Tanh):
    def forward(self, x, out, step):
        _, _ = x.shape
        return super().forward(x, out, step)


BREACHES = {  # of which the message names the class
    "reads y": (Forgetful, "{}.backward reads y, which {}.reads_y = False lets others overwrite: "
                           "declare reads_y = True"),
    "reads x": (Greedy, "{}.backward reads x, which {}.reads_x = False lets others overwrite: "
                        "declare reads_x = True"),
    "no momentum": (lambda: NoMomentum(4), "{}.dgamma must become momentum dgamma plus the new gradient: "),
    "reads the old gradient": (lambda: ReadsOldGradient(4),
                               "{}.backward must write every number of dbeta, and read none of them at momentum 0"),
    "does not write all": (WritesHalfOfDx,
                           "{}.backward must write every number of dx, and read none of them at momentum 0"),
    "mixes replicas": (lambda: OneMeanForAllReplicas(4), "{} must treat a leading axis as replicas: y: "),
    "no leading axis": (TakesTwoAxes, "{} must treat a leading axis as replicas, got too many values to unpack"),
    "another y in place": (ClearsOutFirst, "{} must give the same y where out is x: "),
    "another dx in place": (MindsWhereOutIs, "{} must give the same dx where out was x: "),
    "sized by its first batch": (lambda: SizedByItsFirstBatch(4),
                                 "{} must give the same after a batch of another size, got operands could not be "),
    "writes its x": (WritesX, "{}.forward must leave x alone where out is another array"),
    "another array than out": (ReturnsAnother, "{}.forward must write y into out and return it, got another array"),
    "dx though no one reads it": (AlwaysReturnsDx,
                                  "{}.backward must write dx into out and return it, or None without out"),
    "dx after another batch": (lambda: OffInTraining("dx", lambda one: len(one.sizes) > 1),
                               "{} must give the same dx after a batch of another size: off by "),
    "dbeta after another batch": (lambda: OffInTraining("dbeta", lambda one: len(one.sizes) > 1),
                                  "{} must give the same dbeta after a batch of another size: off by "),
    "y of replicas": (lambda: OffInTraining("y", lambda one: one.rank > 2),
                      "{} must treat a leading axis as replicas: y: off by "),
    "dx of replicas": (lambda: OffInTraining("dx", lambda one: one.rank > 2),
                       "{} must treat a leading axis as replicas: dx: off by "),
    "dgamma of replicas": (lambda: OffInTraining("dgamma", lambda one: one.rank > 2),
                           "{} must treat a leading axis as replicas: dgamma: off by "),
    "y in place in training": (lambda: OffInTraining("y", lambda one: one.in_place),
                               "{} must give the same y where out is x: off by "),
    "dx in place in training": (lambda: OffInTraining("dx", lambda one: one.in_place),
                                "{} must give the same dx where out was x: off by "),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BREACHES.values(), ids=BREACHES)
def test_check_layer_notices_a_breach_of_the_contract(make, message):
    layer = make()
    with pytest.raises(WrongLayer) as raised:
        check_layer(layer, inputs(6, 4))
    said, message = str(raised.value), message.replace("{}", type(layer).__name__)
    assert said.startswith(message) if message[-1] == " " else said.partition("(")[0].strip() == message


def test_check_layer_lets_a_layer_be_off_where_no_one_trains_it():
    check_layer(OffInTraining("y", lambda one: one.rank > 2), inputs(6, 4), step=None)


def test_check_layer_compares_each_gradient_with_the_derivative():
    with pytest.raises(WrongGradient, match="must be"):
        check_layer(HalfSlope(), inputs(6, 4))


@pytest.mark.parametrize(
    ("found", "truth", "text"),
    [
        ([1.0, -4e6 * (1 + 0.9e-12)], [1.0, -4e6], None),
        ([1e-9 * (1 + 0.9e-12)], [1e-9], None),
        ([0.0], [0.0], None),
        ([1.0, -4e6 * (1 + 1.1e-12)], [1.0, -4e6], "z: off by 4.4e-06, where the largest number is 4e+06"),
        ([1e-9 * (1 + 1.1e-12)], [1e-9], "z: off by 1.1e-21, where the largest number is 1e-09"),
        ([-2.0, 1.0], [2.0, 1.0], "z: off by 4, where the largest number is 2"),
        ([np.nan, 1.0], [2.0, 1.0], "z: off by nan, where the largest number is 2"),
        ([1e-300], [0.0], "z: off by 1e-300, where the largest number is 0"),
    ],
)
def test_two_arrays_are_the_same_to_a_trillionth_of_the_largest_number(found, truth, text):
    with pytest.raises(WrongLayer, match=f"^{re.escape(text)}$") if text else contextlib.nullcontext():
        _require_close("z", np.array(found), np.array(truth))


@pytest.mark.parametrize(
    ("make", "shape", "wanted"),
    [(LAYERS["Dense"], (4,), 4), (LAYERS["Dense"], (2, 3), 4), (LAYERS["Dense"], (2, 3, 4), 4),
     (LAYERS["Dense"], (0, 4), 4), (Tanh, (), "units"), (Tanh, (4,), "units"), (Tanh, (2, 3, 4), "units"),
     (Tanh, (2, 0), "units")],
)  # fmt: skip
def test_a_layer_is_checked_on_rows_of_its_width(make, shape, wanted):
    with pytest.raises(md.ArgumentError) as raised:
        check_layer(make(), np.ones(shape))
    assert str(raised.value) == f"x must have shape (batch, {wanted}), got {shape}"


class Watched(LayerNorm):
    """Note what it is given in a pass."""

    given: list

    def parameters(self):
        return {"gamma": Parameter((1, 4), value=1.0, bound=0.125), "beta": Parameter((1, 4))}

    def forward(self, x, out, step):
        entry = {"x": x.copy(), "gamma": self.gamma.copy(), "beta": self.beta.copy(), "step": step}
        entry |= {"dtypes": {a.dtype for a in (x, out, self.scratch, self.gamma, self.dgamma)} | {self.dtype}}
        self.given.append(entry | {"index": self.index, "seed": self.seed, "backend": type(self.backend)})
        return super().forward(x, out, step)

    def backward(self, dy, out, momentum):
        self.given.append({"dy": dy.copy(), "momentum": momentum, "dgamma": self.dgamma.copy()})
        return super().backward(dy, out, momentum)


def given_to_a_layer(monkeypatch, **options):
    monkeypatch.setattr(Watched, "given", [], raising=False)
    check_layer(Watched(4), inputs(3, 4).astype(np.float32), **options)
    return Watched.given


def test_a_checked_layer_is_given_what_a_network_gives(monkeypatch):
    given = given_to_a_layer(monkeypatch, step=7, seed=3)
    forwards = [one for one in given if "x" in one]
    assert {one["step"] for one in forwards} == {7}
    assert {one["index"] for one in forwards} == {1}
    assert {one["backend"] for one in forwards} == {Backend}
    assert {len(one["dtypes"]) for one in forwards} == {1}
    assert set.union(*(one["dtypes"] for one in forwards)) == {np.dtype(float), np.dtype(complex)}
    for one in forwards:
        alone, together = random.seed_key(3), random.seed_key([3, 4])
        key = together if one["x"].ndim > 2 else random.seed_key(4) if one["seed"] != alone else alone
        assert [np.array(part).tolist() for part in one["seed"]] == [np.array(part).tolist() for part in key]
    first = forwards[0]
    np.testing.assert_array_equal(first["x"], inputs(3, 4).astype(np.float32))
    assert 0.01 < np.abs(first["gamma"] - 1).max() <= 0.125
    assert 0.125 < np.abs(first["beta"]).max() <= 0.5  # as no bound is declared


def test_a_batch_in_float32_is_checked_in_float64():
    assert check_layer(Tanh(), inputs(3, 4).astype(np.float32))["x"].error < 1e-12
    with pytest.raises(md.ArgumentError, match=r"^x must be an array of numbers, got str$"):
        check_layer(Tanh(), "text")


def test_a_checked_layer_is_given_random_numbers_that_are_the_seeds(monkeypatch):
    monkeypatch.setattr(layers, "check_gradient", lambda *arguments, **options: None)  # whose numbers are its own
    first, again, other = (given_to_a_layer(monkeypatch, seed=seed) for seed in (3, 3, 5))
    for one, same in zip(first, again, strict=True):
        for name in set(one) & {"x", "gamma", "beta", "dy", "dgamma"}:
            np.testing.assert_array_equal(one[name], same[name])
    (kept,) = {one["dgamma"].tobytes() for one in first if one.get("momentum") == 0.5}
    assert len(np.unique(np.frombuffer(kept))) == 4
    for name in ("gamma", "beta", "dy"):
        differ = [not np.array_equal(a[name], b[name]) for a, b in zip(first, other, strict=True) if name in a]
        assert all(differ)


def test_the_replicas_of_a_checked_layer_differ_in_all_that_they_are_given(monkeypatch):
    monkeypatch.setattr(layers, "check_gradient", lambda *arguments, **options: None)
    forwards = [one for one in given_to_a_layer(monkeypatch) if "x" in one]
    assert (forwards[0]["step"], forwards[0]["seed"]) == (1, random.seed_key(0))  # if none are asked for
    together = [one for one in forwards if one["x"].ndim > 2]
    assert together
    for one in together:
        for name in ("x", "gamma", "beta"):
            assert (one[name][0] != one[name][1]).all()


def test_the_options_of_a_layers_check_go_to_that_of_each_gradient(monkeypatch):
    asked = []
    monkeypatch.setattr(layers, "check_gradient", lambda f, x, gradient, **options: asked.append(options))
    assert list(check_layer(LayerNorm(4), inputs(6, 4), seed=3, tolerance=0.5)) == ["x", "gamma", "beta"]
    assert asked == 3 * [{"seed": 3, "tolerance": 0.5}]


STACKS = {
    "Tanh before Dropout": lambda: [Dense(3, 4), Tanh(), Dropout(0.3), Dense(4, 2)],
    "ReLU before Dropout": lambda: [Dense(3, 4), ReLU(), Dropout(0.3), Dense(4, 2)],
    "activations in a row": lambda: [Dense(3, 4), Tanh(), ReLU(), Dropout(0.3), GELU(), Dropout(0.3), Dense(4, 2)],
    "norms between": lambda: [LayerNorm(3), Dense(3, 4), LayerNorm(4), Tanh(), Dropout(0.2), LayerNorm(4), GELU(),
                              DenseReLU(4, 4, 0.3), Tanh(), Dense(4, 2)],
    "standardised": lambda: [Standardise([0.1, 0.2, 0.3], [2.0, 0.5, 1.0]), Dropout(0.3), Dense(3, 4), Dense(4, 2)],
    "first of all": lambda: [Dropout(0.3), Tanh(), GELU(), Dense(3, 4), Dropout(0.3), LayerNorm(4), Dense(4, 2)],
}  # fmt: skip


@pytest.mark.parametrize("seeds", [3, [3, 4]], ids=["one network", "replicas"])
@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
def test_a_stack_of_layers_that_know_nothing_of_each_other_has_the_gradient_of_its_loss(backend, make, seeds):
    network = Network(make(), seeds, np.float64, backend)
    twin = Network(make(), seeds, np.complex128, Backend())
    rng = np.random.default_rng(0)
    theta = rng.uniform(0.1, 1, network.parameters.shape) * rng.choice([-1, 1], network.parameters.shape)
    x = rng.uniform(-1, 1, (*network.replica_shape, 5, 3))
    dz = rng.uniform(-1, 1, (*network.replica_shape, 5, 2))

    def cost(parameters):
        twin.parameters[...] = parameters
        return (twin.forward(x.astype(complex), step=4) * dz).sum()

    network.parameters[...] = backend.asarray(theta)
    network.forward(backend.asarray(x), step=4)
    network.backward(backend.asarray(dz.copy()))
    assert check_gradient(cost, theta, backend.to_host(network.gradients), method="complex").error < 1e-11


def test_every_layer_of_the_package_stands_in_a_stack():
    public = {getattr(md, name) for name in md.__all__}
    layers = {one for one in public if isinstance(one, type) and issubclass(one, Layer)} - {Layer}
    assert layers <= {type(layer) for make in STACKS.values() for layer in make()}, "add it to a stack"


def test_the_test_of_stacks_rejects_an_activation_that_lets_dropout_overwrite_what_it_reads(backend):
    with pytest.raises(WrongGradient):
        test_a_stack_of_layers_that_know_nothing_of_each_other_has_the_gradient_of_its_loss(
            backend, lambda: [Dense(3, 4), Forgetful(), Dropout(0.3), Dense(4, 2)], 3
        )


def test_a_layer_belongs_to_one_network_and_stands_in_it_once(backend):
    dense = Dense(2, 2)
    with pytest.raises(md.ArgumentError, match=r"^layers must belong to no other network and stand once"):
        Network([dense, dense], backend=backend)
    layers = [Dense(2, 2), Tanh()]
    Network(layers, backend=backend)
    with pytest.raises(md.ArgumentError, match=r"^layers must belong to no other network and stand once"):
        Network(layers, backend=backend)
    Network([layer.unbound() for layer in layers], backend=backend)


def test_parameters_start_as_they_are_declared_and_only_incoming_weights_are_constrained(backend):
    class Three(Layer):
        n_in = n_out = 50

        def parameters(self):
            return {"a": Parameter((50, 50), value=2.0), "b": Parameter((50, 50), value=1.0, bound=0.25),
                    "c": Parameter((50, 50), bound=0.5, incoming=True)}  # fmt: skip

    network = Network([Three()], [1, 2], np.float64, backend)
    a, b, c = (backend.to_host(getattr(network.layers[0], name)) for name in "abc")
    assert (a == 2).all()
    for values, middle, bound in ((b, 1.0, 0.25), (c, 0.0, 0.5)):
        assert np.abs(values - middle).max() <= bound
        np.testing.assert_allclose(values.std(axis=(1, 2)), bound / np.sqrt(3), rtol=0.1)
        assert np.unique(values).size == values.size  # no number is used twice, in neither replica
    assert abs(np.corrcoef(b.ravel(), c.ravel())[0, 1]) < 0.1
    assert [backend.to_host(W).tolist() for W in network.weights()] == [c.tolist()]


def a_layer_with(n_in=2, n_out=2, **parameters):
    class Odd(Layer):
        def __init__(self):
            self.n_in, self.n_out, self.rate = n_in, n_out, 0.5

        def parameters(self):
            return parameters

    return Odd()


@pytest.mark.parametrize("name", ["rate", "reads_x", "index", "seed", "scratch", "xp", "backend", "dtype", "forward"])
def test_a_parameter_may_not_take_the_name_of_something_else(name):
    with pytest.raises(md.ArgumentError, match=rf"^a parameter of Odd must have a name of its own, got '{name}'"):
        Network([a_layer_with(**{name: Parameter((1, 2))})])


def test_a_parameter_may_not_take_the_name_of_anothers_gradient():
    with pytest.raises(
        md.ArgumentError, match=r"^a parameter of Odd must have a name of its own, got 'db': db is taken"
    ):
        Network([a_layer_with(b=Parameter((1, 2)), db=Parameter((1, 2)))])


@pytest.mark.parametrize("shape", [(2,), (1, 2, 3), 2, (1, 2.5), (0, 2), [1, 2], None])
def test_a_parameter_has_rows_and_columns(shape):
    with pytest.raises(md.ArgumentError, match=r"^Odd\.W must be a Parameter of shape \(rows, columns\), got "):
        Network([a_layer_with(W=Parameter(shape))])


@pytest.mark.parametrize(("n_in", "n_out"), [(2, None), (None, 2)])
def test_a_layer_with_one_size_has_the_other(n_in, n_out):
    with pytest.raises(md.ArgumentError, match=r"^Odd must have both n_in and n_out or neither, got "):
        Network([a_layer_with(n_in, n_out)])


def test_a_backward_that_returns_nothing_is_noticed(backend):
    class Silent(Tanh):
        def backward(self, dy, out, momentum=0.0):
            super().backward(dy, out)

    network = Network([Dense(2, 3), Silent(), Dense(3, 2)], backend=backend)
    network.forward(backend.asarray(np.ones((1, 2), np.float32)), step=0)
    with pytest.raises(md.ArgumentError, match=r"^Silent\.backward must return dx, got NoneType$"):
        network.backward(backend.asarray(np.ones((1, 2), np.float32)))


def test_more_layers_than_there_are_keys_for_are_refused():
    with pytest.raises(md.ArgumentError, match=r"^layers must be at most 60, got 61$"):
        Network([Dense(2, 2), *(ReLU() for _ in range(60))])


# --- backends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BlasBackend, CupyBackend])
def test_an_override_takes_what_the_method_takes_that_it_overrides(kind):
    overrides = {name for name in vars(kind) if hasattr(Backend, name) and inspect.isfunction(vars(kind)[name])}
    assert {"accumulate", "add_scaled", "max_norm"} <= overrides
    for name in overrides - {"__init__"}:
        ours, specified = (inspect.signature(getattr(one, name)) for one in (kind, Backend))
        assert ours == specified, name


def test_an_override_of_ones_own_that_takes_other_arguments_is_refused():
    with pytest.raises(md.ArgumentError, match=r"^Renamed\.add_scaled must take \(self, y, x, factor\), as Backend"):

        class Renamed(Backend):
            def add_scaled(self, x, y, factor):
                return x


def functions_of_xp() -> set[str]:
    """Every NAME in `xp.NAME`, `self.xp.NAME`, `network.xp.NAME` ... and `xp_of(a).NAME` of the package."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                of = node.value
                name = of.func if isinstance(of, ast.Call) else of
                if {getattr(name, "id", ""), getattr(name, "attr", "")} & {"xp", "xp_of"}:
                    found.add(node.attr)
    return found


def test_what_the_package_asks_of_an_array_module_is_what_the_contract_lists():
    cuda_alone = {"cuda", "RawKernel"}  # of CupyBackend, which is CuPy's
    assert functions_of_xp() - cuda_alone - {"__name__", "__version__"} == set(XP_FUNCTIONS.split())


def test_an_array_module_that_lacks_a_function_is_refused_by_name():
    class Poor(Backend):
        class xp:  # noqa: N801  # a module
            asarray = np.asarray

    with pytest.raises(md.ArgumentError, match=r"^xp must compute as NumPy does, got .* without add, arange"):
        Poor()


class Tensor:
    """What another library's array looks like from outside."""

    dtype, shape, ndim = np.float32, (1, 2), 2

    def __array__(self, dtype=None, copy=None):
        return np.ones((1, 2), np.float32)

    def reshape(self, *shape):
        return self


@pytest.mark.parametrize(
    ("module", "remedy"),
    [("torch", r"z\.detach\(\)\.cpu\(\)\.numpy\(\)"), ("tensorflow.python", r"z\.numpy\(\)"),
     ("jaxlib._jax", r"np\.asarray\(z\)"), ("pandas", r"z\.to_numpy\(\)")],
)  # fmt: skip
def test_an_array_of_another_library_is_refused_with_the_way_to_convert_it(module, remedy):
    foreign = type("Tensor", (Tensor,), {"__module__": module})()
    for call in (lambda z: md.softmax(z), lambda z: md.kl_divergence(z, z, 1.0), lambda z: md.geometric_mean(z)):
        with pytest.raises(md.ArgumentError, match=r"^(z|logits) must be an array of NumPy .*: convert it by "):
            call(foreign)
    with pytest.raises(md.ArgumentError, match=remedy):
        md.softmax(foreign)
    with pytest.raises(md.ArgumentError, match=r"^labels must be an array of NumPy"):
        md.Dataset(np.zeros((1, 2)), foreign)
    with pytest.raises(md.ArgumentError, match=r"^x must be an array of NumPy"):
        Network.mlp([2, 2], backend="numpy").predict(foreign)


@pytest.mark.parametrize("odd", [np.ma.array([[1.0, 2.0]]), np.ones((1, 2)).view(np.matrix)])
def test_masked_arrays_and_matrices_which_compute_otherwise_are_refused(odd):
    with pytest.raises(md.ArgumentError, match=r"^z must be a plain array, got "):
        md.softmax(odd)


# --- losses --------------------------------------------------------------------------------------------------------


def test_every_exported_loss_is_in_a_table_of_the_tested():
    import test_later_losses
    import test_losses

    from minidistill import losses

    tested = {name.partition(",")[0] for name in (*test_losses.LOSSES, *test_later_losses.LOSSES)}
    gradients = {"high_temperature_gradient", "logit_matching_gradient"}  # test_high_temperature.py
    assert set(losses.__all__) - gradients == tested, "add it to LOSSES"
    page = (PACKAGE.parent / "docs" / "losses.md").read_text(encoding="utf-8")
    for name in set(losses.__all__) - gradients - set(test_losses.LOSSES):
        assert f"| `{name}(" in page, f"add {name} to docs/losses.md"
        assert name in test_later_losses.OF, f"add {name} to OF, whose arguments are tried"
