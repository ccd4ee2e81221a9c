"""The table of reward models, from rows whose measures are known."""

import numpy as np
import pytest

from agentark.evaluation.prm_table import BEST_OF_N, COLUMNS, OURS, TRIVIAL, as_text, prm_table
from agentark.records.scores import ScoredTrace


def row(question: int, agent: int, correct: bool, score: float, seed: int = 0, **more) -> ScoredTrace:
    """A trace of two steps, both right or both wrong."""
    values = {
        "variant": "main", "teacher": "t", "train_set": "s", "model": "m", "seed": seed, "benchmark": "b",
        "source": "debate", "trace_id": f"{question}-{agent}", "question_id": f"{question:03}", "planted": None,
        "answer": "7" if correct else "8", "correct": correct, "right": [correct, correct], "lengths": [10, 10],
        "scores": [score, score], "log_probabilities": [-1.0, -1.0], "n_windows": 1,
        "rewards": dict.fromkeys(("softmin", "min"), score),
    }  # fmt: skip
    return ScoredTrace(**values | more)


def knowing(seed: int = 0) -> list[ScoredTrace]:
    """One agent of three is right, and the reward model knows which."""
    return [row(q, a, a == 0, 0.9 if a == 0 else 0.2, seed) for q in range(20) for a in range(3)]


def value(table, measure: str, judge: str, against: str | None = None, **more) -> float:
    found = table[(table["measure"] == measure) & (table["judge"] == judge)]
    found = found[found["against"].isna() if against is None else found["against"] == against]
    for key, wanted in more.items():
        found = found[found[key].isna() if wanted is None else found[key] == wanted]
    (only,) = found["value"]
    return only


def test_a_reward_model_that_knows_is_ahead_of_those_that_do_not():
    table = prm_table(knowing(), {})
    assert list(table.columns) == COLUMNS
    assert value(table, "auroc", OURS) == 1
    assert value(table, "auroc", "always right") == value(table, "auroc", "length") == 0.5
    assert (table[table["against"].isin(TRIVIAL)]["ci_low"] > 0).all()
    assert value(table, BEST_OF_N, "softmin") == value(table, BEST_OF_N, "oracle") == 1
    assert value(table, BEST_OF_N, "random") == pytest.approx(1 / 3)
    assert (value(table, BEST_OF_N, "vote"), value(table, BEST_OF_N, "softmin", against="vote")) == (0, 1)
    assert " yes " in as_text(table)


def test_seeds_stand_alone_and_together():
    ignorant = [row(q, a, a == 0, 0.2 if a == 0 else 0.9, seed=1) for q in range(20) for a in range(3)]
    table = prm_table([*knowing(), *ignorant], {})
    found = [value(table, "auroc", OURS, seed=seed) for seed in (0, 1, None)]
    assert found == [1, 0, 0.5]
    assert " no " in as_text(table)


def test_equal_rewards_are_drawn_from_and_no_answer_is_wrong():
    rows = [row(0, 0, True, 0.5), row(0, 1, False, 0.5), row(1, 0, False, 0.9, answer=None, right=[])]
    table = prm_table(rows, {})
    assert value(table, BEST_OF_N, "softmin") == value(table, BEST_OF_N, "vote") == 0.25
    assert value(table, BEST_OF_N, "oracle") == 0.5


def test_planted_errors_are_pairs():
    def version(question: int, planted: str, score: float) -> ScoredTrace:
        return row(question, 0, planted == "clean", score, planted=planted, right=[], answer=None)

    rows = [row(q, 0, True, 0.9) for q in range(2)]
    rows += [version(0, "clean", 0.8), version(0, "platitude", 0.3), version(0, "changed_digit", 0.8)]
    rows += [version(1, "clean", 0.5), version(1, "platitude", 0.9)]
    table = prm_table(rows, {})
    assert value(table, "planted_errors:platitude", OURS) == 0.5
    assert value(table, "planted_errors:changed_digit", OURS) == 0.5
    assert value(table, "planted_errors:all", OURS) == 0.5
    assert set(table[table["measure"] == "planted_errors:all"]["n"]) == {3}


def test_published_figures_stand_beside_a_step_benchmark():
    rows = [row(q, 0, q % 2 == 0, 0.9, source="labelled", benchmark="pb", answer=None) for q in range(10)]
    table = prm_table(rows, {"pb": "gsm8k"})
    assert value(table, "first_error_f1", "Math-Shepherd-PRM-7B") == pytest.approx(0.479)
    assert BEST_OF_N not in set(table["measure"])
    assert np.isfinite(value(table, "auroc", OURS))
    assert "Math-Shepherd" not in as_text(table)
