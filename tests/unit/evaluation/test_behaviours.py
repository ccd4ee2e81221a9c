"""Equations, checks and mended errors are counted as a reader would."""

import time

import pytest

from agentark.evaluation.behaviours import behaviours


@pytest.mark.parametrize(
    ("text", "equations", "right"),
    [
        ("2 + 3 = 5", 1, 1),
        ("2 + 3 = 6", 1, 0),
        ("So 2 + 3 = 5, and 5 * 4 = 20. Then 20 - 1 = 18.", 3, 2),
        ("2 + 3 * 4 = 14", 1, 1),
        ("2 + 3 = 5 + 4 = 9", 2, 2),
        ("She pays 3 x $1,200.50 = $3,601.50.", 1, 1),
        ("\\(3 \\times 4 = 12\\) and 6 \u00f7 4 = 1.5 and 7 \u2212 9 = -2", 3, 3),
        ("10 / 3 = 3.33", 1, 1),
        ("10 / 3 = 3.34", 1, 0),
        ("50% * 200 = 100", 1, 1),
        ("1 / 0 = 0", 0, 0),
        ("1/4 + 1/2 = 3/4, and 2 + 8 = 5 * 2.", 2, 2),
        ("10 * 10 = 10^2, 3 / 2 = 1 1/2 and 4 * 1 = 4y", 0, 0),
        ("- 2 + 3 = 5\n* 4 * 5 = 20\n**6 - 1 = 5**", 3, 3),
        ("7 \\times 2 + 3 = 17 and x \\times 2 + 3 = 9", 1, 1),
        ("The box 2 + 3 = 5", 1, 1),
        ("\uff12 + \uff13 = \uff15, \u0663 + \u0664 = \u0667", 0, 0),
        ("3 + 4 = 7 apples, 2 * 3 = 6.", 2, 2),
        ("x = 5, y + 2 = 7, 2y + 3 = 5, f(2 + 3) = 5", 0, 0),
        ("x - 2 + 3 = 1 and 2 * (1 + 1) = 4", 0, 0),
        ("2026-11-27, 3.14.15 and 5 = 5", 0, 0),
    ],
)
def test_equations_are_found_and_held_to_the_grader(text: str, equations: int, right: int) -> None:
    found = behaviours(text)
    assert (found.equations, found.right_equations) == (equations, right)


@pytest.mark.parametrize(
    ("text", "checks", "finds", "mends"),
    [
        ("The answer is 5.", False, False, False),
        ("Let me check: 2 + 3 = 5.", True, False, False),
        ("To verify our answer, we add.", True, False, False),
        ("He writes a check to the bank.", False, False, False),
        ("They wait for the bus.", False, True, False),  # words alone are taken at their word
        ("2 + 3 = 6. Wait, that is wrong: 2 + 3 = 5.", False, True, True),
        ("2 + 3 = 6. Wait, 2 + 4 = 6.", False, True, False),
        ("2 + 3 = 6, so 2 + 3 = 5.", False, False, False),
        ("2 + 3 = 5. I made an error. 2 + 3 = 6.", False, True, False),
    ],
)
def test_checks_and_errors_are_said_and_mending_is_done(text: str, checks: bool, finds: bool, mends: bool) -> None:
    found = behaviours(text)
    assert (found.checks, found.finds_error, found.mends_error) == (checks, finds, mends)


@pytest.mark.parametrize("unit", ["1+", "1 + 1 = ", "9" * 500 + " ", "wait ", "$1,111,", "1 x 1 x ", "2 = 2 "])
def test_hostile_answers_take_little_work(unit: str) -> None:
    started = time.process_time()
    behaviours(unit * 200_000)
    assert time.process_time() - started < 5
