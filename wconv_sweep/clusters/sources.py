"""The source of each fact of a cluster profile."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from wconv_sweep.clusters.site_facts import SourceSpec

_CHOICES = frozenset(
    {
        *("schema", "cluster", "launcher", "storage", "sources", "pilots", "nodes"),
        *(
            "gpus_used_per_node",
            "walltime_min",
            "lease_s",
            "grace_s",
            "account",
            "wckey",
            "requeue",
        ),
    }
)
"""Keys that are a choice, or can be changed at will: they need no source."""


class Sourced(Protocol):
    """A profile with facts and their sources, as this module needs it."""

    @property
    def sources(self) -> list[SourceSpec]:
        """The sources of the facts."""

    def model_dump(self, *, exclude_unset: bool, by_alias: bool) -> dict[str, Any]:
        """Return the keys that the file gives."""


def facts_of(profile: Sourced) -> dict[str, Any]:
    """Return what a profile says about its site, by dotted key; defaults left out."""
    given = profile.model_dump(exclude_unset=True, by_alias=True)
    return dict(_leaves({key: value for key, value in given.items() if key not in _CHOICES}))


def sources_of(profile: Sourced) -> dict[str, SourceSpec | None]:
    """Return the source of each fact by dotted key; None for one that has none."""
    named = {key: source for source in profile.sources for key in source.facts}
    return {
        fact: next((source for key, source in named.items() if _covers(key, fact)), None)
        for fact in facts_of(profile)
    }


def source_problems(profile: Sourced) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield the problems of sources: a key that is not a fact, or that has another source."""
    facts = facts_of(profile)
    seen: dict[str, str] = {}
    for index, source in enumerate(profile.sources):
        for number, key in enumerate(source.facts):
            where = ("sources", index, "facts", number)
            covered = [fact for fact in facts if _covers(key, fact)]
            if not covered:
                yield where, f"'{key}' is not a fact that this file gives"
            twice = next((fact for fact in covered if fact in seen), None)
            if twice is not None:
                yield where, f"'{key}': {twice} has a source already, '{seen[twice]}'"
            seen |= dict.fromkeys(covered, source.source)


def verified_share(profile: Sourced) -> float | None:
    """Return the share of facts that the site itself states; None where there is no fact."""
    sources = sources_of(profile).values()
    if not sources:
        return None
    return sum(source is not None and source.verified for source in sources) / len(sources)


def _covers(key: str, fact: str) -> bool:
    return fact == key or fact.startswith(f"{key}.")


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        dotted = f"{prefix}{key}"
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, f"{dotted}.")
        else:
            yield dotted, inner
