"""Tests are alone with the machine's threads, and report to nobody."""

import os

# The models are tiny, and two OpenMP teams on two cores wait for one another. Before torch is imported; Snakemake sets
# its own number for the jobs of the end-to-end run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

for name in ("AGENTARK_TENSORBOARD", "WANDB_PROJECT"):
    os.environ.pop(name, None)
