"""A data set made ready: its folders found, its files read and checked, its pixels where they should be."""

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
from hh_fast.data.cache_mode import choose_cache
from hh_fast.data.features import FeatureFill, rows_folder
from hh_fast.data.folders import Found, count_left_out, describe_left_out, why_unreadable
from hh_fast.data.images import Images, conflicts, describe_unequal, list_images, why_empty, why_unfit
from hh_fast.data.pixels import ImageForm
from hh_fast.data.reading import PixelFill, index_path, read_images
from hh_fast.data.rows import DecodedRows, KeptRows, Rows
from hh_fast.data.sources import Source, find_source
from hh_fast.data.split import describe_alike, find_again, hold_out_share, resembling
from hh_fast.data.store import Fill, in_memory, on_disk
from hh_fast.errors import DataError
from hh_fast.io.files import write_text
from hh_fast.io.text import listed, printable

logger = logging.getLogger(__name__)

MAX_SHOWN = 5
NOT_LOOKED_FOR = "not looked for"


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images with their labels, and what the model is fed of each: `rows` has one for each of `images`.

    `front` is still to run over each row of pixels. `pixels` are the images' where `rows` are features.
    """

    images: Images
    rows: Rows
    front: Front | None = None
    pixels: Rows | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """int32 (n,), positions in the class names."""
        return self.images.labels

    def select(self, rows: np.ndarray) -> "Examples":
        pixels = None if self.pixels is None else self.pixels.select(rows)
        return Examples(self.images.select(rows), self.rows.select(rows), self.front, pixels)

    @property
    def fed(self) -> tf.TensorSpec:
        """What the model gets of one image."""
        return (
            tf.TensorSpec(self.front.shape, tf.float32)
            if self.front
            else tf.TensorSpec(self.rows.shape, self.rows.dtype)
        )


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready to train on. `fingerprint` is the SHA-256 of all files' contents, labels and splits, as hex.

    `listing` is the SHA-256 of the training images' names and labels, of all of them where `train` is only a shard. `cache` is
    memory, disk or none. `bad` has path and reason of each image that cannot be used. `copies` says in words how many images
    are byte-identical to others, and on which side they are; `near_copies` the same of those that look the same and differ in
    their bytes, which the automatic split looks for.
    """

    source: Source
    train: Examples
    validation: Examples | None
    fingerprint: str
    listing: str
    cache: str
    bad: tuple[tuple[str, str], ...]
    copies: str
    near_copies: str = NOT_LOOKED_FOR

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
    """A row of pixels, or of features by `front`, for each of `images`, and the faults of those that have none."""
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

    With a `front` it is features, what it makes of the pixels, that are kept. Rows of images that cannot be used, as their
    headers say then, are 0, or fail where nothing is kept. `thumbnails` gets those of the images that are decoded here, by path.

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
    """The same images with features, made of the pixels that `examples` have."""
    if cache == "none":
        return dataclasses.replace(examples, front=front)

    def pixels(start: int, out: np.ndarray) -> dict[int, str]:
        out[...] = examples.rows.gather(tf.range(start, start + len(out))).numpy()
        return {}

    limit = config.max_image_pixels
    block, _ = _keep(examples.images, pixels, form, front, cache, config.cache_root, limit)
    return Examples(examples.images, KeptRows(block), pixels=examples.rows)


def write_bad_images(path: Path, bad: Sequence[tuple[str, str]]) -> None:
    """Lists all images that cannot be used, one a line: `PATH: REASON`."""
    write_text(path, "".join(f"{printable(image)}: {reason}\n" for image, reason in bad))


def refuse_bad(tables: Sequence[Images], log: Path, skip_option: str | None) -> tuple[tuple[str, str], ...]:
    """(path, reason) of the images that cannot be used.

    Raises:
        DataError: all of them cannot be; or some, where going on without them takes `skip_option`, which the message names. Of
            more than 5 all are listed in the file `log`.
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
            f"{len(bad)} of {total} images cannot be used: {shown}. Mend or remove them, or go on without them by"
            f" {skip_option}"
        )
    for path, why in bad[:MAX_SHOWN]:
        logger.warning("Skipping %s: %s", printable(path), why)
    if bad:
        logger.warning("Skipping %d of %d images that cannot be used", len(bad), total)
    return bad


def _tell_left_out(found: Sequence[Found]) -> None:
    if kinds := count_left_out(path for one in found for path in one.others):
        logger.warning("%s", describe_left_out(kinds))
    for folder in itertools.chain.from_iterable(one.unreadable for one in found):
        logger.warning("Left out: %s", why_unreadable(*folder))


def _tell_faults(tables: Sequence[Images]) -> None:
    """What is wrong with labels and classes, though it can be trained on."""
    if found := conflicts(tables):
        shown = "; ".join(" = ".join(map(printable, paths)) for paths in found[:MAX_SHOWN])
        logger.warning(
            "%d %s in more than one class, byte for byte, so one of its labels is wrong (bin/explore lists all): %s",
            *(len(found), "image is" if len(found) == 1 else "images are", shown),
        )
    if unequal := describe_unequal(tables[0].counts().tolist()):
        logger.warning("%s", unequal.capitalize())


def _describe_copies(splits: Sequence[Images], source: Source) -> str:
    """How many images are byte-identical to others; logged where there are any."""
    contents = [split.contents() for split in splits]
    total = sum(map(len, contents))
    if source.validation_dir is None:
        count = total - len(set().union(*contents))
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
            f"none of the {len(recorded)} images that the run held out for validation is in {pool.directory}: give the folders"
            " that it was trained on, by --train_dir and --validation_dir"
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
    """Finds the data set, checks every file, and decodes what is to be kept.

    With a `shard`, (i, n): of the training images only every n-th from number i on is looked at; validation stays whole.
    With `recorded` hashes: the images with these, and no others, are validated on, wherever they lie now. `num_sharing`:
    processes on this machine that share its memory. With a `front` the model is fed what it makes of the pixels: kept for each
    image, or where training images are `augmented`, for the validation images alone. Where it `finds_scenes` the automatic split
    keeps images together whose features show the same scene, as far as these are kept.

    Raises:
        DataError: folders or images that cannot be used (of more than 5 images, all are listed in a file); none of the
            `recorded` images is there.
        OSError: a cache that cannot be written.
    """
    source = find_source(config)
    skips = config.bad_images == "skip"
    folders = [folder for folder in (source.train_dir, source.validation_dir) if folder is not None]
    tables, found = map(list, zip(*map(list_images, folders), strict=True))
    _tell_left_out(found)
    if unfit := why_unfit(tables, found, skips=skips):
        raise DataError(listed(unfit, MAX_SHOWN, "; "))
    listing = None
    if shard is not None:  # by position, since no worker has read all files
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
    near_copies = NOT_LOOKED_FOR
    splits_here = len(tables) == 1 and recorded is None and config.validation_share > 0
    thumbnails: dict[str, np.ndarray] | None = {} if splits_here else None
    parts = [
        read(table, index=index_path(config.cache_root, table.directory, (number, shard)), thumbnails=thumbnails)
        for number, table in enumerate(tables)
    ]
    tables = [part.images for part in parts]
    log = config.cache_root / "bad_images" / f"{source.name}.txt"
    bad = refuse_bad(tables, log, None if skips else "--bad_images=skip")
    _tell_faults(tables)

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
        copies="not looked for with --shard_data" if shard else _describe_copies(list(splits.values()), source),
        near_copies=near_copies,
    )
