"""Students and process reward models.

In: a model folder and a set. Out: a model folder, by R-SFT, DA, PRM training or GRPO; any training can be stopped and
goes on.
"""

import warnings

# TRL warns of vLLM 0.32, the version for CPUs; what TRL does with it there is tested
# (tests/unit/training/test_processes.py).
warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
