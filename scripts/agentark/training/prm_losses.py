"""What a process reward model can be trained by: losses on the rewards of labelled steps, each averaged over questions.

A question counts once, however many steps and traces it has. All arithmetic is float32 and in log space. A loss that
has nothing to say about a question (no wrong step to tell a right one from) gives it 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from agentark.config.prm import Prm


@dataclass(frozen=True)
class ScoredSteps:
    """All labelled steps of an update, N of Q questions, those of a trace side by side and in order."""

    rewards: Tensor
    """(N,) float32, R_phi."""
    right: Tensor
    """(N,) int64, 1 for a right step, 0 for a wrong one."""
    question: Tensor
    """(N,) int64, number of the question, from 0."""
    trace: Tensor
    """(N,) int64, number of the trace, from 0."""
    n_questions: int
    positive: Tensor
    """(P,) int64, right steps that have wrong ones to be told from."""
    negatives: Tensor
    """(P, M) int64, those wrong steps."""
    mask: Tensor
    """(P, M) bool, False on padding."""
    projections: Tensor | None = None
    """(N, D) float32, steps on the unit sphere; only a model with a projector has them."""

    def mean_over_questions(self, values: Tensor, question: Tensor) -> Tensor:
        """Mean over all questions of the mean of a question's values."""
        counts = torch.bincount(question, minlength=self.n_questions)
        return (values / counts[question]).sum() / self.n_questions


def contrastive(steps: ScoredSteps, settings: Prm) -> Tensor:
    """Eq. 7 of the paper, on s = sigmoid(R): each right step against wrong ones.

    With s in (0, 1) and M negatives it cannot fall below log(1 + M exp(-1 / tau)).
    """
    scores = torch.sigmoid(steps.rewards)
    negatives = scores[steps.negatives].masked_fill(~steps.mask, -torch.inf)
    logits = torch.cat([scores[steps.positive].unsqueeze(1), negatives], dim=1) / settings.tau
    values = torch.logsumexp(logits, dim=1) - logits[:, 0]
    return steps.mean_over_questions(values, steps.question[steps.positive])


def bce(steps: ScoredSteps, settings: Prm) -> Tensor:
    """Binary cross-entropy (Math-Shepherd, arXiv 2312.08935); a question's right and wrong steps weigh the same."""
    values = functional.binary_cross_entropy_with_logits(steps.rewards, steps.right.float(), reduction="none")
    kind = 2 * steps.question + steps.right
    counts = torch.bincount(kind, minlength=2 * steps.n_questions)
    n_kinds = (counts.view(-1, 2) > 0).sum(dim=1)
    return (values / (counts[kind] * n_kinds[steps.question])).sum() / steps.n_questions


def pqm(steps: ScoredSteps, settings: Prm) -> Tensor:
    """Comparative ranking in a trace (PQM, arXiv 2410.11287, Eq. 9 and 10): a right step above the right ones before it
    and, by `zeta`, above the wrong ones; the start of a trace has the reward 0."""
    values, question = [], []
    start = steps.rewards.new_zeros(1)
    for trace in torch.unique_consecutive(steps.trace):
        of_trace = steps.trace == trace
        rewards, right = steps.rewards[of_trace], steps.right[of_trace] == 1
        ascending = torch.cat([start, rewards[right]])
        wrong = torch.logsumexp(rewards[~right] + settings.zeta, dim=0)
        terms = torch.logaddexp(torch.logcumsumexp(ascending, dim=0), wrong) - ascending
        # Without a wrong step the first term is 0 by construction and says nothing.
        values.append(terms.mean() if len(rewards) > right.sum() else terms[1:].mean())
        question.append(steps.question[of_trace][0])
    return steps.mean_over_questions(torch.stack(values), torch.stack(question))


def margin(steps: ScoredSteps, settings: Prm) -> Tensor:
    """Pairwise logistic loss with a margin: each right step above each of its wrong ones."""
    gaps = steps.rewards[steps.positive].unsqueeze(1) - steps.rewards[steps.negatives]
    values = functional.softplus(settings.margin - gaps).masked_fill(~steps.mask, 0).sum(dim=1)
    return steps.mean_over_questions(values / steps.mask.sum(dim=1), steps.question[steps.positive])


def infonce(steps: ScoredSteps, settings: Prm) -> Tensor:
    """Supervised contrast of projected steps (arXiv 2004.11362): a question's steps lie near those with their label and
    far from the others. The paper's code has it beside a cross-entropy, on a projector that it did not train."""
    n_steps = len(steps.rewards)
    others = (steps.question[:, None] == steps.question) & ~torch.eye(
        n_steps, dtype=torch.bool, device=steps.right.device
    )
    same = others & (steps.right[:, None] == steps.right)
    logits = (steps.projections @ steps.projections.T / settings.tau).masked_fill(~others, -torch.inf)
    chosen = same.any(dim=1) & (others & ~same).any(dim=1)
    log_shares = logits[chosen] - torch.logsumexp(logits[chosen], dim=1, keepdim=True)
    same = same[chosen]
    values = -log_shares.masked_fill(~same, 0).sum(dim=1) / same.sum(dim=1)
    return steps.mean_over_questions(values, steps.question[chosen])


LOSSES: dict[str, Callable[[ScoredSteps, Prm], Tensor]] = {
    "contrastive": contrastive, "bce": bce, "pqm": pqm, "margin": margin, "infonce": infonce,
}  # fmt: skip


def total(steps: ScoredSteps, settings: Prm) -> Tensor:
    """The weighted sum of the losses in `prm.loss`."""
    return torch.stack([weight * LOSSES[name](steps, settings) for name, weight in settings.loss.items()]).sum()
