"""Every data set keeps the contract, whose types `make lint` compares."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from wconv_jobs import catalog
from wconv_jobs.data import (
    DataSet,
    FileDataSet,
    PreparedDataSet,
    cifar100,
    class_folder,
    div2k,
    image_folder,
    photographs,
    textures,
)

PREPARED: Sequence[PreparedDataSet[Any]] = (cifar100, class_folder, div2k)
IN_FILES: Sequence[FileDataSet[Any]] = (*PREPARED, image_folder)
ALL: Sequence[DataSet[Any]] = (*IN_FILES, photographs, textures)

# One by one, because with `Any` mypy does not compare the options of the functions.
_CIFAR100: PreparedDataSet[cifar100.Options] = cifar100
_CLASS_FOLDER: PreparedDataSet[class_folder.Options] = class_folder
_DIV2K: PreparedDataSet[div2k.Options] = div2k
_IMAGE_FOLDER: FileDataSet[image_folder.Options] = image_folder
_PHOTOGRAPHS: DataSet[photographs.Options] = photographs
_TEXTURES: DataSet[textures.Options] = textures


def test_all_data_sets_are_compared() -> None:
    named = {catalog._data_set(name) for name in catalog.names("data")}

    assert named == set(ALL)
    assert {each for each in named if hasattr(each, "check")} == set(IN_FILES)
    assert {each for each in named if hasattr(each, "prepare")} == set(PREPARED)


@pytest.mark.parametrize("name", catalog.names("data"))
def test_no_option_takes_a_number_that_is_not_finite(name: str) -> None:
    given = {"folder": "x"} if catalog.reads_files(name) else {}
    fields = catalog._data_set(name).Options.model_fields
    numbers = [option for option, field in fields.items() if field.annotation is float]

    for option in numbers:
        for value in (math.nan, math.inf):
            assert catalog.check_options("data", name, given | {option: value}) == [
                f"{name}: option {option!r} is {value!r}, but input should be a finite number."
            ]
