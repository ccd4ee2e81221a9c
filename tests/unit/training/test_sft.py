import pytest
import torch
from torch.nn import functional

from agentark.config.sft import Sft
from agentark.engines.local_models import open_model, open_tokenizer
from agentark.engines.prompts import solve_messages
from agentark.errors import UserError
from agentark.records.questions import Question
from agentark.records.sets import TrainingExample
from agentark.running.deadline import StoppedError
from agentark.training import packing, session, sft, weights
from agentark.training.logprobs import token_logps
from agentark.training.rendering import end_of_turn

MODES = ["sum", "token_mean", "separate", "answer"]


def settings(**changes) -> Sft:
    tiny = {"learning_rate": 3e-3, "epochs": 2, "batch_size": 4, "micro_batch_size": 4, "max_length": 128}
    return Sft(**tiny | changes)


def example(number: int, reasoning: str = "first add, which gives ", weight: float = 1.0) -> TrainingExample:
    reasoning = f"{reasoning}{number}.\n" if reasoning else ""
    return TrainingExample(
        example_id=str(number),
        method="rsft",
        question_id=str(number),
        question=f"What is {number} + 0?",
        choices=None,
        gold_type="number",
        completion=f"{reasoning}The answer is {number}.",
        answer_start=len(reasoning),
        weight=weight,
        trace_id=str(number),
        kind="stable",
    )


@pytest.mark.parametrize(
    ("mode", "expected"), [("sum", 1.7), ("token_mean", 0.425), ("separate", 1.0333), ("answer", 0.7)]
)
def test_loss_golden_values(mode, expected):
    """G8."""
    nll = torch.tensor([[9.0, 0.5, 0.25, 0.25, 0.7]])
    reasoning, answer = torch.tensor([[0.0, 1, 1, 1, 0]]), torch.tensor([[0.0, 0, 0, 0, 1]])
    loss = sft.sft_loss(nll, reasoning, answer, torch.tensor([1.0, 3.0, 1.0]), mode)
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_da_weighs_every_question_alike():
    """G9, and a second question with one trace counts as much as the first with two."""
    nll, answer = torch.tensor([[2.0], [4.0], [7.0]]), torch.tensor([[0.5], [0.5], [1.0]])
    one = sft.sft_loss(nll[:2], torch.zeros(2, 1), answer[:2], torch.tensor([1.0, 0.0, 1.0]), "sum")
    both = sft.sft_loss(nll, torch.zeros(3, 1), answer, torch.tensor([2.0, 0.0, 2.0]), "sum")
    assert one.item() == pytest.approx(3.0)
    assert both.item() == pytest.approx((3.0 + 7.0) / 2)


@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_add_up_to_the_update(mode):
    torch.manual_seed(0)
    nll = torch.rand(4, 6)
    reasoning = (torch.arange(6) < torch.tensor([[1], [4], [2], [0]])).float() * torch.tensor(
        [[1.0], [0.5], [0.5], [1]]
    )
    answer = (torch.arange(6) == 5).float().expand(4, 6)
    totals = torch.stack([torch.tensor(3.0), reasoning.sum(), answer.sum()])
    whole = sft.sft_loss(nll, reasoning, answer, totals, mode)
    parts = [sft.sft_loss(nll[i : i + 1], reasoning[i : i + 1], answer[i : i + 1], totals, mode) for i in range(4)]
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-6)


def model_losses(folder, rows, pad_token_id, mode, **term_weights):
    """(our loss, batch, full logits) of some rows."""
    batch = sft.collate(rows, pad_token_id)
    model = open_model(folder)
    logps, _ = token_logps(model, **sft.inputs_of(batch))
    totals = torch.stack([batch[key].sum() for key in ("weight", "reasoning", "answer")])
    loss = sft.sft_loss(-logps, batch["reasoning"][:, 1:], batch["answer"][:, 1:], totals, mode, **term_weights)
    return loss, batch, model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def test_sum_is_plain_nll_with_the_prompt_masked(folder, tokenizer):
    """T9, first half."""
    rows, _ = sft.encode_all([example(7), example(15, "")], tokenizer, 128)
    loss, batch, logits = model_losses(folder, rows, tokenizer.pad_token_id, "sum")
    plain = functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum")
    assert loss.item() == pytest.approx(plain.item() / 2, rel=1e-5)


def test_separate_without_reasoning_weight_is_training_on_answers(folder, tokenizer):
    """T9, second half."""
    rows, _ = sft.encode_all([example(7), example(15)], tokenizer, 128)
    loss, batch, logits = model_losses(folder, rows, tokenizer.pad_token_id, "separate", reasoning_weight=0.0)
    labels = batch["labels"].masked_fill(batch["answer"] == 0, -100)[:, 1:].flatten()
    assert loss.item() == pytest.approx(functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels).item(), rel=1e-5)


def test_token_logps_agree_with_full_logits(folder, tokenizer):
    rows, _ = sft.encode_all([example(7), example(15, "")], tokenizer, 128)
    batch = sft.collate(rows, tokenizer.pad_token_id)
    gradients = []
    for ours in (True, False):
        model = open_model(folder)
        if ours:
            logps, entropy = token_logps(model, **sft.inputs_of(batch), temperature=0.5, with_entropy=True)
        else:
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1] / 0.5
            full = torch.log_softmax(logits, dim=-1)
            wanted = batch["labels"][:, 1:] != -100
            expected_entropy = (-(full.exp() * full).sum(-1) * wanted).detach()
            expected = full.gather(2, batch["input_ids"][:, 1:, None]).squeeze(2) * wanted
        (logps if ours else expected).sum().backward()
        gradients.append(model.model.layers[0].self_attn.q_proj.weight.grad)
    torch.testing.assert_close(logps, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, expected_entropy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_spans_follow_the_characters(tokenizer):
    row = sft.encode(example(15), tokenizer, end_of_turn(tokenizer))
    prompt = tokenizer.decode(row["input_ids"][: row["completion_from"]])
    answer = tokenizer.decode(row["input_ids"][row["answer_from"] :])
    assert prompt.endswith("<|im_start|>assistant\n")
    assert answer == "The answer is 15.<|im_end|>"
    assert tokenizer.decode(row["input_ids"][row["completion_from"] : row["answer_from"]]).startswith("first add")


def test_the_prompt_is_the_one_of_generation(tokenizer):
    row = sft.encode(example(15), tokenizer, end_of_turn(tokenizer))
    asked = solve_messages("What is 15 + 0?", None, "number")
    generation = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert row["input_ids"][: row["completion_from"]].tolist() == generation


def test_a_template_without_an_ending_ends_with_end_of_text(folder):
    tokenizer = open_tokenizer(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert end_of_turn(tokenizer) == tokenizer.eos_token


def test_what_does_not_fit_is_counted_and_never_cut(tokenizer):
    long = example(4, "first add, which gives 7 and 8 " * 40)
    rows, counts = sft.encode_all([example(1), long, unanswered()], tokenizer, 128)
    assert counts == {"examples": 3, "used": 1, "too_long": 1, "without_answer": 1}
    assert all(row["input_ids"][-1] == tokenizer.eos_token_id for row in rows)


def unanswered() -> TrainingExample:
    whole = {name: getattr(example(5), name) for name in TrainingExample.__struct_fields__}
    return TrainingExample(**whole | {"answer_start": len(whole["completion"])})


def test_sampler_gives_every_example_once_and_sorts_within_updates():
    lengths = [5, 9, 1, 7, 3, 8, 2]
    sampler = sft.LengthSorted(lengths, batch_size=3, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
    for start in (0, 3):
        update = [lengths[i] for i in first[start : start + 3]]
        assert update == sorted(update, reverse=True)


def trained(folder, tokenizer, rows, chosen, checkpoints):
    model, _ = weights.open_for_training(folder)
    return sft.fit(model, tokenizer, rows, chosen, seed=0, checkpoints=checkpoints)[:2]


@pytest.mark.parametrize("mode", MODES)
def test_the_micro_batch_changes_nothing(folder, tokenizer, tmp_path, float32, mode):
    """4 x 1 = 1 x 4, with traces of very different lengths and weights."""
    examples = [example(i, "first add, which gives " * (i % 3), weight=1 / (1 + i % 2)) for i in range(8)]
    rows, _ = sft.encode_all(examples, tokenizer, 128)
    logs = []
    for size in (4, 1):
        chosen = settings(loss=mode, micro_batch_size=size)
        logs.append(trained(folder, tokenizer, rows, chosen, tmp_path / str(size))[1])
    for key in ("loss", "grad_norm", "nll_reasoning", "nll_answer"):
        assert [row[key] for row in logs[0]] == pytest.approx([row[key] for row in logs[1]], rel=2e-3), key


def test_both_terms_fall(folder, tokenizer, tmp_path):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    _, log = trained(folder, tokenizer, rows, settings(epochs=6), tmp_path)
    assert log[-1]["nll_reasoning"] < 0.7 * log[0]["nll_reasoning"]
    assert log[-1]["nll_answer"] < 0.7 * log[0]["nll_answer"]
    # The loss that is trained is the sum of the two terms that are shown.
    assert [row["loss"] for row in log] == pytest.approx(
        [row["nll_reasoning"] + row["nll_answer"] for row in log], rel=0.01
    )


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.16), ("linear", 1 / 6), ("constant", 1.0)])
def test_the_rate_rises_and_falls_as_the_config_says(folder, tokenizer, tmp_path, schedule, last):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    chosen = settings(schedule=schedule, warmup=0.25, batch_size=2, micro_batch_size=2)
    rates = [row["learning_rate"] / 3e-3 for row in trained(folder, tokenizer, rows, chosen, tmp_path)[1]]
    assert rates[:3] == pytest.approx([0.5, 1, 1])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(last, abs=0.01)


def test_a_training_of_one_update_learns(folder, tokenizer, tmp_path):
    rows, _ = sft.encode_all([example(i) for i in range(4)], tokenizer, 128)
    model, log = trained(folder, tokenizer, rows, settings(examples=1), tmp_path)
    assert [row["learning_rate"] for row in log] == [3e-3]
    before = open_model(folder)
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), model.parameters(), strict=True))


def test_a_loss_that_is_no_number_stops_and_names_the_questions(folder, tokenizer, tmp_path):
    rows, _ = sft.encode_all([example(i) for i in (1, 2, 3, 9)], tokenizer, 128)
    model, _ = weights.open_for_training(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("9")] = torch.nan
    chosen = settings(micro_batch_size=2)
    with pytest.raises(
        UserError, match=r"sft: the loss is nan on the questions (9, \d|\d, 9); lower sft.learning_rate"
    ):
        sft.fit(model, tokenizer, rows, chosen, seed=0, checkpoints=tmp_path)


def test_a_gradient_that_is_no_number_stops_before_anything_is_saved(folder, tokenizer, tmp_path, monkeypatch):
    loss, updates = sft.sft_loss, []

    def spoilt(nll, *given):
        updates.append(nll)
        return loss(nll, *given) + (0 if len(updates) < 3 else (0 * nll.sum()).sqrt())

    monkeypatch.setattr(sft, "sft_loss", spoilt)
    monkeypatch.setattr(session, "MINUTES_BETWEEN_CHECKPOINTS", 0.0)
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    with pytest.raises(UserError, match="sft: the gradient of update 3 is no number"):
        trained(folder, tokenizer, rows, settings(), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


def test_an_interrupted_run_goes_on_to_the_same_end(folder, tokenizer, tmp_path, float32, monkeypatch):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    straight, straight_log = trained(folder, tokenizer, rows, settings(), tmp_path / "straight")
    monkeypatch.setattr(session, "MINUTES_BETWEEN_CHECKPOINTS", 0.0)

    def interrupt(watch, args, state, control, **_):
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session.Watch, "on_step_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(folder, tokenizer, rows, settings(), tmp_path / "halted")
    begun = []
    monkeypatch.setattr(session.Watch, "on_step_begin", lambda watch, args, state, control, **_: begun.append(state))
    resumed, log = trained(folder, tokenizer, rows, settings(), tmp_path / "halted")
    assert len(begun) == 1
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in straight_log], rel=1e-5)
    for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("damaged", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_damaged_checkpoint_is_left_aside_for_the_one_before(
    folder, tokenizer, tmp_path, monkeypatch, capsys, damaged
):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    monkeypatch.setattr(session, "MINUTES_BETWEEN_CHECKPOINTS", 0.0)
    _, straight = trained(folder, tokenizer, rows, settings(epochs=3), tmp_path)
    kept = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert kept == ["checkpoint-4", "checkpoint-5"]
    file = tmp_path / "checkpoint-5" / damaged
    file.write_bytes(file.read_bytes()[:-100])
    _, log = trained(folder, tokenizer, rows, settings(epochs=3), tmp_path)
    told = capsys.readouterr().err
    assert "the checkpoint of update 5 is damaged" in told
    assert "goes on from update 4" in told
    assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in straight], rel=1e-5)


def asked(number: int) -> Question:
    return Question(
        question_id=str(number),
        dataset="sums",
        split="validation",
        question=f"What is {number} + 0?",
        gold=str(number),
        gold_type="number",
    )


@pytest.mark.parametrize("lora_rank", [None, 8])
def test_right_answers_are_counted_before_and_after_each_pass(folder, tokenizer, tmp_path, float32, lora_rank):
    """On what it learns by heart the student is right in the end; a padded batch of prompts of several lengths."""
    rows, _ = sft.encode_all([example(i, "") for i in (1, 2, 30, 4444)], tokenizer, 128)
    chosen = settings(epochs=60, learning_rate=1e-2, lora_rank=lora_rank)
    questions = [asked(i) for i in (1, 2, 30, 4444)]
    model, _ = weights.open_for_training(folder)
    *_, validated = sft.fit(model, tokenizer, rows, chosen, 0, tmp_path / "with", questions)
    assert [row["step"] for row in validated] == list(range(61))
    assert validated[0]["validation_accuracy"] == 0
    assert validated[-1]["validation_accuracy"] == 1


def test_validation_changes_no_update(folder, tokenizer, tmp_path, float32):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    logs = []
    for questions in ([], [asked(1), asked(2)]):
        model, _ = weights.open_for_training(folder)
        logs.append(sft.fit(model, tokenizer, rows, settings(), 0, tmp_path / str(len(questions)), questions)[1])
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]


def test_a_pass_at_whose_end_a_training_was_stopped_is_validated_when_it_goes_on(
    folder, tokenizer, tmp_path, float32, monkeypatch
):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)

    class Stops:
        def why_stop(self):
            return "the time limit" if len(begun) == 2 else None

    begun = []
    monkeypatch.setattr(session, "Deadline", Stops)
    monkeypatch.setattr(session.Watch, "on_step_begin", lambda watch, args, state, control, **_: begun.append(state))
    model, _ = weights.open_for_training(folder)
    with pytest.raises(StoppedError, match="after 2 of 4 updates"):
        sft.fit(model, tokenizer, rows, settings(), 0, tmp_path, [asked(1), asked(2)])
    model, _ = weights.open_for_training(folder)
    *_, validated = sft.fit(model, tokenizer, rows, settings(), 0, tmp_path, [asked(1), asked(2)])
    assert [row["step"] for row in validated] == [0, 2, 4]


@pytest.mark.parametrize(
    ("budget", "updates", "examples"),
    [({"examples": 11}, 3, 11), ({"examples": 40}, 11, 39), ({"examples": 1}, 1, 4), ({}, 4, 14)],
)
def test_a_budget_is_spent_in_as_many_passes_as_it_takes(tokenizer, budget, updates, examples):
    """Of 7 rows, in updates of 4 and 3."""
    rows, _ = sft.encode_all([example(i) for i in range(7)], tokenizer, 128)
    planned = sft.updates(rows, settings(**budget), seed=0)
    assert (len(planned), sum(map(len, planned))) == (updates, examples)
    passes = zip(planned[::2], planned[1::2], strict=False)
    assert all(sorted(first + second) == list(range(7)) for first, second in passes)


def test_a_budget_of_tokens_is_the_same_for_short_and_for_long_traces(tokenizer):
    spent = []
    for reasoning in ("", "first add, which gives " * 6):
        rows, _ = sft.encode_all([example(i, reasoning) for i in range(8)], tokenizer, 256)
        chosen = settings(loss_tokens=4000)
        planned = sft.updates(rows, chosen, seed=0)
        spent.append((len(planned), sum(sft.n_trained(rows[i], chosen) for update in planned for i in update)))
    assert spent[0][0] > 3 * spent[1][0]
    assert [tokens for _, tokens in spent] == pytest.approx([4000, 4000], abs=4 * 100)


@pytest.mark.parametrize("alone", [{"loss": "answer"}, {"loss": "separate", "reasoning_weight": 0.0}])
def test_reasoning_that_is_not_trained_is_in_no_budget(tokenizer, alone):
    (row,), _ = sft.encode_all([example(7, "first add, which gives " * 6)], tokenizer, 256)
    answer = tokenizer("The answer is 7.<|im_end|>")["input_ids"]
    assert sft.n_trained(row, settings(**alone)) == pytest.approx(len(answer), abs=1)
    assert sft.n_trained(row, settings()) > 5 * len(answer)


def test_answers_alone_have_no_likelihood_of_a_reasoning(folder, tokenizer, tmp_path):
    rows, _ = sft.encode_all([example(i, "") for i in range(4)], tokenizer, 128)
    _, log = trained(folder, tokenizer, rows, settings(), tmp_path)
    assert "nll_reasoning" not in log[0]
    assert log[0]["nll_answer"] > 0


def test_a_training_is_on_what_was_planned(folder, tokenizer, tmp_path, monkeypatch):
    rows, _ = sft.encode_all([example(i) for i in range(7)], tokenizer, 128)
    chosen, seen = settings(examples=18, micro_batch_size=2), []
    collate = sft.collate

    def watched(batch, pad_token_id):
        seen.extend(row["question_id"] for row in batch)
        return collate(batch, pad_token_id)

    monkeypatch.setattr(sft, "collate", watched)
    _, log = trained(folder, tokenizer, rows, chosen, tmp_path)
    planned = sft.updates(rows, chosen, seed=0)
    assert [rows[i]["question_id"] for update in planned for i in update] == seen[: sum(map(len, planned))]
    assert len(log) == len(planned)


def test_adapters_on_4_bits_are_saved_as_they_were_trained(folder, tokenizer, tmp_path, float32):
    rows, _ = sft.encode_all([example(i) for i in range(8)], tokenizer, 128)
    chosen = settings(lora_rank=8, load_in_4bit=True, epochs=12, learning_rate=3e-2)
    model, stored = weights.open_in_4bit(folder)
    assert stored == torch.float32
    model, log, _ = sft.fit(model, tokenizer, rows, chosen, 0, tmp_path / "checkpoints")
    assert log[-1]["loss"] < 0.95 * log[0]["loss"]
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    weights.save(model, tokenizer, tmp_path / "student", stored)
    ids = torch.tensor([rows[0]["input_ids"].tolist()])
    with packing.unpacked(model):
        trained_logits = model.eval()(ids).logits
    student = open_model(tmp_path / "student")
    torch.testing.assert_close(student(ids).logits, trained_logits, atol=1e-3, rtol=1e-3)
    assert (open_model(folder)(ids).logits - trained_logits).abs().max() > 0.1
