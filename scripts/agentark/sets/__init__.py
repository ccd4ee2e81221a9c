"""Which traces become training data.

In: the traces of one question after another. Out: examples for R-SFT, DA and their controls, labelled steps for the
PRM, prompts for RL, and a card of each set.
"""
