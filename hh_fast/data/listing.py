"""The images of a data set by split, before they are decoded, and what training refuses of them. No TensorFlow."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from hh_fast.data.scan import ImageFile, list_images
from hh_fast.data.sources import Source
from hh_fast.data.split import hold_out
from hh_fast.errors import DataError
from hh_fast.io.text import listed


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of one split, in order; `labels` int32 (n,) are positions in `class_names`.

    `files` is empty until they are read. `indices` (n,) are positions in the full listing of `directory`.
    """

    name: str
    directory: Path
    class_names: Sequence[str]
    paths: list[str]
    labels: np.ndarray
    files: list[ImageFile]
    indices: np.ndarray

    def part(self, name: str, positions: np.ndarray) -> "Listing":
        paths, files = ([found[i] for i in positions] if found else [] for found in (self.paths, self.files))
        labels, indices = self.labels[positions], self.indices[positions]
        return Listing(name, self.directory, self.class_names, paths, labels, files, indices)

    def contents(self) -> list[str]:
        """What tells images apart: their hashes where they could be read, else their paths."""
        return [file.path if file.fault else file.sha256 for file in self.files] or self.paths

    def unusable_classes(self, bad: Collection[str]) -> list[str]:
        """Why training cannot go on without the images whose paths are `bad`, a text for each class that they leave empty."""
        left = {label for path, label in zip(self.paths, self.labels.tolist(), strict=True) if path not in bad}
        purpose = "training" if self.name == "train" else self.name
        return [
            f"no image of class {name} is left for {purpose}: mend those in {self.directory / name}, or add some"
            for label, name in enumerate(self.class_names)
            if label not in left
        ]


def list_source(source: Source) -> list[Listing]:
    """The listings of the training folder and, where there is one, of the validation folder, all files unread.

    Raises:
        DataError: no such folder, a file in its place, or no sub-folder.
    """
    listings = []
    for name, directory in (("train", source.train_dir), ("validation", source.validation_dir)):
        if directory is not None:
            paths, labels, class_names = list_images(directory)
            listings.append(Listing(name, directory, class_names, paths, labels, [], np.arange(len(paths))))
    return listings


def why_unfit(listings: Sequence[Listing]) -> list[str]:
    """What is wrong with the classes of whole folders; nothing, where a classifier can learn them."""
    found = []
    for one in listings:
        if len(one.class_names) < 2:
            found.append(
                f"only one class, {one.class_names[0]}, in {one.directory}: a classifier needs two or more sub-folders"
            )
        for name, count in zip(one.class_names, np.bincount(one.labels, minlength=len(one.class_names)), strict=True):
            if count == 0:
                found.append(
                    f"no images in {one.directory / name}: put PNG, JPEG, WebP, BMP or GIF files there, or remove the folder"
                )
    if len({tuple(one.class_names) for one in listings}) > 1:
        both = " and ".join(f"{one.directory} has {', '.join(one.class_names)}" for one in listings)
        found.append(f"the classes differ: {both}; give both the same sub-folders")
    return found


def hold_out_share(train: Listing, share: float, seed: int) -> list[Listing]:
    """The training images without those held out for validation, and these; the former alone for a `share` of 0.

    Raises:
        DataError: a class of which none can be held out.
    """
    if share == 0:
        return [train]
    contents, found = train.contents(), []
    for label, name in enumerate(train.class_names):
        of_class = [contents[i] for i in np.flatnonzero(train.labels == label)]
        if len(set(of_class)) < 2:
            what = "one image" if len(of_class) == 1 else f"{len(of_class)} copies of one image"
            found.append(f"{what} in {train.directory / name}")
    if found:
        raise DataError(
            f"{listed(found, separator='; ')}: one would be held out for validation, and none left to train on. Add images, or give"
            " --validation_dir (nothing is held out with --validation_split=0, but bin/export then asks for validation images)"
        )
    kept, held = hold_out(train.labels, contents, share, seed)
    return [train.part("train", kept), train.part("validation", held)]
