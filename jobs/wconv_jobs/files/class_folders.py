"""Images in one folder per class: lists them, and splits them into sets.

Importing this module does not import torch.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from wconv_jobs.errors import JobError
from wconv_jobs.files.images import SUFFIXES, file_bytes, list_images
from wconv_jobs.files.paths import reason_of

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Listing:
    """The images of a folder: part by part, in each class by class, in each by name."""

    class_names: list[str]
    parts: list[str]
    """Which part's folder each image lies in; train when the folders of the classes are not in
    folders of parts."""
    classes: list[int]
    """Class label of each image."""
    names: list[str]
    """Folder of the class and name of each image, e.g. "cat/001.png"."""

    def split(self, *, validation_fraction: float, test_fraction: float) -> dict[str, list[int]]:
        """Return the numbers of the images of each part, class by class.

        A part without a folder gets its fraction of the training images of each class, at least
        one: the test the last ones in the order of the names, the validation those before.

        Raises:
            JobError: no image of a class is left for the training.
        """
        lying: dict[tuple[str, int], list[int]] = {}
        for number, place in enumerate(zip(self.parts, self.classes, strict=True)):
            lying.setdefault(place, []).append(number)
        split: dict[str, list[int]] = {part: [] for part in PARTS}
        for class_number, name in enumerate(self.class_names):
            rest = lying["train", class_number]
            images = len(rest)
            for part, fraction in (("test", test_fraction), ("validation", validation_fraction)):
                chosen = lying.get((part, class_number))
                if chosen is None:
                    first = max(0, len(rest) - max(1, round(fraction * images)))
                    rest, chosen = rest[:first], rest[first:]
                split[part] += chosen
            if not rest:
                raise JobError(
                    f"class {name}: has {images} image(s) to be split, which leaves none for "
                    "training. Add images, or lower the validation_fraction and the "
                    "test_fraction of data.options."
                )
            split["train"] += rest
        return split


def list_classes(root: Path, *, ignored: Collection[Path]) -> tuple[Listing, list[Path]]:
    """Return the images of a folder, each with its path.

    Args:
        root: holds the folders train, test and perhaps validation with a folder for each class; or
            the folders of the classes.
        ignored: folders that are not classes unless they hold images. Hidden folders are none,
            either.

    Raises:
        JobError: a folder cannot be read or holds no image, a part is missing, there are fewer
            than two classes, or the parts hold different ones.
    """
    folders = _part_folders(root)
    found = {part: _class_folders(folder, ignored) for part, folder in folders.items()}
    names = [path.name for path in found["train"]]
    if len(names) < 2:
        raise JobError(
            f"{folders['train']}: holds {len(names)} folder(s), but at least two classes are "
            "needed. Add a folder with its images for each class."
        )
    for part, classes in found.items():
        other = sorted({path.name for path in classes} ^ set(names))
        if other:
            raise JobError(
                f"{root}: train and {part} hold different classes, see {', '.join(other)}. Give "
                "both the same folders."
            )
    listing = Listing(names, [], [], [])
    paths: list[Path] = []
    for part, classes in found.items():
        for number, folder in enumerate(classes):
            images = list_images(folder)
            paths += images
            listing.parts.extend([part] * len(images))
            listing.classes.extend([number] * len(images))
            listing.names.extend(f"{folder.name}/{image.name}" for image in images)
    return listing, paths


def has_classes(root: Path, *, ignored: Collection[Path]) -> bool:
    """Return whether a folder exists and holds folders that could be classes or parts."""
    return root.is_dir() and bool(_class_folders(root, ignored))


def fingerprint(listing: Listing, paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the names and sizes of files.

    Raises:
        JobError: the status of a file cannot be read.
    """
    lines = hashlib.sha256()
    for part, name, path in zip(listing.parts, listing.names, paths, strict=True):
        lines.update(f"{(part, name, file_bytes(path))!a}\n".encode("ascii"))
    return lines.hexdigest()


def _part_folders(root: Path) -> dict[str, Path]:
    there = [part for part in PARTS if (root / part).is_dir()]
    if not there:
        return {"train": root}
    missing = [part for part in ("train", "test") if part not in there]
    if missing:
        raise JobError(
            f"{root}: has {' and '.join(there)}, but lacks {' and '.join(missing)}. Add what is "
            "missing, or put the class folders directly into it to have them split."
        )
    return {part: root / part for part in there}


def _class_folders(folder: Path, ignored: Collection[Path]) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.is_dir()
            and not path.name.startswith(".")
            and (path not in ignored or _holds_images(path))
        )
    except (OSError, ValueError) as error:
        raise JobError(
            f"{folder}: cannot list this folder of classes ({reason_of(error)}). "
            "Name an existing folder that you may read."
        ) from error


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
