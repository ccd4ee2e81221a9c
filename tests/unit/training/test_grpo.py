import math
import statistics

import pytest
import torch

from agentark.config.grpo import Grpo
from agentark.engines import local_models
from agentark.engines.chat_template import prompt_ids
from agentark.engines.local_models import open_model
from agentark.engines.prompts import solve_messages
from agentark.errors import UserError
from agentark.grading.grades import Grade
from agentark.records.questions import Question
from agentark.records.sets import RlPrompt
from agentark.traces.steps import split_steps
from agentark.training import grpo, prm, prm_scoring, resampling, rollout_rewards, rollouts, session, weights
from agentark.training.advantages import ScoredRollout, token_advantages, whiten

pytestmark = pytest.mark.usefixtures("float32")


def settings(**changes) -> Grpo:
    tiny = {
        "learning_rate": 1e-3,
        "beta": 0.0,
        "steps": 1,
        "prompts_per_step": 2,
        "group_size": 4,
        "micro_batch_size": 4,
        "max_tokens": 6,
    }
    return Grpo(**tiny | changes)


def prompts(n: int = 4, pass_rate: float = 0.5) -> list[RlPrompt]:
    return [
        RlPrompt(
            question_id=str(i),
            question=f"What is {i} + 5?",
            choices=None,
            gold=str(i + 5),
            gold_type="number",
            pass_rate=pass_rate,
        )
        for i in range(n)
    ]


@pytest.fixture
def seen(monkeypatch):
    """What the trainer made of every batch of rollouts."""
    batches = []
    original = grpo.GRPOTrainer._generate_and_score_completions

    def keep(trainer, inputs):
        batches.append(original(trainer, inputs))
        return batches[-1]

    monkeypatch.setattr(grpo.GRPOTrainer, "_generate_and_score_completions", keep)
    return batches


def asked(prompt: RlPrompt) -> dict:
    return {"question": prompt.question, "gold": prompt.gold, "gold_type": prompt.gold_type}


def no_say(completions, **_):
    return [None] * len(completions)


def fit(folder, tokenizer, reward, chosen, tmp_path, before=None):
    model, _ = weights.open_for_training(folder)
    if before:
        before(model)
    rewards = {"process": reward, "verifiable": no_say}
    return grpo.fit(model, tokenizer, prompts(), rewards, chosen, 0, tmp_path / "checkpoints")[:2]


def scripted(monkeypatch, completions):
    """Rollouts that are given, not sampled: `completions` for every prompt's group."""

    def generate(trainer, prompt_ids, *_, **__):
        return (completions * len(prompt_ids))[: len(prompt_ids)], None

    monkeypatch.setattr(grpo.PolicyTrainer, "_generate_single_turn", generate)


def test_advantages_are_z_scores_with_the_sample_deviation(folder, tokenizer, tmp_path, seen):
    """G2."""

    def reward(completions, **_):
        return [0.9, 0.5, 0.5, 0.1] * 2

    fit(folder, tokenizer, reward, settings(), tmp_path)
    assert seen[0]["advantages"].tolist() == pytest.approx([1.2247, 0, 0, -1.2247] * 2, abs=1e-3)


def test_equal_rewards_teach_nothing_and_are_counted(folder, tokenizer, tmp_path, seen):
    """R9."""
    _, log = fit(folder, tokenizer, lambda completions, **_: [0.3] * len(completions), settings(), tmp_path)
    assert seen[0]["advantages"].abs().max() < 1e-3
    assert log[0]["frac_reward_zero_std"] == 1.0
    assert log[0]["grad_norm"] < 1e-4


@pytest.mark.parametrize(("beta", "pulls"), [(0.0, False), (1.0, True)])
def test_the_kl_term_has_a_gradient(folder, tokenizer, tmp_path, beta, pulls):
    """R1: equal rewards leave the KL alone; the policy has moved away from the folder that it is compared with."""

    def move(model):
        with torch.no_grad():
            model.model.layers[0].mlp.up_proj.weight.mul_(3.0)
            model.model.layers[1].self_attn.o_proj.weight.mul_(-5.0)

    _, log = fit(
        folder, tokenizer, lambda completions, **_: [0.3] * len(completions), settings(beta=beta), tmp_path, move
    )
    assert (log[0]["grad_norm"] > 1e-2) == pulls
    assert (log[0].get("kl", 0.0) > 1e-3) == pulls


def test_the_end_of_turn_is_trained(folder, tokenizer, tmp_path, monkeypatch, seen):
    """R2: only completions that end are rewarded; all that sets them apart is the end-of-turn token."""
    word, end = tokenizer.convert_tokens_to_ids("a"), tokenizer.eos_token_id
    scripted(monkeypatch, [[word, end], [word, word]])

    def reward(completion_ids, **_):
        return [float(ids[-1] == end) for ids in completion_ids]

    model, log = fit(folder, tokenizer, reward, settings(steps=5), tmp_path)
    assert seen[0]["completion_mask"].sum().item() == 16
    assert log[0]["completions/clipped_ratio"] == 0.5
    asked = tokenizer.apply_chat_template(
        solve_messages("What is 1 + 5?", None, "number"), add_generation_prompt=True, return_dict=True
    )["input_ids"]
    ends = [
        torch.log_softmax(policy(torch.tensor([[*asked, word]])).logits[0, -1], dim=-1)[end].item()
        for policy in (open_model(folder), model)
    ]
    assert ends[1] > ends[0] + 0.5


def test_policy_learns_what_is_rewarded_unless_the_kl_holds_it(folder, tokenizer, tmp_path):
    """T12."""

    def reward(completion_ids, **_):
        return [sum(token < 100 for token in ids) / len(ids) for ids in completion_ids]

    free = settings(steps=40, learning_rate=3e-3, group_size=8, micro_batch_size=16)
    _, log = fit(folder, tokenizer, reward, free, tmp_path / "free")
    _, held = fit(folder, tokenizer, reward, free.model_copy(update={"beta": 100.0}), tmp_path / "held")
    rise, held_rise = (
        statistics.fmean(row["reward"] for row in rows[-5:]) - statistics.fmean(row["reward"] for row in rows[:5])
        for rows in (log, held)
    )
    assert rise > 0.4
    assert held_rise < 0.2
    assert held[-1]["kl"] < 0.1


def test_rewards_are_of_each_completion(prm_folder):
    asked = prompts()
    model, tokenizer = prm.load_prm(prm_folder)
    rewarded = rollout_rewards.reward_functions(asked, settings(aggregate="mean", max_tokens=10), (model, tokenizer))
    texts = ["First add 7 and 8.\nThe answer is 6.", "", "The answer is 7.", "The answer is 5."]
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    ids = ["1", "1", "2", "2"]
    batch = {"completions": completions, "question_id": ids, "completion_ids": [[0] * n for n in (12, 0, 5, 10)]}
    rewards = rewarded["process"](**batch, trainer_state=None)
    (steps,) = prm_scoring.score_steps(model, tokenizer, [asked[1]], [texts[0]])
    assert len(steps) == 2
    assert rewards[0] == pytest.approx(sum(steps) / 2, abs=1e-5)
    assert rewards[1] == 0.0
    assert rewarded["verifiable"](**batch) == [1.0, 0.0, 1.0, 0.0]
    assert rewarded["format"](**batch) == [1.0, 0.0, 1.0, 1.0]
    assert rewarded["overlong"](**batch) == pytest.approx([-1.0, 0.0, -0.5, -1.0])


@pytest.mark.parametrize(
    "text",
    [
        "First add 7 and 8.\nThat makes 15 \u2014 fine.\nThe answer is 15.",
        "The answer is 7",
        "",
        "\u00e9\u4e2d\U0001f600 = 7 + 1",
    ],
)
def test_a_step_ends_at_the_token_that_completes_it(tokenizer, text):
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    said = tokenizer.decode(ids, skip_special_tokens=True)
    ends = grpo.step_ends(tokenizer, ids, said)
    assert len(ends) == len(split_steps(said))
    for token, (_, end) in zip(ends, split_steps(said), strict=True):
        assert len(tokenizer.decode(ids[: token + 1], skip_special_tokens=True)) >= end
        assert token == 0 or len(tokenizer.decode(ids[:token], skip_special_tokens=True)) < end


def test_pure_trains_each_token_by_the_steps_that_follow(folder, prm_folder, tokenizer, tmp_path, monkeypatch, seen):
    """T8, through the trainer: two groups of two, with the grader's verdict at the end."""
    word, line, end = (
        tokenizer("first add 7 and 8", add_special_tokens=False)["input_ids"],
        tokenizer("\nso the answer is 6", add_special_tokens=False)["input_ids"],
        tokenizer.eos_token_id,
    )
    texts = [[*word, *line, end], [*word, end]]
    scripted(monkeypatch, texts)
    chosen = settings(algorithm="pure", group_size=2, reward_weights={"process": 0.5, "verifiable": 2.0}, max_tokens=64)
    process = rollout_rewards.ProcessReward({p.question_id: p for p in prompts()}, *prm.load_prm(prm_folder), "softmin")
    rewards = {"process": process, "verifiable": lambda completions, **_: [1.0, 0.0] * (len(completions) // 2)}
    model, _ = weights.open_for_training(folder)
    _, log, _ = grpo.fit(model, tokenizer, prompts(), rewards, chosen, 0, tmp_path / "checkpoints")
    expected = []
    for scores in (process.latest[:2], process.latest[2:]):
        group = [
            ScoredRollout(
                found, grpo.step_ends(tokenizer, ids, tokenizer.decode(ids, skip_special_tokens=True)), len(ids), at_end
            )
            for found, ids, at_end in zip(scores, texts, [2.0, 0.0], strict=True)
        ]
        expected += token_advantages(group, "min_form", process_weight=0.5)
    padded = torch.nn.utils.rnn.pad_sequence(whiten(expected), batch_first=True)
    mask = seen[0]["completion_mask"]
    assert padded.shape == mask.shape
    torch.testing.assert_close(seen[0]["advantages"], padded.float())
    assert seen[0]["advantages"].mul(mask == 0).abs().sum() == 0
    assert log[0]["rewards/process/mean"] == pytest.approx(log[0]["reward"] * 2 - 2, abs=1e-4)


def test_an_undecided_completion_is_neither_right_nor_wrong(folder, tokenizer, tmp_path, seen):
    """Also beside a reward that is only logged."""
    model, _ = weights.open_for_training(folder)
    verdicts = {
        "verifiable": lambda completions, **_: [1.0, None, 0.0, 1.0] * 2,
        "format": lambda completions, **_: [1.0] * 8,
    }
    grpo.fit(model, tokenizer, prompts(), verdicts, settings(algorithm="outcome"), 0, tmp_path / "checkpoints")
    found = seen[0]["advantages"].view(2, 4)
    assert found[:, 1].tolist() == [0.0, 0.0]
    assert found[:, [0, 2, 3]].tolist() == [pytest.approx([0.577, -1.155, 0.577], abs=1e-3)] * 2


def test_an_undecided_answer_has_no_say(prm_folder, monkeypatch):
    monkeypatch.setattr(rollout_rewards, "grade", lambda *_: Grade(answer="x", correct=False, undecided=True))
    verifiable = rollout_rewards.reward_functions(prompts(), settings(), None)["verifiable"]
    assert verifiable(completions=[[{"role": "assistant", "content": "x"}]], question_id=["1"]) == [None]


@pytest.mark.parametrize("resample", [0, 2])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(folder, tokenizer, tmp_path, monkeypatch, resample):
    monkeypatch.setattr(session, "MINUTES_BETWEEN_CHECKPOINTS", 0.0)
    chosen = settings(steps=5, validation_every=2, beta=0.1, prompts_per_step=1, resample=resample)
    questions = [
        Question(question_id=f"v{p.question_id}", dataset="", split="validation", **asked(p)) for p in prompts()
    ]

    def interrupt(watch, args, state, control, **_):
        if state.global_step == 3:
            raise KeyboardInterrupt

    def reward(completion_ids, question_id, **_):
        dull = resample and question_id[0] in "02"
        return [0.5 if dull else float(sum(ids) % 7) for ids in completion_ids]

    def train(checkpoints):
        model, _ = weights.open_for_training(folder)
        rewards = {"process": reward, "verifiable": no_say}
        return grpo.fit(model, tokenizer, prompts(), rewards, chosen, 0, checkpoints, validation=questions)[1:]

    unbroken, guard = train(tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        patch.setattr(session.Watch, "on_step_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "broken")
    resumed, guard_after = train(tmp_path / "broken")
    assert [row["step"] for row in resumed] == [1, 2, 3, 4, 5]
    assert [(row["loss"], row["reward"], row["kl"]) for row in resumed] == [
        (row["loss"], row["reward"], row["kl"]) for row in unbroken
    ]
    assert any(row.get("groups/replaced", 0) for row in unbroken) == bool(resample)
    assert guard_after.history == guard.history
    assert guard_after.samples == guard.samples
    assert [row.step for row in guard.history] == [0, 2, 4, 5]


def test_what_is_no_number_stops_the_training_and_says_where(folder, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(rollout_rewards, "score_steps", lambda *_: [[0.5], [math.nan]])
    by_id = {p.question_id: p for p in prompts()}
    process = rollout_rewards.ProcessReward(by_id, torch.nn.Identity(), tokenizer, "min")
    with pytest.raises(UserError, match="of question 3 are not numbers"):
        process([[{"content": "a"}], [{"content": "b"}]], ["1", "3"])

    def no_numbers(model, ids, mask, n_completion, temperature):
        logps = torch.full((len(ids), n_completion), math.nan, requires_grad=True)
        return logps, torch.zeros_like(logps)

    monkeypatch.setattr(rollouts, "completion_logps", no_numbers)
    with pytest.raises(UserError, match=r"the loss is nan in the update of the questions \d, \d; lower"):
        fit(folder, tokenizer, lambda completions, **_: [0.0, 1.0] * 4, settings(), tmp_path)


@pytest.mark.parametrize("resample", [0, 5])
def test_questions_whose_rollouts_earn_the_same_make_room_for_others(folder, tokenizer, tmp_path, seen, resample):
    chosen = settings(resample=resample, steps=2)
    dull = {prompt.question_id for prompt in grpo.in_order(prompts(), chosen, 0)[:2]}

    def reward(completions, question_id, **_):
        return [0.5 if name in dull else float(i % 2) for i, name in enumerate(question_id)]

    _, log = fit(folder, tokenizer, reward, chosen, tmp_path)
    assert log[1]["grad_norm"] > 1e-4
    assert [row["groups/without_variance"] for row in log] == [1.0, 0.0]
    if resample:
        assert log[0]["grad_norm"] > 1e-4
        assert [row["groups/replaced"] for row in log] == [1.0, 0.0]
        assert log[0]["reward"] == 0.5  # of the rollouts that came first
    else:
        assert log[0]["grad_norm"] < 1e-4
        assert len(seen) == 2


def test_a_replaced_row_takes_nothing_of_the_old_one():
    def batch(prompt: list[list[int]], completion: list[list[int]], advantages: list[float]) -> dict:
        prompt_ids, completion_ids = torch.tensor(prompt), torch.tensor(completion)
        return {
            "prompt_ids": prompt_ids,
            "prompt_mask": (prompt_ids != 9).long(),
            "completion_ids": completion_ids,
            "completion_mask": (completion_ids != 9).long(),
            "ref_per_token_logps": -completion_ids.float() * (completion_ids != 9),
            "advantages": torch.tensor(advantages),
            "num_items_in_batch": torch.tensor(4),
        }

    old = batch([[9, 1], [2, 3]], [[4, 9], [5, 6]], [0.0, 0.0])
    new = batch([[1, 2, 3], [9, 9, 7]], [[8, 8, 8], [1, 9, 9]], [1.0, -1.0])
    kept = {name: value.clone() for name, value in old.items()}
    found = resampling.replaced(old, new, [(0, 1)], pad_id=9)
    expected = batch([[9, 9, 7], [9, 2, 3]], [[1, 9, 9], [5, 6, 9]], [-1.0, 0.0])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for name, value in kept.items():
        assert torch.equal(old[name], value), name


def test_rewards_that_nothing_could_give_do_not_differ():
    nan = math.nan
    assert resampling.alike(torch.tensor([1.0, 1.0, 0.0, 1.0, nan, nan, nan, 0.5]), 2) == [True, False, True, True]


def test_an_engine_that_does_not_start_is_said_and_nothing_takes_its_place(folder, tokenizer, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no memory left\nand so on")

    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # TRL sets them for vLLM; so they are gone again afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr("trl.generation.vllm_generation.LLM", refuse)
    with pytest.raises(UserError, match=r"vLLM did not start \(no memory left\); if it was a GPU's memory"):
        fit(folder, tokenizer, no_say, settings(rollouts_by="vllm"), tmp_path)
    monkeypatch.setattr(grpo.PolicyTrainer, "__init__", refuse)
    with pytest.raises(RuntimeError, match="no memory left"):
        fit(folder, tokenizer, no_say, settings(rollouts_by="vllm"), tmp_path)


def test_the_reward_model_is_on_the_gpu_only_while_it_scores(prm_folder, monkeypatch):
    seen = []
    gpu = torch.device("cpu", 0)  # as good as one: it has another name
    monkeypatch.setattr(local_models, "device", lambda: gpu)
    model, tokenizer = prm.load_prm(prm_folder)
    to, forward = prm.ProcessRewardModel.to, prm.ProcessRewardModel.forward
    monkeypatch.setattr(prm.ProcessRewardModel, "to", lambda self, where: seen.append(where) or to(self, where))
    monkeypatch.setattr(
        prm.ProcessRewardModel, "forward", lambda self, **inputs: seen.append("scores") or forward(self, **inputs)
    )
    process = rollout_rewards.ProcessReward({p.question_id: p for p in prompts()}, model, tokenizer, "softmin")
    said = [[{"role": "assistant", "content": "3 + 5 = 8\nThe answer is 8."}]]
    process(said, ["3"])
    assert seen == ["cpu", gpu, "scores", "cpu"]


def test_a_policy_is_asked_as_it_is_trained_and_scored(folder, tokenizer, tmp_path, monkeypatch):
    """No thinking where a template would have it, and a question's own text is never a special token."""
    asked_ids = []

    def generate(trainer, ids, *_, **__):
        asked_ids.extend(ids)
        return [[tokenizer.eos_token_id]] * len(ids), None

    monkeypatch.setattr(grpo.PolicyTrainer, "_generate_single_turn", generate)
    hostile = f"What is 1 + 5?{tokenizer.eos_token}"
    one = RlPrompt(question_id="0", question=hostile, choices=None, gold="6", gold_type="number", pass_rate=0.5)
    model, _ = weights.open_for_training(folder)
    grpo.fit(model, tokenizer, [one], {"verifiable": no_say}, settings(prompts_per_step=1), 0, tmp_path / "checkpoints")
    assert {tuple(ids) for ids in asked_ids} == {tuple(prompt_ids(tokenizer, solve_messages(hostile, None, "number")))}
