"""The base of everything that is read from a file or sent to another process."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Base of everything read from a file: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())
