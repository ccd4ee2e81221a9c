"""Where an artefact comes from.

In: files and settings. Out: manifests with digests of files and code, lineage, an RO-Crate.
"""
