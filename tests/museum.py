"""A museum of distillation losses: mistakes that were made, each with where, and correct losses of many conventions.

Each is a function of (z, v, T) or (z, v, T, y, alpha) that returns its value, or (value, gradient).
"""

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


CORRECT = [kl_batchmean_t2, kl_batchmean_without_t2, kl_sum_t2, cross_entropy_batchmean, cross_entropy_sum_t2,
           kl_value_alone, kl_float32, alpha_weighs_the_soft_term, alpha_weighs_the_hard_term,
           alpha_without_t2]  # fmt: skip

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


MISTAKES = [
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
    (no_softmax, "shift_of_the_student_changes_nothing"),
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
