"""The results of fresh seeds, as tables of the page of `report --html`."""

from collections.abc import Iterator, Sequence

from wconv_jobs.seeding import derive_seed
from wconv_sweep.amounts import amount, density_text, interval, title
from wconv_sweep.evidence.confirmation import Arm, Confirmation
from wconv_sweep.results.text_tables import Column, Table

_NAMES = {
    "plain": "plain convolution",
    "initial weights": "initial weights alone",
    "gradient": "gradient alone",
}


def headline_table(confirmation: Confirmation) -> Table:
    """Return the metric of the claim: plain convolution and each candidate."""
    metric = confirmation.metric
    arms = (confirmation.plain, *confirmation.candidates)
    return _table(f"{title(metric)}, fresh seeds", confirmation, [metric], arms)


def metrics_table(confirmation: Confirmation) -> Table:
    """Return every score of the test set, of plain convolution and of each candidate."""
    tested = [name for name in confirmation.metrics() if name.startswith("test_")]
    arms = (confirmation.plain, *confirmation.candidates)
    return _table("All scores of the test set", confirmation, tested, arms)


def ablation_table(confirmation: Confirmation) -> Table:
    """Return the ablation: the whole density, and each half of its effect."""
    named = [confirmation.named] if confirmation.named else []
    arms = (confirmation.plain, *named, *confirmation.ablations)
    what = f"Ablation: {title(confirmation.metric)}"
    return _table(what, confirmation, [confirmation.metric], arms)


def _table(
    heading: str, confirmation: Confirmation, metrics: Sequence[str], arms: Sequence[Arm]
) -> Table:
    """Return a row per metric and network; a single metric has room for the densities."""
    several = len(metrics) > 1
    rows = [
        (_short(metric), *cells[:1], *cells[2:]) if several else cells
        for metric in metrics
        for arm in arms
        if (cells := tuple(_cells(confirmation, arm, metric)))
    ]
    columns = [Column("metric", numeric=False)] if several else []
    columns += [Column("network", numeric=False)]
    columns += [] if several else [Column("density", numeric=True)]
    intervals = ("level", "t interval", "bootstrap interval")
    columns += [
        Column(name, numeric=True) for name in ("seeds", "mean", "sd", "difference", *intervals)
    ]
    return Table(heading, (*columns, Column("verdict", numeric=False)), tuple(rows))


def _short(metric: str) -> str:
    return title(metric).removesuffix(" on the test set")


def _cells(confirmation: Confirmation, arm: Arm, metric: str) -> Iterator[str]:
    summary = arm.summary(metric)
    if summary is None:
        return
    failed = f", {arm.failed} failed" if arm.failed else ""
    yield _NAMES.get(arm.label, arm.label) + (" *" if arm is confirmation.named else "")
    yield density_text(arm.density)
    yield f"{summary.seeds}{failed}"
    yield amount(metric, summary.mean)
    yield amount(metric, summary.sd)
    difference = None if arm is confirmation.plain else confirmation.difference(arm, metric)
    if difference is None:
        yield from ("",) * 5
        return
    seed = derive_seed(confirmation.config.seed, "bootstrap", arm.label, metric)
    yield amount(metric, difference.mean, signed=True)
    yield f"{100 * difference.level:.4g} %"
    yield interval(metric, difference.interval)
    yield interval(metric, difference.bootstrap(seed))
    yield difference.verdict(confirmation.direction(metric))
