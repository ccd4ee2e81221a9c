"""The commands that a reader is shown: by README, docs, pages of config and profiles, and comments that begin a file.

- A line of a fenced block is a command where the block names no language, or `sh`; other languages are no commands.
- Inline code is one where it begins with a program of `INLINE`.
- In the comments at the top of a file, what stands indented is one, and so is what begins with a program and is parted
  from other words by two spaces: `# Run it with:  make demo`. Two spaces end it.

A command ends at a pipe or a `>`: what is done with its output is another program's affair.
"""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/**/*.md", "config/*.md", "profiles/*.md")
HEADS = ("config/**/*.yaml", "profiles/**/*.yaml", "envs/*", "Makefile")
NO_COMMANDS = {"text", "yaml", "python", "json"}
INLINE = r"(?:snakemake|make|agentark|pip|apt)(?=\s|$)|sbatch --wrap "


def commands() -> dict[str, set[str]]:
    """All commands, each once, with the files that show it."""
    found: dict[str, set[str]] = {}
    for patterns, read in ((PAGES, of_page), (HEADS, of_head)):
        for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()):
            for command in read(path.read_text(encoding="utf-8")):
                found.setdefault(command, set()).add(path.relative_to(ROOT).as_posix())
    return found


def of_page(text: str) -> Iterator[str]:
    fence = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    for language, block in fence.findall(text):
        if language not in NO_COMMANDS:
            for line in block.replace("\\\n", " ").splitlines():
                yield from of_line(line)
    yield from inline(fence.sub("", text))


def of_head(text: str) -> Iterator[str]:
    head = [line[1:] for line in takewhile(lambda line: line.startswith("#"), text.splitlines())]
    for line in head:
        first, *others = re.split(" {2,}", line.strip())
        if line.startswith("  "):
            yield from of_line(first)
        elif others:
            for piece in (first, *others):
                if re.match(INLINE, piece):
                    yield from of_line(piece)
    yield from inline("\n".join(head))


def inline(text: str) -> Iterator[str]:
    for code in re.findall(r"`([^`]+)`", text):
        if re.match(INLINE, code):
            for command in of_line(code.replace("\n", " ")):
                # `agentark status` in a sentence is the name of a command: what it needs is said elsewhere.
                is_name = re.fullmatch(r"agentark( [\w-]+)?", command)
                yield f"{command} --help" if is_name else command


def of_line(line: str) -> Iterator[str]:
    """The commands of a line, without their comments and what follows a pipe or a `>`, spelled in one way."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    ended = False
    for word in [*lexer, ";"]:
        if word in (";", "&&"):
            if words[:2] == ["sbatch", "--wrap"]:
                yield from of_line(words[2])
            elif words:
                yield shlex.join(words)
            words, ended = [], False
        elif ended or set(word) <= set("|<>&"):
            ended = True
        else:
            words.append(word)
