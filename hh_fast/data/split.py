"""Which images are held out for validation: drawn by class and seed, images that look the same together. No TensorFlow."""

import collections
import functools
import hashlib
import logging
from collections.abc import Hashable, Sequence

import numpy as np

from hh_fast.config import DataConfig
from hh_fast.data import copies
from hh_fast.data.images import Images
from hh_fast.data.reading import DECODERS, in_threads, read_file
from hh_fast.errors import DataError
from hh_fast.io.files import read_sealed, write_sealed
from hh_fast.io.text import listed

logger = logging.getLogger(__name__)

MOST_COMPARED = 50_000  # images: their pairs take time by the square of their number


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


def resembling(
    tables: Sequence[Images],
    thumbnails: dict[str, np.ndarray],
    config: DataConfig,
    features: tuple[np.ndarray, str] | None = None,
) -> np.ndarray:
    """For each image the one that it shows again, int64 (n,), itself where there is none; kept by content.

    Images are numbered through all `tables`. `thumbnails` by path are those that are there already: files whose own is missing
    are read for it, and added. `features`: of a network in `copies.FINDS_SCENES`, float32 (n, d), and the key of what made them.
    """
    num_images = sum(map(len, tables))
    if not 0 < num_images <= MOST_COMPARED:
        return np.arange(num_images)
    content = f"{[images.fingerprint() for images in tables]} {copies.VERSION} {DECODERS}"
    content += f" {features[1]}" if features else ""
    path = config.cache_root / "copies" / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.json"
    try:
        return np.asarray(read_sealed(path), np.int64)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as e:
        logger.warning("Looking for copies again: %s", e)
    paths = [path for images in tables for path in images.paths]
    bad = {path for images in tables for path, _ in images.bad()}
    missing = [path for path in paths if path not in thumbnails and path not in bad]
    read = functools.partial(read_file, max_image_pixels=config.max_image_pixels, decodes=True, thumbnails=thumbnails)
    in_threads(read, missing)
    blank = np.zeros((copies.SIDE, copies.SIDE, 3), np.uint8)
    contents = [content for images in tables for content in images.contents()]
    numbers: dict[str, int] = {}  # byte-identical ones are looked at once
    number_of = np.asarray([numbers.setdefault(content, len(numbers)) for content in contents])
    firsts = np.unique(number_of, return_index=True)[1]
    small = np.stack([thumbnails.get(paths[i], blank) for i in firsts])
    alike = firsts[copies.find_copies(small, features[0][firsts] if features else None)][number_of]
    try:
        write_sealed(path, alike.tolist())
    except OSError as e:
        logger.info("The next run will look for copies again, for this cannot be kept: %s", e)
    return alike


def describe_alike(alike: np.ndarray, contents: Sequence[str], held: np.ndarray) -> str:
    """How many images show another one again, though in other bytes, and on which side of the split the rows `held` leave them."""
    if len(alike) > MOST_COMPARED:
        return f"not looked for among more than {MOST_COMPARED:,} images"
    again = [i for i, other in enumerate(alike) if i != other and contents[i] != contents[other]]
    if not again:
        return "none"
    groups, is_held = alike[again], np.isin(np.arange(len(alike)), held)
    divided = {group for group in groups.tolist() if len(set(is_held[alike == group].tolist())) > 1}
    text = f"{len(again)} of {len(alike)} images show {len(set(groups.tolist()))} others again"
    if not divided:
        return f"{text}, each on the side of that other"
    return f"{text}; {len(divided)} of these groups are on both sides, for they are too large to hold out whole"


def _together(images: Images, alike: np.ndarray | None, share: float) -> list[Hashable]:
    """Names of the groups that stay on one side: of one content, or `alike`, but for groups that fill a class.

    Where a class cannot give its share without groups that are larger, these are divided.
    """
    contents = images.contents()
    if alike is None:
        return list(contents)
    first = {content: row for row, content in reversed(list(enumerate(contents)))}
    groups = alike[[first[content] for content in contents]]
    divided: set[int] = set()
    for label in np.unique(images.labels):
        of_class = groups[images.labels == label]
        count = max(1, round(share * len(of_class)))
        sizes = collections.Counter(of_class.tolist())
        large = [group for group, size in sizes.items() if size > count]
        if len(of_class) - sum(sizes[group] for group in large) < count:
            divided.update(large)
    return [content if group in divided else group for group, content in zip(groups.tolist(), contents, strict=True)]


def hold_out_share(images: Images, config: DataConfig, alike: np.ndarray | None = None) -> list[np.ndarray]:
    """The rows to train on, and those that `config` holds out for validation; the former alone where it holds out none.

    Images that were not read yet are told apart by their paths alone. `alike`, as of `resembling`: what stays together too.

    Raises:
        DataError: a class of which none can be held out, or is left to train on.
    """
    share, contents = config.validation_share, images.contents()
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
    kept, held = hold_out(images.labels, _together(images, alike, share), share, config.seed)
    classes = len(np.unique(images.labels))
    if alike is not None and any(len(np.unique(images.labels[rows])) < classes for rows in (kept, held)):
        kept, held = hold_out(images.labels, contents, share, config.seed)  # a class resembles images of others alone
    for rows, purpose in ((kept, "to train on"), (held, "to validate on")):
        for label in np.setdiff1d(images.labels, images.labels[rows]):
            raise DataError(
                f"no image in {images.directory / images.class_names[label]} is left {purpose}, for they are copies of images of"
                " other classes, and copies stay on one side of the split: add images, or remove the copies"
            )
    return [kept, held]
