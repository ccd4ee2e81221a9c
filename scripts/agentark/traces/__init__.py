"""Debates as graded turns, and what they tell.

In: debates and verdicts. Out: traces with their kind (stable, corrective, degraded, wrong) and steps; statistics and
transcripts.
"""
