"""Pictures in one flat tensor, and crops of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wconv_jobs.errors import JobError
from wconv_jobs.files.images import flat_offsets
from wconv_jobs.tasks.pictures import Crops, PictureStore

# Shape letters: B crops, C channels, H height, W width.

_SIZES = [(3, 4), (2, 2)]


def _flat() -> Tensor:
    """36 bytes of the first picture and 12 of the second, which count from 0 and from 100."""
    return torch.cat([torch.arange(36), torch.arange(100, 112)]).to(torch.uint8)


def _crops(turn: int, *, px: int = 2, top: int = 0, left: int = 0) -> Crops:
    def one(number: int) -> Tensor:
        return torch.tensor([number])

    return Crops(px, one(0), one(4), one(top), one(left), one(turn))


def _blue(store: PictureStore, crops: Crops) -> list[list[int]]:
    rows: list[list[int]] = store.crops(crops)[0, 2].tolist()
    return rows


def test_pictures_lie_one_after_the_other() -> None:
    store = PictureStore(_flat(), ["a", "b"], _SIZES, "cpu")

    assert store.picture(0).shape == (3, 4, 3)
    assert store.picture(0)[1, 2].tolist() == [18, 19, 20]
    assert store.picture(1).tolist() == [
        [[100, 101, 102], [103, 104, 105]],
        [[106, 107, 108], [109, 110, 111]],
    ]


def test_the_eight_symmetries_of_a_crop() -> None:
    store = PictureStore(_flat(), ["a", "b"], _SIZES, "cpu")

    # Blue of the first picture is 2 5 8 11 / 14 17 20 23 / 26 29 32 35.
    crops = [_blue(store, _crops(turn, top=1, left=2)) for turn in range(8)]

    assert crops == [
        [[20, 23], [32, 35]],
        [[32, 35], [20, 23]],
        [[23, 20], [35, 32]],
        [[35, 32], [23, 20]],
        [[20, 32], [23, 35]],
        [[32, 20], [35, 23]],
        [[23, 35], [20, 32]],
        [[35, 23], [32, 20]],
    ]


def test_elements_tell_where_the_values_of_a_crop_lie() -> None:
    drawn = torch.Generator().manual_seed(0)
    sizes = [(9, 13), (12, 8), (7, 7)]
    flat = torch.randint(256, (flat_offsets(sizes)[-1],), generator=drawn, dtype=torch.uint8)
    store = PictureStore(flat, ["a", "b", "c"], sizes, "cpu")
    picture_B = torch.randint(3, (200,), generator=drawn)
    height_B, width_B = store.height_P[picture_B], store.width_P[picture_B]
    any_B, turn_B = torch.randint(1000, (2, 200), generator=drawn)
    crops = Crops(5, picture_B, width_B, any_B % (height_B - 4), any_B % (width_B - 4), turn_B % 8)

    # What a GPU does instead of slicing.
    gathered = flat[store.offset_P[picture_B][:, None, None, None] + crops.elements()]

    assert torch.equal(gathered, store.crops(crops))


def test_decoded_pictures_are_those_of_the_files(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    arrays = [drawn.integers(0, 256, (*size, 3), np.uint8) for size in ((5, 7), (6, 3))]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for array, path in zip(arrays, paths, strict=True):
        Image.fromarray(array).save(path)

    store = PictureStore.decoded(paths, ["one", "two"], "cpu")

    assert store.names == ["one", "two"]
    assert store.sizes_px == [(5, 7), (6, 3)]
    assert [store.picture(number).tolist() for number in (0, 1)] == [
        array.tolist() for array in arrays
    ]


def test_every_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(drawn).save(path)
    for path in (paths[0], paths[2]):
        path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(JobError) as caught:
        PictureStore.decoded(paths, ["a", "b", "c"], "cpu")

    assert [line.split(": cannot be decoded")[0] for line in str(caught.value).splitlines()] == [
        str(paths[0]),
        str(paths[2]),
    ]
