"""What all rows share, and ids made from content."""

import hashlib
import json

import msgspec


class Row(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, unknown fields refused."""


def content_id(*parts: object) -> str:
    """First 16 hex digits of the SHA-256 over the canonical JSON of the parts."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]
