"""The proof kit on other people's libraries, as they are installed: what their distillation losses compute and break.

    pip install torch==2.13.0 keras torchdistill textbrewer jax optax
    KERAS_BACKEND=torch python -m pytest -m libraries
    KERAS_BACKEND=torch python tests/test_libraries.py docs/results/verdicts.json

Not among the tests of this project's own code: a new release of a library may change what is asserted here.
"""

import importlib
import json
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from minidistill.testing import check_distillation_loss

pytestmark = pytest.mark.libraries


def pytorch_tutorial(student_logits, teacher_logits, T):
    """The soft term of PyTorch's "Knowledge Distillation Tutorial", as the page computes it."""
    import torch
    from torch import nn

    soft_targets = nn.functional.softmax(teacher_logits / T, dim=-1)
    soft_prob = nn.functional.log_softmax(student_logits / T, dim=-1)
    return torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size()[0] * (T**2)


def keras_default(student_logits, teacher_logits, T):
    from keras.distillation import LogitsDistillation

    return LogitsDistillation(temperature=T).compute_loss(teacher_logits, student_logits)


def keras_kl_divergence(student_logits, teacher_logits, T):
    import keras
    from keras.distillation import LogitsDistillation

    strategy = LogitsDistillation(temperature=T, loss=keras.losses.KLDivergence())
    return strategy.compute_loss(teacher_logits, student_logits)


def torchdistill_kdloss(student_logits, teacher_logits, T, labels, alpha):
    from torchdistill.losses.mid_level import KDLoss

    loss = KDLoss("net", "output", "net", "output", temperature=T, alpha=alpha)
    return loss({"net": {"output": student_logits}}, {"net": {"output": teacher_logits}}, labels)


def textbrewer_kd_ce_loss(student_logits, teacher_logits, T):
    from textbrewer.losses import kd_ce_loss

    return kd_ce_loss(student_logits, teacher_logits, T)


def optax_kl_divergence(student_logits, teacher_logits, T):
    import jax
    import optax

    log_q, p = jax.nn.log_softmax(student_logits / T), jax.nn.softmax(teacher_logits / T)
    return T**2 * optax.losses.kl_divergence(log_q, p).mean()


LIBRARIES = {  # function: framework, modules that it needs, distribution, laws that its release of 2026 breaks
    pytorch_tutorial: ("torch", ["torch"], "torch", {
        "finite_at_extreme_logits", "an_impossible_class_changes_nothing"}),
    keras_default: ("keras", ["keras.distillation"], "keras", {
        "smallest_where_student_equals_teacher", "shift_of_the_student_changes_nothing",
        "shift_of_the_teacher_changes_nothing", "it_is_a_divergence_from_teacher_to_student",
        "the_gradient_is_the_derivative_of_the_value", "rows_of_the_gradient_sum_to_0",
        "the_gradient_is_proportional_to_q_minus_p", "a_step_against_the_gradient_lowers_the_loss",
        "at_high_temperature_the_gradient_is_that_of_logit_matching"}),
    keras_kl_divergence: ("keras", ["keras.distillation"], "keras", {
        "its_values_are_those_of_its_formula_everywhere", "the_gradient_is_proportional_to_q_minus_p"}),
    torchdistill_kdloss: ("torch", ["torchdistill.losses.mid_level"], "torchdistill", {"alpha_mixes_the_two_terms"}),
    textbrewer_kd_ce_loss: ("torch", ["textbrewer.losses"], "textbrewer", set()),
    optax_kl_divergence: ("jax", ["optax"], "optax", set()),
}  # fmt: skip


@pytest.mark.parametrize("function", LIBRARIES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("default")
def test_the_verdict_on_a_library_is_the_committed_one(function):
    framework, modules, _, broken = LIBRARIES[function]
    for module in modules:
        pytest.importorskip(module, exc_type=ImportError)
    report = check_distillation_loss(function, framework)
    assert {verdict.law for verdict in report.broken} == broken, str(report)


DOCS = Path(__file__).parents[1] / "docs" / "verdicts.md"
REPORTS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("code", "printed"), REPORTS, ids=range(1, 1 + len(REPORTS)))
def test_a_report_prints_what_the_docs_say(code, printed):
    for module in re.findall(r"^(?:import|from) (\S+)", code, re.MULTILINE):
        pytest.importorskip(module, exc_type=ImportError)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == printed, done.stderr


def report(record):
    """Return a row for each library, what its loss is and the laws it breaks, and below each law's counterexample."""
    rows = ["| loss | version | it computes | broken laws |", "|---|---|---|---|"]
    below = []
    for one in record["verdicts"]:
        f, broken = one["fingerprint"], {name: v for name, v in one["laws"].items() if v["verdict"] == "broken"}
        what = (
            f"{f['form'].replace('||', '‖')}, {f['reduction']}, T to the {f['power'] + 0.0:g}"
            if f["power"] is not None
            else f["form"]
        )
        laws = "; ".join(name.replace("_", " ") for name in broken) or "none"
        rows.append(f"| `{one['name']}` | {one['distribution']} {one['version']} | {what} | {laws} |")
        below += [
            f"- `{one['name']}`, {name.replace('_', ' ')}: {v['what']}, at `{v['case']}`" for name, v in broken.items()
        ]
    return "\n".join([*rows, "", *below, "", f"Python {record['python']}, {record['date']}."])


def main(path):
    """Write the verdicts of all libraries that can be imported."""
    verdicts = []
    for function, (framework, modules, distribution, _) in LIBRARIES.items():
        try:
            for module in modules:
                importlib.import_module(module)
        except ImportError as error:
            print(f"{function.__name__}: absent ({error})")
            continue
        began = time.perf_counter()
        report = check_distillation_loss(function, framework)
        print(report, "\n")
        verdicts.append(report.as_dict() | {"distribution": distribution, "version": metadata.version(distribution),
                                            "seconds": time.perf_counter() - began})  # fmt: skip
    record = {"date": time.strftime("%Y-%m-%d"), "python": sys.version.split()[0], "verdicts": verdicts}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
