"""Golden tables of answers, hostile replies, and agreement with real golds and debates."""

import json
from pathlib import Path
from typing import get_args

import pytest

from agentark.grading.comparing import answer_key, equivalent, majority, token_f1
from agentark.grading.grades import Grade, grade
from agentark.grading.reading import extract_answer, parse_gold
from agentark.records.questions import GoldType

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data sets are not at {DATA}")
GOLD_TYPES = get_args(GoldType)


@pytest.mark.parametrize(
    ("raw", "gold_type", "gold"),
    [
        ("She sells <<9*2=18>>18 eggs for $2.\n#### 18", "number", "18"),
        ("...\n#### 1,234", "number", "1234"),
        ("#### -5", "number", "-5"),
        ("They eat 3 of 7.\nThe answer is: 21", "number", "21"),
        ("so 3 + 4 = \\boxed{7}.", "number", "7"),
        ("16.0", "number", "16.0"),
        ("7.0", "number", "7.0"),
        ("3.14", "number", "3.14"),
        ("-5", "number", "-5"),
        ("1,000", "number", "1000"),
        ("1/2", "number", "1/2"),
        ("$5.50", "number", "5.50"),
        ("18 dollars", "number", "18"),
        ("5 m^2", "number", "5"),
        ("50%", "number", "50%"),
        (r"\frac{3}{4}", "number", "3/4"),
        (r"so $x=\boxed{\frac{1}{2}}$", "latex", r"\frac{1}{2}"),
        (r"first \boxed{1}, then \boxed{\left\{1,\frac{2}{3}\right\}}.", "latex", r"\left\{1,\frac{2}{3}\right\}"),
        (r"our answer is $\boxed 2$.", "latex", "2"),
        (r"$\frac{1}{2}$", "latex", r"\frac{1}{2}"),
        ("reasoning\nThe answer is: x^2+1", "latex", "x^2+1"),
        ("C", "choice", "C"),
        ("c", "choice", "C"),
        ("(B)", "choice", "B"),
        ("D. Aspirin", "choice", "D"),
        ("a patient ... The answer is (C)", "choice", "C"),
        ("  Robert Burns ", "text", "Robert Burns"),
        ("no", "text", "no"),
        ("True", "boolean", "yes"),
        ("no.", "boolean", "no"),
        ("She said so.\nThe answer is: Yes", "boolean", "yes"),
        (" It was the rain, not the wind. ", "free", "It was the rain, not the wind."),
    ],
)
def test_gold_is_read(raw, gold_type, gold):
    assert parse_gold(raw, gold_type) == gold


@pytest.mark.parametrize(
    ("raw", "gold_type", "cause"),
    [
        ("", "number", "it must hold one number"),
        ("none at all", "number", "no number answer"),
        ("perhaps", "boolean", "it must be yes or no"),
        ("5 apples and 3 pears", "number", "it must hold one number"),
        (r"\boxed{}", "latex", "no latex answer"),
        ("  ", "latex", "no latex answer"),
        ("-1", "choice", "turn an index into one"),
        ("2", "choice", "turn an index into one"),
        (" \n", "text", "no text answer"),
    ],
)
def test_unreadable_gold_is_refused(raw, gold_type, cause):
    with pytest.raises(ValueError, match=cause):
        parse_gold(raw, gold_type)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 18.", "18"),
        ("The answer is 3.5.", "3.5"),
        ("The answer is -5", "-5"),
        ("The answer is $-5$.", "-5"),
        ("x = -$5", "-5"),
        ("x = \u22125", "-5"),
        ("10-5", "5"),
        ("#### 1,000", "1000"),
        ("**Answer:** 18 eggs for 3 days", "18"),
        ("**Final Answer**: **18**", "18"),
        ("The answer is:\n\n$$18$$\n", "18"),
        ("The answer to the math problem is 3.25 laps, in 2 days.", "3.25"),
        ("The answer is 2 * 9 = 18 because 3 * 7 = 21", "18"),
        ("The answer is 5 (since 2+2=4, plus 1).", "5"),
        ("The answer is not 5, but 6", "6"),
        ("My answer is correct. I have 18", "18"),
        ("The answer is 4. No: the answer is 5. It took 9 days.", "5"),
        ("The answer is unclear. Perhaps 42.", "42"),
        ("7 + 8 = 15 eggs", "15"),
        ("The price is 1.", "1"),
        ("It costs $1,234.50!", "1234.50"),
        ("Rs.500", "500"),
        ("answer: .5", ".5"),
        ("20 - 3 = 17 m^2", "17"),
        ("so 50%", "50%"),
        (r"\boxed{12} no wait, \boxed{3}", "3"),
        (r"\boxed {1,234}, not 7", "1234"),
        (r"$\boxed 9$ or so, in 3 days", "9"),
        (r"I put it in a \boxed as asked. 42", "42"),
        (r"in the form \boxed{answer}: 7", "7"),
        (r"\boxed{}. It is 7", "7"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{\frac{3}{4}}", "3/4"),
        (r"\boxed{\dfrac34}", "3/4"),
        (r"\boxed{1\frac{1}{2}}", "1 1/2"),
        (r"\boxed{\$18}", "18"),
        (r"\boxed{x = 5 \text{ in } 3}", "5"),
        (r"\boxed{18 \text{ m}^2}", "18"),
        (r"\boxed{3 \times 10^8}", "3e8"),
        (r"\boxed{10^{6}}", "1e6"),
        (r"\boxed{10{,}080}", "10080"),
        (r"\boxed{11,\! 111}", "11111"),
        (r"\boxed{12", "12"),
        (r"She has 7. It is \boxed{\text{Not Possible}}", None),
        (r"It was 22. \boxed{unknown}.", None),
        (r"\boxed{2 \text{ or } 4}", None),
        (r"\boxed{[10 inches or 7 inches]}", None),
        (r"first \boxed{unknown}, then \boxed{5}", "5"),
        (r"\boxed{5}" + " and the answer is 6", "5"),
        ("<think>5</think> The answer is 6.", "6"),
        ("the template opened it </think> 8", "8"),
        ("7 <think> a </think> <think> 9", None),
        ("<think> The answer is 5", None),
        ("<think>5</think>", None),
        ("no numbers", None),
        ("", None),
    ],
)
def test_number_is_found(text, answer):
    assert extract_answer(text, "number") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a patient has a fever; the answer is (C)", "C"),
        ("(A) is wrong, so B", "B"),
        ("(A) is wrong, so B.", "B"),
        ("The answer is a matter of taste", None),
        ("The answer is B cell lymphoma", None),
        ("The answer is E", None),
        ("answer: c", None),
        ("I think of vitamin C", None),
        ("but A is wrong.", None),
        ("Both (A) and (B) are possible", None),
        ("A. x\nB. y", None),
        ("Answer: C", "C"),
        ("**Answer:** (D)", "D"),
        ('{"answer": "B"}', "B"),
        ("The correct option is B because it is", "B"),
        ("The answer is (B) cell lymphoma", "B"),
        ("The answer is most likely (C)", "C"),
        ("The answer is option C.", "C"),
        ("The best choice is therefore D", "D"),
        ("so the answer is\n(B)", "B"),
        ("Option A is wrong. Choose B", "B"),
        ("Option A is wrong; option B is the best answer", "B"),
        ("B is not correct. D is correct", "D"),
        ("The answer is not (A) but (C).", "C"),
        ("The answer is (A). On reflection, (B) is correct.", "B"),
        ("#### B", "B"),
        ("C", "C"),
        ("C.", "C"),
        ("(C)", "C"),
        ("C) Aspirin", "C"),
        ("Reasons.\n\nD", "D"),
        (r"(A) or (B): \boxed{C}", "C"),
        (r"\boxed{\text{(C) Aspirin}}", "C"),
        (r"Therefore, the answer is $\boxed{\textbf{(D)}}$.", "D"),
        ("<think> The answer is (A)", None),
    ],
)
def test_letter_is_found(text, answer):
    assert extract_answer(text, "choice", 4) == answer


def test_letters_end_with_the_choices():
    assert extract_answer("The answer is (E)", "choice", 5) == "E"
    assert extract_answer("The answer is (J)", "choice") == "J"


@pytest.mark.parametrize(
    ("text", "gold_type", "answer"),
    [
        ("so $x=5$.", "latex", "x=5"),
        (r"The final answer is $\frac{1}{2}$. I hope it is correct.", "latex", r"\frac{1}{2}"),
        (r"thus \[ x^2 \]", "latex", "x^2"),
        (r"\boxed{\left\{1,\frac{1}{2}\right\}} in braces", "latex", r"\left\{1,\frac{1}{2}\right\}"),
        (r"\boxed{\frac{1}{2} and $y$", "latex", "y"),
        ("it is 1/2", "latex", "1/2"),
        ("nothing", "latex", None),
        ("The answer is Paris. It is the capital.", "text", "Paris"),
        ("Answer: Dr. Smith", "text", "Dr. Smith"),
        ("The answer is J. K. Rowling", "text", "J. K. Rowling"),
        ('Reasons.\nThe answer is: "yes".', "text", "yes"),
        ("The answer is wrong. It is\nRome", "text", "Rome"),
        ("I think\nit is Paris.\n\n", "text", "it is Paris"),
        (r"\boxed{\text{New York}}", "text", "New York"),
        ("", "text", None),
    ],
)
def test_formula_and_text_are_found(text, gold_type, answer):
    assert extract_answer(text, gold_type) == answer


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("7", "7.0", True),
        ("1000", "$1,000.00", True),
        ("18", "18 dollars", True),
        ("0.75", r"\frac{3}{4}", True),
        ("1.5", "1 1/2", True),
        ("300000000", "3e8", True),
        ("50", "50%", True),
        ("0.5", "50%", True),
        ("50", "0.5", False),
        ("5", "-5", False),
        ("3", "3.0001", False),
        ("3.14", "14", False),
        ("1000", "000", False),
        ("0.8888888888888888", "8/9", True),
        ("8/9", "0.89", True),
        ("8/9", "0.9", False),
        ("8/9", "0.88", False),
        ("33", "33.33", False),
        ("0.75", "0.7499999999999999", True),
        ("10.333333333333334", "10.3333333333333326", True),
        ("5", "1/0", False),
        ("5", "five", False),
        ("12345678901234567890123", "12345678901234567890124", False),
    ],
)
def test_numbers_are_compared_exactly(gold, answer, verdict):
    assert equivalent(gold, answer, "number") is verdict
    assert equivalent(answer, gold, "number") is verdict


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        (r"\frac{1}{2}", r"\dfrac12", True),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})", True),
        (r"\text{Evelyn}", "evelyn", True),
        (r"\text{(C)}", "C", True),
        ("x=5", "5", True),
        ("y = 2x + 3", "2x+3", True),
        (r"90^\circ", "90", True),
        (r"5.4 \text{ cents}", "5.4", True),
        (r"15\mbox{ cm}^2", "15", True),
        (r"\$32,\!348", "32348", True),
        (r"\frac{270}7\text{ degrees}", "270/7", True),
        (r"50\%", "0.5", True),
        (r"\frac{10}{3}", "3.3", False),
        # math-verify decides from here on
        (r"2\sqrt2", r"\sqrt8", True),
        ("(x+1)^2", "x^2+2x+1", True),
        ("(x+1)^2", "x^2+2x+2", False),
        ("[2,5)", r"2 \le x < 5", True),
        ("(2,5)", "[2,5)", False),
        ("3, 5, 7", "7,5,3", True),
        (r"1 \pm \sqrt{2}", r"1+\sqrt2, 1-\sqrt2", True),
        ("10!", "3628800", True),
        (r"3\pi", r"3\pi r", False),
        # where math-verify errs
        ("(1,2)", r"\{1,2\}", False),
        ("east", "seat", False),
        (r"\text{east}", "seat", False),
        # nobody can tell
        (r"\frac{1}{2}+x", r"\frac{1}{2", None),
        ("x+1", "x+" * 300 + "1", None),
    ],
)
def test_formulas_are_compared(gold, answer, verdict):
    assert equivalent(gold, answer, "latex") is verdict


@pytest.mark.parametrize(
    ("gold", "answer", "gold_type", "verdict"),
    [
        ("C", "C", "choice", True),
        ("C", "(C) Aspirin", "choice", True),
        ("C", "c", "choice", False),
        ("The Beatles", "beatles!", "text", True),
        ("caf\u00e9 au lait", "Cafe\u0301 au lait", "text", True),
        ("yes", "no", "text", False),
        ("The", "A", "text", False),
    ],
)
def test_letters_and_words_are_compared(gold, answer, gold_type, verdict):
    assert equivalent(gold, answer, gold_type) is verdict


def test_grade_tells_wrong_from_undecided():
    assert grade("The answer is 18.", ["18.0"], "number") == Grade("18", correct=True, undecided=False)
    assert grade("The answer is 19.", ["18.0"], "number") == Grade("19", correct=False, undecided=False)
    assert grade("I do not know.", ["18"], "number") == Grade(None, correct=False, undecided=False)
    assert grade(r"\boxed{9^{9^{9^9}}}", ["5"], "latex") == Grade("9^{9^{9^9}}", correct=False, undecided=True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is yes.", "yes"),
        ("It is warm. The answer is **No**.", "no"),
        ("Yes, because it rains.", "yes"),
        ("No. The sun is cold at night, yes.", "no"),
        ("He did it.\nTherefore, yes", "yes"),
        ("Some say yes and some say no.", None),
        ("Nothing is known.", None),
        (r"\boxed{\text{false}}", "no"),
        ("<think> yes", None),
    ],
)
def test_yes_or_no_is_found(text, answer):
    assert extract_answer(text, "boolean") == answer


def test_free_text_is_right_undecided_or_missing():
    gold = "The rain stopped the match."
    assert grade("Long talk.\nThe answer is the rain stopped the match", [gold], "free").correct
    other = grade("I think: it was called off because of rain. It rained.", [gold], "free")
    assert (other.correct, other.undecided) == (False, True)
    assert other.answer == "I think: it was called off because of rain. It rained."
    assert grade(" ", [gold], "free") == Grade(None, correct=False, undecided=False)


@pytest.mark.parametrize(
    ("gold", "answer", "f1"),
    [
        ("Robert Burns", "robert burns!", 1.0),
        ("the Robert Burns", "Burns", 2 / 3),
        ("Robert Burns", "William Blake", 0.0),
        ("a b c d", "a b", 0.5),  # "a" is an article
        ("yes", None, 0.0),
    ],
)
def test_f1_is_squads(gold, answer, f1):
    assert token_f1(gold, answer) == pytest.approx(f1)


def test_vote_counts_meanings_not_spellings():
    assert answer_key("7.0", "number") == answer_key("7", "number") == answer_key("$7", "number")
    assert answer_key("x=0.5", "latex") == answer_key(r"\frac12", "latex")
    assert majority(["8", "7.0", None, "$7", None, None], "number") == "7.0"
    assert majority(["The Beatles", "Queen", "beatles"], "text") == "The Beatles"
    assert majority(["9", "8", "8.0", "9.0"], "number") == "9"
    assert majority([None], "number") is None
    assert majority([], "choice") is None


@needs_data
def test_all_gsm8k_golds_are_read():
    rows = [json.loads(line) for line in (DATA / "questions/gsm8k/test.jsonl").open()]
    golds = [parse_gold(row["answer"], "number") for row in rows]
    assert len(golds) == 1319
    assert [
        gold for gold, row in zip(golds, rows, strict=True) if row["answer"].split()[-1].replace(",", "") != gold
    ] == []


@needs_data
def test_all_math500_golds_are_read():
    rows = [json.loads(line) for line in (DATA / "questions/math/math500_test.jsonl").open()]
    assert [row["answer"] for row in rows if parse_gold(row["solution"], "latex") != row["answer"]] == []


# The table was made with a matcher that knows no fractions and no rounding; ours is right about more of the answers
# to AddSub and SingleEq, whose golds are floats such as 0.8888888888888888.
@needs_data
@pytest.mark.parametrize(
    ("name", "by_round", "vote", "more"),
    [
        ("SVAMP_debate_500_1113", [0.771, 0.778], 0.788, 0.01),
        ("MultiArith_debate_500_1113", [0.964, 0.969], 0.972, 0.01),
        ("SingleEq_debate_500_1113", [0.943, 0.949], 0.958, 0.015),
        ("AddSub_debate_395_1113", [0.906, 0.907], 0.916, 0.02),
    ],
)
def test_real_debates_score_as_their_table_says(name, by_round, vote, more):
    debates = json.loads((DATA / "debates/gpt35_3x2" / f"{name}.json").read_text())
    rights: list[list[bool]] = [[], []]
    vote_rights = []
    for debate in debates:
        gold = parse_gold(str(debate["answer"]), "number")
        replies = [
            [turn["content"] for turn in agent if turn["role"] == "assistant"] for agent in debate["agent_contexts"]
        ]
        for number in (0, 1):
            grades = [grade(reply[number], [gold], "number") for reply in replies]
            rights[number] += [verdict.correct for verdict in grades]
        winner = majority([verdict.answer for verdict in grades], "number")
        vote_rights.append(winner is not None and equivalent(gold, winner, "number"))
    for measured, table in zip([*map(_mean, rights), _mean(vote_rights)], [*by_round, vote], strict=True):
        assert table - 0.01 <= measured <= table + more


def _mean(rights: list[bool]) -> float:
    return sum(rights) / len(rights)
