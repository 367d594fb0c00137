"""Loads a data set: finds its folders, reads and checks its files, decodes its images and splits them."""

import dataclasses
import functools
import hashlib
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from hh_fast.backbone.features import Front
from hh_fast.config import DataConfig
from hh_fast.data.features import FeatureFill, rows_folder
from hh_fast.data.folders import Found, count_left_out, describe_left_out, why_unreadable
from hh_fast.data.images import Images, conflicts, describe_unequal, list_images, why_empty, why_unfit
from hh_fast.data.pixels import ImageForm
from hh_fast.data.reading import PixelFill, index_path, read_images
from hh_fast.data.rows import DecodedRows, KeptRows, Rows
from hh_fast.data.sources import Source, find_source
from hh_fast.data.split import describe_alike, find_again, hold_out_share, resembling
from hh_fast.data.store import Fill, choose_cache, in_memory, on_disk
from hh_fast.errors import DataError
from hh_fast.io.files import write_text
from hh_fast.io.text import listed, printable

logger = logging.getLogger(__name__)

MAX_SHOWN = 5
NOT_SEARCHED = "not searched for"


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images with their labels, and `rows`, the model's input for each of `images`.

    With a `front`, rows are pixels on which it runs in each epoch. If `rows` are features, `pixels` are those of the images.
    """

    images: Images
    rows: Rows
    front: Front | None = None
    pixels: Rows | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """Class numbers, int32 (n,)."""
        return self.images.labels

    def select(self, rows: np.ndarray) -> "Examples":
        pixels = None if self.pixels is None else self.pixels.select(rows)
        return Examples(self.images.select(rows), self.rows.select(rows), self.front, pixels)

    @property
    def input_spec(self) -> tf.TensorSpec:
        """The model's input for one image."""
        return (
            tf.TensorSpec(self.front.shape, tf.float32)
            if self.front
            else tf.TensorSpec(self.rows.shape, self.rows.dtype)
        )


@dataclasses.dataclass(frozen=True)
class Data:
    """A loaded data set. `fingerprint` is the SHA-256, in hex, of the contents, labels and splits of all files.

    `listing` is the SHA-256 of the names and labels of all training images, even if `train` is only a shard. `cache` is memory,
    disk or none. `bad` has path and reason of each unusable image. `copies` describes how many images are byte-identical to
    others, and in which split; `near_copies` the same for images that look the same, for which the automatic split searches.
    """

    source: Source
    train: Examples
    validation: Examples | None
    fingerprint: str
    listing: str
    cache: str
    bad: tuple[tuple[str, str], ...]
    copies: str
    near_copies: str = NOT_SEARCHED

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.train.images.class_names


def _keep(
    images: Images,
    fill: Fill,
    form: ImageForm,
    front: Front | None,
    cache: str,
    cache_root: Path,
    max_image_pixels: int,
) -> tuple[np.ndarray, dict[int, str]]:
    """The row of pixels, or with a `front` of features, of each of `images`; and the faults of unusable images by row."""
    shape, dtype, what = form.shape, "uint8", "decoded images"
    if front is not None:
        shape, dtype, what = front.shape, "float32", "rows of features"
        fill = FeatureFill(fill, form, front, len(images))
    if cache == "memory":
        return in_memory(len(images), shape, dtype, fill)
    folder = rows_folder(cache_root, images, form, max_image_pixels, front.key if front else "")
    return on_disk(folder, len(images), shape, dtype, fill, what=what)


def read_examples(
    images: Images,
    form: ImageForm,
    cache: str,
    cache_root: Path,
    *,
    max_image_pixels: int,
    index: Path,
    front: Front | None = None,
    thumbnails: dict[str, np.ndarray] | None = None,
) -> Examples:
    """Reads and decodes each file once, and keeps the pixels in `cache`: memory, disk (shared by runs) or none.

    With a `front`, its features are kept instead of pixels. Unusable images get a fault in their header and rows of 0; with
    cache=none, reading their rows fails. `thumbnails` receives the thumbnail of each image decoded here, by path.

    Raises:
        OSError: a cache that cannot be written.
    """
    if cache == "none":
        read = read_images(images, max_image_pixels=max_image_pixels, index=index, decodes=True, thumbnails=thumbnails)
        return Examples(read, DecodedRows(read.paths, form), front)
    read = images if cache == "memory" else read_images(images, max_image_pixels=max_image_pixels, index=index)
    fill = PixelFill(read, form, max_image_pixels=max_image_pixels, thumbnails=thumbnails)
    block, faults = _keep(read, fill, form, front, cache, cache_root, max_image_pixels)
    read = fill.read() if cache == "memory" else read.with_faults(faults)
    return Examples(read, KeptRows(block), pixels=DecodedRows(read.paths, form) if front else None)


def _with_features(examples: Examples, front: Front, form: ImageForm, cache: str, config: DataConfig) -> Examples:
    """The same images with features computed from the pixels of `examples`."""
    if cache == "none":
        return dataclasses.replace(examples, front=front)

    def pixels(start: int, out: np.ndarray) -> dict[int, str]:
        out[...] = examples.rows.gather(tf.range(start, start + len(out))).numpy()
        return {}

    limit = config.max_image_pixels
    block, _ = _keep(examples.images, pixels, form, front, cache, config.cache_root, limit)
    return Examples(examples.images, KeptRows(block), pixels=examples.rows)


def write_bad_images(path: Path, bad: Sequence[tuple[str, str]]) -> None:
    """Writes a list of unusable images, one `PATH: REASON` per line."""
    write_text(path, "".join(f"{printable(image)}: {reason}\n" for image, reason in bad))


def refuse_bad(tables: Sequence[Images], log: Path, skip_option: str | None) -> tuple[tuple[str, str], ...]:
    """The path and reason of each unusable image.

    Raises:
        DataError: all images are unusable; or some are, and `skip_option`, named in the message, is not set (else it is None). If
            there are more than 5, all are listed in the file `log`.
    """
    bad = tuple(itertools.chain.from_iterable(one.bad() for one in tables))
    total = sum(map(len, tables))
    if bad and len(bad) == total:
        raise DataError(f"no image in {tables[0].directory} can be read; the first, {bad[0][0]}: {bad[0][1]}")
    if bad and skip_option:
        shown = "; ".join(f"{path}: {reason}" for path, reason in bad[:MAX_SHOWN])
        if len(bad) > MAX_SHOWN:
            write_bad_images(log, bad)
            shown += f"; all are listed in {log}"
        raise DataError(
            f"{len(bad)} of {total} images cannot be used: {shown}. Repair or remove them, or skip them with {skip_option}"
        )
    for path, why in bad[:MAX_SHOWN]:
        logger.warning("Skipping %s: %s", printable(path), why)
    if bad:
        logger.warning("Skipping %d of %d images that cannot be used", len(bad), total)
    return bad


def _warn_of_left_out(found: Sequence[Found]) -> None:
    if kinds := count_left_out(path for one in found for path in one.others):
        logger.warning("%s", describe_left_out(kinds))
    for folder in itertools.chain.from_iterable(one.unreadable for one in found):
        logger.warning("Left out: %s", why_unreadable(*folder))


def _warn_of_labels(tables: Sequence[Images]) -> None:
    """Warns of conflicting labels and unequal classes."""
    if found := conflicts(tables):
        shown = "; ".join(" = ".join(map(printable, paths)) for paths in found[:MAX_SHOWN])
        logger.warning(
            "%d byte-identical %s in more than one class, so at least one label is wrong (bin/explore lists all): %s",
            *(len(found), "image is" if len(found) == 1 else "images are", shown),
        )
    if unequal := describe_unequal(tables[0].counts().tolist()):
        logger.warning("%s", unequal.capitalize())


def _describe_copies(splits: Sequence[Images], source: Source) -> str:
    """Describes and logs how many images are byte-identical to others."""
    contents = [split.contents() for split in splits]
    total = sum(map(len, contents))
    if source.validation_dir is None:
        count = total - len(set().union(*contents))
        text = f"{count} of {total} images"
        if count:
            text += ", each in the split of its original" if len(contents) == 2 else ""
            logger.info("Byte-identical copies: %s", text)
        return text
    trained = set(contents[0])
    count = sum(content in trained for content in contents[1])
    text = f"{count} of {len(contents[1])} validation images are also training images"
    if count:
        logger.warning("%s (byte-identical), so the validation accuracy is too high; bin/explore lists them", text)
    return text


def _fingerprint(splits: dict[str, Images]) -> str:
    digest = hashlib.sha256(repr(list(splits["train"].class_names)).encode("utf-8", "backslashreplace"))
    for name, images in splits.items():
        digest.update(f"{name} {images.fingerprint()}".encode())
        digest.update(images.labels.tobytes())
    return digest.hexdigest()


def _find_recorded(pool: Images, recorded: Sequence[str]) -> np.ndarray:
    found = find_again(pool.contents(), recorded)
    if len(found) == 0:
        raise DataError(
            f"none of the {len(recorded)} images that the run held out for validation is in {pool.directory}: give the run's folders"
            " with --train_dir and --validation_dir"
        )
    return found


def load_data(
    config: DataConfig,
    shard: tuple[int, int] | None = None,
    *,
    recorded: Sequence[str] | None = None,
    num_sharing: int = 1,
    front: Front | None = None,
    augmented: bool = False,
    finds_scenes: bool = False,
) -> Data:
    """Finds the data set, checks every file, decodes the images and splits them.

    Args:
        shard: (i, n): of the training images, only every n-th from number i on is used; validation has all images.
        recorded: SHA-256, in hex, of the validation images, instead of a split; the files may have moved.
        num_sharing: Number of processes on this machine that share its memory.
        front: Frozen layers; their features are the model's input, and are kept for each image.
        augmented: Training images are augmented, so only the features of validation images are kept.
        finds_scenes: The automatic split also keeps images together whose features show the same scene, if these are kept.

    Raises:
        DataError: unusable folders or images (if there are more than 5, all are listed in a file), or none of the `recorded`
            images exists.
        OSError: a cache that cannot be written.
    """
    source = find_source(config)
    skips = config.bad_images == "skip"
    folders = [folder for folder in (source.train_dir, source.validation_dir) if folder is not None]
    tables, found = map(list, zip(*map(list_images, folders), strict=True))
    _warn_of_left_out(found)
    if unfit := why_unfit(tables, found, skips=skips):
        raise DataError(listed(unfit, MAX_SHOWN, "; "))
    listing = None
    if shard is not None:  # split by position, since no worker reads all files
        if len(tables) == 1:
            tables = [tables[0].select(rows) for rows in hold_out_share(tables[0], config)]
        listing = tables[0].listing_digest()
        tables[0] = tables[0].select(np.arange(shard[0], len(tables[0]), shard[1]))

    form = ImageForm(config.size)
    kept_front = None if augmented else front
    num_bytes = sum(map(len, tables)) * (kept_front or form).num_bytes
    cache, reason = choose_cache(
        config.cache, num_bytes, config.cache_root, num_sharing, features=kept_front is not None
    )
    logger.info("Cache: %s (%s)", cache, reason)
    if kept_front is not None and kept_front.num_bytes > form.num_bytes:
        logger.warning(
            "The frozen layers end in %s numbers an image, %.1f times the bytes of its pixels: with pooling as the last of them"
            " the features become small",
            *(" x ".join(map(str, kept_front.shape)), kept_front.num_bytes / form.num_bytes),
        )
    read = functools.partial(
        read_examples,
        form=form,
        cache=cache,
        cache_root=config.cache_root,
        max_image_pixels=config.max_image_pixels,
        front=kept_front,
    )
    near_copies = NOT_SEARCHED
    is_automatic = len(tables) == 1 and recorded is None and config.validation_share > 0
    thumbnails: dict[str, np.ndarray] | None = {} if is_automatic else None
    parts = [
        read(table, index=index_path(config.cache_root, table.directory, (number, shard)), thumbnails=thumbnails)
        for number, table in enumerate(tables)
    ]
    tables = [part.images for part in parts]
    log = config.cache_root / "bad_images" / f"{source.name}.txt"
    bad = refuse_bad(tables, log, None if skips else "--bad_images=skip")
    _warn_of_labels(tables)

    if recorded is not None:
        held = _find_recorded(tables[-1], recorded)
        rest = np.setdiff1d(np.arange(len(tables[-1])), held)
        parts = [parts[0] if len(parts) == 2 else parts[0].select(rest), parts[-1].select(held)]
    elif thumbnails is not None:
        features = None
        if finds_scenes and kept_front is not None and cache != "none":
            features = parts[0].rows.gather(tf.range(len(parts[0]))).numpy(), kept_front.key
        alike = resembling(tables, thumbnails, config, features)
        sides = hold_out_share(tables[0], config, alike)
        parts = [parts[0].select(rows) for rows in sides]
        share = config.validation_share
        logger.info(
            "Holding out %d of %d images for validation (--validation_split=%g)", len(sides[1]), len(alike), share
        )
        near_copies = describe_alike(alike, tables[0].contents(), sides[1])
        logger.info("Copies that differ in their bytes: %s", near_copies)
    splits = dict(zip(("train", "validation"), (part.images for part in parts), strict=False))
    for name, images in splits.items():
        unusable = why_empty(images, "training" if name == "train" else name)
        if unusable and not (recorded and name == "validation"):
            raise DataError(listed(unusable, MAX_SHOWN, "; "))
    good = [part.select(part.images.good()) for part in parts]
    if front is not None and augmented:
        good[0] = dataclasses.replace(good[0], front=front)
        good[1:] = [_with_features(part, front, form, cache, config) for part in good[1:]]
    return Data(
        source=source,
        train=good[0],
        validation=good[1] if len(good) == 2 else None,
        fingerprint=_fingerprint(splits),
        listing=listing or splits["train"].listing_digest(),
        cache=cache,
        bad=bad,
        copies="not searched for with --shard_data" if shard else _describe_copies(list(splits.values()), source),
        near_copies=near_copies,
    )
