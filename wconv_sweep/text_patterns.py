"""A pattern that a text of a file must match, together with the sentence that says so."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Matches:
    """Annotation of a text, `Annotated[str, Matches(...)]`; editors find the pattern in the JSON
    schema."""

    pattern: str
    """What the whole text must match."""
    sentence: str
    """What a user reads about a text that does not match."""

    def check(self, text: str) -> str:
        """Return the text.

        Raises:
            ValueError: it does not match.
        """
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.sentence)
        return text

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^(?:{self.pattern})$"}
