"""Losses of libraries for language and embeddings: each function calls the library's own code.

Logits (B, N) are given as one sequence of B tokens where a loss wants (batch, tokens, vocabulary).
"""

from types import SimpleNamespace

from .general import only_1
from .loading import alone, library


@library("textbrewer", "no T²")
def textbrewer_kd_ce_loss(student_logits, teacher_logits, T):
    return alone("textbrewer", "textbrewer/losses.py").kd_ce_loss(student_logits, teacher_logits, T)


@library("textbrewer", "the squared difference of logits over T: a convention", expect="logit-matching")
def textbrewer_kd_mse_loss(student_logits, teacher_logits, T):
    return alone("textbrewer", "textbrewer/losses.py").kd_mse_loss(student_logits, teacher_logits, T)


@library("sentence-transformers", "over each query's candidates, whose scores are the logits here")
def sentence_transformers_kl(student_logits, teacher_logits, T):
    file = "sentence_transformers/sentence_transformer/losses/distill_kl_div.py"
    loss = alone("sentence-transformers", file).DistillKLDivLoss(None, lambda query, score: score, temperature=T)
    return loss.compute_loss_from_embeddings([student_logits[:, :1], *student_logits.unbind(1)], teacher_logits)


@library("pylate", "without its min-max scaling; each query's scores are the logits here; no temperature")
def pylate_distillation(student_logits, teacher_logits, T):
    import torch

    only_1(T)

    class Model(SimpleNamespace):
        def __call__(self, features):
            return {"token_embeddings": torch.ones(len(student_logits), 1, 1)}

    module = alone("pylate", "pylate/losses/distillation.py")
    loss = module.Distillation(None, lambda *embeddings, **masks: student_logits, normalize_scores=False)
    object.__setattr__(loss, "model", Model(skiplist=[], do_query_expansion=True))
    return loss([{}, {}], teacher_logits)


@library("FlagEmbedding", "`kl_div`, of a teacher's probabilities; scores have a temperature of their own")
def flag_embedding_kl(student_logits, teacher_logits, T):
    import torch

    only_1(T)
    model = alone("FlagEmbedding", "FlagEmbedding/abc/finetune/embedder/AbsModeling.py", "transformers")
    return model.AbsEmbedderModel.distill_loss("kl_div", torch.softmax(teacher_logits, -1), student_logits)


@library("farm-haystack", "over the tokens, which are the classes of a question's answer; release 2 has no training")
def haystack_kl(student_logits, teacher_logits, T):
    module = alone("farm-haystack", "haystack/modeling/training/base.py", "tqdm", "transformers")
    z, v = (logits[:, :, None] / T for logits in (student_logits, teacher_logits))
    return module.DistillationTrainer._kl_div(None, z, v)


@library("trl", "generalised Jensen-Shannon, beta 0.5, no T²", expect="jensen-shannon")
def trl_gkd(student_logits, teacher_logits, T):
    return _trl(0.5, student_logits, teacher_logits, T)


@library("trl", "beta 0, no T²")
def trl_gkd_beta_0(student_logits, teacher_logits, T):
    return _trl(0, student_logits, teacher_logits, T)


def _trl(beta, student_logits, teacher_logits, T):
    absent = "accelerate", "datasets", "transformers", "peft"
    trainer = alone("trl", "trl/experimental/gkd/gkd_trainer.py", *absent).GKDTrainer
    return trainer.generalized_jsd_loss(student_logits, teacher_logits, beta=beta, temperature=T)


@library("torchtune", "in float32; it has no temperature")
def torchtune_forward_kl(student_logits, teacher_logits, T):
    return _torchtune("ForwardKLLoss", student_logits, teacher_logits, T)


@library("torchtune", "in float32; it has no temperature", expect="reverse-kl")
def torchtune_reverse_kl(student_logits, teacher_logits, T):
    return _torchtune("ReverseKLLoss", student_logits, teacher_logits, T)


def _torchtune(name, student_logits, teacher_logits, T):
    import torch

    only_1(T)
    loss = getattr(alone("torchtune", "torchtune/modules/loss/kd_losses.py"), name)()
    return loss(student_logits, teacher_logits, torch.zeros(student_logits.shape[:-1], dtype=torch.long))


@library("liger-kernel", "beta 0.5, no T²; the layers of both are the identity here", expect="jensen-shannon")
def liger_jsd(student_logits, teacher_logits, T, labels, alpha):
    import torch

    base = "liger_kernel/chunked_loss/fused_linear_distillation.py"
    module = alone("liger-kernel", "liger_kernel/chunked_loss/jsd_loss.py", real=(base,))
    loss = module.LigerFusedLinearJSDLoss(1 - alpha, alpha, temperature=T, compiled=False)
    same = torch.eye(student_logits.shape[-1], dtype=student_logits.dtype)
    return loss(student_logits, same, teacher_logits, same, labels)


@library("ms-swift", "beta 0.5, no T²; a sum, which the caller divides", expect="jensen-shannon")
def swift_jsd(student_logits, teacher_logits, T):
    module = alone("ms-swift", "swift/rlhf_trainers/gkd_loss.py")
    return module.jsd_loss(student_logits / T, teacher_logits / T, 0.5)


@library("distil-trainer", "")
def distil_trainer_kl(student_logits, teacher_logits, T):
    losses = alone("distil-trainer", "distil_trainer/distillation/losses.py").DistillationLosses
    return losses.kl_divergence_loss(student_logits, teacher_logits, T)


@library("seq2seqdistill", "alpha weighs the hard term, which is the network's own")
def seq2seqdistill_loss(student_logits, teacher_logits, T, labels, alpha):
    from torch.nn.functional import cross_entropy

    module = alone("seq2seqdistill", "seq2seqdistill/distill.py", "transformers", "datasets")
    hard = cross_entropy(student_logits.reshape(-1, student_logits.shape[-1]), labels.reshape(-1))
    teacher, student = SimpleNamespace(logits=teacher_logits), SimpleNamespace(logits=student_logits, loss=hard)
    arguments = SimpleNamespace(alpha=alpha, temperature=T)
    trainer = SimpleNamespace(teacher=lambda: teacher, args=arguments)
    return module.DistillationTrainer.compute_loss(trainer, lambda: student, {})


@library("silverspoon-kd", "in float32")
def silverspoon_kl(student_logits, teacher_logits, T):
    losses = alone("silverspoon-kd", "silverspoon_kd/losses/kl.py")
    return losses.kl_divergence_loss(temperature=T)(student_logits, teacher_logits)


@library("silverspoon-kd", "beta 0.5, in float32", expect="jensen-shannon")
def silverspoon_jsd(student_logits, teacher_logits, T):
    return alone("silverspoon-kd", "silverspoon_kd/losses/kl.py").jsd_loss(temperature=T)(
        student_logits, teacher_logits
    )


@library("llm-distil", "1e-9 is added to the teacher's probabilities, which no longer sum to 1")
def llm_distil_kl(student_logits, teacher_logits, T):
    losses = alone("llm-distil", "llm_distil/losses.py")
    return losses.sequence_kl_divergence(student_logits[None], teacher_logits[None], T)


@library("llm-distil", "1e-9 is added to the student's probabilities, which no longer sum to 1", expect="reverse-kl")
def llm_distil_reverse_kl(student_logits, teacher_logits, T):
    losses = alone("llm-distil", "llm_distil/losses.py")
    return losses.sequence_reverse_kl_divergence(student_logits[None], teacher_logits[None], T)


@library("llm-distil", "beta 0.5, no T²", expect="jensen-shannon")
def llm_distil_jsd(student_logits, teacher_logits, T):
    losses = alone("llm-distil", "llm_distil/losses.py")
    return losses.generalized_jsd_loss(student_logits[None], teacher_logits[None], beta=0.5, temperature=T)


@library("heartcut", "of a teacher's vote shares, with a floor of 1e-8")
def heartcut_loss(student_logits, teacher_logits, T, labels, alpha):
    import torch

    p = torch.softmax(teacher_logits, dim=-1)
    utils = alone("heartcut", "heartcut/students/torch_utils.py")
    return utils.distillation_loss(student_logits, labels, p, alpha=alpha, temperature=T)


@library("zynthe", "`causal_lm`, in float32; its setting `logit_clip` clips all logits at ±80")
def zynthe_causal(student_logits, teacher_logits, T, labels, alpha):
    module = alone("zynthe", "zynthe/core/distillers/causal_lm/distillation.py")
    config = module.DistillationConfig(temperature=T, alpha=alpha, shift_labels=False)
    engine = module.CausalLMDistillationEngine(config)
    z, v, y = student_logits[None], teacher_logits[None], labels[None]
    return engine.compute_total_loss(student_outputs=z, teacher_outputs=v, labels=y).total


@library("zynthe", "`LegacyKDHintonDistiller`, with a plain cross-entropy for its weighted one of two classes")
def zynthe_legacy(student_logits, teacher_logits, T, labels, alpha):
    import torch

    module = alone("zynthe", "zynthe/core/distillers/kd_hinton.py")
    loss = module.LegacyKDHintonDistiller(T, alpha)
    return loss.compute_loss(student_logits, teacher_logits, labels, torch.nn.CrossEntropyLoss())


@library("distill-anything", "its own token-wise mean; the last token, which predicts none, is added here")
def distill_anything_kl(student_logits, teacher_logits, T):
    import torch

    losses = alone("distill-anything", "distillanything/losses/kd.py")
    z, v = (torch.cat([logits, logits[:1]])[None] for logits in (student_logits, teacher_logits))
    return losses.kd_loss(z, v, torch.zeros(z.shape[:2], dtype=torch.long), temperature=T)


@library(
    "speechbrain", "`nll_loss_kd`, given log q and p here; of probabilities, as its docs have it, it would be −Σ p q"
)
def speechbrain_nll_kd(student_logits, teacher_logits, T):
    import torch

    only_1(T)
    losses = alone("speechbrain", "speechbrain/nnet/losses.py", "torchaudio", real=("speechbrain/dataio/dataio.py",))
    log_q, p = torch.log_softmax(student_logits, -1)[None], torch.softmax(teacher_logits, -1)[None]
    return losses.nll_loss_kd(log_q, p, torch.ones(1))
