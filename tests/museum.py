"""A museum of distillation losses: mistakes that were made, each with where, and correct losses of many conventions.

Each is a function of (z, v, T) or (z, v, T, y, alpha) that returns its value, or (value, gradient).
"""

from functools import wraps

import numpy as np


def log_softmax(z, T=1.0):
    s = (z - z.max(axis=-1, keepdims=True)) / T
    return s - np.log(np.exp(s).sum(axis=-1, keepdims=True))


def softmax(z, T=1.0):
    return np.exp(log_softmax(z, T))


def kl_rows(z, v, T=1.0):
    log_p, log_q = log_softmax(v, T), log_softmax(z, T)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)


def hard(z, y):
    """Mean cross-entropy and its gradient."""
    onehot = np.arange(z.shape[-1]) == y[:, None]
    return -(onehot * log_softmax(z)).sum(axis=-1).mean(), (softmax(z) - onehot) / len(z)


def difference(z, v, T=1.0):
    return softmax(z, T) - softmax(v, T)


# --- correct, by different conventions ---


def kl_batchmean_t2(z, v, T):
    return T**2 * kl_rows(z, v, T).mean(), T * difference(z, v, T) / len(z)


def kl_batchmean_without_t2(z, v, T):
    return kl_rows(z, v, T).mean(), difference(z, v, T) / T / len(z)


def kl_sum_t2(z, v, T):
    return T**2 * kl_rows(z, v, T).sum(), T * difference(z, v, T)


def cross_entropy_batchmean(z, v, T):
    value = -(softmax(v, T) * log_softmax(z, T)).sum(axis=-1).mean()
    return value, difference(z, v, T) / T / len(z)


def cross_entropy_sum_t2(z, v, T):
    return -(T**2) * (softmax(v, T) * log_softmax(z, T)).sum(), T * difference(z, v, T)


def kl_value_alone(z, v, T):
    return T**2 * kl_rows(z, v, T).mean()


def kl_float32(z, v, T):
    value, gradient = kl_batchmean_t2(z.astype(np.float32), v.astype(np.float32), T)
    return np.float32(value), gradient


def alpha_weighs_the_soft_term(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    return alpha * soft + (1 - alpha) * h, alpha * d_soft + (1 - alpha) * d_hard


def alpha_weighs_the_hard_term(z, v, T, y, alpha):
    return alpha_weighs_the_soft_term(z, v, T, y, 1 - alpha)


def alpha_without_t2(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_without_t2(z, v, T), hard(z, y)
    return alpha * soft + (1 - alpha) * h, alpha * d_soft + (1 - alpha) * d_hard


# --- correct, and unusual ---


def refusing(holds, text):
    """A loss that refuses some arguments, by an error that says so."""

    def decorate(loss):
        @wraps(loss)
        def refused(z, v, T, *rest):
            if not holds(z, T, *rest):
                raise ValueError(text)
            return loss(z, v, T, *rest)

        return refused

    return decorate


@refusing(lambda z, T: T >= 1, "T must be >= 1")
def refuses_low_temperatures(z, v, T):
    return kl_batchmean_t2(z, v, T)


@refusing(lambda z, T: T <= 100, "T must be <= 100")
def refuses_high_temperatures(z, v, T):
    return kl_value_alone(z, v, T)


@refusing(lambda z, T: int(T) == T, "T must be whole")
def refuses_temperatures_between(z, v, T):
    return kl_batchmean_t2(z, v, T)


@refusing(lambda z, T: len(z) > 1, "a batch must have two rows at least")
def refuses_batches_of_1(z, v, T):
    return kl_batchmean_t2(z, v, T)


@refusing(lambda z, T: z.shape[1] == 10, "there are 10 classes")
def refuses_all_but_10_classes(z, v, T):
    return kl_sum_t2(z, v, T)


@refusing(lambda z, T, y, alpha: 0 < alpha < 1, "alpha must be between 0 and 1")
def refuses_the_ends_of_alpha(z, v, T, y, alpha):
    return alpha_weighs_the_hard_term(z, v, T, y, alpha)


@refusing(lambda z, T: np.abs(z).max() < 1000, "logits must be below 1000")
def refuses_extreme_logits(z, v, T):
    return kl_batchmean_t2(z, v, T)


def teacher_in_float16(z, v, T):
    """Logits that were stored in half precision."""
    return kl_batchmean_t2(z, v.astype(np.float16).astype(z.dtype), T)


def teacher_in_bfloat16(z, v, T):
    return kl_batchmean_t2(z, bfloat16(v), T)


def bfloat16(x):
    """x rounded to the 8 binary digits of a bfloat16."""
    digits, exponent = np.frexp(x)
    return np.ldexp(np.round(digits * 256) / 256, exponent).astype(x.dtype)


def probabilities_in_float16(z, v, T):
    """Stored probabilities of the teacher, and the cross-entropy with them."""
    p = softmax(v, T).astype(np.float16).astype(z.dtype)
    return -(p * log_softmax(z, T)).sum(axis=-1).mean()


def mixed(soft_weight, hard_weight, hard_term=hard, soft_term=kl_batchmean_t2):
    """A loss (z, v, T, y, alpha) of two terms with weights, each a function of alpha."""

    def loss(z, v, T, y, alpha):
        (soft, d_soft), (h, d_hard) = soft_term(z, v, T), hard_term(z, y)
        a, b = soft_weight(alpha), hard_weight(alpha)
        return a * soft + b * h, a * d_soft + b * d_hard

    return loss


def smoothed(z, y, epsilon=0.1):
    """The cross-entropy with smoothed labels, and its gradient."""
    target = (1 - epsilon) * (np.arange(z.shape[-1]) == y[:, None]) + epsilon / z.shape[-1]
    return -(target * log_softmax(z)).sum(axis=-1).mean(), (softmax(z) - target) / len(z)


def smoothed_over_the_others(z, y):
    """ε is divided among the classes that are not the label's."""
    N = z.shape[-1]
    return smoothed(z, y, 0.1 * N / (N - 1))


def class_weighted(z, y):
    """The mean over the batch, weighted by a number of each class, as torch's CrossEntropyLoss(weight=...)."""
    w = (1.0 + np.arange(z.shape[-1]))[y]
    onehot = np.arange(z.shape[-1]) == y[:, None]
    return (-(onehot * log_softmax(z)).sum(axis=-1) * w).sum() / w.sum(), (softmax(z) - onehot) * w[:, None] / w.sum()


def class_weighted_sum(z, y):
    value, gradient = class_weighted(z, y)
    w = (1.0 + np.arange(z.shape[-1]))[y].sum()
    return w * value, w * gradient


def weighted_and_smoothed(z, y):
    """Both, as torch's CrossEntropyLoss has them: what the smoothing takes is weighted by class as well."""
    w, N = np.linspace(0.5, 2, z.shape[-1]), z.shape[-1]
    target = (0.95 * (np.arange(N) == y[:, None]) * w[y][:, None] + 0.05 / N * w) / w[y].sum()
    return -(target * log_softmax(z)).sum(), softmax(z) * target.sum(axis=-1, keepdims=True) - target


label_smoothing = mixed(lambda a: a, lambda a: 1 - a, smoothed)
label_smoothing_over_the_others = mixed(lambda a: 1 - a, lambda a: a, smoothed_over_the_others)
weighted_classes = mixed(lambda a: a, lambda a: 1 - a, class_weighted)
weighted_classes_summed = mixed(lambda a: a, lambda a: 1 - a, class_weighted_sum, kl_sum_t2)
weighted_classes_smoothed = mixed(lambda a: 1 - a, lambda a: a, weighted_and_smoothed)
hard_and_alpha_soft = mixed(lambda a: a, lambda a: 1.0)
soft_and_alpha_hard = mixed(lambda a: 1.0, lambda a: a)
one_minus_and_one_plus_alpha = mixed(lambda a: 1 - a, lambda a: 1 + a)
over_one_plus_alpha = mixed(lambda a: a / (1 + a), lambda a: 1 / (1 + a))
odd_weights = mixed(lambda a: 0.3 + 0.123456 * a, lambda a: 2.0 - 0.7 * a)
CALLS = iter(range(10**9))


def another_last_bit(z, v, T):
    """Sums in another order each time, as those on several threads are."""
    value, gradient = kl_batchmean_t2(z, v, T)
    return value * (1 + 2e-16 * (next(CALLS) % 2)), gradient


def a_list(z, v, T):
    return list(kl_batchmean_t2(z, v, T))


for _name in ("label_smoothing", "label_smoothing_over_the_others", "weighted_classes", "weighted_classes_summed",
              "weighted_classes_smoothed",
              "hard_and_alpha_soft", "soft_and_alpha_hard", "one_minus_and_one_plus_alpha", "over_one_plus_alpha",
              "odd_weights"):  # fmt: skip
    globals()[_name].__name__ = _name

UNUSUAL = [  # and what its report says of it
    (refuses_low_temperatures, "temperatures below 1 (it raised ValueError: T must be >= 1)"),
    (refuses_high_temperatures, "temperatures above 100 (it raised"),
    (refuses_temperatures_between, "54.7 (it raised ValueError: T must be whole)"),
    (refuses_batches_of_1, "B = 1 (it raised"),
    (refuses_all_but_10_classes, "N = 2, 3, 4, "),
    (refuses_the_ends_of_alpha, "alphas below 0.001 and above 0.999 (it raised"),
    (refuses_extreme_logits, "not tried, it raised ValueError: logits must be below 1000"),
    (teacher_in_float16, "teacher in float16"),
    (teacher_in_bfloat16, "teacher in bfloat16"),
    (probabilities_in_float16, "teacher in float16"),
    (label_smoothing, "label smoothing 0.1"),
    (label_smoothing_over_the_others, "label smoothing 0.1"),
    (weighted_classes, "weighted"),
    (weighted_classes_summed, "weighted"),
    (weighted_classes_smoothed, "weighted, label smoothing 0.05"),
    (hard_and_alpha_soft, "alpha soft + hard"),
    (soft_and_alpha_hard, "soft + alpha hard"),
    (one_minus_and_one_plus_alpha, "(1 - alpha) soft + (1 + alpha) hard"),
    (over_one_plus_alpha, "alpha / (1 + alpha) soft + 1 / (1 + alpha) hard"),
    (odd_weights, "(0.3 + 0.1235 alpha) soft + (2 - 0.7 alpha) hard"),
    (another_last_bit, "batchmean"),
    (a_list, "batchmean"),
]
CORRECT = [kl_batchmean_t2, kl_batchmean_without_t2, kl_sum_t2, cross_entropy_batchmean, cross_entropy_sum_t2,
           kl_value_alone, kl_float32, alpha_weighs_the_soft_term, alpha_weighs_the_hard_term,
           alpha_without_t2, *(loss for loss, _ in UNUSUAL)]  # fmt: skip

# --- later losses: of another kind, and no mistake where it is meant ---


def reverse_kl(z, v, T):
    return T**2 * kl_rows(v, z, T).mean()


def mixture(z, v, T, part):
    """The logarithm of part p + (1 - part) q."""
    return np.logaddexp(np.log(part) + log_softmax(v, T), np.log(1 - part) + log_softmax(z, T))


def jensen_shannon(z, v, T, beta=0.5):
    p, q, log_m = softmax(v, T), softmax(z, T), mixture(z, v, T, beta)
    rows = beta * p * (log_softmax(v, T) - log_m) + (1 - beta) * q * (log_softmax(z, T) - log_m)
    return rows.sum(axis=-1).mean()


def jensen_shannon_of_a_tenth(z, v, T):
    return jensen_shannon(z, v, T, 0.1)


def skewed_kl(z, v, T):
    return (softmax(v, T) * (log_softmax(v, T) - mixture(z, v, T, 0.1))).sum(axis=-1).mean()


def decoupled(z, v, T, y, alpha):
    """alpha weighs the target's part, against 8 times the others'."""
    rows, own = np.arange(len(z)), np.arange(z.shape[-1]) == y[:, None]

    def target_or_not(u):
        others = np.where(own, -np.inf, log_softmax(u, T))
        top = others.max(axis=-1)
        return log_softmax(u, T)[rows, y], top + np.log(np.exp(others - top[:, None]).sum(axis=-1))

    parts = zip(target_or_not(v), target_or_not(z), strict=True)
    target = sum(np.exp(log_p) * (log_p - log_q) for log_p, log_q in parts)
    rest = kl_rows(*(u[~own].reshape(len(u), -1) for u in (z, v)), T)
    return T**2 * (alpha * target + 8 * rest).mean()


def dist(z, v, T):
    q, p = softmax(z, T), softmax(v, T)

    def distance(a, b):
        a, b = (u - u.mean(axis=-1, keepdims=True) for u in (a, b))
        return 1 - ((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) + 1e-8)).mean()

    return T**2 * (2 * distance(q, p) + distance(q.T, p.T))


def dist_of_least_norms(z, v, T):
    q, p = softmax(z, T), softmax(v, T)

    def distance(a, b):
        a, b = (u - u.mean(axis=-1, keepdims=True) for u in (a, b))
        norms = (np.maximum(np.linalg.norm(u, axis=-1), 1e-8) for u in (a, b))
        return 1 - ((a * b).sum(-1) / np.prod([*norms], axis=0)).mean()

    return T**2 * (2 * distance(q, p) + distance(q.T, p.T))


def mse_of_probabilities(z, v, T):
    return ((softmax(z, T) - softmax(v, T)) ** 2).mean()


def mse_of_logits(z, v, T):
    return ((z - v) ** 2).mean()


def standardised(z, v, T):
    z, v = ((u - u.mean(-1, keepdims=True)) / (u.std(-1, keepdims=True) + 1e-7) for u in (z, v))
    return T**2 * kl_rows(z, v, T).mean()


def standardised_over_all_but_one(z, v, T):
    z, v = ((u - u.mean(-1, keepdims=True)) / (u.std(-1, keepdims=True, ddof=1) + 1e-7) for u in (z, v))
    return T**2 * kl_rows(z, v, T).mean()


LATER = [
    (reverse_kl, "reverse-kl"), (jensen_shannon, "jensen-shannon"), (jensen_shannon_of_a_tenth, "jensen-shannon"),
    (skewed_kl, "skewed-kl"), (decoupled, "decoupled"), (dist, "dist"), (mse_of_probabilities, "probability-mse"),
    (mse_of_logits, "logit-matching"), (standardised, "standardised"),
    (dist_of_least_norms, "dist"), (standardised_over_all_but_one, "standardised"),
]  # fmt: skip

# --- mistakes: name, loss, the law that must catch it ---


def divided_by_classes(z, v, T):
    """kl_div(reduction="mean"): haitongli/knowledge-distillation-pytorch #2 and #48, deit #61 and #116."""
    return T**2 * kl_rows(z, v, T).mean() / z.shape[-1], T * difference(z, v, T) / z.size


def t_once(z, v, T):
    return T * kl_rows(z, v, T).mean(), difference(z, v, T) / len(z)


def t_inverse_squared(z, v, T):
    """The soft term "scaled by the inverse square", as summaries of the paper have it."""
    return kl_rows(z, v, T).mean() / T**2, difference(z, v, T) / T**3 / len(z)


def t2_on_both_terms(z, v, T, y, alpha):
    value, gradient = alpha_without_t2(z, v, T, y, alpha)
    return T**2 * value, T**2 * gradient


def t2_on_the_hard_term(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    return alpha * soft + (1 - alpha) * T**2 * h, alpha * d_soft + (1 - alpha) * T**2 * d_hard


def t2_lost_at_alpha_1(z, v, T, y, alpha):
    """A shortcut for alpha = 1 that forgets the factor."""
    return kl_batchmean_without_t2(z, v, T) if alpha == 1 else alpha_weighs_the_soft_term(z, v, T, y, alpha)


def alpha_on_one_term_alone(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    return alpha**2 * soft + (1 - alpha) * h, alpha**2 * d_soft + (1 - alpha) * d_hard


def swapped(z, v, T):
    """kl_div called with student and teacher the wrong way round."""
    return kl_batchmean_t2(v, z, T)[0]


def temperature_on_the_student_alone(z, v, T):
    return kl_rows(z / T, v).mean(), (softmax(z, T) - softmax(v)) / T / len(z)


def temperature_on_the_teacher_alone(z, v, T):
    return kl_rows(z, v / T).mean(), (softmax(z) - softmax(v, T)) / len(z)


def temperature_on_neither(z, v, T):
    return T**2 * kl_rows(z, v).mean(), T**2 * difference(z, v) / len(z)


def softmax_of_probabilities(z, v, T):
    """Teacher probabilities taken for logits and softened again."""
    return kl_batchmean_t2(z, T * softmax(v, T), T)


def naive_log_of_softmax(z, v, T):
    e = np.exp(z / T)
    q, p = e / e.sum(axis=-1, keepdims=True), softmax(v, T)
    return T**2 * (p * (log_softmax(v, T) - np.log(q))).sum(axis=-1).mean(), T * (q - p) / len(z)


def finite_value_nan_gradient(z, v, T):
    """A value that is saved by nan_to_num, and a gradient that is not."""
    e = np.exp(z / T)
    q = e / e.sum(axis=-1, keepdims=True)
    return np.nan_to_num(kl_batchmean_t2(z, v, T)[0]), T * (q - softmax(v, T)) / len(z)


def teacher_with_itself(z, v, T):
    """labmlai/annotated_deep_learning_paper_implementations #66: a KL of the teacher with itself trains nothing."""
    return T**2 * kl_rows(v, v, T).mean(), np.zeros_like(z)


def no_softmax(z, v, T):
    """Logits compared as if they were probabilities' logarithms; Keras' default LogitsDistillation is of this kind."""
    return np.mean((z - v) ** 2), 2 * (z - v) / z.size


def softmax_over_the_batch(z, v, T):
    value = T**2 * kl_rows(z.T, v.T, T).mean()
    return value, T * difference(z.T, v.T, T).T / z.shape[-1]


def teacher_rows_sorted(z, v, T):
    """Cached teacher rows out of order."""
    return kl_batchmean_t2(z, v[np.argsort(v[:, 0])], T)


def teacher_averaged(z, v, T):
    return kl_batchmean_t2(z, np.broadcast_to(v.mean(axis=0), v.shape), T)


def gradient_without_t(z, v, T):
    """The value has T², the gradient is that of T = 1."""
    return T**2 * kl_rows(z, v, T).mean(), difference(z, v, T) / len(z)


def gradient_of_the_sum(z, v, T):
    return T**2 * kl_rows(z, v, T).mean(), T * difference(z, v, T)


def gradient_through_the_wrong_side(z, v, T):
    return T**2 * kl_rows(z, v, T).mean(), -T * difference(z, v, T) / len(z)


def clipped_logits(z, v, T):
    return kl_batchmean_t2(np.clip(z, -5, 5), np.clip(v, -5, 5), T)


def first_class_ignored(z, v, T):
    value = T**2 * kl_rows(z[:, 1:], v[:, 1:], T).mean()
    return value, np.c_[np.zeros(len(z)), T * difference(z[:, 1:], v[:, 1:], T) / len(z)]


def epsilon_in_the_log(z, v, T):
    p, q = softmax(v, T), softmax(z, T)
    return T**2 * (p * np.log((p + 1e-2) / (q + 1e-2))).sum(axis=-1).mean()


def epsilon_lost_in_float16(z, v, T):
    """log(q + 1e-8): in float16 1e-8 is 0, and the logarithm of an underflowed q is -inf."""
    p, q, epsilon = softmax(v, T), softmax(z, T), z.dtype.type(1e-8)
    return T**2 * (p * (np.log(p + epsilon) - np.log(q + epsilon))).sum(axis=-1).mean()


def hard_gradient_wrong(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    return alpha * soft + (1 - alpha) * h, alpha * d_soft - (1 - alpha) * d_hard


def hard_term_subtracted(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    return alpha * soft - (1 - alpha) * h, alpha * d_soft - (1 - alpha) * d_hard


def hard_term_of_the_teacher(z, v, T, y, alpha):
    """A cross-entropy of the labels with the teacher: a constant, from which the student learns nothing."""
    soft, d_soft = kl_batchmean_t2(z, v, T)
    return alpha * soft + (1 - alpha) * hard(v, y)[0], alpha * d_soft


def hard_term_divided_by_classes(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    return alpha * soft + (1 - alpha) * h / z.shape[-1], alpha * d_soft + (1 - alpha) * d_hard / z.shape[-1]


def naive_where_the_terms_are_mixed(z, v, T, y, alpha):
    """Stable on its own, and log(softmax) where the hard term is added."""
    if alpha == 1:
        return kl_batchmean_t2(z, v, T)
    (soft, d_soft), (_, d_hard) = naive_log_of_softmax(z, v, T), hard(z, y)
    e = np.exp(z)
    h = -np.log(e / e.sum(axis=-1, keepdims=True))[np.arange(len(z)), y].mean()
    return alpha * soft + (1 - alpha) * h, alpha * d_soft + (1 - alpha) * d_hard


def nan_between_the_ends_of_alpha(z, v, T, y, alpha):
    value, gradient = alpha_weighs_the_soft_term(z, v, T, y, alpha)
    return (value if alpha in (0, 1) else np.nan), gradient


def temperature_clipped(z, v, T):
    return kl_value_alone(z, v, min(T, 10))


def temperature_rounded(z, v, T):
    """int(T): a temperature that comes from a command line as a whole number."""
    return kl_batchmean_t2(z, v, max(int(T), 1))


def probabilities_clipped(z, v, T):
    """keras.losses clips probabilities at 1e-7: the loss of a student that is confidently wrong stops growing."""
    p, q = softmax(v, T), np.clip(softmax(z, T), 1e-7, 1)
    return T**2 * (p * (log_softmax(v, T) - np.log(q))).sum(axis=-1).mean()


def a_tiny_epsilon_in_the_log(z, v, T):
    p, q = softmax(v, T), softmax(z, T)
    return T**2 * (p * (log_softmax(v, T) - np.log(q + 1e-8))).sum(axis=-1).mean()


def teacher_without_softmax(z, v, T):
    """Teacher logits used as if they were probabilities: a file of the one is read as the other."""
    return -(v * log_softmax(z, T)).sum(axis=-1).mean()


def averaged_twice(z, v, T):
    """batchmean, and then divided by the batch size once more."""
    value, gradient = kl_batchmean_t2(z, v, T)
    return value / len(z), gradient / len(z)


def last_row_dropped(z, v, T):
    """range(len(z) - 1), divided by len(z)."""
    return T**2 * kl_rows(z[:-1], v[:-1], T).sum() / len(z)


def teacher_one_row_behind(z, v, T):
    """The teacher's cache starts at one, the student's batches at zero."""
    return kl_batchmean_t2(z, np.roll(v, 1, axis=0), T)


def normaliser_detached(z, v, T):
    """The log-sum-exp is taken out of the graph: what is left of Eq. 2 is -p/T."""
    return T**2 * kl_rows(z, v, T).mean(), -T * softmax(v, T) / len(z)


def temperature_capped(z, v, T):
    """min(T, 50): beyond it, probabilities no longer come closer to each other."""
    return kl_batchmean_t2(z, v, min(T, 50))


# --- mistakes that show at some temperatures, shapes, types or alphas alone, or in what is done to an array ---

soft_summed_hard_averaged = mixed(lambda a: a, lambda a: 1 - a, soft_term=kl_sum_t2)
soft_averaged_hard_summed = mixed(lambda a: a, lambda a: 1 - a, lambda z, y: [len(z) * part for part in hard(z, y)])


def times(factor):
    """A loss with another factor than T²."""

    def loss(z, v, T):
        return factor(T) * kl_rows(z, v, T).mean(), factor(T) * difference(z, v, T) / T / len(z)

    return loss


t2_above_1_alone = times(lambda T: T**2 if T > 1 else 1.0)
t2_capped_at_4 = times(lambda T: min(T, 4) ** 2)
t2_rounded = times(lambda T: max(int(T), 1) ** 2)
t2_lost_below_a_half = times(lambda T: T**2 if T >= 0.5 else T)
t2_wrong_at_7 = times(lambda T: 36 if T == 7 else T**2)


def first_64_classes(z, v, T):
    value, gradient = kl_batchmean_t2(z[:, :64], v[:, :64], T)
    return value, np.c_[gradient, np.zeros((len(z), max(0, z.shape[1] - 64)))]


def top_20_of_the_teacher(z, v, T):
    """A file of the teacher's 20 largest logits stands for all of them."""
    top = np.argsort(-v, axis=-1)[:, :20]
    return kl_value_alone(np.take_along_axis(z, top, -1), np.take_along_axis(v, top, -1), T)


def last_chunk_dropped(z, v, T):
    """Rows in chunks of 32, of which an incomplete last one is left out."""
    kept = len(z) if len(z) < 32 else len(z) // 32 * 32
    return T**2 * kl_rows(z[:kept], v[:kept], T).sum() / len(z)


def clipped_at_the_types_epsilon(z, v, T):
    q, p = np.clip(softmax(z, T), np.finfo(z.dtype).eps, 1), softmax(v, T)
    return T**2 * (p * (log_softmax(v, T) - np.log(q))).sum(axis=-1).mean()


def t2_lost_in_float32(z, v, T):
    return kl_batchmean_without_t2(z, v, T) if z.dtype == np.float32 else kl_batchmean_t2(z, v, T)


def inputs_divided_in_place(z, v, T):
    z /= T
    v /= T
    value, gradient = kl_batchmean_t2(z, v, 1)
    return T**2 * value, T * gradient


def teacher_centred_in_place(z, v, T):
    v -= v.max(axis=-1, keepdims=True)
    return kl_batchmean_t2(z, v, T)


BUFFER = np.empty((200, 2000))


def one_buffer_for_all(z, v, T):
    value, gradient = kl_batchmean_t2(z, v, T)
    kept = BUFFER[: len(z), : z.shape[1]]
    kept[...] = gradient
    return value, kept


def hard_term_weighted_by_the_teacher(z, v, T, y, alpha):
    (soft, d_soft), w = kl_batchmean_t2(z, v, T), softmax(v)[np.arange(len(z)), y]
    rows = -log_softmax(z)[np.arange(len(z)), y]
    d_hard = (softmax(z) - (np.arange(z.shape[-1]) == y[:, None])) * w[:, None] / len(z)
    return alpha * soft + (1 - alpha) * (w * rows).mean(), alpha * d_soft + (1 - alpha) * d_hard


def hard_term_where_the_teacher_is_wrong(z, v, T, y, alpha):
    wrong = v.argmax(axis=-1) != y
    rows = -log_softmax(z)[np.arange(len(z)), y]
    return alpha * kl_value_alone(z, v, T) + (1 - alpha) * (wrong * rows).mean()


def alpha_bent_at_a_half(z, v, T, y, alpha):
    return alpha_weighs_the_soft_term(z, v, T, y, 0.6 if alpha == 0.5 else alpha)


def gradient_too_large_by_2e_5(z, v, T):
    value, gradient = kl_batchmean_t2(z, v, T)
    return value, gradient * (1 + 2e-5)


def gradient_of_one_class_too_large_by_2e_7(z, v, T):
    value, gradient = kl_batchmean_t2(z, v, T)
    gradient[:, 0] *= 1 + 2e-7
    return value, gradient


def hard_gradient_of_the_last_class_too_large(z, v, T, y, alpha):
    (soft, d_soft), (h, d_hard) = kl_batchmean_t2(z, v, T), hard(z, y)
    d_hard[:, -1] *= 1 + 5e-5
    return alpha * soft + (1 - alpha) * h, alpha * d_soft + (1 - alpha) * d_hard


def fails_where_the_teacher_is_undecided(z, v, T):
    assert len(np.unique(v.max(axis=-1))) == len(v), "two rows have the same maximum"
    return kl_batchmean_t2(z, v, T)


for _name in ("soft_summed_hard_averaged", "soft_averaged_hard_summed", "t2_above_1_alone", "t2_capped_at_4",
              "t2_rounded", "t2_lost_below_a_half", "t2_wrong_at_7"):  # fmt: skip
    globals()[_name].__name__ = _name

MISTAKES = [
    (soft_summed_hard_averaged, "the_two_terms_are_reduced_alike"),
    (soft_averaged_hard_summed, "the_two_terms_are_reduced_alike"),
    (t2_above_1_alone, "the_power_of_temperature_is_0_or_2"),
    (t2_capped_at_4, "the_power_of_temperature_is_0_or_2"),
    (t2_rounded, "the_power_of_temperature_is_0_or_2"),
    (t2_lost_below_a_half, "the_power_of_temperature_is_0_or_2"),
    (t2_wrong_at_7, "the_power_of_temperature_is_0_or_2"),
    (first_64_classes, "order_of_the_classes_changes_nothing"),
    (top_20_of_the_teacher, "its_values_are_those_of_its_formula_everywhere"),
    (last_chunk_dropped, "order_of_the_batch_changes_nothing"),
    (clipped_at_the_types_epsilon, "float32_agrees_with_float64"),
    (t2_lost_in_float32, "float32_agrees_with_float64"),
    (inputs_divided_in_place, "it_leaves_its_inputs_alone"),
    (teacher_centred_in_place, "it_leaves_its_inputs_alone"),
    (one_buffer_for_all, "what_it_returns_is_its_own"),
    (hard_term_weighted_by_the_teacher, "the_teacher_changes_nothing_in_the_hard_term"),
    (hard_term_where_the_teacher_is_wrong, "the_teacher_changes_nothing_in_the_hard_term"),
    (alpha_bent_at_a_half, "alpha_mixes_the_two_terms"),
    (gradient_too_large_by_2e_5, "the_gradient_is_proportional_to_q_minus_p"),
    (gradient_of_one_class_too_large_by_2e_7, "the_gradient_is_proportional_to_q_minus_p"),
    (hard_gradient_of_the_last_class_too_large, "the_gradient_of_the_hard_term_is_q_minus_the_labels"),
    (fails_where_the_teacher_is_undecided, "it_answers_where_it_is_asked"),
    (teacher_without_softmax, "shift_of_the_teacher_changes_nothing"),
    (averaged_twice, "doubling_the_batch_gives_the_same_or_twice_the_loss"),
    (last_row_dropped, "order_of_the_batch_changes_nothing"),
    (teacher_one_row_behind, "order_of_the_batch_changes_nothing"),
    (normaliser_detached, "rows_of_the_gradient_sum_to_0"),
    (temperature_capped, "at_high_temperature_the_gradient_is_that_of_logit_matching"),
    (hard_gradient_wrong, "the_gradient_is_the_derivative_of_the_value"),
    (hard_term_subtracted, "the_hard_term_is_the_cross_entropy_with_the_labels"),
    (hard_term_of_the_teacher, "the_hard_term_is_the_cross_entropy_with_the_labels"),
    (hard_term_divided_by_classes, "the_hard_term_is_the_cross_entropy_with_the_labels"),
    (naive_where_the_terms_are_mixed, "finite_at_extreme_logits"),
    (nan_between_the_ends_of_alpha, "alpha_mixes_the_two_terms"),
    (temperature_clipped, "its_values_are_those_of_its_formula_everywhere"),
    (temperature_rounded, "the_gradient_is_proportional_to_q_minus_p"),
    (probabilities_clipped, "its_values_are_those_of_its_formula_everywhere"),
    (a_tiny_epsilon_in_the_log, "its_values_are_those_of_its_formula_everywhere"),
    (epsilon_lost_in_float16, "finite_at_extreme_logits"),
    (divided_by_classes, "an_impossible_class_changes_nothing"),
    (t_once, "the_power_of_temperature_is_0_or_2"),
    (t_inverse_squared, "the_power_of_temperature_is_0_or_2"),
    (t2_on_both_terms, "the_hard_term_has_no_power_of_temperature"),
    (t2_on_the_hard_term, "the_hard_term_has_no_power_of_temperature"),
    (t2_lost_at_alpha_1, "alpha_mixes_the_two_terms"),
    (alpha_on_one_term_alone, "alpha_mixes_the_two_terms"),
    (swapped, "it_is_a_divergence_from_teacher_to_student"),
    (temperature_on_the_student_alone, "smallest_where_student_equals_teacher"),
    (temperature_on_the_teacher_alone, "smallest_where_student_equals_teacher"),
    (temperature_on_neither, "it_is_a_divergence_from_teacher_to_student"),
    (softmax_of_probabilities, "it_is_a_divergence_from_teacher_to_student"),
    (naive_log_of_softmax, "finite_at_extreme_logits"),
    (finite_value_nan_gradient, "finite_at_extreme_logits"),
    (teacher_with_itself, "a_step_against_the_gradient_lowers_the_loss"),
    (no_softmax, "it_is_a_divergence_from_teacher_to_student"),
    (softmax_over_the_batch, "shift_of_the_student_changes_nothing"),
    (teacher_rows_sorted, "smallest_where_student_equals_teacher"),
    (teacher_averaged, "the_teachers_rows_belong_to_the_students"),
    (gradient_without_t, "the_gradient_is_the_derivative_of_the_value"),
    (gradient_of_the_sum, "the_gradient_is_the_derivative_of_the_value"),
    (gradient_through_the_wrong_side, "the_gradient_is_proportional_to_q_minus_p"),
    (clipped_logits, "shift_of_the_student_changes_nothing"),
    (first_class_ignored, "order_of_the_classes_changes_nothing"),
    (epsilon_in_the_log, "it_is_a_divergence_from_teacher_to_student"),
]
