"""From debates to all sets at the paper's scale: 342,000 simulated debates, 2.05 million trajectories."""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agentark.grading.comparing import is_right
from agentark.grading.reading import extract_answer
from agentark.records.debates import AGGREGATOR, SETTLER, Debate, Turn
from agentark.records.files import write_rows
from agentark.records.questions import Question, question_id
from agentark.sets import controls
from agentark.traces.debate_statistics import Tally
from tests.benchmarks import Row

QUESTIONS, AGENTS, ROUNDS = 342_000, 5, 3
SHARES = (0.1, 0.3, 1.0)
MINUTES, GIB, PAIRS = 25.0, 4.0, 20_000
CORES = 2


def rows() -> Iterator[Row]:
    yield grader()
    seconds: dict[float, float] = {}
    corrective = 0.0
    for share in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            seconds[share] = pipeline(Path(folder), int(QUESTIONS * share))
            corrective = corrective_share(Path(folder))
        what = f"{int(QUESTIONS * share):,} questions, {AGENTS} agents, 1 to {ROUNDS} rounds, {CORES} processes"
        yield Row(
            f"all sets, {share:.0%}", seconds[share] / 60, share * MINUTES, "min", f"{what}; reference: the limit"
        )
    peak = CORES * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    yield Row("memory", peak, GIB, "GiB", f"the largest process, times {CORES}; reference: the limit")
    growth = seconds[1.0] / seconds[0.1]
    yield Row("growth from 10% to 100%", growth, 10, "times the time", "reference: linear")
    what = f"{AGENTS} agents and the aggregator a question; reference: what is asked for"
    yield Row("corrective trajectories", 100 * corrective, 10, "%", what)


def grader() -> Row:
    """Plain numbers, all different, so that nothing is remembered."""
    pairs = [(str(i), f"${i + (i % 3 == 0):,}.00") for i in range(60_000)]
    started = time.process_time()
    right = sum(is_right(answer, [gold], "number") for gold, answer in pairs)
    speed = len(pairs) / (time.process_time() - started)
    assert right == 40_000
    return Row("grader", speed, PAIRS, "plain-number pairs/s of CPU time", "reference: what is asked for")


def pipeline(folder: Path, n_questions: int) -> float:
    """Wall seconds from debates to all sets, by the stage programs themselves."""
    n_shards = 4
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda shard: run("make", folder, n_questions, shard, n_shards), range(n_shards)))
    write_rows(folder / "test.jsonl", [question(n, "test") for n in range(10**9, 10**9 + 1319)])
    (folder / "settings.json").write_text('{"near_duplicates": "report", "contamination": "report"}')
    (folder / "traces.json").write_text("{}")
    started = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        overlap = pool.submit(
            stage,
            "overlap",
            settings=folder / "settings.json",
            train=folder / "train.jsonl",
            benchmarks=folder / "test.jsonl",
            skip=folder / "skip.jsonl",
            found=folder / "found.jsonl",
            manifest=folder / "overlap.json",
        )
        shards = [
            pool.submit(
                stage,
                "traces",
                settings=folder / "traces.json",
                debates=folder / f"{n}.debates.jsonl.zst",
                out=folder / f"{n}.jsonl.zst",
                counts=folder / f"{n}.counts.json",
                statistics=folder / f"{n}.statistics.json",
                manifest=folder / f"{n}.manifest.json",
                rejected=folder / f"{n}.rejected.jsonl",
            )
            for n in range(n_shards)
        ]
        for done in [overlap, *shards]:
            done.result()
        traces = [folder / f"{n}.jsonl.zst" for n in range(n_shards)]

        def build(kind: str) -> None:
            against = {"rsft": folder / "rsft.jsonl"} if kind in controls.CONTROLS else {}
            stage(
                "sets",
                settings=folder / "settings.json",
                kind=kind,
                traces=traces,
                skip=folder / "skip.jsonl",
                out=folder / f"{kind}.jsonl",
                card=folder / f"{kind}.json",
                page=folder / f"{kind}.md",
                **against,
            )

        list(pool.map(build, ("rsft", "da")))
        list(pool.map(build, ("prm", "rl", *controls.CONTROLS)))
    return time.perf_counter() - started


def corrective_share(folder: Path) -> float:
    """Of all trajectories, those that end right after having been wrong."""
    n = Tally.merged(json.loads(path.read_text()) for path in folder.glob("*.statistics.json")).sums()["n"]
    return n["corrective"] / (n["questions"] * (AGENTS + 1))


def stage(name: str, *, settings: Path, **options: object) -> None:
    arguments = [
        f"--{key}" if i == 0 else str(one)
        for key, value in options.items()
        for i, one in enumerate([key, *(value if isinstance(value, list) else [value])])
    ]
    run_module(f"agentark.stages.{name}", "--config", str(settings), *arguments)


def run(*arguments: object) -> None:
    run_module(__name__, *map(str, arguments))


def run_module(name: str, *arguments: str) -> None:
    command = [sys.executable, "-m", name, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})


# Debates as long and as varied as GSM8K's


NAMES = (
    "Ann Bob Carla Deniz Elif Femi Grace Hiro Ines Jamal Kofi Lena Mei Nadia Omar Priya Quinn Rosa Sven Tara".split()
)
THINGS = "apples books candles drums eggs flags games hats inks jars kites lamps mugs nails pens quilts rings".split()
PLACES = "market school harbour library garden bakery station museum theatre farm workshop hospital".split()
TELLING = (
    "To solve this problem, let us go step by step.",
    "First we look at what the question gives us.",
    "We need the total number of {thing} after the week.",
    "Let me work this out carefully.",
)


def question(number: int, split: str) -> Question:
    drawn = random.Random(number)
    who, other, thing, place = drawn.choice(NAMES), drawn.choice(NAMES), drawn.choice(THINGS), drawn.choice(PLACES)
    a, b, c = (drawn.randrange(2, 90) for _ in range(3))
    text = (
        f"{who} brings {a} boxes of {thing} to the {place} number {number}, and every box holds {b} {thing}. In the "
        f"course of the week {other} sells {c} of them to visitors and gives the money to a friend. How many {thing} "
        f"are left at the end of the week?"
    )
    return Question(
        question_id=question_id(text),
        dataset="sim",
        split=split,
        question=text,
        gold=str(a * b - c),
        gold_type="number",
        licence="Apache-2.0",
    )


def reply(drawn: random.Random, number: int, right: bool) -> str:
    of = random.Random(number)
    _, _, thing, place = of.choice(NAMES), of.choice(NAMES), of.choice(THINGS), of.choice(PLACES)
    a, b, c = (of.randrange(2, 90) for _ in range(3))
    if drawn.random() < 0.005:
        return drawn.choice(["", "I cannot tell.", "\x00\x01 ???", "{" * 2000, "the the " * 3000])
    wrong = 0 if right else drawn.randrange(1, 9)
    total, left = a * b, a * b - c + wrong
    lines = [drawn.choice(TELLING).format(thing=thing)]
    lines.append(
        f"The question gives {a} boxes, {b} {thing} in each of them and {c} {thing} that are sold in the week."
    )
    if drawn.random() < 0.5:
        lines.append(f"Every box holds {b} {thing}, so {a} boxes hold {a} * {b} = {total} {thing} altogether.")
        lines.append(f"Of these, {c} are sold, which leaves {total} - {c} = {left} {thing} at the {place}.")
    else:
        lines.append(
            f"All but one box hold {a - 1} * {b} = {(a - 1) * b}, and with the last one {(a - 1) * b} + {b} = {total}."
        )
        lines.append(f"Then {c} {thing} go to visitors: {total} - {c} = {left}.")
    lines.append(
        f"So at the end of the week {left} {thing} are left, because nobody else took any of the {thing} away."
    )
    if drawn.random() < 0.5:
        lines.append(
            f"I checked the solutions of the other agents, and the number of {thing} follows from these steps."
        )
    lines.append(drawn.choice(["The answer is {}.", "\\boxed{{{}}}", "So the answer is {}.", "#### {}"]).format(left))
    return "\n".join(lines)


def debate(number: int) -> Debate:
    drawn = random.Random(number + 1)
    asked = question(number, "train")
    easy = drawn.random() < 0.6
    turns: list[Turn] = []
    right = [easy or drawn.random() < 0.35 for _ in range(AGENTS)]
    for round_number in range(1, 2 if easy else ROUNDS + 1):
        before = turns[-AGENTS:] if round_number > 1 else []
        shown = "\n\n".join(turn.reply for turn in before)
        was = right
        if before:
            right = [one if drawn.random() < 0.6 else drawn.random() < 0.7 for one in was]
        for agent in range(AGENTS):
            # Agents that keep their answer often repeat what they said.
            repeats = before and right[agent] == was[agent] and drawn.random() < 0.3
            text = before[agent].reply if repeats else reply(drawn, number, right[agent])
            turns.append(
                Turn(
                    agent=agent,
                    round=round_number,
                    prompt=f"{asked.question}\n\n{shown}",
                    reply=text,
                    answer=extract_answer(text, "number"),
                    model="m",
                    completion_tokens=len(text) // 4,
                    reads=list(range(AGENTS * (round_number - 2), AGENTS * (round_number - 1))) if before else [],
                )
            )
    last = reply(drawn, number, sum(right) > AGENTS // 2)
    turns.append(
        Turn(
            agent=AGGREGATOR,
            round=turns[-1].round,
            role=SETTLER,
            prompt="",
            reply=last,
            answer=extract_answer(last, "number"),
            model="m",
        )
    )
    return Debate(question=asked, teacher="sim", protocol="debate", turns=turns, answer=turns[-1].answer)


def make(folder: Path, n_questions: int, shard: int, n_shards: int) -> None:
    write_rows(folder / f"{shard}.debates.jsonl.zst", (debate(n) for n in range(shard, n_questions, n_shards)))
    if shard == 0:
        write_rows(folder / "train.jsonl", (question(n, "train") for n in range(n_questions)))


if __name__ == "__main__":
    _, _, place, *numbers = sys.argv
    make(Path(place), *map(int, numbers))
