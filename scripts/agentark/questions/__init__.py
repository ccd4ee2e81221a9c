"""Questions with gold answers, from any source.

In: the Hub, files, generators, debate logs. Out: train, validation and test parts that share no question, and which
train questions a benchmark asks.
"""
