"""Draws cluster profiles, for `console`."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from wconv_sweep.clusters.known_profiles import KnownProfile
from wconv_sweep.clusters.profile import ClusterProfile, SlurmProfile
from wconv_sweep.clusters.site_facts import Limits, SourceSpec
from wconv_sweep.clusters.sources import facts_of, sources_of, verified_share

_WIDTH = 80


def print_profiles(out: Console, known: Sequence[KnownProfile]) -> None:
    """Print a table of profiles."""
    table = Table(box=None, pad_edge=False)
    for column in ("cluster", "launcher", "GPUs/node", "nodes", "hours", "verified", "file"):
        left = column in ("cluster", "launcher", "file")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for each in known:
        table.add_row(
            each.name,
            each.profile.launcher,
            str(_gpus(each.profile)),
            _or_dash(_most_nodes(each.profile)),
            _or_dash(_longest_h(each.profile)),
            _share(each.profile),
            _whose(each),
        )
    out.print(table)


def print_facts(out: Console, known: KnownProfile) -> None:
    """Print a whole profile, its facts by source, in 80 columns."""
    for line in _lines(known):
        out.print(line, markup=False, soft_wrap=True)


def entry_json(known: KnownProfile) -> dict[str, Any]:
    """Return the list's entry of a profile as plain data."""
    share = verified_share(known.profile) if isinstance(known.profile, SlurmProfile) else None
    return {
        "cluster": known.name,
        "launcher": known.profile.launcher,
        "gpus_per_node": _gpus(known.profile),
        "max_nodes": _most_nodes(known.profile),
        "max_hours": _longest_h(known.profile),
        "verified": share,
        "own": known.own,
        "hides_shipped": known.hides_shipped,
        "path": str(known.path),
    }


def facts_json(known: KnownProfile) -> dict[str, Any]:
    """Return a profile as plain data, each fact with its source."""
    facts = []
    if isinstance(known.profile, SlurmProfile):
        sources = sources_of(known.profile)
        for key, value in facts_of(known.profile).items():
            source = sources[key]
            plain = None if source is None else source.model_dump(mode="json", exclude={"facts"})
            facts.append({"key": key, "value": value, "source": plain})
    return {
        **entry_json(known),
        "profile": known.profile.model_dump(mode="json", by_alias=True),
        "facts": facts,
    }


def _lines(known: KnownProfile) -> Iterator[str]:
    profile = known.profile
    given = profile.model_dump(mode="json", exclude_unset=True, by_alias=True)
    facts = facts_of(profile) if isinstance(profile, SlurmProfile) else {}
    inside = {key.partition(".")[0] for key in facts}
    yield f"{known.name} ({_whose(known)}): {known.path}"
    yield ""
    for key, value in given.items():
        if key not in inside and key not in ("schema", "cluster", "sources"):
            yield from _fact(key, value)
    if not isinstance(profile, SlurmProfile):
        return
    sources = sources_of(profile)
    for source in (*profile.sources, None):
        keys = [key for key in facts if sources[key] == source]
        if keys:
            yield ""
            yield from _heading(source)
        for key in keys:
            yield from _fact(key, facts[key])


def _heading(source: SourceSpec | None) -> list[str]:
    if source is None:
        return ["No source:"]
    word = "Confirmed by the site" if source.verified else "Not verified"
    # Addresses and paths have hyphens, and are to be copied.
    text = f"{word}, {source.date}: {source.source}"
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def _fact(key: str, value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, float):
        text = f"{value:g}"
    if value == {}:
        text = "no known limit"
    return textwrap.wrap(f"{key}: {text}", _WIDTH, initial_indent="  ", subsequent_indent="      ")


def _gpus(profile: ClusterProfile) -> int:
    if isinstance(profile, SlurmProfile):
        return profile.gpus_per_node
    return profile.gpus_per_pilot


def _default_limits(profile: ClusterProfile) -> list[Limits]:
    """Return the limits of jobs that name neither QOS nor partition."""
    if not isinstance(profile, SlurmProfile):
        return []
    qos, partition = profile.qos, profile.partition
    found = [
        qos.known.get(qos.default or qos.unnamed or ""),
        partition.known.get(partition.default or ""),
    ]
    return [limits for limits in found if limits is not None]


def _most_nodes(profile: ClusterProfile) -> int | None:
    limits = (each.max_nodes for each in _default_limits(profile))
    return min((limit for limit in limits if limit is not None), default=None)


def _longest_h(profile: ClusterProfile) -> float | None:
    limits = (each.max_walltime_min for each in _default_limits(profile))
    longest = min((limit for limit in limits if limit is not None), default=None)
    return None if longest is None else longest / 60


def _share(profile: ClusterProfile) -> str:
    share = verified_share(profile) if isinstance(profile, SlurmProfile) else None
    return "-" if share is None else f"{100 * share:.0f} %"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _whose(known: KnownProfile) -> str:
    if not known.own:
        return "shipped"
    return "your own, instead of the shipped one" if known.hides_shipped else "your own"
