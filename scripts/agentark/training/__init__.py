"""Students and process reward models.

In: a model folder and a set. Out: a model folder, by R-SFT, DA, PRM training or GRPO; any training can be stopped and
goes on.
"""
