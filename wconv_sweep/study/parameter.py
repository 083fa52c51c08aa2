"""Further keys of a study that are searched together with the density: `search.also`."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec

_BOTH = "takes low and high, or choices, e.g. {low: 1e-4, high: 0.1} or {choices: [none, batch]}"

Choice = bool | int | FiniteFloat | str


class ParameterSpec(Spec):
    """The values of one key: a range, or choices."""

    low: FiniteFloat | None = None
    """Lowest value of a range."""
    high: FiniteFloat | None = None
    """Highest value of a range."""
    log: bool = False
    """Whether equal ratios of the range are equally far apart, as for learning rates."""
    integer: bool = False
    """Whether the range holds whole numbers only."""
    choices: Annotated[list[Choice], Field(min_length=2)] | None = None
    """Values without an order, e.g. names; or give `low` and `high`."""

    @model_validator(mode="before")
    @classmethod
    def _holds_keys(cls, content: Any) -> Any:
        if not isinstance(content, Mapping | cls):
            raise ValueError(_BOTH)
        return content

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> Self:
        low, high = self.low, self.high
        if self.choices is not None:
            if low is not None or high is not None or self.log or self.integer:
                raise ValueError("takes either choices or low and high. Leave one out")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("choices must differ from each other")
            return self
        if low is None or high is None:
            raise ValueError(_BOTH)
        if not low < high:
            raise ValueError(f"low must be less than high (they are {low:g} and {high:g})")
        if self.log and low <= 0:
            raise ValueError(f"low must be greater than 0 where log is true (it is {low:g})")
        if self.integer and not (low.is_integer() and high.is_integer()):
            raise ValueError(
                f"low and high must be whole numbers where integer is true (they are {low:g} and "
                f"{high:g})"
            )
        return self

    def holds(self, value: object) -> bool:
        """Return whether a value is one of these."""
        if self.choices is not None:
            return any(value == each and type(value) is type(each) for each in self.choices)
        assert self.low is not None
        assert self.high is not None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high

    @property
    def probes(self) -> list[Choice]:
        """The values at which the schema of the key is asked: the ends of a range, and one within;
        every choice."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.integer:
            low, high = int(self.low), int(self.high)
            return list(dict.fromkeys((low, low + 1, high)))
        return [self.low, (self.low + self.high) / 2, self.high]

    @property
    def ends(self) -> list[Choice]:
        """The ends of a range; every choice."""
        return self.probes if self.choices is not None else [self.probes[0], self.probes[-1]]

    @property
    def size(self) -> int | None:
        """Number of its values; None if there is no end to them."""
        if self.choices is not None:
            return len(self.choices)
        if self.integer and self.low is not None and self.high is not None:
            return int(self.high) - int(self.low) + 1
        return None

    @property
    def text(self) -> str:
        """The values in words."""
        if self.choices is not None:
            return f"one of {', '.join(map(str, self.choices))}"
        kinds = "".join([", whole numbers" if self.integer else "", ", log" if self.log else ""])
        return f"[{self.low:g}, {self.high:g}]{kinds}"
