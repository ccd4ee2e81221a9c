"""What a reward model is measured by, on a model of random weights and on judges made for the test."""

import numpy as np
import pytest
import torch

from agentark.engines.local_models import open_model
from agentark.training import prm, prm_quality, prm_training
from tests.unit.training.test_prm import questions_with_a_planted_error, settings, trace


def encoded(tokenizer, groups) -> list[prm_training.PrmQuestion]:
    return prm_training.encode_questions(groups, tokenizer, settings(loss="bce"), seed=0)[0]


def test_a_model_that_scores_all_steps_alike_is_said_to_know_nothing(folder, tokenizer, float32):
    model, _ = prm.open_backbone(folder)
    torch.nn.init.zeros_(model.head.weight)
    questions = encoded(tokenizer, questions_with_a_planted_error(30))
    beside = prm_quality.baselines(open_model(folder).float(), tokenizer, questions[:10], questions[10:])
    facts = prm_quality.quality(model, tokenizer, questions[:10], beside)
    assert (facts["held_out_questions"], facts["held_out_steps"], facts["held_out_steps_right"]) == (10, 90, 60)
    assert facts["auroc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert facts["beats_baselines"] is False


def test_without_held_out_questions_there_is_nothing_to_say(folder, tokenizer, float32):
    model, _ = prm.open_backbone(folder)
    questions = encoded(tokenizer, questions_with_a_planted_error(2))
    beside = prm_quality.baselines(open_model(folder).float(), tokenizer, [], questions)
    facts = prm_quality.quality(model, tokenizer, [], beside)
    assert (facts["held_out_steps"], facts["beats_baselines"]) == (0, False)
    assert facts["auroc"] == {"value": None, "low": None, "high": None}


def test_length_and_place_are_read_the_way_the_training_questions_say(tokenizer):
    """There the first and longer step is the right one; so a long or an early step is to score high."""
    train = encoded(tokenizer, [[trace(1, 0, [("a long step that is right: 7", 1), ("wrong one: 8", 0)])]])
    asked = encoded(
        tokenizer, [[trace(2, 0, [("wrong one: 8", 0), ("a long step that is right: 7", 1), ("so: 12345", 1)])]]
    )
    found = prm_quality.trivial_scores(asked, train)
    assert found["length"].tolist() == [12, 28, 9]
    assert found["position"].tolist() == [0, -1, -2]


def test_log_probability_is_the_mean_over_a_steps_tokens(folder, tokenizer, float32):
    untrained = open_model(folder).float()
    questions = encoded(tokenizer, questions_with_a_planted_error(1))
    found = prm_quality.log_probabilities(untrained, tokenizer, questions)
    first = questions[0].encoded[0]
    with torch.no_grad():
        logps = torch.log_softmax(untrained(torch.tensor([first.input_ids])).logits[0].float(), dim=-1)
    second = range(first.step_tokens[0] + 1, first.step_tokens[1] + 1)
    # The newline between them belongs to neither.
    of_tokens = {t: logps[t - 1, first.input_ids[t]].item() for t in second}
    without_newline = [value for t, value in of_tokens.items() if tokenizer.decode(first.input_ids[t]) != "\n"]
    assert found[1] == pytest.approx(np.mean(without_newline), abs=1e-4)


def test_a_judge_of_the_text_wins_on_what_it_sees(folder, tokenizer, monkeypatch):
    """It scores a step by whether it says `gives 7`: it sees a changed digit there and nonsense, and no swap."""
    right = [[trace(q, 0, [(f"which gives 7 and {q}.", 1)] * 3 + [("it gives 7.", 1)])] for q in range(40, 60)]
    questions = encoded(tokenizer, right)
    monkeypatch.setattr(
        prm_quality,
        "score_steps",
        lambda model, tokenizer, asked, texts: [[float("gives 7" in line) for line in t.split("\n")] for t in texts],
    )
    found = prm_quality.planted_errors(None, tokenizer, questions)
    assert found["answer_after_nonsense"]["value"] == found["platitude"]["value"] == 1
    assert found["repeated_step"]["value"] == 0.5
    assert found["swapped_steps"] == {"value": None, "low": None, "high": None, "n": 0}
    assert 0.5 < found["changed_digit"]["value"] < 1
    assert found["all"]["n"] == 80
