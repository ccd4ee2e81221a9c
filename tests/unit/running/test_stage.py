"""What every stage program promises: its log, one sentence for what the user can cure, and an exit status."""

import importlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from agentark.errors import UserError
from agentark.running import stage
from agentark.running.progress import Progress, duration, say

STAGES = sorted(path.stem for path in (Path(stage.__file__).parents[1] / "stages").glob("[a-z]*.py"))


def run(work: str, tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """A stage program whose work is these lines, in a process of its own: it redirects the process's output."""
    program = "from agentark.errors import UserError\nfrom agentark.running import stage\n"
    program += "from agentark.running.progress import say\n"
    program += f"def work(args):\n    {work}\nraise SystemExit(stage.run(work, stage.parser('').parse_args()))"
    command = [sys.executable, "-c", program, "--config", "c", "--log", str(tmp_path / "log")]
    result = subprocess.run(command, capture_output=True, text=True)
    return result, (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("UserError('q.jsonl, line 3 is empty; delete it')", "error: q.jsonl, line 3 is empty; delete it\n"),
        ("OSError(28, 'No space left', 'out.jsonl')", "error: out.jsonl: the disk is full; free some space"),
        ("MemoryError()", "error: no free memory; give the rule more"),
        ("RuntimeError('CUDA out of memory. Tried')", "error: no free GPU memory; lower"),
        ("KeyError('bug')", "error: KeyError: 'bug' (traceback in"),
    ],
)
def test_an_error_is_one_sentence_and_a_status(error: str, expected: str, tmp_path: Path) -> None:
    result, log = run(f"raise {error}", tmp_path)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in log
    assert expected in log


def test_output_goes_to_the_log_and_progress_to_both(tmp_path: Path) -> None:
    result, log = run("print('noise'); import os; os.system('echo native'); say('half done')", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "half done\n")
    for text in ("noise", "native", "half done"):
        assert text in log


def test_unreadable_settings_are_one_sentence(tmp_path: Path) -> None:
    from agentark.config.sft import Sft

    (tmp_path / "sft.json").write_text('{"epoch": 1}')
    with pytest.raises(UserError, match=r"sft\.json: not readable as Sft"):
        stage.settings(tmp_path / "sft.json", Sft)


def test_progress_tells_done_total_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 6.0, 8.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    progress = Progress("debates", 8, "questions")
    progress.update(done=2, tokens=1200)
    progress.update(done=6, tokens=400)
    first, last = capsys.readouterr().err.splitlines()
    assert first.split() == "debates 2/8 questions 200 tokens/s, 18s left".split()
    assert last.split() == "debates 8/8 questions 200 tokens/s, done in 8s".split()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_lives_and_other_words_do_not_run_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 1.1, 2.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    monkeypatch.setattr(Progress, "terminal", Terminal())
    progress = Progress("debates", 4, "questions")
    progress.asked, progress.replied, progress.tokens_in, progress.tokens_cached = 9, 4, 1000, 610
    progress.update(tokens=100)
    progress.update()  # too soon to be drawn
    progress.fail()
    say("engine: m died")
    progress.replied = 9
    progress.update()
    shown = Progress.terminal.getvalue()
    first, second, rest = shown.split("\r")[1:]
    assert " ".join(first.split()) == (
        "debates 1/4 questions 5 in flight, 1,000 tokens/s in (61% cached), 100 out, 3s left\x1b[K"
    )
    assert second.endswith("1 failed, 1s left\x1b[K\nengine: m died\n")
    assert rest.endswith("1 failed, done in 4s\x1b[K\n")


def test_the_log_learns_of_progress_too_though_a_terminal_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 1.0, 7.0, 8.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    monkeypatch.setattr(Progress, "terminal", Terminal())
    progress = Progress("sft", 8, "updates")
    for _ in range(3):
        progress.update()
    (logged,) = capsys.readouterr().err.splitlines()
    assert logged.split()[:3] == ["sft", "2/8", "updates"]


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.6, 75, 3725)] == ["0s", "1m00s", "1m15s", "1h02m"]


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    # In this process: a new one would import torch and TRL again for each stage.
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"agentark.stages.{name}").main(["--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out
