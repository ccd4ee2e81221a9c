"""AgentArk: distil the reasoning of a multi-agent debate into one language model (arXiv 2602.03955)."""

import os

__version__ = "0.1.0"

# TRL, vLLM, transformers and datasets report usage unless they find these before they are imported.
for _switch in ("HF_HUB_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")

# Read when PyTorch is first imported. OpenMP's threads spin before they sleep; where anything else wants their cores,
# the whole step waits for them: with a busy neighbour on 2 cores, 3 to 6 times slower than with short spinning.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
