"""The losses of process reward models: values by hand, what they do not depend on, and what they train."""

import math

import pytest
import torch
from torch import Tensor

from agentark.config.prm import Prm
from agentark.errors import UserError
from agentark.stages.prm import kept_back
from agentark.training import prm, prm_losses, prm_training
from agentark.training.prm_losses import ScoredSteps
from tests.unit.training.test_prm import questions_with_a_planted_error, settings, trace

LOSSES = ["contrastive", "bce", "pqm", "margin", {"bce": 1.0, "infonce": 0.5}]
NAMES = ["contrastive", "bce", "pqm", "margin", "bce and infonce"]


def steps_of(rewards: Tensor, right: list[int], **changes) -> ScoredSteps:
    """Steps of one trace of one question; each right step is told from all wrong ones."""
    wrong = [i for i, label in enumerate(right) if label == 0]
    positive = [i for i, label in enumerate(right) if label == 1 and wrong]
    fields = {
        "right": torch.tensor(right),
        "question": torch.zeros(len(right), dtype=torch.long),
        "trace": torch.zeros(len(right), dtype=torch.long),
        "n_questions": 1,
        "positive": torch.tensor(positive, dtype=torch.long),
        "negatives": torch.tensor([wrong] * len(positive), dtype=torch.long).view(len(positive), len(wrong)),
        "mask": torch.ones(len(positive), len(wrong), dtype=torch.bool),
    }
    return ScoredSteps(rewards=rewards, **fields | changes)


def value(name: str, rewards: list[float], right: list[int], **changes) -> float:
    chosen = Prm.model_validate({"tau": changes.pop("tau", 0.1)})
    return prm_losses.LOSSES[name](steps_of(torch.tensor(rewards), right, **changes), chosen).item()


@pytest.mark.parametrize(
    ("scores", "tau", "expected"),
    [([0.8, 0.3, 0.6], 0.1, 0.132845), ([0.8, 0.3, 0.6], 1.0, 0.885939), ([0.5, 0.5, 0.5], 0.1, math.log(3))],
)
def test_contrastive_golden_values(scores, tau, expected):
    """G1."""
    rewards = torch.logit(torch.tensor(scores)).tolist()
    assert value("contrastive", rewards, [1, 0, 0], tau=tau) == pytest.approx(expected, abs=1e-6)


def test_bce_golden_value():
    """Right steps cost 0.693147 and 0.126928, the wrong one 0.313262; both kinds weigh the same."""
    assert value("bce", [0.0, 2.0, -1.0], [1, 1, 0]) == pytest.approx((0.4100375 + 0.313262) / 2, abs=1e-6)
    assert value("bce", [1.0], [1]) == pytest.approx(0.313262, abs=1e-6)


def test_pqm_golden_value():
    """log(1 + e^3), log(1 + e + e^3) - 1 and log(1 + e + e^2 + e^3) - 2."""
    expected = (3.048587 + 2.169847 + 1.440190) / 3
    assert value("pqm", [1.0, 2.0, -1.0], [1, 1, 0]) == pytest.approx(expected, abs=1e-5)
    assert value("pqm", [1.0], [1]) == pytest.approx(math.log(1 + math.e) - 1, abs=1e-6)
    assert value("pqm", [-1.0], [0]) == pytest.approx(math.log(1 + math.e**3), abs=1e-6)


def test_margin_golden_value():
    assert value("margin", [2.0, 0.0, 1.5], [1, 0, 0]) == pytest.approx((0.313262 + 0.974077) / 2, abs=1e-6)


def test_infonce_golden_value():
    """Each right step has one like it, at an angle of 0, and one unlike it, at a right one; the wrong one has none."""
    projections = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = value("infonce", [0.0, 0.0, 0.0], [1, 1, 0], projections=projections, tau=1.0)
    assert found == pytest.approx(math.log(1 + math.e) - 1, abs=1e-6)


@pytest.mark.parametrize("name", ["contrastive", "bce", "pqm", "margin"])
def test_the_order_of_wrong_steps_and_padding_change_nothing(name):
    rewards, right = torch.tensor([1.0, 0.3, -0.2, 0.5]), [1, 0, 0, 0]
    swapped = rewards[[0, 3, 1, 2]]
    whole, other = (prm_losses.LOSSES[name](steps_of(row, right), Prm()).item() for row in (rewards, swapped))
    assert other == pytest.approx(whole, abs=1e-6)
    padded = steps_of(
        rewards, right, negatives=torch.tensor([[1, 2, 3, 0]]), mask=torch.tensor([[True, True, True, False]])
    )
    assert prm_losses.LOSSES[name](padded, Prm()).item() == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("name", ["contrastive", "bce", "pqm", "margin"])
@pytest.mark.parametrize("right", [[1, 1], [0, 0], [1], [0]])
def test_questions_of_one_kind_of_step_are_finite_and_have_gradients(name, right):
    rewards = torch.linspace(-1, 1, len(right), requires_grad=True)
    loss = prm_losses.LOSSES[name](steps_of(rewards, right), Prm())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rewards.grad).all()
    learns = name in ("bce", "pqm")
    assert bool(rewards.grad.abs().sum() > 0) is learns


@pytest.mark.parametrize("name", ["contrastive", "bce", "pqm", "margin"])
def test_large_rewards_stay_finite(name):
    rewards = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = prm_losses.LOSSES[name](steps_of(rewards, [1, 0]), Prm(tau=1e-3))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rewards.grad).all()


@pytest.mark.parametrize("name", ["contrastive", "bce", "pqm", "margin", "infonce"])
def test_a_question_counts_once_however_many_steps_it_has(name):
    """The loss of an update is the mean of its questions' own."""
    torch.manual_seed(0)
    one, two = torch.randn(3), torch.randn(5)
    rights = [[1, 0, 1], [0, 1, 1, 0, 1]]
    projections = torch.nn.functional.normalize(torch.randn(8, 4), dim=-1)
    alone = [
        prm_losses.LOSSES[name](steps_of(rewards, right, projections=part), Prm()).item()
        for rewards, right, part in zip((one, two), rights, projections.split([3, 5]), strict=True)
    ]
    first, second = steps_of(one, rights[0]), steps_of(two, rights[1])
    together = ScoredSteps(
        rewards=torch.cat([one, two]),
        right=torch.tensor(rights[0] + rights[1]),
        question=torch.tensor([0] * 3 + [1] * 5),
        trace=torch.tensor([0] * 3 + [1] * 5),
        n_questions=2,
        positive=torch.cat([first.positive, 3 + second.positive]),
        negatives=torch.cat([torch.nn.functional.pad(first.negatives, (0, 1)), 3 + second.negatives]),
        mask=torch.cat([torch.nn.functional.pad(first.mask, (0, 1)), second.mask]),
        projections=projections,
    )
    assert prm_losses.LOSSES[name](together, Prm()).item() == pytest.approx(sum(alone) / 2, abs=1e-6)


def gradient(folder, tokenizer, tmp_path, chosen: Prm, stage: int = 2, packs: bool = True) -> dict[str, Tensor]:
    """What one update of a fresh model would move, from the trainer's own step."""
    torch.manual_seed(0)
    model, _ = prm.open_backbone(folder, projects="infonce" in chosen.loss)
    prm_training.trainable_in_stage(model, stage)
    questions, _ = prm_training.encode_questions(questions_with_a_planted_error(4), tokenizer, chosen, seed=0)
    trainer = prm_training.trainer(model, questions, chosen, chosen.stage2, 0, tmp_path)
    update = prm_training.update_of(questions, chosen, seed=0, packs=packs)
    trainer.training_step(trainer.model, update)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_however_an_update_is_cut_its_gradient_is_the_same(folder, tokenizer, tmp_path, float32, loss):
    """Also when what traces have in common is read once."""
    whole = gradient(folder, tokenizer, tmp_path, settings(loss=loss), packs=False)
    for tokens in (16, 150, 400, 16384):
        cut = gradient(folder, tokenizer, tmp_path, settings(loss=loss, tokens_per_pass=tokens))
        assert cut.keys() == whole.keys()
        for name in whole:
            torch.testing.assert_close(cut[name], whole[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_gradients_reach_exactly_what_the_stage_trains(folder, tokenizer, tmp_path, float32, loss, stage):
    """P2, P3."""
    found = gradient(folder, tokenizer, tmp_path, settings(loss=loss), stage)
    model, _ = prm.open_backbone(folder, projects=isinstance(loss, dict))
    trained = ("backbone.layers.1.", "head.", "projector.") if stage == 1 else ("",)
    assert found.keys() == {name for name, _ in model.named_parameters() if name.startswith(trained)}
    assert [name for name, moves in found.items() if not moves.abs().sum() > 0 and name != "head.bias"] == []


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_every_loss_learns_twenty_questions_by_heart(folder, tokenizer, tmp_path, float32, loss):
    chosen = settings(loss=loss, stage2={"learning_rate": 2e-3, "epochs": 12})
    questions, _ = prm_training.encode_questions(questions_with_a_planted_error(20), tokenizer, chosen, seed=0)
    torch.manual_seed(0)
    model, _ = prm.open_backbone(folder, projects=isinstance(loss, dict))
    prm_training.fit(model, questions, chosen, 0, tmp_path / "checkpoints")
    assert kept_back(model, questions)["auroc"] > 0.99


def test_a_loss_that_is_no_number_stops_with_the_questions_named(folder, tokenizer, tmp_path, float32):
    model, _ = prm.open_backbone(folder)
    torch.nn.init.constant_(model.head.weight, torch.nan)
    questions, _ = prm_training.encode_questions(questions_with_a_planted_error(2), tokenizer, settings(), seed=0)
    with pytest.raises(UserError, match="0000, 0001"):
        prm_training.fit(model, questions, settings(), 0, tmp_path / "checkpoints")


def test_questions_of_right_steps_alone_are_used_where_the_loss_can(tokenizer):
    agreed = [trace(1, agent, [("first add 7 and 8", 1)]) for agent in range(2)]
    for loss, used in (("contrastive", 0), ("margin", 0), ("bce", 1), ("pqm", 1), ({"margin": 1.0, "bce": 1.0}, 1)):
        _, counts = prm_training.encode_questions([agreed], tokenizer, settings(loss=loss), seed=0)
        assert counts["questions_used"] == used
