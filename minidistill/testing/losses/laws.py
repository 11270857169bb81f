"""The laws of a distillation loss in the order in which they are tried, each with the mistake that it catches."""

from collections.abc import Callable
from dataclasses import dataclass

from . import gradient_laws, value_laws
from .judge import Case, Judge


@dataclass(frozen=True)
class Law:
    """Hold a law.

    check: raises Broken if a case breaks the law; its docstring states the property. mistake: what is likely wrong
    with a loss that breaks it. needs: what the loss must have for it, of "gradient", "labels" and "autodiff".
    """

    check: Callable[[Judge, Case], None]
    mistake: str
    needs: str = ""

    @property
    def name(self) -> str:
        """Return the name of its check."""
        return self.check.__name__


_IN_ORDER = (
    Law(
        value_laws.it_answers_where_it_is_asked,
        "an error for some logits or labels alone: what is refused should be an argument, not a batch",
    ),
    Law(
        value_laws.it_leaves_its_inputs_alone,
        "an operation in place: the caller's logits are others after the call",
    ),
    Law(
        value_laws.what_it_returns_is_its_own,
        "one buffer for all calls: who keeps a gradient or a value finds that of a later batch in it",
    ),
    Law(
        value_laws.finite_at_extreme_logits,
        "logits beyond the range of exp: take the row's maximum out first, and use log_softmax, not log(softmax)",
    ),
    Law(
        value_laws.float32_agrees_with_float64,
        "a clip, an epsilon or a branch that depends on the type of the logits",
    ),
    Law(
        value_laws.smallest_where_student_equals_teacher,
        "student and teacher swapped, T on one of them alone, or a softmax applied twice: the minimum is not at z = v",
    ),
    Law(
        value_laws.shift_of_the_student_changes_nothing,
        "the softmax is missing, or over the wrong axis",
    ),
    Law(
        value_laws.shift_of_the_teacher_changes_nothing,
        "the teacher's softmax is missing, over the wrong axis, or applied to probabilities",
    ),
    Law(
        value_laws.an_impossible_class_changes_nothing,
        "a division by the number of classes: reduction='mean' of kl_div, where 'batchmean' is meant",
    ),
    Law(
        value_laws.doubling_the_batch_gives_the_same_or_twice_the_loss,
        "rows that depend on each other: a softmax or a mean over the wrong axis",
    ),
    Law(
        value_laws.order_of_the_batch_changes_nothing,
        "rows that depend on each other, or on their place",
    ),
    Law(
        value_laws.order_of_the_classes_changes_nothing,
        "a class is treated apart, or the softmax is over the wrong axis",
    ),
    Law(
        value_laws.the_teachers_rows_belong_to_the_students,
        "the teacher is not used, or its rows are averaged away: cached logits in another order would not be noticed",
    ),
    Law(
        value_laws.it_is_a_divergence_from_teacher_to_student,
        "student and teacher swapped, T on one softmax alone or on neither, a softmax of probabilities, or no softmax",
    ),
    Law(
        value_laws.its_values_are_those_of_its_formula_everywhere,
        "logits, temperatures or probabilities are clipped or rounded, an epsilon added, rows or classes left out",
    ),
    Law(
        value_laws.the_power_of_temperature_is_0_or_2,
        "the soft term is multiplied by T, by 1/T², by a T that the softmax does not have, or by T² at some T alone",
    ),
    Law(
        value_laws.the_hard_term_has_no_power_of_temperature,
        "T² is on the hard term as well, whose gradient does not shrink with T",
        "labels",
    ),
    Law(
        value_laws.the_two_terms_are_reduced_alike,
        "one term is summed and the other averaged: the weight of each depends on the batch size",
        "labels",
    ),
    Law(
        value_laws.the_teacher_changes_nothing_in_the_hard_term,
        "the hard term is computed from the teacher's logits, or weighted by them",
        "labels",
    ),
    Law(
        value_laws.the_hard_term_is_the_cross_entropy_with_the_labels,
        "the hard term is the teacher's, has the wrong sign, is divided by the classes, or softened by T",
        "labels",
    ),
    Law(
        value_laws.alpha_mixes_the_two_terms,
        "the soft term, its T² or its weight is lost at some alpha",
        "labels",
    ),
    Law(
        gradient_laws.the_gradient_is_the_derivative_of_the_value,
        "the gradient is not of this value: an operation detached or in place, a wrong formula, a factor on one alone",
        "gradient",
    ),
    Law(
        gradient_laws.rows_of_the_gradient_sum_to_0,
        "the gradient of a softmax loss moves probability from class to class: a row's sum that is not 0 creates some",
        "gradient",
    ),
    Law(
        gradient_laws.the_gradient_is_proportional_to_q_minus_p,
        "the gradient is not Eq. 2: the two are swapped, T is on one of them alone, or there is no softmax",
        "gradient",
    ),
    Law(
        gradient_laws.the_gradient_of_the_hard_term_is_q_minus_the_labels,
        "the gradient of the hard term is wrong, in a class or by a factor",
        "labels gradient",
    ),
    Law(
        gradient_laws.a_step_against_the_gradient_lowers_the_loss,
        "nothing is learned: the loss compares the teacher, or the student, with itself",
        "gradient",
    ),
    Law(
        gradient_laws.at_high_temperature_the_gradient_is_that_of_logit_matching,
        "the loss does not become logit matching (Eq. 4): T is missing from one softmax, or logits are clipped",
        "gradient",
    ),
    Law(
        gradient_laws.the_gradient_follows_what_is_made_of_the_loss,
        "a backward of one's own ignores its grad_output: a weight on the loss, or a loss scale, is lost",
        "autodiff",
    ),
)
LAWS = {law.name: law for law in _IN_ORDER}
