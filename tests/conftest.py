"""Threads for tests: the models are tiny, and two OpenMP teams on two cores wait for one another."""

import os

# Before torch is imported; Snakemake sets its own number for the jobs of the end-to-end run.
os.environ.setdefault("OMP_NUM_THREADS", "1")
