"""Whole replies with their gold answers and the verdict that a careful person gives: the grader end to end."""

import pytest

from agentark.grading.grades import grade

RIGHT, WRONG, NOBODY_KNOWS = True, False, None

NUMBERS = [
    # money
    ("She pays $18.", "18", RIGHT),
    ("It costs \\$18.00 in all.", "18", RIGHT),
    ("The answer is $1,234.50.", "1234.5", RIGHT),
    ("The answer is 18 USD.", "18", RIGHT),
    ("The answer is €18.", "18", RIGHT),
    ("The answer is $.50.", "0.5", RIGHT),
    ("The loss is -$5.", "-5", RIGHT),
    ("The loss is -$5.", "5", WRONG),
    ("The answer is $18 million.", "18", RIGHT),
    # commas and digits
    ("There are 1,000,000 ants.", "1000000", RIGHT),
    ("There are 1000000 ants.", "1,000,000", RIGHT),
    ("There are 1,00 ants.", "100", WRONG),
    ("#### 12,345", "12345", RIGHT),
    ("\\boxed{10{,}080}", "10080", RIGHT),
    ("\\boxed{10,\\!080}", "10080", RIGHT),
    ("The answer is 007.", "7", RIGHT),
    ("The answer is 7.000.", "7", RIGHT),
    ("The answer is 70.", "7", WRONG),
    ("The answer is 17.", "7", WRONG),
    # units
    ("He runs 5 km.", "5", RIGHT),
    ("The area is 5 m^2.", "5", RIGHT),
    ("The area is 5 m².", "5", RIGHT),
    ("The volume is \\boxed{5\\text{ cm}^3}.", "5", RIGHT),
    ("The answer is 5 apples and no pears.", "5", RIGHT),
    ("The answer is 2:00 pm.", "2", RIGHT),
    ("The angle is $45^\\circ$.", "45", RIGHT),
    ("The answer is 5'.", "5", RIGHT),
    # fractions
    ("The answer is 3/4.", "0.75", RIGHT),
    ("The answer is 6/8.", "3/4", RIGHT),
    ("The answer is 1 3/4.", "1.75", RIGHT),
    ("The answer is \\frac{3}{4}.", "0.75", RIGHT),
    ("\\boxed{\\frac34}", "0.75", RIGHT),
    ("\\boxed{\\dfrac{3}{4}}", "3/4", RIGHT),
    ("\\boxed{-\\frac{3}{4}}", "-0.75", RIGHT),
    ("The answer is 3/4.", "3", WRONG),
    ("The answer is 3/4.", "4", WRONG),
    ("The answer is 1/3.", "0.33", RIGHT),
    ("The answer is 1/3.", "0.3333333333333333", RIGHT),
    ("The answer is 1/3.", "0.3", WRONG),
    ("The answer is 3/0.", "3", WRONG),
    # percentages
    ("The answer is 50%.", "50", RIGHT),
    ("The answer is 50%.", "0.5", RIGHT),
    ("The answer is 0.5.", "50%", RIGHT),
    ("The answer is 50 percent.", "50", RIGHT),
    ("The answer is 5%.", "50", WRONG),
    ("\\boxed{12.5\\%}", "12.5", RIGHT),
    # scientific
    ("The answer is 3e8.", "300000000", RIGHT),
    ("The answer is 3 x 10^8.", "300000000", RIGHT),
    ("The answer is $3 \\times 10^{8}$.", "300000000", RIGHT),
    ("The answer is $3 \\cdot 10^{-2}$.", "0.03", RIGHT),
    ("The answer is $10^3$.", "1000", RIGHT),
    ("The answer is 3 x 10^8.", "10", WRONG),
    # which of several numbers
    ("2 + 3 = 5", "5", RIGHT),
    ("2 + 3 = 5", "3", WRONG),
    ("First 12, then 13, so 14 in 15 days. The answer is 14.", "14", RIGHT),
    ("The answer is 14, not 15.", "14", RIGHT),
    ("The answer is 14 (7 + 7).", "14", RIGHT),
    ("The answer is not 14. The answer is 15.", "15", RIGHT),
    ("I first thought the answer was 3. But the answer is 4.", "4", RIGHT),
    ("\\boxed{3} is what I thought; it is \\boxed{4}.", "4", RIGHT),
    ("The answer is 4. Check: \\boxed{4}. In 20 minutes!", "4", RIGHT),
    ("Answer: 4\n\nNote that 2 and 3 are primes.", "4", RIGHT),
    ("Final answer: **4**", "4", RIGHT),
    ("Therefore x = 4", "4", RIGHT),
    ("#### 4\n#### 5", "5", RIGHT),
    ("Q: what is 9 + 9?\nThe answer is 4.", "4", RIGHT),
    ("\\boxed{x = 4}", "4", RIGHT),
    ("\\boxed{4 \\text{ or } 5}", "4", WRONG),
    ("\\boxed{\\text{impossible}} since 4 < 5", "5", WRONG),
    # signs
    ("The answer is \u22124.", "-4", RIGHT),
    ("10-4", "4", RIGHT),
    ("from 10 to -4", "-4", RIGHT),
    # hidden reasoning
    ("<think>The answer is 9.</think> The answer is 4.", "4", RIGHT),
    ("<think>The answer is 4.", "4", WRONG),
    ("9</think>4", "4", RIGHT),
    # hostile
    ("9^{9^{9^9}}", "9", RIGHT),
    ("The answer is __import__('os').system('echo 4').", "4", RIGHT),
    ("\x00\x01 4 \x02", "4", RIGHT),
    ("", "4", WRONG),
    ("NaN", "4", WRONG),
    ("inf", "4", WRONG),
    ("The answer is four.", "4", WRONG),
]

FORMULAS = [
    ("\\boxed{\\frac{1}{2}}", "0.5", RIGHT),
    ("\\boxed{.5}", "\\frac{1}{2}", RIGHT),
    ("\\boxed{\\frac{\\sqrt{2}}{2}}", "\\frac{1}{\\sqrt{2}}", RIGHT),
    ("\\boxed{x^2 + 2x + 1}", "(x+1)^2", RIGHT),
    ("\\boxed{x^2 + 2x}", "(x+1)^2", WRONG),
    ("\\boxed{2\\pi r}", "2 \\pi r", RIGHT),
    ("\\boxed{\\{1, 2\\}}", "\\{2, 1\\}", RIGHT),
    ("\\boxed{(1, 2)}", "(2, 1)", WRONG),
    ("\\boxed{(1,2)}", "\\{1,2\\}", WRONG),
    ("\\boxed{[0, 1)}", "[0,1)", RIGHT),
    ("\\boxed{(0, 1)}", "[0,1)", WRONG),
    ("\\boxed{x \\in [0,1)}", "[0,1)", RIGHT),
    ("\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", RIGHT),
    ("\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 & 5 \\end{pmatrix}}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", WRONG),
    ("\\boxed{\\text{Tuesday}}", "\\text{Tuesday}", RIGHT),
    ("\\boxed{\\text{Tuesday}}", "\\text{Monday}", WRONG),
    ("\\boxed{3 + 4i}", "4i + 3", RIGHT),
    ("\\boxed{\\infty}", "\\infty", RIGHT),
    ("\\boxed{-\\infty}", "\\infty", WRONG),
    ("\\boxed{2^{10}}", "1024", RIGHT),
    ("\\boxed{120^\\circ}", "120", RIGHT),
    ("\\boxed{y = 2x}", "2x", RIGHT),
    ("The answer is $\\frac{3}{7}$.", "\\frac{3}{7}", RIGHT),
    ("We get \\(x = 7\\).", "7", RIGHT),
    ("\\boxed{1} then \\boxed{\\frac{2}{3}}", "\\frac{2}{3}", RIGHT),
    ("\\boxed{\\left(\\frac{1}{2}, 3\\right)}", "(0.5, 3)", RIGHT),
    ("\\boxed{\\dbinom{5}{2}}", "10", RIGHT),
]

CHOICES = [
    ("The answer is (C).", "C", RIGHT),
    ("The answer is C", "C", RIGHT),
    ("a patient with A fever: the answer is (C)", "C", RIGHT),
    ("(A) is wrong, so (B).", "B", RIGHT),
    ("(A) is wrong, so B.", "B", RIGHT),
    ("\\boxed{C}", "C", RIGHT),
    ("\\boxed{\\text{(C)}}", "C", RIGHT),
    ("C", "C", RIGHT),
    ("C.", "C", RIGHT),
    ("**C**", "C", RIGHT),
    ("Option C is correct.", "C", RIGHT),
    ("The correct answer is option (D): Aspirin", "D", RIGHT),
    ("It is a hard question.", "A", WRONG),
    ("The answer is (E).", "C", WRONG),
    ("The answer is c.", "C", WRONG),
    ("A or B", "A", WRONG),
    ("<think>The answer is (A).</think>The answer is (C).", "C", RIGHT),
]

WORDS = [
    ("The answer is Robert Burns.", "Robert Burns", "text", RIGHT),
    ("The answer is robert burns!", "The Robert Burns", "text", RIGHT),
    ("The answer is Robert.", "Robert Burns", "text", WRONG),
    ("Paris", "Paris, France", "text", WRONG),
    ("The answer is **the U.S.**", "US", "text", RIGHT),
    ("The answer is yes.", "yes", "boolean", RIGHT),
    ("The answer is True.", "yes", "boolean", RIGHT),
    ("No, never.", "yes", "boolean", WRONG),
    ("Perhaps.", "yes", "boolean", WRONG),
    ("The answer is it rained", "It rained.", "free", RIGHT),
    ("The answer is the weather was bad.", "It rained.", "free", NOBODY_KNOWS),
    ("", "It rained.", "free", WRONG),
]

CASES = [
    *((reply, gold, "number", verdict) for reply, gold, verdict in NUMBERS),
    *((reply, gold, "latex", verdict) for reply, gold, verdict in FORMULAS),
    *((reply, gold, "choice", verdict) for reply, gold, verdict in CHOICES),
    *WORDS,
]


@pytest.mark.parametrize(("reply", "gold", "gold_type", "verdict"), CASES)
def test_a_reply_gets_the_verdict_of_a_careful_person(reply, gold, gold_type, verdict) -> None:
    found = grade(reply, [gold], gold_type, 4)
    assert (None if found.undecided else found.correct) is verdict, found.answer
