"""Which images are held out for validation: drawn by class and seed, byte-identical images always together. No TensorFlow."""

import collections
from collections.abc import Hashable, Sequence

import numpy as np

from hh_fast.config import DataConfig
from hh_fast.data.images import Images
from hh_fast.errors import DataError
from hh_fast.io.text import listed


def hold_out(
    labels: np.ndarray, contents: Sequence[Hashable], share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and to validate on, each in order: `share` of each class, at least one, drawn by `seed`.

    `contents` names each image's bytes (a hash): equal ones come to the same side, so a class with copies may give fewer
    than its share. A class of which all images are equal to each other comes whole to one side.
    """
    numbers: dict[Hashable, int] = {}
    groups = np.asarray([numbers.setdefault(content, len(numbers)) for content in contents])
    held, settled = np.zeros(len(numbers), bool), np.zeros(len(numbers), bool)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(positions))), len(positions) - 1)
        drawn = groups[np.random.default_rng([seed, int(label)]).permutation(positions)]
        sizes = collections.Counter(drawn.tolist())
        left = count - sum(size for group, size in sizes.items() if held[group])
        for group in dict.fromkeys(drawn.tolist()):
            if not settled[group] and sizes[group] <= left:
                held[group] = True
                left -= sizes[group]
        free = [group for group in sizes if not settled[group]]
        if left == count and len(sizes) > 1 and free:  # all copies of one another come in groups larger than the share
            held[min(free, key=lambda group: sizes[group])] = True
        settled[list(sizes)] = True
    chosen = held[groups]
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def find_again(contents: Sequence[str], recorded: Sequence[str]) -> np.ndarray:
    """Positions, in order, of the images that a run recorded: each as often as it did, wherever it lies now."""
    wanted = collections.Counter(recorded)
    found = []
    for i, content in enumerate(contents):
        if wanted[content] > 0:
            wanted[content] -= 1
            found.append(i)
    return np.asarray(found, np.int64)


def hold_out_share(images: Images, config: DataConfig) -> list[np.ndarray]:
    """The rows to train on, and those that `config` holds out for validation; the former alone where it holds out none.

    Images that were not read yet are told apart by their paths alone.

    Raises:
        DataError: a class of which none can be held out, or is left to train on.
    """
    share, contents = config.share_held_out, images.contents()
    if share == 0:
        return [np.arange(len(images))]
    found = []
    for label, name in enumerate(images.class_names):
        of_class = [contents[i] for i in np.flatnonzero(images.labels == label)]
        if len(set(of_class)) < 2:
            what = "one image" if len(of_class) == 1 else f"{len(of_class)} copies of one image"
            found.append(f"{what} in {images.directory / name}")
    if found:
        raise DataError(
            f"{listed(found, separator='; ')}: one would be held out for validation, and none left to train on. Add images, or give"
            " --validation_dir (nothing is held out with --validation_split=0, but bin/export then asks for validation images)"
        )
    kept, held = hold_out(images.labels, contents, share, config.seed)
    for rows, purpose in ((kept, "to train on"), (held, "to validate on")):
        for label in np.setdiff1d(images.labels, images.labels[rows]):
            raise DataError(
                f"no image in {images.directory / images.class_names[label]} is left {purpose}, for they are copies of images of"
                " other classes, and copies stay on one side of the split: add images, or remove the copies"
            )
    return [kept, held]
