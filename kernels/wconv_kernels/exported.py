"""Reads the best density of a study from a file of `wconv-sweep export`."""

from pathlib import Path

from wconv_kernels.density import density_values
from wconv_kernels.errors import DensityError


def load_density(path: str | Path, study: str | None = None) -> tuple[float, ...]:
    """Return the coefficients of an exported density, outermost first.

    Args:
        path: file that `wconv-sweep export` has written, as YAML or JSON.
        study: one of the file's studies; may be left out if there is only one.

    Returns:
        The density, shape (n,), dimensionless, for kernels of size 2n + 1: what
        `replace_convolutions` and `DensityEngine` take.

    Raises:
        OSError: the file cannot be read.
        DensityError: it is not such a file, or does not say which density is meant.
    """
    # Imported here: the operator alone needs only torch.
    import yaml

    try:
        # JSON is read by the same loader, which builds plain data and nothing else.
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise DensityError(f"{path}: is neither YAML nor JSON") from error
    entries = _entries(content)
    if not entries:
        raise DensityError(f"{path}: holds no exported density; `wconv-sweep export` writes one")
    known = ", ".join(entries)
    if study is None and len(entries) > 1:
        raise DensityError(f"{path}: holds several studies ({known}); name one of them")
    if study is not None and study not in entries:
        raise DensityError(f"{path}: holds no study {study}, but {known}")
    density, kernel_size = entries[next(iter(entries)) if study is None else study]
    if not isinstance(density, list) or not isinstance(kernel_size, int):
        raise DensityError(f"{path}: density and kernel_size are not a list and a number")
    try:
        return density_values(density, kernel_size)
    except DensityError as error:
        raise DensityError(f"{path}: {error}") from error


def _entries(content: object) -> dict[str, tuple[object, object]]:
    """Return density and kernel size by study."""
    found = content if isinstance(content, list) else [content]
    return {
        str(entry["study"]): (entry["density"], entry["kernel_size"])
        for entry in found
        if isinstance(entry, dict) and {"study", "density", "kernel_size"} <= entry.keys()
    }
