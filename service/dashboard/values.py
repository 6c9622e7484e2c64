"""Values of JSON documents as people read them."""

from __future__ import annotations

import json


def list_items(value: object) -> list[tuple[str, str]]:
    """Return the entries of a mapping as names and text, or one nameless entry."""
    if not isinstance(value, dict):
        return [("", _to_text(value))]
    return [
        (str(name).replace("_", " "), _to_text(part))
        for name, part in value.items()
        if part is not None and name != "layout"
    ]


def _to_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 300 else text[:300] + "…"
