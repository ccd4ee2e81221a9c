"""The same question, asked so that nothing that matters differs: what a robust model answers alike.

Every change is drawn by the question's own id, so it is the same whatever else is asked.
"""

import random
import re
from collections.abc import Iterable

import msgspec

from agentark.config.datasets import Perturbation
from agentark.records.questions import Question, question_id

# Names that women and men share are not among them.
WOMEN = (
    "Abigail Alice Alicia Alison Allison Alyssa Amanda Amelia Amy Andrea Angela Ann Anna Anne Annie Ashley Ava "
    "Barbara Beatrice Becky Bella Beth Bethany Betty Brenda Brittany Carla Carly Carmen Carol Caroline Carolyn "
    "Carrie Charlotte Cheryl Christina Christine Cindy Claire Clara Cynthia Danielle Diana Diane Donna Dora "
    "Dorothy Elizabeth Ella Ellen Elsa Emily Emma Erica Erin Eva Gina Gloria Grace Greta Gretchen Haley Hannah "
    "Helen Isabel Jane Janet Janice Jasmine Jenna Jennifer Jenny Jessica Jill Joan Josie Judy Julia Julie Karen "
    "Kate Kathy Katie Katy Kayla Kelsey Kendra Kira Kylie Lana Lara Laura Lauren Layla Leah Leila Lily Linda Lisa "
    "Lola Lori Louise Lucy Lydia Mabel Maddie Madeline Maggie Mandy Mara Marcia Marcy Maria Marie Marissa Marla "
    "Marta Martha Mary Megan Melanie Melissa Mia Michelle Milly Miriam Molly Monica Nancy Naomi Natalie Nicole "
    "Nina Nora Olivia Pam Pamela Patricia Patty Paula Pauline Phoebe Polly Rachel Rebecca Rita Rosie Ruth Sally "
    "Samantha Sandra Sara Sarah Sheila Shelly Sophia Sophie Stacy Stella Stephanie Sue Susan Susie Tabitha Tammy "
    "Tanya Tara Teresa Tiffany Tina Tonya Valerie Vanessa Veronica Victoria Wanda Wendy Zoe"
).split()
MEN = (
    "Aaron Adam Alan Albert Alexander Ali Allan Andrew Andy Anthony Archie Arnold Arthur Barry Ben Benjamin Benny "
    "Bert Bill Billy Bob Bobby Boris Brad Brady Brandon Brendan Brian Bruce Bryan Caleb Calvin Carl Carlos Carson "
    "Chad Charles Christopher Cody Colby Cole Connor Dan Daniel Danny Dante Dave David Dennis Derek Devin Dexter "
    "Diego Donald Doug Edward Eric Ethan Frank Fred Gabriel Gary George Gerald Gordon Greg Hank Harold Harry "
    "Henry Hugo Ian Ivan Jack Jackson Jacob Jake James Jared Jason Javier Jayden Jeff Jeremy Jerome Jerry Jim "
    "Jimmy Joe Joel Joey John Johnny Jon Jonathan Jorge Jose Joseph Josh Joshua Juan Jude Justin Keith Ken "
    "Kenneth Kenny Kevin Kyle Lance Larry Leo Liam Louis Lucas Luke Malcolm Manny Marco Marcus Mario Mark Martin "
    "Marvin Mason Matt Matthew Max Micah Michael Mike Mitchell Nate Nathan Neil Nick Noah Oliver Oscar Patrick "
    "Paul Pete Peter Phil Philip Phillip Ralph Randy Ray Richard Rick Rob Robert Rodney Roger Ron Roy Ryan Samuel "
    "Scott Sean Seth Shane Simon Stan Stephen Steve Steven Ted Theo Thomas Tim Timmy Timothy Tobias Toby Todd Tom "
    "Tommy Tony Travis Trent Trevor Trey Troy Tyler Tyson Victor Vincent Walter William Xavier Zach Zack"
).split()
THINGS = "marbles pencils stamps apples books coins shells cards ribbons buttons candles plates".split()
SENTENCES = (
    "A neighbour of theirs has {n} {things} at home.",
    "Last year it rained on {n} days in that town.",
    "The shop around the corner sold {n} {things} on Monday.",
    "A friend who lives far away collects {things} and has {n} of them.",
    "The bus to the next village takes {n} minutes.",
    "There are {n} houses in the street behind the school.",
    "The library owns {n} old maps.",
    "A farmer nearby keeps {n} hens.",
    "In the museum {n} {things} are on show.",
    "The tallest tree in the park is {n} feet high.",
)
"""Each with a number, of which nothing in the question speaks."""
N_DISTRACTORS = 20
_NAME = re.compile(rf"\b(?:{'|'.join([*WOMEN, *MEN])})\b")
# A full stop after a title or an initial ends no sentence, nor does that of 3.5.
_END = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\b[A-Z])[.!?][\"')\]]?\s+(?=[^\sa-z])")


def perturbed(questions: Iterable[Question], how: Perturbation) -> list[Question]:
    """The questions that can be changed so, in their order; `origin_id` is that of the one that each was made from."""
    found = []
    for question in questions:
        draw = random.Random(f"{how} {question.question_id}")
        context, asked = question.question[: question.context_chars], question.question[question.context_chars :]
        if how == "names":
            new = _other_names(question, draw)
            if not new:
                continue
            context, asked = (_renamed(text, new) for text in (context, asked))
        elif how == "irrelevant":
            ends = [match.end() for match in _END.finditer(asked)]
            place = ends[-1] if ends else 0
            asked = f"{asked[:place]}{_sentence(draw)} {asked[place:]}"
        else:
            asked = f"{' '.join(_sentence(draw) for _ in range(N_DISTRACTORS))}\n\n{asked}"
        text = context + asked
        found.append(
            msgspec.structs.replace(
                question,
                question_id=question_id(text, question.choices),
                question=text,
                context_chars=len(context),
                origin_id=question.question_id,
                reasoning=None,  # it speaks of the question as it was
            )
        )
    return found


def _renamed(text: str, new: dict[str, str]) -> str:
    return _NAME.sub(lambda match: new[match[0]], text)


def _sentence(draw: random.Random) -> str:
    return draw.choice(SENTENCES).format(n=draw.randint(11, 97), things=draw.choice(THINGS))


def _other_names(question: Question, draw: random.Random) -> dict[str, str]:
    """For each person another name, such as "he" and "she" stay right; none where nobody is named, or the answer or a
    choice names somebody."""
    named = set(_NAME.findall(question.question))
    if any(_NAME.search(text) for text in (*question.golds, *(question.choices or []))):
        return {}
    new: dict[str, str] = {}
    for names in (WOMEN, MEN):
        free = draw.sample([name for name in names if name not in named], len(names) - len(named & {*names}))
        new |= dict(zip(sorted(named & {*names}), free, strict=False))
    return new
