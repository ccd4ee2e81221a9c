"""What every stage program shares: its log, its errors in one sentence, its frozen settings."""

import argparse
import errno
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pydantic

from agentark.errors import UserError
from agentark.running import output
from agentark.running.attempts import Attempt
from agentark.running.deadline import STOPPED, StoppedError
from agentark.running.progress import say

S = TypeVar("S", bound=pydantic.BaseModel)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser with the two options that all stages have."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    result.add_argument("--config", type=Path, required=True, help="frozen settings of this artefact, JSON")
    result.add_argument("--log", type=Path, help="all output goes here; progress stays on the terminal as well")
    return result


def settings(path: Path, kind: type[S]) -> S:
    """Read a frozen settings file."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, pydantic.ValidationError) as error:
        raise UserError(f"{path}: not readable as {kind.__name__} ({error}); delete it and run again") from error


def sentence(error: BaseException) -> str | None:
    """The one sentence for an error whose cure is the user's; None for a bug of ours."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the results folder"
        return f"{where}: the disk is full; free some space and run the same command again, finished files are kept"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return "no free memory; give the rule more (resources: mem_mb) or lower its batch size, then run again"
    if "CUDA out of memory" in str(error):
        return "no free GPU memory; lower this stage's batch size or max_tokens in the config, then run again"
    return None


def run(work: Callable[[argparse.Namespace], None], args: argparse.Namespace, *, online: bool = False) -> int:
    """Run a stage's work under its log; returns the exit status.

    Args:
        online: whether this stage may ask the Hugging Face Hub; all others read local files only.
    """
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"
    message, status = None, 1
    attempt = Attempt(args.log)
    with output.to_log(args.log):
        try:
            work(args)
            attempt.ends("done")
            return 0
        except StoppedError as stop:
            message, status = str(stop), STOPPED
        except KeyboardInterrupt:
            attempt.ends("stopped", "interrupted from the keyboard")
            raise
        except Exception as error:
            traceback.print_exc()
            message = sentence(error) or f"{type(error).__name__}: {error} (traceback in {args.log or 'this output'})"
        with suppress(OSError):  # a full disk has no room for this line either
            say(f"error: {message}")
    attempt.ends("stopped" if status == STOPPED else "failed", message)
    return status
