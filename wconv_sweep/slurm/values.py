"""Parses SLURM's notation: times, amounts without limit, and lists of resources."""

import re

# What each command prints in place of a number if there is no limit.
_NO_LIMIT = frozenset(
    {"", "(null)", "n/a", "none", "not_set", "unlimited", "infinite", "partition_limit"}
)
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
GPU = "gres/gpu"
"""Name of GPUs of any kind in a list of resources."""

_GRES = re.compile(r"gpu(?::(?P<kind>[^:(,]+))?:(?P<number>\d+)(?:\([^)]*\))?")


def seconds(text: str) -> int | None:
    """Return a time in seconds; None without limit.

    Written as `days-hours:minutes:seconds`, where hours, minutes and seconds may be left out from
    the end; without days as `hours:minutes:seconds`, `minutes:seconds` or `minutes` (sbatch(1),
    --time).

    Raises:
        ValueError: it is not one of these.
    """
    if text.lower() in _NO_LIMIT:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is not a time as SLURM writes it")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is None:
        numbers = [*([0] * (len(numbers) < 3)), *numbers]
    hours, minutes_, seconds_ = (*numbers, 0, 0)[:3]
    return ((24 * int(days or 0) + hours) * 60 + minutes_) * 60 + seconds_


def minutes(text: str) -> int | None:
    """Return a time of `seconds` in whole minutes, rounded down."""
    found = seconds(text)
    return None if found is None else found // 60


def number(text: str) -> int | None:
    """Return a whole number; None without limit.

    Raises:
        ValueError: it is neither.
    """
    return None if text.lower() in _NO_LIMIT else int(text)


def pairs(text: str, separator: str | None = None) -> dict[str, str]:
    """Return the `key=value` pairs of a line.

    Of a repeated name the first pair counts: free text, such as the reason why a node is down, or
    a job's comment and its command line in SLURM 26.05, comes after SLURM's own names.
    """
    parts = (part.partition("=") for part in reversed(text.split(separator)))
    return {name.strip(): value.strip() for name, equals, value in parts if equals}


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list that commas separate."""
    return tuple(name for name in text.split(",") if name)


def resource(tres: str, name: str) -> int | None:
    """Return the amount of a resource in a list such as `cpu=64,gres/gpu=8`."""
    return number(pairs(tres, ",").get(name, ""))


def gpus_per_node(gres: str) -> tuple[int, str]:
    """Return the GPUs of a node and their kind, from `gpu:a100:4(S:0-1)`; the kind may be empty.

    A node with several kinds counts as having those of the first, as jobs ask for one kind.
    """
    found = _GRES.search(gres)
    if found is None:
        return 0, ""
    kind = found["kind"] or ""
    return int(found["number"]), kind
