"""A point: what a search proposes, and what a trial trains."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wconv_jobs.spec import Density

Setting = bool | int | float | str
"""Value of a key of a study file."""

Settings = tuple[tuple[str, Setting], ...]
"""Keys as in `recipe.optimizer.lr`, each with its value."""


class SearchArm(enum.StrEnum):
    """Whose best point a part of a search looks for, where more than the density is searched."""

    PLAIN = "plain"
    """Plain convolution: the density is ones, the other keys are proposed."""
    WEIGHTED = "weighted"


@dataclass(frozen=True)
class Point:
    """A density, and values of further keys of the study that are searched together with it."""

    density: Density
    settings: Settings = ()
    """All other keys are as in the study."""

    @property
    def is_plain(self) -> bool:
        """Whether it is plain convolution: its density is ones."""
        return all(coefficient == 1 for coefficient in self.density)

    def plain(self) -> dict[str, Any]:
        """Return the point as JSON holds it; the one place where a point is encoded."""
        settings = {"settings": dict(self.settings)} if self.settings else {}
        return {"density": list(self.density), **settings}


def point_of(content: Mapping[str, Any]) -> Point:
    """Return the point that `Point.plain` has encoded."""
    return Point(tuple(content["density"]), tuple(content.get("settings", {}).items()))
