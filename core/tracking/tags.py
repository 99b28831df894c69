"""The aliases and tags that Stepladder keeps in the registry, beside those with which a version is made."""

from __future__ import annotations

from collections.abc import Mapping

CHALLENGER, CHAMPION = "challenger", "champion"

# Of a registered model.
CHAMPIONS = "stepladder.champions"  # JSON list of versions, oldest first; null: nobody was champion
PROMOTION = "stepladder.promotion"  # JSON of the change that is under way

# Of a version. What a promotion says of it holds in that registered model alone.
APPROVED = "stepladder.approved"  # JSON {"by", "at"}
COPIED_FROM = "stepladder.copied_from"
PREVIOUS_CHAMPION = "stepladder.previous_champion"
TEST_SHA256 = "stepladder.test_sha256"
REGISTRATION = "stepladder.registration"  # of the process that made the version
VERDICT = "stepladder.verdict"  # passed | rejected, of the gates; promoted, once it has become champion
PROMOTED = "promoted"
VERDICT_REASON = f"{VERDICT}.reason"
GATE = "stepladder.gate."  # then the gate's name, and behind that the names of its figures


def of_the_version(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that stay true of a copy in another registered model."""
    gone = {APPROVED, COPIED_FROM, PREVIOUS_CHAMPION, REGISTRATION, TEST_SHA256, VERDICT, VERDICT_REASON}
    return {tag: value for tag, value in tags.items() if tag not in gone and not tag.startswith(GATE)}
