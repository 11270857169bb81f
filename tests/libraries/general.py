"""Losses of libraries for any network, and of those for images: each function calls the library's own code.

A loss that is a method of a trainer is called with a `self` that holds what the method reads, and networks that return
the logits. One without a temperature refuses every T but 1.
"""

from types import SimpleNamespace

from .loading import alone, library


def only_1(T):
    """Refuse a T for a loss that has none."""
    if T != 1:
        raise ValueError("it has no temperature")


@library("torch", "the page takes log(softmax), which is −∞ where a probability underflows")
def pytorch_tutorial(student_logits, teacher_logits, T):
    """The soft term of PyTorch's "Knowledge Distillation Tutorial", as the page computes it."""
    import torch
    from torch import nn

    soft_targets = nn.functional.softmax(teacher_logits / T, dim=-1)
    soft_prob = nn.functional.log_softmax(student_logits / T, dim=-1)
    return torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size()[0] * (T**2)


@library("keras", "without a `loss` it compares the logits by a loss for probabilities", framework="keras")
def keras_default(student_logits, teacher_logits, T):
    from keras.distillation import LogitsDistillation

    return LogitsDistillation(temperature=T).compute_loss(teacher_logits, student_logits)


@library("keras", "with `KLDivergence`, right but for probabilities clipped at 1e-7", framework="keras")
def keras_kl_divergence(student_logits, teacher_logits, T):
    import keras
    from keras.distillation import LogitsDistillation

    strategy = LogitsDistillation(temperature=T, loss=keras.losses.KLDivergence())
    return strategy.compute_loss(teacher_logits, student_logits)


@library("optax", "T and T² are the caller's", framework="jax")
def optax_kl_divergence(student_logits, teacher_logits, T):
    import jax
    import optax

    log_q, p = jax.nn.log_softmax(student_logits / T), jax.nn.softmax(teacher_logits / T)
    return T**2 * optax.losses.kl_divergence(log_q, p).mean()


def _torchdistill(name, student_logits, teacher_logits, labels, *given, **named):
    module = alone("torchdistill", "torchdistill/losses/mid_level.py")
    loss = getattr(module, name)("net", "output", "net", "output", *given, **named)
    return loss({"net": {"output": student_logits}}, {"net": {"output": teacher_logits}}, labels)


@library(
    "torchdistill", "alpha weighs the hard term; at alpha = 0, of which T tells here, the soft one has lost its T²"
)
def torchdistill_kdloss(student_logits, teacher_logits, T, labels, alpha):
    return _torchdistill("KDLoss", student_logits, teacher_logits, labels, temperature=T, alpha=alpha)


@library("torchdistill", "DIST of correlations", expect="dist")
def torchdistill_dist(student_logits, teacher_logits, T):
    return _torchdistill("DISTLoss", student_logits, teacher_logits, None, beta=1.0, gamma=1.0, tau=T)


@library("torchdistill", "standardised logits; of alpha = 0, where it has lost its T² too", expect="standardised")
def torchdistill_logit_std(student_logits, teacher_logits, T):
    return _torchdistill("LogitStdKDLoss", student_logits, teacher_logits, None, temperature=T, alpha=0)


@library("nvidia-modelopt", "its default reduction is `mean`, over the classes too; `batchmean` can be asked for")
def modelopt_logits(student_logits, teacher_logits, T):
    losses = alone("nvidia-modelopt", "modelopt/torch/distill/losses.py")
    return losses.LogitsDistillationLoss(temperature=T)(student_logits, teacher_logits)


@library("neural-compressor", "its default; release 3 has no distillation")
def neural_compressor_ce(student_logits, teacher_logits, T, labels, alpha):
    return _neural_compressor("CE", student_logits, teacher_logits, T, labels, alpha)


@library("neural-compressor", "`KL` is kl_div's `mean`, over the classes too; release 3 has no distillation")
def neural_compressor_kl(student_logits, teacher_logits, T, labels, alpha):
    return _neural_compressor("KL", student_logits, teacher_logits, T, labels, alpha)


def _neural_compressor(kind, student_logits, teacher_logits, T, labels, alpha):
    import torch

    module = alone("neural-compressor", "neural_compressor/compression/distillation/criterions.py")
    module.torch = torch  # what its own lazy import gives
    loss = module.PyTorchKnowledgeDistillationLoss(T, ["CE", kind], [1 - alpha, alpha])
    return loss.loss_cal_sloss(student_logits, teacher_logits, loss.loss_cal(student_logits, labels))


@library("nncf", "`softmax`; release 3 has no distillation")
def nncf_softmax(student_logits, teacher_logits, T):
    module = alone("nncf", "nncf/torch/knowledge_distillation/knowledge_distillation_loss.py")
    kept = []
    nncf = SimpleNamespace(create_knowledge_distillation_loss_handler=lambda model, calculate: kept.append(calculate))
    network = SimpleNamespace(nncf=nncf, train=lambda: None)
    module.KnowledgeDistillationLoss(network, network, "softmax", 1.0, T)
    return kept[0].keywords["kd_loss_fn"](teacher_logits, student_logits)


@library("timm", "two weights, for the task and for the soft term")
def timm_logits(student_logits, teacher_logits, T, labels, alpha):
    return _timm("LogitDistillationTask", "distillation", student_logits, teacher_logits, T, labels, alpha)


@library("timm", "`soft`; both heads are given the student's logits")
def timm_token(student_logits, teacher_logits, T, labels, alpha):
    both = student_logits, student_logits
    return _timm("TokenDistillationTask", "token_distillation", both, teacher_logits, T, labels, alpha)


def _timm(name, file, student, teacher_logits, T, labels, alpha):
    import torch

    class Teacher(SimpleNamespace):
        def __call__(self, images, return_features=False):
            return teacher_logits

    task = SimpleNamespace(
        trainable_module=lambda images: student, criterion=torch.nn.functional.cross_entropy, temperature=T,
        teacher=Teacher(normalize_input=lambda images, *statistics: images), student_mean=None, student_std=None,
        distill_type="soft", task_loss_weight=1 - alpha, distill_loss_weight=alpha,
    )  # fmt: skip
    return getattr(alone("timm", f"timm/task/{file}.py"), name).forward(task, teacher_logits, labels)["loss"]


@library("vit-pytorch", "both heads are given the student's logits")
def vit_pytorch_distill(student_logits, teacher_logits, T, labels, alpha):
    wrapper = SimpleNamespace(
        temperature=T, alpha=alpha, hard=False, teacher=lambda images: teacher_logits, distillation_token=None,
        student=lambda images, distill_token: (student_logits, student_logits), distill_mlp=lambda tokens: tokens,
    )  # fmt: skip
    return alone("vit-pytorch", "vit_pytorch/distill.py", "einops").DistillWrapper.forward(wrapper, None, labels)


@library("distillable-vision-transformer", "alpha weighs the hard term; both heads are given the student's logits")
def distillable_vit(student_logits, teacher_logits, T, labels, alpha):
    module = alone("distillable-vision-transformer", "distillable_vision_transformer/model.py")
    return module.DistilledLoss(alpha, T)(teacher_logits, student_logits, student_logits, labels)


@library("fasterai", "")
def fasterai_soft_target(student_logits, teacher_logits, T):
    return alone("fasterai", "fasterai/distill/losses.py").SoftTarget(student_logits, teacher_logits, T=T)


@library("fasterai", "Hinton's at T = 1, for a mutual loss")
def fasterai_mutual(student_logits, teacher_logits, T):
    only_1(T)
    return alone("fasterai", "fasterai/distill/losses.py").Mutual(student_logits, teacher_logits)


@library("fasterai", "alpha 1, beta 8; the student's probability is clamped at 1e-7", expect="decoupled")
def fasterai_decoupled(student_logits, teacher_logits, T, labels, alpha):
    losses = alone("fasterai", "fasterai/distill/losses.py")
    return losses.DecoupledKD(student_logits, teacher_logits, T=T, target=labels)


@library("capymoa", "")
def capymoa_hinton(student_logits, teacher_logits, T):
    functional = alone("capymoa", "capymoa/ocl/util/functional.py")
    return functional.hinton_distillation_loss(teacher_logits, student_logits, T)


@library("avalanche-lib", "no T², as in learning without forgetting; over the classes known before, here all")
def avalanche_lwf(student_logits, teacher_logits, T):
    module = alone("avalanche-lib", "avalanche/training/regularization.py")
    loss = module.LearningWithoutForgetting(temperature=T)
    return loss._distillation_loss(student_logits, teacher_logits, range(student_logits.shape[-1]))


@library("super-gradients", "it has no temperature")
def super_gradients_kd(student_logits, teacher_logits, T, labels, alpha):
    import torch

    only_1(T)
    losses = alone("super-gradients", "super_gradients/training/losses/kd_losses.py")
    loss = losses.KDLogitsLoss(torch.nn.CrossEntropyLoss(), distillation_loss_coeff=alpha)
    return loss(SimpleNamespace(student_output=student_logits, teacher_output=teacher_logits), labels)[0]


@library("mmrazor", "")
def mmrazor_kl(student_logits, teacher_logits, T):
    return alone("mmrazor", "mmrazor/models/losses/kl_divergence.py").KLDivergence(tau=T)(
        student_logits, teacher_logits
    )


@library("mmrazor", "alpha 1, beta 1; it takes the log of a softmax, which underflows", expect="decoupled")
def mmrazor_decoupled(student_logits, teacher_logits, T, labels, alpha):
    return alone("mmrazor", "mmrazor/models/losses/decoupled_kd.py").DKDLoss(tau=T)(
        student_logits, teacher_logits, labels
    )


@library("mmrazor", "DIST of correlations", expect="dist")
def mmrazor_dist(student_logits, teacher_logits, T):
    return alone("mmrazor", "mmrazor/models/losses/dist_loss.py").DISTLoss(tau=T)(student_logits, teacher_logits)


@library("mmdet", "for T >= 1; the mean is over the classes too")
def mmdet_kd(student_logits, teacher_logits, T):
    module = alone("mmdet", "mmdet/models/losses/kd_loss.py", real=("mmdet/models/losses/utils.py",))
    return module.KnowledgeDistillationKLDivLoss(T=T)(student_logits, teacher_logits)


@library("aquvitae", "")
def aquvitae_st(student_logits, teacher_logits, T, labels, alpha):
    soft_target = object.__new__(alone("aquvitae", "aquvitae/algo/st_torch.py").ST)
    soft_target.alpha, soft_target.T = alpha, T
    return soft_target.compute_loss(teacher_logits, student_logits, labels)


_UNUSED = "matplotlib", "tqdm", "torch.utils.tensorboard"


def _kd_lib(file, name, loss_fn, student_logits, teacher_logits, T, labels, alpha):
    trainer = SimpleNamespace(temp=T, distil_weight=alpha, loss_fn=loss_fn, device="cpu")
    method = getattr(alone("KD-Lib", f"KD_Lib/KD/vision/{file}.py", *_UNUSED), name).calculate_kd_loss
    return method(trainer, student_logits, teacher_logits, labels)


@library("KD-Lib", "its default `loss_fn`, MSELoss, compares the probabilities", expect="probability-mse")
def kd_lib_vanilla(student_logits, teacher_logits, T, labels, alpha):
    from torch.nn import MSELoss

    return _kd_lib("vanilla/vanilla_kd", "VanillaKD", MSELoss(), student_logits, teacher_logits, T, labels, alpha)


@library("KD-Lib", "its default `loss_fn`, KLDivLoss(), is a mean over the classes too")
def kd_lib_soft_random(student_logits, teacher_logits, T, labels, alpha):
    from torch.nn import KLDivLoss

    return _kd_lib("noisy/soft_random", "SoftRandom", KLDivLoss(), student_logits, teacher_logits, T, labels, alpha)


@library("KD-Lib", "KLDivLoss is given log-probabilities for its target: NaN")
def kd_lib_route(student_logits, teacher_logits, T):
    """Its soft term."""
    from torch.nn import KLDivLoss

    labels = teacher_logits.argmax(-1)
    return _kd_lib("RCO/rco", "RCO", KLDivLoss(), student_logits, teacher_logits, T, labels, 1.0)


@library("KD-Lib", "T is on the teacher alone, and the mean over the classes too")
def kd_lib_self_training(student_logits, teacher_logits, T, labels, alpha):
    from torch.nn import KLDivLoss

    name = "teacher_free/self_training", "SelfTraining"
    return _kd_lib(*name, KLDivLoss(), student_logits, teacher_logits, T, labels, alpha)


@library("KD-Lib", "KLDivLoss is given the teacher's p and then the student's q, for log q and p")
def kd_lib_probability_shift(student_logits, teacher_logits, T):
    """Its soft term; the labels are the teacher's own choices, so that no probability is shifted."""
    from torch.nn import CrossEntropyLoss, KLDivLoss

    module = alone("KD-Lib", "KD_Lib/KD/vision/KA/PS.py")
    loss = KLDivLoss(reduction="batchmean")
    trainer = SimpleNamespace(temp=T, distil_weight=1.0, loss_fn=loss, label_loss=CrossEntropyLoss())
    return module.ProbShift.calculate_kd_loss(trainer, student_logits, teacher_logits, teacher_logits.argmax(1))


@library("lightly-train", "no T²; features, here the logits, compared with a queue, here the unit vectors")
def lightly_train_distillation(student_logits, teacher_logits, T):
    import torch

    module = alone("lightly-train", "lightly_train/_methods/distillation/distillation_loss.py")
    queue = torch.eye(student_logits.shape[-1], dtype=student_logits.dtype)
    return module.DistillationLoss(T)(teacher_logits, student_logits, queue)


@library("peftml", "")
def peftml_hinton(student_logits, teacher_logits, T):
    return alone("peftml", "peftml/distillation/losses.py").hinton_kd_loss(student_logits, teacher_logits, T)


@library("rictr", "")
def rictr_kl(student_logits, teacher_logits, T):
    return alone("rictr", "rictr/losses/kl.py").kl_divergence(student_logits, teacher_logits, T)


@library("deepbridge-distillation", "of probabilities, for a search and not for a gradient", framework="numpy")
def deepbridge_combined(student_logits, teacher_logits, T, labels, alpha):
    import numpy as np
    from scipy.special import softmax

    only_1(T)
    file, absent = "deepbridge_distillation/techniques/knowledge_distillation.py", ("optuna", "pandas", "sklearn")
    model = object.__new__(alone("deepbridge-distillation", file, *absent, "deepbridge").KnowledgeDistillation)
    model.alpha, onehot = alpha, np.eye(student_logits.shape[1])[labels]
    return model._combined_loss(onehot, softmax(teacher_logits, axis=1), softmax(student_logits, axis=1))
