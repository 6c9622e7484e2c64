"""Forms of texts in requests: a pattern for the schema, and words for people."""

from __future__ import annotations

from typing import Final

STATISTIC: Final = r"^(spread|[qpm][0-9]{2})$"
"""A statistic of an ensemble."""
STORE: Final = r"^(analysis|climatology|forecast)/[A-Za-z0-9_.-]+$"
"""Kind and name of a store."""

FORMS: Final = {
    STATISTIC: "spread, q90 (a quantile), p00 (a probability) or m03 (a member)",
    STORE: "analysis/NAME, climatology/NAME or forecast/RUN",
}
"""What a text of each pattern looks like."""
