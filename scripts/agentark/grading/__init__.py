"""The only place where an answer is judged.

In: a reply and the gold answer. Out: right, wrong or undecided, by rules, symbolic proof, or a verifier model.
"""
