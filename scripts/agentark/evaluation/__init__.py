"""Scores on held-out questions, and the statistics of their comparison.

In: debates and answers on held-out questions. Out: one row a question, then accuracy with intervals, paired tests,
cost.
"""
