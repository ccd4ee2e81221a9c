"""What all stage programs share, and how they are watched.

In: a program and its job. Out: log, progress, attempts, deadlines, devices; the status of a run.
"""
