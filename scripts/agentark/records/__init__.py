"""The rows that travel between the stages, and how they are written and read.

In: typed rows. Out: JSON lines and Parquet that are whole or absent; bad rows are named by file and line, or set
aside.
"""
