"""The configuration of a study: typed sections, how they fit together, errors that name file and key.

In: YAML. Out: a checked `Study`. Imported when the Snakefile is parsed, so nothing heavy may be imported here.
"""
