"""Folders of classes: listed in one order, split class by class, and mistakes named."""

from pathlib import Path

import pytest

from wconv_jobs.errors import JobError
from wconv_jobs.files.class_folders import Listing, fingerprint, has_classes, list_classes


def _touch(root: Path, *names: str) -> None:
    """Make empty files, whose contents nobody looks at here."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _list(root: Path) -> Listing:
    return list_classes(root, ignored=[root / "prepared"])[0]


def test_classes_and_images_are_listed_in_the_order_of_their_names(tmp_path: Path) -> None:
    _touch(tmp_path, "dog/b.png", "dog/a.jpg", "dog/notes.txt", "cat/z.png", "README")
    _touch(tmp_path, "prepared/set-v1/x.png", ".hidden/x.png", "cat/.x.png")

    listing, paths = list_classes(tmp_path, ignored=[tmp_path / "prepared"])

    assert listing == Listing(
        class_names=["cat", "dog"],
        parts=["train", "train", "train"],
        classes=[0, 1, 1],
        names=["cat/z.png", "dog/a.jpg", "dog/b.png"],
    )
    assert paths == [tmp_path / name for name in listing.names]


def test_a_class_may_have_the_name_of_the_prepared_data(tmp_path: Path) -> None:
    _touch(tmp_path, "prepared/a.png", "prepared/set-v1/x.png", "cat/a.png")

    assert _list(tmp_path).names == ["cat/a.png", "prepared/a.png"]


def test_the_folders_of_the_parts_are_the_parts(tmp_path: Path) -> None:
    parts = ("train", "validation", "test")
    _touch(tmp_path, *(f"{part}/{name}/1.png" for part in parts for name in ("cat", "dog")))

    listing, paths = list_classes(tmp_path, ignored=[tmp_path / "prepared"])

    assert listing.parts == ["train", "train", "validation", "validation", "test", "test"]
    assert listing.classes == [0, 1, 0, 1, 0, 1]
    assert paths[2] == tmp_path / "validation" / "cat" / "1.png"
    assert listing.split(validation_fraction=0.5, test_fraction=0.5) == {
        "train": [0, 1],
        "validation": [2, 3],
        "test": [4, 5],
    }


def test_each_class_is_split_in_the_order_of_the_names() -> None:
    # 10 images of class 0, then 4 of class 1.
    listing = Listing(["a", "b"], ["train"] * 14, [0] * 10 + [1] * 4, ["-"] * 14)

    split = listing.split(validation_fraction=0.2, test_fraction=0.3)

    # 2 and 3 of 10; 1 (0.8 rounded) and 1 (1.2 rounded) of 4.
    assert split == {
        "train": [0, 1, 2, 3, 4, 10, 11],
        "validation": [5, 6, 12],
        "test": [7, 8, 9, 13],
    }


def test_without_a_validation_folder_the_last_training_images_of_each_class_validate() -> None:
    parts = ["train"] * 6 + ["test"] * 2
    listing = Listing(["a", "b"], parts, [0, 0, 0, 1, 1, 1, 0, 1], ["-"] * 8)

    split = listing.split(validation_fraction=0.1, test_fraction=0.9)

    assert split == {"train": [0, 1, 3, 4], "validation": [2, 5], "test": [6, 7]}


@pytest.mark.parametrize(
    ("images", "fractions"), [(2, (0.1, 0.1)), (10, (0.5, 0.5)), (10, (0.1, 0.99))]
)
def test_a_class_of_which_nothing_is_left_for_training_is_named(
    images: int, fractions: tuple[float, float]
) -> None:
    listing = Listing(
        ["a", "b"], ["train"] * (100 + images), [0] * 100 + [1] * images, ["-"] * (100 + images)
    )
    validation_fraction, test_fraction = fractions

    with pytest.raises(JobError, match=r"^class [ab]: has \d+ image\(s\) to be split, which leav"):
        listing.split(validation_fraction=validation_fraction, test_fraction=test_fraction)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.png", "prepared/x/1.png")

    with pytest.raises(JobError) as raised:
        _list(tmp_path)

    assert str(raised.value) == (
        f"{tmp_path}: holds 1 folder(s), but at least two classes are needed. Add a folder with "
        "its images for each class."
    )


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (("train",), "has train, but lacks test."),
        (("test", "validation"), "has validation and test, but lacks train."),
        (("validation",), "has validation, but lacks train and test."),
    ],
)
def test_a_missing_part_is_named(tmp_path: Path, parts: tuple[str, ...], sentence: str) -> None:
    _touch(tmp_path, *(f"{part}/{name}/1.png" for part in parts for name in ("cat", "dog")))

    with pytest.raises(JobError) as raised:
        _list(tmp_path)

    assert str(raised.value) == (
        f"{tmp_path}: {sentence} Add what is missing, or put the class folders directly "
        "into it to have them split."
    )


def test_classes_in_one_part_only_are_named(tmp_path: Path) -> None:
    _touch(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/cow/1.png")

    with pytest.raises(JobError) as raised:
        _list(tmp_path)

    assert str(raised.value) == (
        f"{tmp_path}: train and test hold different classes, see cow, dog. Give both the same "
        "folders."
    )


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.png", "dog/notes.txt")

    with pytest.raises(JobError, match="dog: holds no images"):
        _list(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere", "No such file or directory"), ("a\0b", "its name holds a null byte")],
)
def test_a_missing_folder_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(JobError) as raised:
        _list(tmp_path / name)

    assert str(raised.value) == (
        f"{tmp_path / name}: cannot list this folder of classes ({reason}). "
        "Name an existing folder that you may read."
    )


def test_the_fingerprint_tells_names_and_sizes(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.png", "dog/1.png")

    def mark() -> str:
        return fingerprint(*list_classes(tmp_path, ignored=[tmp_path / "prepared"]))

    marks = [mark()]
    (tmp_path / "cat" / "1.png").write_bytes(b"1")
    marks.append(mark())
    (tmp_path / "cat" / "1.png").rename(tmp_path / "cat" / "2.png")
    marks.append(mark())
    (tmp_path / "cat").rename(tmp_path / "cow")
    marks.append(mark())

    assert len(set(marks)) == 4
    assert mark() == marks[-1]


def test_an_image_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "dog" / "2.png").symlink_to(tmp_path / "nowhere")
    listing, paths = list_classes(tmp_path, ignored=[tmp_path / "prepared"])

    with pytest.raises(
        JobError, match=r"dog/2\.png: cannot be read \(No such file or directory\)"
    ):
        fingerprint(listing, paths)


def test_folders_that_could_be_classes_are_noticed(tmp_path: Path) -> None:
    ignored = [tmp_path / "prepared"]
    _touch(tmp_path, "prepared/x", ".hidden/x", "notes.txt")

    before = has_classes(tmp_path, ignored=ignored)
    _touch(tmp_path, "cat/1.png")

    assert not before
    assert has_classes(tmp_path, ignored=ignored)
    assert not has_classes(tmp_path / "nowhere", ignored=ignored)
