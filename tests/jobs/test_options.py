"""Options are checked by a class, declared or made of a function's source text."""

import ast
from typing import Self

import pytest
from pydantic import BaseModel, model_validator

from wconv_jobs.options import defaults_of, given_options, options_of, validated
from wconv_jobs.spec_base import Spec


def _class_of(signature: str, where: str | None = None) -> type[BaseModel]:
    (function,) = ast.parse(f"def build({signature}): raise SystemExit").body
    assert isinstance(function, ast.FunctionDef)
    return options_of(function, where=where, passed={"seed"})


def test_an_argument_may_have_any_name_and_any_default() -> None:
    kind = _class_of("seed, json, _x, model_config=3, *, copy={}, depth=len('abc')")

    given, problems = validated("mine", kind, {"json": [1], "_x": {"a": None}, "copy": 2})

    assert problems == []
    assert given is not None
    assert given_options(given) == {"json": [1], "_x": {"a": None}, "copy": 2}
    assert defaults_of(kind) == {
        "json": None,
        "_x": None,
        "model_config": 3,
        "copy": {},
        "depth": None,
    }


def test_a_function_that_takes_any_options_lacks_none_but_the_required_ones() -> None:
    kind = _class_of("*, width, **more")

    assert validated("mine", kind, {"width": 1, "other": 2})[1] == []
    assert validated("mine", kind, {"other": 2})[1] == [
        "mine: option 'width' is missing, and it has no default."
    ]


def test_problems_come_in_the_order_of_the_options() -> None:
    kind = _class_of("*, folder: str, width: int = 1, depth: int = 2", where="here")

    assert validated("net", kind, {"depth": "x", "hight": 3, "width": 1.5, "folder": {1}})[1] == [
        "net: option 'depth' is 'x', but input should be a valid integer.",
        "net: unknown option 'hight'; known: depth, folder, width.",
        "net: option 'width' is 1.5, but input should be a valid integer.",
        "net: option 'folder' is {1}, not a JSON value.",
    ]


def test_an_argument_of_ours_needs_an_annotation() -> None:
    with pytest.raises(TypeError, match="here: argument 'width' has no annotation"):
        _class_of("*, width=4", where="here")


class _Together(Spec):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


def test_a_class_may_look_at_several_options_together() -> None:
    assert validated("set", _Together, {"low": 3})[1] == ["set: low must be below high."]
