"""The grader beside others on real answers: a plain matcher on logged debates, math-verify on golds and answers."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet

from agentark.debates import imported
from agentark.grading.comparing import equivalent
from agentark.grading.grades import grade
from agentark.grading.proving import prove
from agentark.grading.reading import extract_answer, parse_gold
from agentark.records.quarantine import Quarantine
from agentark.records.questions import GoldType
from tests.benchmarks import Row
from tests.benchmarks.__main__ import OUT

DATA = Path(__file__).parents[3] / "shared" / "data"
ENOUGH = 99.5
Pair = tuple[str, str, GoldType, str]
"""Gold, answer, type, and where they come from."""


def rows() -> Iterator[Row]:
    if not DATA.is_dir():
        print(f"  left out: the real data is not at {DATA}")
        return
    differences: list[dict[str, object]] = []
    for file in sorted((DATA / "debates").glob("*/*.json")):
        yield from accuracies(file, differences)
    save("matcher", differences)
    disagreements: list[dict[str, object]] = []
    for name, pairs in (("GSM8K and arithmetic", numbers()), ("MATH", formulas())):
        agreed = decided = 0
        for gold, answer, kind, where in dict.fromkeys(pairs):
            ours, theirs = equivalent(gold, answer, kind), prove(gold, answer)
            if None not in (ours, theirs):
                decided += 1
                agreed += ours == theirs
                if ours != theirs:
                    found = {"gold": gold, "answer": answer, "ours": ours, "math-verify": theirs, "where": where}
                    disagreements.append(found)
        what = f"of {decided:,} different pairs that both decide; reference: what is asked for"
        yield Row(f"math-verify, {name}", 100 * agreed / decided, ENOUGH, "% agreement", what)
    save("math_verify", disagreements)


def accuracies(file: Path, differences: list[dict[str, object]]) -> Iterator[Row]:
    """Share of right answers by round, by our grader and by the matcher of the data's README."""
    ours: dict[int, list[bool]] = {}
    plain: dict[int, list[bool]] = {}
    for log in imported.read(file, Quarantine("logged debates", 0, "key")):
        gold = parse_gold(log.gold, "number")
        for turn in log.turns:
            verdict = grade(turn.reply, [gold], "number")
            by_matcher = matched(turn.reply, log.gold)
            ours.setdefault(turn.round, []).append(verdict.correct)
            plain.setdefault(turn.round, []).append(by_matcher)
            if verdict.correct != by_matcher:
                differences.append(
                    {
                        "where": f"{log.where}, agent {turn.agent}, round {turn.round}".replace(f"{DATA}/", ""),
                        "gold": log.gold[-40:],
                        "ours": verdict.answer,
                        "right by ours": verdict.correct,
                        "end of the reply": turn.reply[-160:],
                    }
                )
    for number in ours:
        shares = [100 * sum(verdicts[number]) / len(verdicts[number]) for verdicts in (ours, plain)]
        yield Row(f"{file.stem[:22]} {number}", *shares, "% right", "reference: last box, else last number")


def matched(reply: str, gold: str) -> bool:
    """The README's matcher: the last box, else the last number, as floats."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", reply)
    numbers = re.findall(r"-?\d[\d,]*\.?\d*", boxes[-1] if boxes else reply)
    golds = re.findall(r"-?\d[\d,]*\.?\d*", gold)
    if not numbers or not golds:
        return False
    said, meant = (float(found[-1].replace(",", "").rstrip(".")) for found in (numbers, golds))
    return abs(said - meant) < 1e-4


def numbers() -> Iterator[Pair]:
    for name in ("train", "test"):
        lines = (DATA / "questions/gsm8k" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        golds = [parse_gold(json.loads(line)["answer"], "number") for line in lines]
        yield from ((one, other, "number", f"gsm8k {name}, neighbours") for one, other in pairwise(golds))
    for file in sorted((DATA / "debates").glob("*/*.json")):
        for log in imported.read(file, Quarantine("logged debates", 0, "key")):
            gold = parse_gold(log.gold, "number")
            for turn in log.turns:
                if (answer := extract_answer(turn.reply, "number")) is not None:
                    yield gold, answer, "number", log.where.replace(f"{DATA}/", "")


def formulas() -> Iterator[Pair]:
    lines = (DATA / "questions/math/math500_test.jsonl").read_text(encoding="utf-8").splitlines()
    solutions = [json.loads(line)["solution"] for line in lines]
    train = pyarrow.parquet.read_table(DATA / "questions/math/train.parquet", columns=["reward_model"])
    truths = [row["ground_truth"] for row in train["reward_model"].to_pylist()]
    solutions += [truth["solution"] for truth in truths if truth["target"]]
    golds = [parse_gold(solution, "latex") for solution in solutions]
    yield from ((one, other, "latex", "MATH, neighbours") for one, other in pairwise(golds))
    [sample] = (DATA / "questions/openmathinstruct2_sample").glob("*.json")
    for row in json.loads(sample.read_text(encoding="utf-8")):
        answer = extract_answer(row["generated_solution"], "latex")
        if answer is not None:
            yield row["expected_answer"], answer, "latex", "openmathinstruct2"


def save(name: str, found: list[dict[str, object]]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"grading_{name}.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(found[0]) if found else ["none"])
        writer.writeheader()
        writer.writerows(found)
    print(f"  {len(found)} that differ: {path}", flush=True)
