"""Writes counts, metrics and densities for people, in the words and units of the field."""

from collections.abc import Iterable, Sequence

from wconv_jobs import catalog


def counted(number: int, noun: str) -> str:
    """Return a number of things, as "1 trial" or "2 trials"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def title(metric: str) -> str:
    """Return the usual name of a metric; one of the test set says so."""
    name = metric.removeprefix("test_")
    facts = _facts(name)
    return (facts.title if facts else name) + (" on the test set" if name != metric else "")


def unit(metric: str, own: str | None = None) -> str:
    """Return the unit of a metric, also of `test_` and `input_` ones; empty where it has none.

    Args:
        metric: its name.
        own: unit of a metric that we do not know, from its study.
    """
    facts = _facts(metric.removeprefix("test_").removeprefix("input_"))
    return facts.unit if facts else own or ""


def axis_title(metric: str, own_unit: str | None = None) -> str:
    """Return the usual name of a metric with its unit, for an axis."""
    of = unit(metric, own_unit)
    return f"{title(metric)}, {of}" if of else title(metric)


def amount(
    metric: str, value: float | None, own_unit: str | None = None, *, signed: bool = False
) -> str:
    """Return a value with its unit, see `unit`, or `-` if there is none.

    Four decimals where the scale of the metric is not known.
    """
    if value is None:
        return "-"
    sign, of = "+" if signed else "", unit(metric, own_unit)
    return f"{value:{sign}.{2 if unit(metric) else 4}f} {of}".rstrip()


def interval(metric: str, bounds: tuple[float, float] | None, own_unit: str | None = None) -> str:
    """Return an interval of differences, or `-` if there is none."""
    if bounds is None:
        return "-"
    low, high = (amount(metric, bound, own_unit, signed=True) for bound in bounds)
    return f"{low} to {high}"


def density_text(
    density: Sequence[float] | None, settings: Iterable[tuple[str, object]] = ()
) -> str:
    """Return a density with three digits for each coefficient, and settings that go with it."""
    if density is None:
        return "being chosen"
    return f"({', '.join(f'{value:.3g}' for value in density)}){with_settings(settings)}"


def with_settings(settings: Iterable[tuple[str, object]]) -> str:
    """Return settings as they follow a density: each with the last part of its key."""
    return "".join(
        f", {key.rpartition('.')[-1]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in settings
    )


def _facts(name: str) -> catalog.MetricFacts | None:
    """Return None for what is no metric, such as `epoch_s`, or one of another version."""
    return catalog.metric_facts(name) if name in catalog.names("metrics") else None
