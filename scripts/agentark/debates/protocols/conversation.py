"""What a protocol speaks through: `ask` makes one turn of one agent, and keeps the log.

A protocol says who is asked, which replies they read and what their task is. How that becomes a prompt is decided
here, so that all protocols share prefixes, survive a full context and are seeded alike.

Layouts (`debates.prompt_layout`):
- `shared`: the question, then the replies in one order for all agents, then what is said to one agent alone. Agents
  that read the same replies share nearly the whole prompt, which the engine computes once.
- `reference`: as the paper's code: an agent's own prompts and replies as a dialogue, then the replies of the others,
  the question again and the task. Agents share only the first question.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import msgspec

from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.prompts import Message, answer_statement, instructions, question_text
from agentark.grading.reading import after_reasoning, extract_answer
from agentark.records.debates import AGGREGATOR, SOLVER, Turn
from agentark.records.questions import GoldType, Question

Layout = Literal["shared", "reference"]
Overflow = Literal["drop_oldest", "summarise", "fail"]

SHORTEN = "Repeat this solution in as few words as you can: its steps, its equations and its final answer."
CUT = "[...]"
"""Stands where a context was cut."""
NO_REPLY = "(no reply)"
"""Stands for an empty reply: the others must see that there was none, and a dialogue may hold no empty message."""
SUMMARISER = "summariser"
LOOP_UNIT, LOOP_TIMES, LOOP_CHARS = 200, 4, 40
"""A reply that ends in at least so many repeats of at most so many characters, so long together, has lost itself."""


class QuestionFailedError(Exception):
    """This question cannot be finished now, for the reason in the message; others can."""


@dataclass(frozen=True)
class Member:
    """One agent of a team: its model, how it samples, and who it is told to be."""

    model: str
    chat: Chat
    temperature: float
    max_tokens: int
    persona: str | None = None


@dataclass(frozen=True)
class _Said:
    turn: Turn
    text: str
    """The question as it was asked, with what was left of its context."""
    reads: list[Turn]
    place: tuple[int, int, bool, int, str, int | None]
    """Round, how long a chain of replies of that round it rests on, and whose it is."""


class Ask:
    """`turn = await ask(task, agent=2, round=1, reads=turns)`."""

    def __init__(
        self,
        question: Question,
        team: Sequence[Member],
        *,
        layout: Layout = "shared",
        overflow: Overflow = "drop_oldest",
        seed: int = 0,
    ) -> None:
        """
        Args:
            team: agent i is member i modulo their number; the aggregator is the first.
            seed: with question, agent, round and role it decides the seed of each request.
        """
        self.question = question
        self._team, self._layout, self._overflow, self._seed = team, layout, overflow, seed
        self._context_chars = question.context_chars
        """So much is left of what the question is about."""
        self._n_choices = len(question.choices) if question.choices else None
        self._said: dict[int, _Said] = {}
        self._times_asked: Counter[tuple[int, int, str]] = Counter()

    def transcript(self) -> list[Turn]:
        """All turns, in an order that does not depend on which reply came first.

        By round; within a round whoever is read stands before the reader; then by agent.
        """
        order = sorted(self._said.values(), key=lambda said: said.place)
        numbers = {id(said.turn): number for number, said in enumerate(order)}
        return [
            msgspec.structs.replace(said.turn, reads=sorted(numbers[id(turn)] for turn in said.reads)) for said in order
        ]

    async def __call__(
        self,
        task: str | None = None,
        *,
        agent: int,
        round: int,
        role: str = SOLVER,
        reads: Sequence[Turn] = (),
        show: Callable[[Turn], str] | None = None,
        temperature: float | None = None,
    ) -> Turn:
        """One request and its record.

        Args:
            task: what this agent is to do, the last thing that it reads; none = solve the question.
            agent: 0-based, or `AGGREGATOR`.
            round: 1-based.
            reads: turns whose replies the agent sees, in this order, its own among them if it shall. Agents that get
                the same list share its computation.
            show: what is shown of each; none = all but hidden reasoning.
            temperature: none = the member's own.

        Raises:
            QuestionFailedError: there is no reply.
        """
        member = self._team[max(agent, 0) % len(self._team)]
        task = instructions(self.question.gold_type) if task is None else task
        task = f"{member.persona}\n{task}" if member.persona else task
        key = agent, round, role
        self._times_asked[key] += 1
        sampling = Sampling(
            member.temperature if temperature is None else temperature,
            member.max_tokens,
            seed=_seed(self._seed, self.question.question_id, *key, self._times_asked[key]),
        )
        earlier = (said.turn for said in self._said.values())
        own = [t for t in earlier if (t.agent, t.role) == (agent, role) and t.round < round]
        left = list(reads)
        shown = {id(turn): (show or visible)(turn) or NO_REPLY for turn in left}
        while True:
            kept, text = self._context_chars, self._text
            messages = self._messages(task, own, left, shown)
            reply = await member.chat(messages, sampling)
            if not reply.overflow or self._overflow == "fail":
                break
            if not left:
                if not kept:
                    break
                # Others of the team may have cut it meanwhile.
                self._context_chars = min(self._context_chars, shorter_context(kept, reply, messages))
                continue
            longest = max(left, key=lambda t: len(shown[id(t)]))
            shorter = None
            if self._overflow == "summarise" and role != SUMMARISER:
                shorter = await self._shortened(shown[id(longest)], agent, round)
            if shorter is not None:
                shown[id(longest)] = shorter
            else:
                left.remove(next((turn for turn in left if turn.agent != agent), left[0]))
        if reply.status == "failed":
            raise QuestionFailedError(f"round {round}, agent {agent} ({role}): {reply.error}")
        turn = Turn(
            agent=agent,
            round=round,
            role=role,
            model=member.model,
            prompt=messages[-1]["content"],
            reply=reply.text,
            answer=extract_answer(reply.text, self.question.gold_type, self._n_choices),
            n_left_out=len(reads) - len(left),
            context_cut=self.question.context_chars - kept,
            seed=sampling.seed,
            status=reply.status,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=reply.completion_tokens,
            latency_s=reply.latency_s,
        )
        depth = 1 + max((self._said[id(read)].place[1] for read in left if read.round == round), default=-1)
        place = (round, depth, agent == AGGREGATOR, agent, role, sampling.seed)
        self._said[id(turn)] = _Said(turn, text, left, place)
        return turn

    async def _shortened(self, text: str, agent: int, round: int) -> str | None:
        """A reply in fewer words, by one more turn; None when it got no shorter."""
        try:
            turn = await self(f"{text}\n\n{SHORTEN}", agent=agent, round=round, role=SUMMARISER)
        except QuestionFailedError:
            return None
        return short if (short := visible(turn)) and len(short) < len(text) else None

    def _prompt_of(self, turn: Turn) -> str:
        """What an earlier turn answered; once the context had to be cut, without it: the new prompt has the rest."""
        question = self.question
        if self._context_chars == question.context_chars:
            return turn.prompt
        asked = question_text(question.question[question.context_chars :], question.choices)
        return turn.prompt.replace(self._said[id(turn)].text, asked)

    @property
    def _text(self) -> str:
        question = self.question
        whole, kept = question.context_chars, self._context_chars
        if kept == whole:
            return question_text(question.question, question.choices)
        # Its beginning and its end: papers and meetings say there what they are about, and what came of it.
        head, tail = question.question[: kept - kept // 2], question.question[whole - kept // 2 : whole]
        return question_text(f"{head.rstrip()}\n{CUT}\n{tail}{question.question[whole:]}", question.choices)

    def _messages(self, task: str, own: list[Turn], reads: list[Turn], shown: dict[int, str]) -> list[Message]:
        """The dialogue that one agent reads; `own` are its earlier turns."""
        as_dialogue = self._layout == "reference" and bool(own)
        # A round of replies needs no round numbers; a dialogue over several does.
        several = len({turn.round for turn in reads}) > 1
        blocks = [
            f"{label(turn, with_round=several)}:\n{shown[id(turn)]}"
            for turn in reads
            if not (as_dialogue and any(turn is said for said in own))
        ]
        if not as_dialogue:
            text = "\n\n".join([self._text, *blocks, task]) if blocks else f"{self._text}\n{task}"
            return [{"role": "user", "content": text}]
        dialogue: list[Message] = []
        for turn in own:
            dialogue.append({"role": "user", "content": self._prompt_of(turn)})
            dialogue.append({"role": "assistant", "content": visible(turn) or NO_REPLY})
        return [*dialogue, {"role": "user", "content": "\n\n".join([*blocks, self._text, task])}]


def shorter_context(chars: int, reply: Reply, messages: list[Message]) -> int:
    """What is to be left of a context, in characters, so that prompt and reply may fit; it may take several times.

    Args:
        reply: by an engine that found them too long, and may have said by how many tokens.
    """
    if not reply.excess_tokens:
        return chars - max(chars // 8, 1)
    n_chars = sum(len(message["content"]) for message in messages)
    excess = reply.excess_tokens * n_chars // reply.prompt_tokens + len(CUT) + 2
    return max(0, chars - max(excess, chars // 64))


def label(turn: Turn, *, with_round: bool = False) -> str:
    """How a turn's author is named to others: "Agent 2", "Critic 1 (round 3)", "Judge"."""
    name = "Agent" if turn.role == SOLVER else turn.role.capitalize()
    if turn.agent != AGGREGATOR:
        name += f" {turn.agent + 1}"
    return f"{name} (round {turn.round})" if with_round else name


def visible(turn: Turn) -> str:
    """What others see of a reply: no hidden reasoning, and an endless repetition once."""
    said = after_reasoning(turn.reply)
    return without_loop(said.strip()) if said else ""


def stated_answer(turn: Turn, gold_type: GoldType) -> str:
    """Only the answer of a turn, for protocols that share no reasoning."""
    return NO_REPLY if turn.answer is None else answer_statement(turn.answer, gold_type)


def without_loop(text: str) -> str:
    """The text with its last repeats, where it ends in a loop, cut down to one."""
    for length in range(1, min(LOOP_UNIT, len(text) // LOOP_TIMES) + 1):
        unit = text[-length:]
        if text.endswith(unit * max(LOOP_TIMES, -(-LOOP_CHARS // length))):
            end = len(text)
            while text.endswith(unit, 0, end - length):
                end -= length
            return text[:end]
    return text


def _seed(*parts: object) -> int:
    """31 bits that depend on every part."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:4]) >> 1
