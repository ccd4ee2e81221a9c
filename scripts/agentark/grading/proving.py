"""Equality of formulas by math-verify, in a process that can be killed.

SymPy takes for ever on hostile formulas and math-verify's own time-out needs the main thread, so proofs run elsewhere,
under limits of processor time and memory.
"""

import atexit
import json
import signal
import subprocess
import sys
import threading
from functools import lru_cache
from multiprocessing.connection import wait

PROOF_CPU_S = 1.0
"""Processor time, so that a verdict does not depend on how busy the machine is. Honest pairs take 1 to 300 ms."""
PROOF_TIMEOUT_S = 10.0
"""Time by the clock, should the processor time never come."""
START_TIMEOUT_S = 120.0
"""Importing SymPy takes a second, and a minute on a busy network file system."""


class _Prover:
    """One process that runs math-verify: started when first needed, and anew when a proof took too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def prove(self, gold: str, answer: str) -> bool | None:
        with self._lock:
            # A forked child cannot wait for its parent's process, so it finds it ended and starts its own.
            if self._process is None or self._process.poll() is not None:
                self._start()
            reply = b""
            try:
                self._process.stdin.write(json.dumps([gold, answer]).encode() + b"\n")
                reply = self._reply_within(PROOF_TIMEOUT_S)
            finally:
                # Also when a signal's exception breaks in: the next question must not read this one's verdict.
                if not reply:
                    self.stop()
            return json.loads(reply or "null")

    def _start(self) -> None:
        # -P: a file in the working directory must not pass for a module.
        command = [sys.executable, "-P", "-m", "agentark.grading.proving"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        if not self._reply_within(START_TIMEOUT_S):
            self.stop()
            raise RuntimeError(f"math-verify did not start; try `{' '.join(command)}` to see why")

    def _reply_within(self, seconds: float) -> bytes:
        """The next line, or nothing if the process dies or takes too long."""
        return self._process.stdout.readline() if wait([self._process.stdout], seconds) else b""

    def stop(self) -> None:
        if self._process is not None:
            with self._process as process:  # which closes the pipes and waits
                process.kill()
            self._process = None


_prover = _Prover()
atexit.register(_prover.stop)


@lru_cache(maxsize=65_536)
def prove(gold: str, answer: str) -> bool | None:
    """Whether math-verify finds two LaTeX answers equal; None when it cannot tell or takes too long."""
    return _prover.prove(gold, answer)


def _serve() -> None:
    """Prove pairs of [gold, answer] from standard input, one JSON line each, until it is closed."""
    import logging
    import resource

    from math_verify import LatexExtractionConfig, parse, verify

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    # What else is printed here must not pass for a verdict.
    replies, sys.stdout = sys.stdout, sys.stderr

    def parsed(latex: str) -> list:
        # Only as LaTeX: math-verify's other reader hands plain expressions to Python's eval.
        return parse(
            f"${latex.strip().strip('$')}$",
            [LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )

    def verdict(gold: str, answer: str) -> bool | None:
        try:
            sides = parsed(gold), parsed(answer)
            if not all(sides):
                return None
            # Gold first: math-verify is not symmetric.
            return verify(*sides, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)
        except Exception:
            return None

    verdict(r"\frac{x}{2} + \sqrt{2}", r"\sqrt{2} + 0.5x")
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        # The timer's default action ends the process, whatever it is doing, even if the grader has died meanwhile.
        signal.setitimer(signal.ITIMER_PROF, PROOF_CPU_S)
        print(json.dumps(verdict(*json.loads(line))), file=replies, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    _serve()
