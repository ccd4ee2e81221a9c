"""What students are worth.

In: debates and answers on held-out questions. Out: one row a question, then accuracy with intervals, paired tests,
cost.
"""
