"""Which arms are compared, over variants and seeds, and which p-values are corrected together."""

from pathlib import Path

import pandas as pd
import pytest

from agentark.config.tables import Tables
from agentark.errors import UserError
from agentark.evaluation.arms import read_arms
from agentark.evaluation.comparisons import Comparison, compare, comparison_table
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import write_rows
from tests.unit.evaluation.answers import TABLES, TRAINED, answers, arms_of, student

RIGHT, WRONG = [True] * 12, [False] * 12


def comparisons(
    folder: Path, rows: list[EvaluationRow], named: dict[str, list[str]] | None = None
) -> tuple[list[Comparison], list[str]]:
    tables = TABLES.model_copy(update={"compare": named or {}})
    return compare(arms_of(folder, rows, tables), tables)


def names(found: list[Comparison]) -> list[tuple[str, str]]:
    """VARIANT/NAME of both arms, without the comparisons with the base."""
    return [
        tuple(f"{arm.variant}/{arm.name}" for arm in (one.arm, one.against))
        for one in found
        if one.against.name != "base"
    ]


SHARING = [
    *student("rsft", WRONG),
    *student("rsft-pad", RIGHT),
    *student("rsft-pad", RIGHT, variant="long"),  # `long` changes PAD only
    *student("rsft", RIGHT, variant="longer"),  # `longer` changes R-SFT, and so PAD
    *student("rsft-pad", RIGHT, variant="longer"),
]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (
            {"pad": ["rsft"]},
            [("main/pad", "main/rsft"), ("long/pad", "main/rsft"), ("longer/pad", "longer/rsft")],
        ),
        ({"pad": ["main/rsft"]}, [("main/pad", "main/rsft"), ("long/pad", "main/rsft"), ("longer/pad", "main/rsft")]),
        ({"longer/pad": ["rsft", "main/pad"]}, [("longer/pad", "longer/rsft"), ("longer/pad", "main/pad")]),
        ({"pad": ["main/pad"]}, [("long/pad", "main/pad"), ("longer/pad", "main/pad")]),
        # R-SFT of `long` is main's, and its PAD is not.
        ({"rsft": ["pad"]}, [("main/rsft", "main/pad"), ("main/rsft", "long/pad"), ("longer/rsft", "longer/pad")]),
        ({"longer/rsft": ["long/rsft"]}, [("longer/rsft", "main/rsft")]),
        ({"pad": ["pad"], "main/rsft": ["main/rsft"]}, []),
    ],
)
def test_names_are_looked_for_where_a_variant_has_them(
    tmp_path: Path, named: dict[str, list[str]], expected: list[tuple[str, str]]
) -> None:
    found, skipped = comparisons(tmp_path, SHARING, named)
    assert names(found) == expected
    assert not skipped


def test_an_arm_that_is_not_there_is_skipped_with_a_sentence(tmp_path: Path) -> None:
    found, skipped = comparisons(tmp_path, SHARING, {"pad": ["da", "rsft"], "da": ["rsft"]})
    assert len(names(found)) == 3
    assert len(skipped) == 3
    assert skipped[0] == "pad of m on b: no da is there to compare it with"


def test_what_shares_no_seed_or_question_is_not_compared(tmp_path: Path) -> None:
    rows = student("rsft", RIGHT) + student("rsft-pad", RIGHT, seed=1)
    found, (sentence,) = comparisons(tmp_path, rows, {"pad": ["rsft"]})
    assert not found
    assert "pad and rsft share no seed or no question of b" in sentence


def test_the_base_is_the_nearest_one_below(tmp_path: Path) -> None:
    rows = [
        *answers(WRONG),
        *answers(RIGHT, variant="long"),
        *student("rsft", RIGHT),
        *student("rsft", RIGHT, variant="long"),
        *student("rsft", RIGHT, variant="longer"),
    ]
    found, _ = comparisons(tmp_path, rows)
    against = {one.arm.variant: (one.against.variant, one.result.difference) for one in found}
    assert against == {"main": ("main", 1.0), "long": ("long", 0.0), "longer": ("long", 0.0)}


def test_teachers_and_students_meet_only_their_own_model_and_benchmark(tmp_path: Path) -> None:
    rows = [
        *answers(WRONG),
        *answers(RIGHT, model="other"),
        *answers(RIGHT[:4], protocol="debate"),
        *student("rsft", RIGHT),
        *student("rsft-pad", RIGHT, teacher="u"),
        *student("rsft-pad", RIGHT, benchmark="c"),
    ]
    found, skipped = comparisons(tmp_path, rows, {"pad": ["rsft"]})
    assert [(one.arm.name, one.arm.protocol, one.arm.benchmark, one.result.n) for one in found] == [
        ("base", "debate", "b", 4),
        ("rsft", "single", "b", 12),
        ("pad", "single", "b", 12),
    ]
    assert len(skipped) == 2


def test_a_base_answers_once_for_every_seed_and_seeds_count_together(tmp_path: Path) -> None:
    rows = answers([*WRONG[:6], *RIGHT[:6]])
    rows += [one for seed in (1, 2, 3) for one in student("rsft", RIGHT, seed=seed)]
    rows += [one for seed in (2, 3, 4) for one in student("rsft-pad", RIGHT, seed=seed)]
    found, _ = comparisons(tmp_path, rows, {"pad": ["rsft"]})
    table = comparison_table(found, TABLES).set_index(["method", "against"])
    assert table.loc[("rsft", "base"), "seed"].dropna().tolist() == [1, 2, 3]
    assert table.loc[("pad", "base"), "seed"].dropna().tolist() == [2, 3, 4]
    # Only seeds 2 and 3 have both.
    assert table.loc[("pad", "rsft"), "seed"].dropna().tolist() == [2, 3]
    over = table[table["seed"].isna()]
    assert over["n_seeds"].tolist() == [3, 3, 2]
    assert over["difference_points"].tolist() == [50, 50, 0]
    assert over["n_better"].tolist() == [6, 6, 0]


def test_one_family_of_what_counts_and_nothing_else(tmp_path: Path) -> None:
    rows = answers(WRONG) + answers(RIGHT[:4], protocol="debate")
    rows += [one for seed in (0, 1) for one in student("rsft", [True] * 7 + [False] * 5, seed=seed)]
    rows += student("da", [True] * 6 + [False] * 6)
    found, _ = comparisons(tmp_path, rows, {"da": ["rsft"]})
    table = comparison_table(found, TABLES)
    family = table[table["p_holm"].notna()]
    # Debate, R-SFT over its seeds, DA, and DA with R-SFT under the one seed that both have.
    assert family["seed"].fillna(-1).tolist() == [0, -1, 0, 0]
    assert len(table) == 6
    ordered = family.sort_values("p_value")
    by_hand = [p * (4 - rank) for rank, p in enumerate(ordered["p_value"])]
    expected = [min(1.0, max(by_hand[: rank + 1])) for rank in range(4)]
    assert ordered["p_holm"].tolist() == pytest.approx(expected)


def test_a_table_of_comparisons_has_points_and_what_could_have_been_seen(tmp_path: Path) -> None:
    found, _ = comparisons(tmp_path, answers([*WRONG, *RIGHT]) + student("rsft", [True] * 24))
    (line,) = comparison_table(found, TABLES).to_dict("records")
    assert [line[key] for key in ("experiment", "variant", "method", "recipe", "against")] == ["main"] * 2 + [
        "rsft"
    ] * 2 + ["base"]
    assert line["difference_points"] == 50
    assert 20 < line["ci_low"] < 50 < line["ci_high"] < 80
    # 13 better and 1 worse of 26: 2.801585 * sqrt((14/26 - (12/26)^2) / 26)
    assert line["detectable_points"] == pytest.approx(31.3441, abs=1e-3)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path, order: int) -> None:
    rows = [*answers(WRONG), *SHARING, *student("rsft", [True, False] * 6, seed=1)]
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, part in zip(files, (rows[:40][::order], rows[40:][::order]), strict=True):
        write_rows(path, part)
    tables = TABLES.model_copy(update={"compare": {"pad": ["rsft"]}})
    found, _ = compare(read_arms(files[::order], tables), tables)
    straight, _ = comparisons(tmp_path, rows, {"pad": ["rsft"]})
    pd.testing.assert_frame_equal(comparison_table(found, TABLES), comparison_table(straight, TABLES))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"variant": "wide"}, "variant `wide` is not one of the experiment `main`"),
        ({"recipe": "da-pad"}, "recipe `da-pad` is not one of the experiment `main`"),
        ({"seed": 0}, "`0` is answered twice"),
    ],
)
def test_rows_that_are_no_part_of_it_are_refused(tmp_path: Path, more: dict[str, object], expected: str) -> None:
    rows = [*student("rsft", RIGHT), *answers(RIGHT, **TRAINED | more)]
    with pytest.raises(UserError, match=expected):
        arms_of(tmp_path, rows)


def test_a_variant_builds_on_others_down_to_main() -> None:
    assert TABLES.lineage("longer") == ["longer", "long", "main"]
    assert Tables(experiment="e", variants={"main": None}, recipes={}, evaluations=[]).lineage("main") == ["main"]
