"""Step spans: the same for every tokenizer, whatever the line ends."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentark.traces.steps import split_steps

PROCESSBENCH = Path(__file__).parents[4] / "shared/data/step_labels/processbench/gsm8k.json"


def steps(text: str) -> list[str]:
    return [text[start:end] for start, end in split_steps(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \r\n\t", []),
        ("ok", ["ok"]),
        ("First add them.\nThen double it.", ["First add them.", "Then double it."]),
        ("First add them.\n\nThen double it.  \n", ["First add them.", "Then double it."]),
        ("First add them.\r\n\r\nThen double it.\r\n", ["First add them.", "Then double it."]),
        ("12 + 45 = 57\nThe answer is 57.", ["12 + 45 = 57", "The answer is 57."]),
        ("2 + 3 = 5\n5 + 4 = 8\nx = 8", ["2 + 3 = 5", "5 + 4 = 8", "x = 8"]),
        ("====\nAdd both numbers.\n====\nDouble it all.", ["====\nAdd both numbers.\n====", "Double it all."]),
        ("Step 1\nAdd both numbers.\nStep 2\nDouble it all.", ["Step 1\nAdd both numbers.", "Step 2\nDouble it all."]),
        ("Add 3 and 5 to get 8.\n#### 8", ["Add 3 and 5 to get 8.\n#### 8"]),
        ("Add 3 and 5.\nIt is eight.\n#### 8", ["Add 3 and 5.", "It is eight.\n#### 8"]),
        ("We can write:\n\n3x = 594\n\nSo it is 198.", ["We can write:\n\n3x = 594", "So it is 198."]),
        ("We get\n\\[\n3x=594\n\\]\nSo it is done", ["We get\n\\[\n3x=594\n\\]", "So it is done"]),
        ("It costs 3.5 dollars. Two cost 7. So 7 it is.", ["It costs 3.5 dollars.", "Two cost 7.", "So 7 it is."]),
        (
            "Old Mr. and Dr. Smith paid for J. K. and me. He has 2.",
            ["Old Mr. and Dr. Smith paid for J. K. and me.", "He has 2."],
        ),
        ("1. Add 3 and 5. 2. Double it.", ["1. Add 3 and 5.", "2. Double it."]),
        ("Is it eight? It is eight!", ["Is it eight?", "It is eight!"]),
        ("Add 3.50 and 1,000.25 to 0.5", ["Add 3.50 and 1,000.25 to 0.5"]),
    ],
)
def test_steps_are_found(text, expected):
    assert steps(text) == expected


def test_line_ends_do_not_move_steps():
    unix = "First add them.\n\nWe get:\n\n3 + 5 = 8\n\nThe answer is 8."
    for end in ("\r\n", "\r", "  \n", "\n\n"):
        assert [step.split() for step in steps(unix.replace("\n", end))] == [step.split() for step in steps(unix)]


@given(st.text(alphabet=st.sampled_from("ab1.:,!? \n\r\t$\\[]") | st.characters(), max_size=200))
def test_spans_partition_the_text(text):
    spans = split_steps(text)
    end_before = 0
    for start, end in spans:
        assert end_before <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        assert not text[end_before:start].strip()
        end_before = end
    assert not text[end_before:].strip()


@pytest.mark.parametrize("unit", ["a:\n", ". ", "\n", "Mr. ", "x", "ab. ", "--\n"])
def test_hostile_text_is_split_in_linear_time(unit):
    started = time.perf_counter()
    split_steps(unit * 30_000)
    assert time.perf_counter() - started < 1.0


@pytest.mark.skipif(not PROCESSBENCH.is_file(), reason="ProcessBench is not beside the checkout")
@pytest.mark.parametrize("joint", ["\n", "\n\n", "\r\n"])
def test_joined_steps_of_processbench_are_found_again(joint: str) -> None:
    found = total = 0
    for row in json.loads(PROCESSBENCH.read_text(encoding="utf-8")):
        steps = [step.strip() for step in row["steps"]]
        ends = {len(joint.join(steps[: i + 1])) for i in range(len(steps) - 1)}
        found += len(ends & {end for _, end in split_steps(joint.join(steps))})
        total += len(ends)
    assert total > 1_000
    assert found >= 0.95 * total
