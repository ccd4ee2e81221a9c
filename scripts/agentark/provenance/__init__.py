"""Provenance: what an artefact was made from, by which code.

In: files and settings. Out: manifests with digests of files and code, lineage, an RO-Crate.
"""
