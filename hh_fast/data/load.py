"""A data set made ready: its folders found, its files checked, its images decoded and kept where they should be."""

import dataclasses
import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from hh_fast.config import DataConfig
from hh_fast.data.cache_mode import choose_cache, predicted_bytes
from hh_fast.data.index import index_path, scan_changed
from hh_fast.data.scan import ImageFile, fingerprint, list_images
from hh_fast.data.sources import Source, find_source
from hh_fast.data.store import Store, check_only, fill_memory, open_on_disk
from hh_fast.errors import DataError
from hh_fast.io.text import printable

logger = logging.getLogger(__name__)

MAX_BAD_LISTED = 20
DEFAULT_VALIDATION_SPLIT = 0.2


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split that decode, in their fixed order.

    `paths` (n,), `labels` int32 (n,) as positions in the class names, and `images` uint8 (n, height, width, 3), values
    0 to 255, or None where they are decoded as needed.
    """

    name: str
    paths: tuple[str, ...]
    labels: np.ndarray
    images: tf.Tensor | None
    image_size: tuple[int, int]

    @property
    def num_images(self) -> int:
        return len(self.paths)


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready to train on. `fingerprint` is the SHA-256 of all files' contents, labels and splits, as hex.

    `listing` is the SHA-256 of the training images' names and labels, of all of them where `train` is only a shard.
    """

    source: Source
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    fingerprint: str
    listing: str
    cache: str
    cache_reason: str
    num_bad: int


@dataclasses.dataclass(frozen=True)
class _Listing:
    name: str
    paths: list[str]
    labels: np.ndarray


def _list(directory: Path, name: str) -> tuple[_Listing, list[str]]:
    paths, labels, class_names = list_images(directory)
    if len(class_names) < 2:
        raise DataError(f"only one class, {class_names[0]}, in {directory}: a classifier needs two or more sub-folders")
    counts = np.bincount(labels, minlength=len(class_names))
    for class_name, count in zip(class_names, counts, strict=True):
        if count == 0:
            raise DataError(
                f"no images in {directory / class_name}: put PNG, JPEG, BMP or GIF files there, or remove the folder"
            )
    return _Listing(name, paths, labels), class_names


def hold_out(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions to train on and to validate on, each in order: `share` of each class, at least one, drawn by `seed`."""
    held: list[int] = []
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(positions))), len(positions) - 1)
        held += np.random.default_rng([seed, int(label)]).permutation(positions)[:count].tolist()
    chosen = np.zeros(len(labels), bool)
    chosen[held] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _listings(config: DataConfig, source: Source) -> tuple[list[_Listing], list[str]]:
    train, class_names = _list(source.train_dir, "train")
    if source.validation_dir is not None:
        validation, others = _list(source.validation_dir, "validation")
        if others != class_names:
            raise DataError(
                f"the classes differ: {source.train_dir} has {', '.join(class_names)} and {source.validation_dir} has"
                f" {', '.join(others)}; give both the same sub-folders"
            )
        return [train, validation], class_names
    share = DEFAULT_VALIDATION_SPLIT if config.validation_split is None else config.validation_split
    if share == 0:
        return [train], class_names
    for label, count in enumerate(np.bincount(train.labels)):
        if count < 2:
            raise DataError(
                f"one image in {source.train_dir / class_names[label]}, and none is left to train on when one is held out"
                " for validation: add images, or give --validation_split=0"
            )
    kept, held = hold_out(train.labels, share, config.seed)
    logger.info(
        "Holding out %d of %d images for validation (--validation_split=%g)", len(held), len(train.paths), share
    )
    parts = [("train", kept), ("validation", held)]
    return [_Listing(name, [train.paths[i] for i in part], train.labels[part]) for name, part in parts], class_names


def _scan(listings: Sequence[_Listing], config: DataConfig, index: Path) -> list[list[ImageFile]]:
    paths = [path for listing in listings for path in listing.paths]
    files = iter(scan_changed(paths, max_image_pixels=config.max_image_pixels, index=index))
    return [list(itertools.islice(files, len(listing.paths))) for listing in listings]


def _fill(home: str, files: Sequence[ImageFile], config: DataConfig) -> Store:
    if home == "memory":
        return fill_memory(files, config.image_size)
    if home == "disk":
        return open_on_disk(files, config.image_size, config.cache_root)
    return check_only(files, config.image_size, config.cache_root)


def _refuse_bad(bad: Sequence[tuple[str, str]], total: int) -> None:
    shown = "; ".join(f"{path}: {reason}" for path, reason in bad[:MAX_BAD_LISTED])
    more = f"; and {len(bad) - MAX_BAD_LISTED} more" if len(bad) > MAX_BAD_LISTED else ""
    raise DataError(
        f"{len(bad)} of {total} images cannot be used: {shown}{more}. Mend or remove them, or go on without them by"
        " --bad_images=skip"
    )


def _split(listing: _Listing, store: Store, image_size: tuple[int, int]) -> Split:
    good = [i for i in range(len(listing.paths)) if i not in store.bad]
    return Split(listing.name, tuple(listing.paths[i] for i in good), listing.labels[good], store.images, image_size)


def _whole_fingerprint(
    listings: Sequence[_Listing], scanned: Sequence[Sequence[ImageFile]], class_names: Sequence[str]
) -> str:
    digest = hashlib.sha256(repr(class_names).encode("utf-8", "backslashreplace"))
    for listing, files in zip(listings, scanned, strict=True):
        digest.update(f"{listing.name} {fingerprint(files)}".encode())
        digest.update(listing.labels.tobytes())
    return digest.hexdigest()


def _listing_digest(listing: _Listing, directory: Path) -> str:
    names = "\n".join(os.path.relpath(path, directory) for path in listing.paths)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape") + listing.labels.tobytes()).hexdigest()


def load_data(config: DataConfig, shard: tuple[int, int] | None = None) -> Data:
    """Finds the data set, checks every file, and decodes what is to be kept.

    With a `shard`, (i, n): of the training images only every n-th from number i on is looked at; validation stays whole.

    Raises:
        DataError: folders or images that cannot be used, each named, up to 20.
        OSError: a cache that cannot be written.
    """
    source = find_source(config)
    listings, class_names = _listings(config, source)
    listing = _listing_digest(listings[0], source.train_dir)
    if shard is not None:
        part = slice(shard[0], None, shard[1])
        listings[0] = _Listing("train", listings[0].paths[part], listings[0].labels[part])
    scanned = _scan(listings, config, index_path(config.cache_root, source.train_dir, shard))
    num_files = sum(len(files) for files in scanned)
    home, reason = choose_cache(config.cache, predicted_bytes(num_files, config.image_size), config.cache_root)
    logger.info("Cache: %s (%s)", home, reason)
    stores = [_fill(home, files, config) for files in scanned]
    bad = [
        (files[i].path, why)
        for files, store in zip(scanned, stores, strict=True)
        for i, why in sorted(store.bad.items())
    ]
    if len(bad) == num_files:
        raise DataError(f"no image in {source.train_dir} can be read; the first, {bad[0][0]}: {bad[0][1]}")
    if bad and config.bad_images == "error":
        _refuse_bad(bad, num_files)
    for path, why in bad[:MAX_BAD_LISTED]:
        logger.warning("Skipping %s: %s", printable(path), why)
    if bad:
        logger.warning("Skipping %d of %d images that cannot be used", len(bad), num_files)
    splits = [_split(listing, store, config.image_size) for listing, store in zip(listings, stores, strict=True)]
    for split in splits:
        for label in set(range(len(class_names))) - set(split.labels.tolist()):
            raise DataError(
                f"no image of class {class_names[label]} is left to {split.name} with: mend its images, or add some"
            )
    return Data(
        source=source,
        class_names=tuple(class_names),
        train=splits[0],
        validation=splits[1] if len(splits) == 2 else None,
        fingerprint=_whole_fingerprint(listings, scanned, class_names),
        listing=listing,
        cache=home,
        cache_reason=reason,
        num_bad=len(bad),
    )
