"""What a call wants other than the cluster's profile says: fewer pilots, another account, ..."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Self

from wconv_sweep.run_folder import RunFolder

_FILE = "wishes.json"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """Options of `launch` and `resume`; None leaves it to the profile."""

    pilots: int | None = None
    nodes: int | None = None
    walltime_min: int | None = None
    qos: str | None = None
    account: str | None = None

    def or_else(self, other: Self) -> Self:
        """Return these wishes, and the other's where there is none."""
        mine, others = asdict(self), asdict(other)
        return type(self)(
            **{name: others[name] if mine[name] is None else mine[name] for name in mine}
        )

    def save(self, folder: RunFolder) -> None:
        """Keep the wishes for a `resume`."""
        path = folder.pilots / _FILE
        unfinished = path.with_name(f".{_FILE}")
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
        unfinished.replace(path)

    @classmethod
    def saved(cls, folder: RunFolder) -> Self:
        """Return the wishes of the last launch; none where there was none."""
        try:
            content = json.loads((folder.pilots / _FILE).read_text("utf-8"))
        except FileNotFoundError:
            return cls()
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


NO_WISHES = Wishes()
