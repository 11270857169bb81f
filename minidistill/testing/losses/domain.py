"""Where a loss answers, found by trial, and in which arithmetic: what it refuses is named, and is no mistake.

All values of the loss are asked for here, and each is remembered: the laws ask much of the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .frameworks import Loss, Outcome, Unusable

Mix = dict[float, float]  # alpha: weight; the sum of the losses at these alphas with these weights

EPSILONS = {"float64": 1e-12, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""The error of a rounded number; float64's is 1e-16, but a wrong loss is never so nearly right."""

LOST = {"bfloat16": 2.0**-10, "float16": 2.0**-15, "float32": 2.0**-28}  # changes that rounding to these types loses
BASES = ((4, 5), (4, 10), (4, 100), (4, 1000), (4, 2), (4, 3), (1, 5), (32, 10))  # B and N that are tried first
SMALL = [(B, N) for B in (1, 2, 3) for N in (2, 3, 4, 5)]
TEMPERATURES = (1, 2, 0.5, 4, 2.5, 20, 3, 5, 6, 7, 8, 9, 10, 12, 15, 16, 25, 30, 40, 50, 64, 100, 200, 1000, 10000, 0.1,
                0.2, 0.25, 0.3, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9, 0.99, 1.1, 1.25, 1.5, 1.75, 3.5, 4.5, 5.5)  # fmt: skip
ALPHAS = (1, 0, 0.5, 0.25, 0.75, 0.1, 0.9, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.05, 0.95, 0.01, 0.99, 0.001, 0.999)
FEW_SHAPES = ((1, 2), (2, 1000))
LARGE = (((2,), (1000,)), ((67,), range(2, 9)), ((17,), (101,)), ((1,), range(500, 1000)),
         (range(5, 13), range(65, 200)), (range(33, 67, 2), (10,)))  # B and N, of which one each is drawn  # fmt: skip
BATCHES = 5  # that must all be refused before a shape, a temperature or an alpha is
FIRST, CALLS = 7, 4  # the seed of the first logits, and how often a loss is called with them
UNSTEADY, TINY = 5e-7, 1e-300  # a larger relative difference than sums in another order make in float32
HEARD, DIRECTIONS = 0.3, 8  # a relative change that no type loses, and in how many ways all logits are changed by it
DIGITS = 16  # the logits that are changed are whole sixteenths
MEMORY = 1e8  # bytes of logits and gradients that are remembered


def random_batch(B: int, N: int, seed: int = 0, deviation: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random logits z and v (B, N) of a deviation, and labels y (B,)."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, deviation, (B, N)), rng.normal(0, deviation, (B, N)), rng.integers(0, N, B)


def drawn_temperatures(rng: np.random.Generator) -> list[float]:
    """Return 8 temperatures of three digits from 0.1 to 100, as likely in one decade as in another."""
    return [float(f"{10**e:.3g}") for e in rng.uniform(-1, 2, 8)]


def drawn_shapes(pairs: Iterable[tuple[Sequence[int], Sequence[int]]], rng: np.random.Generator) -> list[Any]:
    """Return a shape (B, N) of each pair: one of its B, and one of its N."""
    return [(int(rng.choice(Bs)), int(rng.choice(Ns))) for Bs, Ns in pairs]


def drawn_alphas(rng: np.random.Generator) -> list[float]:
    """Return 3 alphas of three digits from 0 to 1."""
    return [float(f"{a:.3g}") for a in rng.uniform(0, 1, 3)]


class Domain:
    """Hold what a loss answers to: temperatures, shapes and alphas, and notes on what it refuses.

    base: its B and N, and a T, on which most is asked. types: in which the student, the teacher and T are computed,
    keys of EPSILONS; precision, the coarsest of them, and epsilon, its error. finite: whether the first answer is.
    steady: the largest relative difference between two calls with the same arguments. Raises Unusable for a function
    that answers nowhere, or at random.
    """

    def __init__(self, loss: Loss, seed: int = 0) -> None:
        self.loss, self.notes, self._known = loss, list[str](), dict[Any, Outcome]()
        self.types = dict[str, str]()
        self._bytes = 0
        compiled = loss.framework in ("jax", "keras")  # each new shape then costs a tenth of a second
        rng = np.random.default_rng(seed)
        self.base, self.T, self.alpha = self._first_answer()
        self.temperatures = self._answered(
            "temperatures", [*TEMPERATURES, *drawn_temperatures(rng)], lambda T: (*self.base, T)
        )
        N = self.base[1]
        others = FEW_SHAPES if compiled else [*SMALL, *drawn_shapes(LARGE, rng)]
        shapes = [*others, self.base, (1, N), (67, N)]
        self.shapes = self._answered("shapes", shapes, lambda shape: (*shape, self.T))
        self.alphas = [self.alpha]
        if loss.takes_labels:
            alphas = [*ALPHAS, *drawn_alphas(rng)]
            self.alphas = self._answered("alphas", alphas, lambda a: (*self.base, self.T, a))
        self.precision = self._precision()
        self.epsilon = EPSILONS[self.precision]

    def at(self, mix: Mix, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """Return value and gradients at a mix of alphas; y None stands for labels of 0."""
        y = np.zeros(len(z), dtype=np.int64) if y is None else y
        parts = [(weight, self.ask(alpha, z, v, T, y)) for alpha, weight in mix.items()]

        def total(of: Callable[[Outcome], Any]) -> Any:
            return None if of(parts[0][1]) is None else sum(weight * of(part) for weight, part in parts)

        return Outcome(
            total(lambda o: o.value), total(lambda o: o.gradient), total(lambda o: o.teacher_gradient),
            sum(abs(weight) * part.size for weight, part in parts), parts[0][1].changed,
        )  # fmt: skip

    def ask(self, alpha: float, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> Outcome:
        """Return value and gradients as the loss gives them, from memory where it gave them before."""
        key = alpha, T, z.dtype, v.dtype, z.shape, z.tobytes(), v.tobytes(), y.tobytes()
        if key not in self._known:
            self._bytes += 4 * z.nbytes
            if self._bytes > MEMORY:
                self._known.clear()
                self._bytes = 0
            self._known[key] = self.loss(z, v, T, y, alpha)
        return self._known[key]

    def _first_answer(self) -> tuple[tuple[int, int], float, float]:
        """Return the first B and N, T and alpha that are answered. Raises Unusable with the first of the errors."""
        errors = list[Unusable]()
        alphas = (1.0, 0.5) if self.loss.takes_labels else (1.0,)
        for (B, N), T, alpha in ((b, T, a) for T in (4.0, 1.0, 20.0, 0.5) for a in alphas for b in BASES):
            z, v, y = random_batch(B, N, FIRST)
            try:
                values = [self.loss(z, v, T, y, alpha).value for _ in range(CALLS)]
            except Unusable as error:
                errors.append(error)
                continue
            self.finite = bool(np.isfinite(values).all())
            self.steady = float(np.ptp(values) / max(*map(abs, values), TINY)) if self.finite else 0.0
            if self.steady > UNSTEADY:
                raise Unusable("the same logits gave two values: freeze its dropout, or its seed")
            return (B, N), T, alpha
        raise errors[0]

    def _answered(self, what: str, pool: Sequence[Any], at: Callable[[Any], tuple[Any, ...]]) -> list[Any]:
        """Return those of the pool that the loss does not refuse, each once, and note the others.

        Refused is what no one of several batches gets an answer for: a loss may fail on some logits alone.
        """
        answered, refused = list[Any](), dict[Any, str]()
        for one in dict.fromkeys(pool):
            B, N, T, *alpha = at(one)
            for seed in range(BATCHES):
                z, v, y = random_batch(B, N, seed)
                try:
                    self.ask(alpha[0] if alpha else self.alpha, z, v, float(T), y)
                except Unusable as error:
                    refused.setdefault(one, str(error))
                else:
                    answered.append(one)
                    refused.pop(one, None)
                    break
        if refused:
            self.notes.append(f"it refuses {_described(what, answered, refused)}")
        return answered

    def _precision(self) -> str:
        """Return the coarsest type met: the one that loses a change of all logits, or of T, as small as its rounding.

        All together, as a change of one logit among a thousand may be below the rounding of the value itself. They
        have few digits, so that each type holds them, and half a last place beyond.
        """
        B, N = self.base
        z, v, y = random_batch(B, N, FIRST)
        z, v = np.rint(DIGITS * z) / DIGITS, np.rint(DIGITS * v) / DIGITS
        T, alpha = (1.0 if 1 in self.temperatures else self.T), (0.5 if 0.5 in self.alphas else self.alpha)
        mid = self.ask(alpha, z, v, T, y).value
        noise = 4 * self.steady * abs(mid)

        def moves(which: int, signs: Any, by: float) -> bool:
            given: list[Any] = [z, v, T]
            given[which] = given[which] * (1 + by * signs)
            try:
                found = self.ask(alpha, given[0], given[1], given[2], y)
            except Unusable:  # whole temperatures, or one, are answered alone
                return False
            return not abs(found.value - mid) <= noise

        rng = np.random.default_rng(FIRST)
        directions = [rng.choice([-1.0, 1.0], (B, N)) for _ in range(DIRECTIONS)]
        for which, name in enumerate(("student", "teacher")):
            heard = all(moves(which, d, HEARD) for d in directions)
            lost = [
                t for t, by in LOST.items() if 2 * sum(moves(which, signs, by) for signs in directions) < DIRECTIONS
            ]
            self.types[name] = lost[0] if lost and heard else "float64"  # what hears less is no type
        moved = [moves(2, 1.0, by) for by in (HEARD, LOST["float16"], LOST["float32"])]
        self.types["T"] = "float32" if moved == [True, True, False] else "float64"  # a T in whole tenths is no type
        return max(self.types.values(), key=EPSILONS.__getitem__)


def _described(what: str, answered: Sequence[Any], refused: dict[Any, str]) -> str:
    """Return in words what is refused: beyond a border where there is one, else one by one."""
    words = f"{what} {_listed(refused)}"
    if what == "shapes":
        for axis in sorted((1, 0), key=lambda axis: -len({shape[axis] for shape in answered})):  # the best one last
            never = {shape[axis] for shape in refused} - {shape[axis] for shape in answered}
            if all(shape[axis] in never for shape in refused):
                words = f"{'BN'[axis]} = {_listed(never)}"
    elif answered:
        low, high = min(answered), max(answered)
        below, above = any(x < low for x in refused), any(x > high for x in refused)
        if not any(low < x < high for x in refused):
            words = f"{what} " + " and ".join([f"below {low:g}"] * below + [f"above {high:g}"] * above)
    return f"{words} ({next(iter(refused.values()))})"


def _listed(values: Iterable[Any]) -> str:
    found = sorted(values)
    shown = [f"{x:g}" if isinstance(x, (int, float)) else str(x) for x in found]
    return ", ".join(shown if len(shown) < 8 else [*shown[:3], "...", shown[-1]])
