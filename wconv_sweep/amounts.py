"""Writes metrics and densities for people, in the words and units of the field."""

from collections.abc import Sequence

_UNITS = {"psnr_db": "dB"}
_NAMES = {"psnr_db": "PSNR", "nrmse": "NRMSE", "ssim": "SSIM", "macro_f1": "macro-F1"}


def title(metric: str) -> str:
    """Return the usual name of a metric; one of the test set says so."""
    name = metric.removeprefix("test_")
    return _NAMES.get(name, name) + (" on the test set" if name != metric else "")


def axis_title(metric: str) -> str:
    """Return the usual name of a metric with its unit, for an axis."""
    unit = _UNITS.get(metric.removeprefix("test_"))
    return f"{title(metric)}, {unit}" if unit else title(metric)


def amount(metric: str, value: float | None, *, signed: bool = False) -> str:
    """Return a value with its unit, or `-` if there is none."""
    if value is None:
        return "-"
    unit = _UNITS.get(metric.removeprefix("test_"))
    number = f"{value:+.2f}" if signed else f"{value:.2f}"
    if unit is None:
        number = f"{value:+.4f}" if signed else f"{value:.4f}"
    return f"{number} {unit}" if unit else number


def interval(metric: str, bounds: tuple[float, float] | None) -> str:
    """Return an interval of differences, or `-` if there is none."""
    if bounds is None:
        return "-"
    low, high = (amount(metric, bound, signed=True) for bound in bounds)
    return f"{low} to {high}"


def density_text(density: Sequence[float] | None) -> str:
    """Return a density with three digits for each coefficient."""
    if density is None:
        return "being chosen"
    return f"({', '.join(f'{value:.3g}' for value in density)})"
