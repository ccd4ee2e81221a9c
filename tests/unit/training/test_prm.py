import json
import random

import pytest
import torch

from agentark.config.prm import Prm
from agentark.provenance import manifests
from agentark.records.files import write_rows, write_text
from agentark.records.sets import StepExample
from agentark.stages import prm as program
from agentark.traces.steps import split_steps
from agentark.training import encoding, prm, prm_scoring, prm_training


def settings(**changes) -> Prm:
    stages = {"stage1": {"learning_rate": 3e-3, "epochs": 1}, "stage2": {"learning_rate": 1e-3, "epochs": 1}}
    return Prm.model_validate({"batch_size": 4, "max_length": 200, "negatives": 4} | stages | changes)


def trace(question: int, agent: int, lines: list[tuple[str, int]]) -> StepExample:
    text = "\n".join(line for line, _ in lines)
    return StepExample(
        trace_id=f"{question}-{agent}",
        question_id=f"{question:04d}",
        question=f"What is {question} + 5?",
        choices=None,
        gold_type="number",
        agent=agent,
        round=1,
        text=text,
        steps=split_steps(text),
        labels=[label for _, label in lines],
    )


def questions_with_a_planted_error(n: int) -> list[list[StepExample]]:
    """Three agents each; a step is wrong if and only if it says `gives 8`."""
    generator = random.Random(0)
    groups = []
    for question in range(n):
        rows = []
        for agent in range(3):
            lines = []
            for step in range(3):
                wrong = (agent + step + question) % 3 == 0
                lines.append((f"add {generator.randint(10, 99)} which gives {8 if wrong else 7}.", int(not wrong)))
            rows.append(trace(question, agent, lines))
        groups.append(rows)
    return groups


def test_negatives_are_wrong_steps_of_other_agents():
    traces = [
        trace(1, 0, [("first add 7 and 8", 1), ("which gives 16", 0)]),
        trace(1, 1, [("first add 8 and 7", 1), ("which gives 15", 1)]),
        trace(1, 0, [("first add 9 and 9", 0), ("which gives 18", 0)]),
        trace(1, 2, [("first add 6 and 6", 0)]),
    ]
    pairs = dict(prm_training.choose_pairs([traces], settings(negatives=8), seed=0))
    assert pairs == {0: [6], 2: [1, 4, 5, 6], 3: [1, 4, 5, 6]}
    assert all(
        len(negatives) == 2 for _, negatives in prm_training.choose_pairs([traces], settings(negatives=2), 0)[1:]
    )


@pytest.mark.parametrize(
    ("negatives_from", "expected"),
    [("question", {0: [2]}), ("other_questions", {0: [3, 5], 4: [1, 2]}), ("both", {0: [2, 3, 5], 4: [1, 2]})],
)
def test_negatives_may_be_steps_of_other_questions(negatives_from, expected):
    one = [trace(1, 0, [("first add 7 and 8", 1), ("which gives 16", 0)]), trace(1, 1, [("which gives 18", 0)])]
    two = [trace(2, 0, [("which gives 9", 0), ("first add 2 and 5", 1), ("so it is 8", 0)])]
    pairs = prm_training.choose_pairs([one, two], settings(negatives=8, negatives_from=negatives_from), seed=0)
    assert dict(pairs) == expected


def test_questions_without_a_pair_and_long_traces_are_counted(tokenizer):
    agreed = [trace(1, agent, [("first add 7 and 8", 1)]) for agent in range(2)]
    alone = [trace(2, 0, [("first add 7 and 8", 1), ("which gives 16", 0)])]
    good = [trace(3, 0, [("first add 7 and 8", 1)]), trace(3, 1, [("which gives 16", 0)])]
    long = trace(3, 2, [("which gives 16 " * 60, 0)])
    questions, counts = prm_training.encode_questions([agreed, alone, [*good, long]], tokenizer, settings(), seed=0)
    assert len(questions) == 1
    assert len(questions[0].traces) == 2
    assert counts == {"questions": 3, "questions_used": 1, "without_a_pair": 2, "traces": 6, "too_long": 1}


@pytest.mark.parametrize("text", ["first add 7.\n\nwhich gives 15.", "first add 7.\r\nwhich gives 15. \n"])
def test_a_step_is_read_at_its_last_token(tokenizer, text):
    """P9: blank lines, CRLF and trailing blanks move no step."""
    asked = trace(1, 0, [("first add 7 and 8", 1)])
    encoded = encoding.encode(tokenizer, asked, text, split_steps(text))
    read = [tokenizer.decode(encoded.input_ids[: i + 1]) for i in encoded.step_tokens]
    assert [part.rpartition("assistant\n")[2] for part in read] == [text[: text.index("7.") + 2], text.rstrip()]


def test_stage_1_trains_the_last_layer_and_the_head(folder, tokenizer):
    """P3: exactly those."""
    model, _ = prm.open_backbone(folder)
    prm_training.trainable_in_stage(model, 1)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {name for name, _ in model.named_parameters() if name.startswith(("backbone.layers.1.", "head."))}
    assert trainable == expected
    prm_training.trainable_in_stage(model, 2)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_with_adapters_each_stage_trains_them_alone(folder):
    model, _ = prm.open_backbone(folder, lora_rank=2)
    for stage in (1, 2):
        prm_training.trainable_in_stage(model, stage)
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        adapters = {
            name for name, _ in model.named_parameters() if "lora_" in name and (stage == 2 or ".layers.1." in name)
        }
        assert trainable == adapters | {"head.weight", "head.bias"}
        assert adapters


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_all_parameters_are_trained_and_saved(folder, tokenizer, tmp_path, float32, lora_rank):
    """P2: after both stages every parameter (or adapter) has changed, and a loaded PRM gives the same scores."""
    model, stored = prm.open_backbone(folder, projects=True, lora_rank=lora_rank)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    groups = questions_with_a_planted_error(8)
    questions, _ = prm_training.encode_questions(groups, tokenizer, settings(), seed=0)
    chosen = settings(loss={"contrastive": 1, "infonce": 1})
    prm_training.fit(model, questions, chosen, 0, tmp_path / "checkpoints")
    unchanged = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    frozen = [name for name in before if lora_rank and name.startswith("backbone.") and "lora_" not in name]
    assert unchanged == frozen
    (tmp_path / "saved").mkdir()
    prm.save_prm(model, tokenizer, tmp_path / "saved", stored)
    loaded, loaded_tokenizer = prm.load_prm(tmp_path / "saved")
    rows = groups[0]
    texts = [row.text for row in rows]
    ours = prm_scoring.score_steps(model, tokenizer, rows, texts)
    theirs = prm_scoring.score_steps(loaded, loaded_tokenizer, rows, texts)
    assert [len(row) for row in theirs] == [3, 3, 3]
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-6)


def test_scores_do_not_depend_on_the_batch(folder, tokenizer, float32):
    model, _ = prm.open_backbone(folder)
    rows = questions_with_a_planted_error(2)[1]
    texts = [rows[0].text, "", rows[1].text + "\nfirst add 7 and 8, which gives 15.", "The answer is 15."]
    rows = [*rows, rows[0]]
    together = prm_scoring.score_steps(model, tokenizer, rows, texts)
    alone = [prm_scoring.score_steps(model, tokenizer, [row], [text])[0] for row, text in zip(rows, texts, strict=True)]
    assert [len(row) for row in together] == [3, 0, 4, 1]
    for a, b in zip(together, alone, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_a_step_is_scored_from_what_stands_before_it(folder, tokenizer, float32):
    """One forward pass a trace: later steps change nothing."""
    model, _ = prm.open_backbone(folder)
    asked = questions_with_a_planted_error(1)[0][0]
    longer = asked.text + "\nfirst add 7 and 8, which gives 15."
    whole, cut = prm_scoring.score_steps(model, tokenizer, [asked, asked], [longer, asked.text])
    assert whole[:3] == pytest.approx(cut, abs=1e-5)


def test_rewards_are_float32_where_all_weights_are_bfloat16(folder, tokenizer):
    model, _ = prm.open_backbone(folder, projects=True)
    model.bfloat16()  # as DeepSpeed does
    coded = [encoding.encode(tokenizer, row, row.text, row.steps) for row in questions_with_a_planted_error(1)[0]]
    rewards, projections = model(**prm_scoring.inputs_of(coded, [list(range(len(coded)))]))
    assert rewards.dtype == projections.dtype == torch.float32
    assert rewards.unique().numel() == rewards.numel(), "rounded to bfloat16, some would tie"
    (rewards.sum() + projections.sum()).backward()
    assert model.head.weight.grad.abs().sum() > 0


def run(folder, tmp_path, groups, chosen) -> int:
    write_text(tmp_path / "prm.json", chosen.model_dump_json())
    write_rows(tmp_path / "set.jsonl", [row for group in groups for row in group])
    model = folder.parent / "manifest.json"
    manifests.write_manifest(model, kind="model", stage="prm", settings={}, parents=[], folder=folder)
    return program.main(
        ["--config", str(tmp_path / "prm.json"), "--model", str(model), "--set", str(tmp_path / "set.jsonl")]
        + ["--seed", "0", "--manifest", str(tmp_path / "out" / "manifest.json")]
    )


def test_program_learns_a_planted_error(folder, tmp_path):
    """T11, on questions kept back; the folder is all that scoring needs."""
    chosen = settings(held_out_share=0.25, stage2={"learning_rate": 2e-3, "epochs": 4})
    assert run(folder, tmp_path, questions_with_a_planted_error(40), chosen) == 0
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"]
    assert facts["questions_trained_on"] == 30
    assert facts["held_out_questions"] == 10
    assert facts["auroc_low"] > 0.95
    model, tokenizer = prm.load_prm(manifests.model_folder(tmp_path / "out" / "manifest.json"))
    asked = questions_with_a_planted_error(1)[0][0]
    ((right, wrong),) = prm_scoring.score_steps(
        model, tokenizer, [asked], ["add 55 which gives 7.\nadd 44 which gives 8."]
    )
    assert right > wrong
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_traces_of_other_teachers_stand_beside_those_of_the_same_question(tmp_path):
    """An agent of one teacher is another agent than that of the same number elsewhere, so it gives negatives."""
    own, other = (
        [trace(n, 0, [("first add 7 and 8", label)]) for n in numbers] for numbers, label in (((1, 2), 1), ((2, 3), 0))
    )
    write_rows(tmp_path / "own.jsonl", own)
    write_rows(tmp_path / "other.jsonl", other)
    groups = program.by_questions([tmp_path / "own.jsonl", tmp_path / "other.jsonl"])
    assert [[(row.agent, row.labels) for row in group] for group in groups] == [
        [(0, [1])],
        [(0, [1]), (1, [0])],
        [(1, [0])],
    ]
    assert [prm_training.usable(group, settings(), seed=0) for group in groups] == [False, True, False]


def test_program_says_when_scores_no_longer_differ(folder, tmp_path, capfd):
    """Eq. 7 on a steep sigmoid: at a high learning rate all scores end at 0 or 1, where it has no gradient."""
    groups = questions_with_a_planted_error(8)
    dead = settings(held_out_share=0.5, stage2={"learning_rate": 0.3, "epochs": 4})
    assert run(folder, tmp_path, groups, dead) == 0
    assert "its scores hardly differ" in capfd.readouterr().err
    alive = settings(held_out_share=0.5, stage2={"learning_rate": 2e-3, "epochs": 4})
    assert run(folder, tmp_path, groups, alive) == 0
    assert "its scores hardly differ" not in capfd.readouterr().err


def test_program_says_why_there_is_nothing_to_train_on(folder, tmp_path, capfd):
    agreed = [[trace(1, agent, [("first add 7 and 8", 1)]) for agent in range(2)]]
    assert run(folder, tmp_path, agreed, settings()) == 1
    assert "1 without steps that prm.loss can tell apart" in capfd.readouterr().err
    assert run(folder, tmp_path, agreed, settings(loss="bce", held_out_share=0)) == 1
    assert "all steps are labelled right" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_max_questions_are_trained_on_beside_those_kept_back(tokenizer):
    chosen = settings(max_questions=6, held_out_share=0.25)
    questions, _ = prm_training.encode_questions(questions_with_a_planted_error(20), tokenizer, chosen, seed=0)
    held_out, train = program.split(questions, chosen)
    assert (len(held_out), len(train)) == (2, 6)
    assert not {q.traces[0].question_id for q in held_out} & {q.traces[0].question_id for q in train}
