"""A data set made ready: its folders found, its files checked, its images decoded and kept where they should be."""

import collections
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
from hh_fast.data.cache_mode import choose_cache
from hh_fast.data.image_form import ImageForm
from hh_fast.data.index import index_path, scan_changed
from hh_fast.data.scan import ImageFile, describe_left_out, fingerprint, left_out_kind, list_images, list_others
from hh_fast.data.sources import Source, find_source
from hh_fast.data.split import DEFAULT_VALIDATION_SPLIT, find_again, hold_out, num_copies, why_not_split
from hh_fast.data.store import Store, check_only, fill_memory, open_on_disk
from hh_fast.errors import DataError
from hh_fast.io.files import write_text
from hh_fast.io.text import printable

logger = logging.getLogger(__name__)

MAX_BAD_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split that decode, in their fixed order.

    `paths` (n,), `labels` int32 (n,) as positions in the class names, and `images` uint8 (n, height, width, 3), values
    0 to 255, or None where they are decoded as needed. `sha256` (n,) are the files' hashes, as hex. `by_pillow` has the paths of
    the files that Pillow decodes, not TensorFlow. `indices` int64 (n,) are the positions in the full listing of their folder,
    before anything was held out, sharded or skipped; None: 0 to n - 1.
    """

    name: str
    paths: tuple[str, ...]
    labels: np.ndarray
    images: tf.Tensor | None
    image_size: tuple[int, int]
    sha256: tuple[str, ...] = ()
    by_pillow: frozenset[str] = frozenset()
    indices: np.ndarray | None = None

    @property
    def num_images(self) -> int:
        return len(self.paths)

    @property
    def form(self) -> ImageForm:
        return ImageForm(self.image_size)


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready to train on. `fingerprint` is the SHA-256 of all files' contents, labels and splits, as hex.

    `listing` is the SHA-256 of the training images' names and labels, of all of them where `train` is only a shard.
    `bad` has path and reason of each image that cannot be used. `copies` says in words how many images are byte-identical to others, and on which side they are.
    """

    source: Source
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None
    fingerprint: str
    listing: str
    cache: str
    cache_reason: str
    bad: tuple[tuple[str, str], ...]
    copies: str


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The images of one split, or of all; `files` is empty until they are read, `indices` are positions in the full listing."""

    name: str
    paths: list[str]
    labels: np.ndarray
    files: list[ImageFile]
    indices: np.ndarray

    def part(self, name: str, positions: np.ndarray) -> "_Listing":
        paths, files = ([found[i] for i in positions] if found else [] for found in (self.paths, self.files))
        return _Listing(name, paths, self.labels[positions], files, self.indices[positions])

    def contents(self) -> list[str]:
        """What tells images apart: their hashes where they could be read, else their paths."""
        return [file.path if file.fault else file.sha256 for file in self.files] or self.paths


def _list(directory: Path, name: str) -> tuple[_Listing, list[str]]:
    paths, labels, class_names = list_images(directory)
    if len(class_names) < 2:
        raise DataError(f"only one class, {class_names[0]}, in {directory}: a classifier needs two or more sub-folders")
    counts = np.bincount(labels, minlength=len(class_names))
    for class_name, count in zip(class_names, counts, strict=True):
        if count == 0:
            raise DataError(
                f"no images in {directory / class_name}: put PNG, JPEG, WebP, BMP or GIF files there, or remove the folder"
            )
    return _Listing(name, paths, labels, [], np.arange(len(paths))), class_names


def _list_all(source: Source) -> tuple[list[_Listing], list[str]]:
    train, class_names = _list(source.train_dir, "train")
    if source.validation_dir is None:
        return [train], class_names
    validation, others = _list(source.validation_dir, "validation")
    if others != class_names:
        raise DataError(
            f"the classes differ: {source.train_dir} has {', '.join(class_names)} and {source.validation_dir} has"
            f" {', '.join(others)}; give both the same sub-folders"
        )
    return [train, validation], class_names


def _held_out(train: _Listing, config: DataConfig, directory: Path, class_names: Sequence[str]) -> list[_Listing]:
    share = DEFAULT_VALIDATION_SPLIT if config.validation_split is None else config.validation_split
    if share == 0:
        return [train]
    if why := why_not_split(train.labels, train.contents(), [directory / name for name in class_names]):
        raise DataError(f"{why}: add images, or give --validation_split=0")
    kept, held = hold_out(train.labels, train.contents(), share, config.seed)
    logger.info(
        "Holding out %d of %d images for validation (--validation_split=%g)", len(held), len(train.paths), share
    )
    return [train.part("train", kept), train.part("validation", held)]


def _found_again(listings: Sequence[_Listing], recorded: Sequence[str], source: Source) -> list[_Listing]:
    """The splits with the `recorded` images, and no others, to validate on."""
    pool = listings[-1]
    found = find_again(pool.contents(), recorded)
    if len(found) == 0:
        raise DataError(
            f"none of the {len(recorded)} images that the run held out for validation is in"
            f" {source.validation_dir or source.train_dir}: give the folders that it was trained on, by --train_dir and"
            " --validation_dir"
        )
    rest = np.setdiff1d(np.arange(len(pool.paths)), found)
    return [listings[0] if len(listings) == 2 else pool.part("train", rest), pool.part("validation", found)]


def _describe_copies(listings: Sequence[_Listing], source: Source, *, sharded: bool) -> str:
    """How many images are byte-identical to others; logged where there are any."""
    if sharded:
        return "not looked for with --shard_data"
    contents = [listing.contents() for listing in listings]
    total = sum(map(len, contents))
    if source.validation_dir is None:
        count = num_copies([content for part in contents for content in part])
        text = f"{count} of {total} images"
        if count:
            text += ", each on the side of its original" if len(contents) == 2 else ""
            logger.info("Byte-identical copies: %s", text)
        return text
    trained = set(contents[0])
    count = sum(content in trained for content in contents[1])
    text = f"{count} of {len(contents[1])} validation images are training images too"
    if count:
        logger.warning("%s, byte for byte, so validation flatters the model; bin/explore lists them", text)
    return text


def _scan(listings: Sequence[_Listing], config: DataConfig, index: Path) -> list[_Listing]:
    paths = [path for listing in listings for path in listing.paths]
    files = iter(scan_changed(paths, max_image_pixels=config.max_image_pixels, index=index))
    return [
        dataclasses.replace(listing, files=list(itertools.islice(files, len(listing.paths)))) for listing in listings
    ]


def fill(home: str, files: Sequence[ImageFile], form: ImageForm, cache_root: Path) -> Store:
    """The store of `files` in `home`: memory, disk or none."""
    if home == "memory":
        return fill_memory(files, form)
    return (open_on_disk if home == "disk" else check_only)(files, form, cache_root)


def write_bad_images(path: Path, bad: Sequence[tuple[str, str]]) -> None:
    """Lists all images that cannot be used, one a line: `PATH: REASON`."""
    write_text(path, "".join(f"{printable(image)}: {reason}\n" for image, reason in bad))


def skip_bad(
    bad: Sequence[tuple[str, str]], total: int, directory: Path, listing: Path, *, allowed: bool, option: str
) -> None:
    """Logs the (path, reason) of what is left out of the `total` images in `directory`, up to 20.

    Raises:
        DataError: where that is not `allowed`, or leaves nothing. It says that `option` allows it, and lists more than 20 in
            the file `listing`.
    """
    if not bad:
        return
    if len(bad) == total:
        raise DataError(f"no image in {directory} can be read; the first, {bad[0][0]}: {bad[0][1]}")
    if not allowed:
        shown = "; ".join(f"{path}: {reason}" for path, reason in bad[:MAX_BAD_SHOWN])
        more = ""
        if len(bad) > MAX_BAD_SHOWN:
            write_bad_images(listing, bad)
            more = f"; all are listed in {listing}"
        raise DataError(
            f"{len(bad)} of {total} images cannot be used: {shown}{more}. Mend or remove them, or go on without them by"
            f" {option}"
        )
    for path, why in bad[:MAX_BAD_SHOWN]:
        logger.warning("Skipping %s: %s", printable(path), why)
    logger.warning("Skipping %d of %d images that cannot be used", len(bad), total)


def _tell_left_out(source: Source) -> None:
    folders = [folder for folder in (source.train_dir, source.validation_dir) if folder is not None and folder.is_dir()]
    if kinds := collections.Counter(left_out_kind(path) for folder in folders for path in list_others(folder)):
        logger.warning("Left out %d files: %s", kinds.total(), describe_left_out(kinds))


def _split(listing: _Listing, store: Store, image_size: tuple[int, int]) -> Split:
    good = [i for i in range(len(listing.paths)) if i not in store.bad]
    paths, sha256 = (tuple(found[i] for i in good) for found in (listing.paths, [f.sha256 for f in listing.files]))
    labels, indices = listing.labels[good], listing.indices[good]
    return Split(listing.name, paths, labels, store.images, image_size, sha256, store.by_pillow, indices)


def _whole_fingerprint(listings: Sequence[_Listing], class_names: Sequence[str]) -> str:
    digest = hashlib.sha256(repr(class_names).encode("utf-8", "backslashreplace"))
    for listing in listings:
        digest.update(f"{listing.name} {fingerprint(listing.files)}".encode())
        digest.update(listing.labels.tobytes())
    return digest.hexdigest()


def _listing_digest(listing: _Listing, directory: Path) -> str:
    names = "\n".join(os.path.relpath(path, directory) for path in listing.paths)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape") + listing.labels.tobytes()).hexdigest()


def _listings(
    config: DataConfig,
    source: Source,
    shard: tuple[int, int] | None,
    recorded: Sequence[str] | None,
) -> tuple[list[_Listing], list[str], str]:
    """The splits with what their files say, the class names, and the digest of the training images' list."""
    listings, class_names = _list_all(source)
    index = index_path(config.cache_root, source.train_dir, shard)
    if shard is None:
        listings = _scan(listings, config, index)
    if recorded is not None:
        listings = _found_again(listings, recorded, source)
    elif source.validation_dir is None:
        listings = _held_out(listings[0], config, source.train_dir, class_names)
    digest = _listing_digest(listings[0], source.train_dir)
    if shard is not None:
        share = np.arange(shard[0], len(listings[0].paths), shard[1])
        listings = _scan([listings[0].part("train", share), *listings[1:]], config, index)
    return listings, class_names, digest


def load_data(
    config: DataConfig,
    shard: tuple[int, int] | None = None,
    *,
    recorded: Sequence[str] | None = None,
    num_sharing: int = 1,
) -> Data:
    """Finds the data set, checks every file, and decodes what is to be kept.

    With a `shard`, (i, n): of the training images only every n-th from number i on is looked at; validation stays whole.
    With `recorded` hashes: the images with these, and no others, are validated on, wherever they lie now. `num_sharing`:
    processes on this machine that share its memory.

    Raises:
        DataError: folders or images that cannot be used, each named, up to 20; none of the `recorded` images is there.
        OSError: a cache that cannot be written.
    """
    source = find_source(config)
    _tell_left_out(source)
    listings, class_names, digest = _listings(config, source, shard, recorded)
    copies = _describe_copies(listings, source, sharded=shard is not None)
    scanned = [listing.files for listing in listings]
    num_files = sum(map(len, scanned))
    form = ImageForm(config.image_size)
    home, reason = choose_cache(config.cache, num_files * form.num_bytes, config.cache_root, num_sharing)
    logger.info("Cache: %s (%s)", home, reason)
    stores = [fill(home, files, form, config.cache_root) for files in scanned]
    bad = [
        (files[i].path, why)
        for files, store in zip(scanned, stores, strict=True)
        for i, why in sorted(store.bad.items())
    ]
    listing = config.cache_root / "bad_images" / f"{source.name}.txt"
    allowed = config.bad_images == "skip"
    skip_bad(bad, num_files, source.train_dir, listing, allowed=allowed, option="--bad_images=skip")
    splits = [_split(listing, store, config.image_size) for listing, store in zip(listings, stores, strict=True)]
    for split in splits[: 1 if recorded else None]:
        for label in set(range(len(class_names))) - set(split.labels.tolist()):
            raise DataError(
                f"no image of class {class_names[label]} is left to {split.name} with: mend its images, or add some"
            )
    return Data(
        source=source,
        class_names=tuple(class_names),
        train=splits[0],
        validation=splits[1] if len(splits) == 2 else None,
        fingerprint=_whole_fingerprint(listings, class_names),
        listing=digest,
        cache=home,
        cache_reason=reason,
        bad=tuple(bad),
        copies=copies,
    )
