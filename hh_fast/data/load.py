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
from hh_fast.data.listing import Listing, hold_out_share, list_source, why_unfit
from hh_fast.data.scan import describe_left_out, fingerprint, left_out_kind, list_others
from hh_fast.data.sources import Source, find_source
from hh_fast.data.split import find_again
from hh_fast.data.store import Store, fill
from hh_fast.errors import DataError
from hh_fast.io.files import write_text
from hh_fast.io.text import listed, printable

logger = logging.getLogger(__name__)

MAX_BAD_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split that decode, in their fixed order.

    `paths` (n,), `labels` int32 (n,) as positions in the class names, and `images` uint8 (n, *form.shape), values 0 to 255,
    or None where they are decoded as needed. `sha256` (n,) are the files' hashes, as hex. `by_pillow` has the paths of
    the files that Pillow decodes, not TensorFlow. `indices` int64 (n,) are the positions in the full listing of their folder,
    before anything was held out, sharded or skipped; None: 0 to n - 1.
    """

    name: str
    paths: tuple[str, ...]
    labels: np.ndarray
    images: tf.Tensor | None
    form: ImageForm
    sha256: tuple[str, ...] = ()
    by_pillow: frozenset[str] = frozenset()
    indices: np.ndarray | None = None

    @property
    def num_images(self) -> int:
        return len(self.paths)

    @property
    def image_size(self) -> tuple[int, int]:
        return self.form.image_size

    def part(self, name: str, rows: np.ndarray) -> "Split":
        """The images in `rows`, none of them kept decoded."""
        paths, sha256 = (tuple(found[i] for i in rows) for found in (self.paths, self.sha256))
        indices = rows if self.indices is None else self.indices[rows]
        return Split(name, paths, self.labels[rows], None, self.form, sha256, self.by_pillow, indices)


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


def _found_again(listings: Sequence[Listing], recorded: Sequence[str], source: Source) -> list[Listing]:
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


def _describe_copies(listings: Sequence[Listing], source: Source, *, sharded: bool) -> str:
    """How many images are byte-identical to others; logged where there are any."""
    if sharded:
        return "not looked for with --shard_data"
    contents = [listing.contents() for listing in listings]
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


def _scan(listings: Sequence[Listing], config: DataConfig, index: Path) -> list[Listing]:
    paths = [path for listing in listings for path in listing.paths]
    files = iter(scan_changed(paths, max_image_pixels=config.max_image_pixels, index=index))
    return [
        dataclasses.replace(listing, files=list(itertools.islice(files, len(listing.paths)))) for listing in listings
    ]


def write_bad_images(path: Path, bad: Sequence[tuple[str, str]]) -> None:
    """Lists all images that cannot be used, one a line: `PATH: REASON`."""
    write_text(path, "".join(f"{printable(image)}: {reason}\n" for image, reason in bad))


def _skip(bad: Sequence[tuple[str, str]], listings: Sequence[Listing], log: Path, option: str | None) -> None:
    total, directory = sum(len(listing.paths) for listing in listings), listings[0].directory
    if bad and len(bad) == total:
        raise DataError(f"no image in {directory} can be read; the first, {bad[0][0]}: {bad[0][1]}")
    if bad and option:
        shown = "; ".join(f"{path}: {reason}" for path, reason in bad[:MAX_BAD_SHOWN])
        more = ""
        if len(bad) > MAX_BAD_SHOWN:
            write_bad_images(log, bad)
            more = f"; all are listed in {log}"
        raise DataError(
            f"{len(bad)} of {total} images cannot be used: {shown}{more}. Mend or remove them, or go on without them by"
            f" {option}"
        )
    for path, why in bad[:MAX_BAD_SHOWN]:
        logger.warning("Skipping %s: %s", printable(path), why)
    if bad:
        logger.warning("Skipping %d of %d images that cannot be used", len(bad), total)


def decode_listings(
    listings: Sequence[Listing],
    form: ImageForm,
    name: str,
    *,
    cache: str,
    cache_root: Path,
    skip_option: str | None,
    num_sharing: int = 1,
) -> tuple[list[Split], tuple[tuple[str, str], ...], str, str]:
    """Decodes the files of `listings` once, and keeps the pixels where `cache` says.

    `name` is the data set's, for the list of more than 5 bad images. `num_sharing`: as of `load_data`.

    Returns:
        The splits without the images that cannot be used, (path, reason) of these, where the others are kept, and why there.

    Raises:
        DataError: all images cannot be used; or some, where going on without them takes `skip_option`, which the message names.
        OSError: a cache that cannot be written.
    """
    num_bytes = sum(len(listing.paths) for listing in listings) * form.num_bytes
    home, reason = choose_cache(cache, num_bytes, cache_root, num_sharing)
    logger.info("Cache: %s (%s)", home, reason)
    stores = [fill(home, listing.files, form, cache_root) for listing in listings]
    found = list(zip(listings, stores, strict=True))
    bad = tuple((one.paths[i], why) for one, store in found for i, why in sorted(store.bad.items()))
    _skip(bad, listings, cache_root / "bad_images" / f"{name}.txt", skip_option)
    return [_split(listing, store, form) for listing, store in found], bad, home, reason


def _tell_left_out(source: Source) -> None:
    folders = [folder for folder in (source.train_dir, source.validation_dir) if folder is not None and folder.is_dir()]
    if kinds := collections.Counter(left_out_kind(path) for folder in folders for path in list_others(folder)):
        logger.warning("Left out %d files: %s", kinds.total(), describe_left_out(kinds))


def _split(listing: Listing, store: Store, form: ImageForm) -> Split:
    good = np.delete(np.arange(len(listing.paths)), list(store.bad))
    paths, sha256 = (tuple(getattr(listing.files[i], field) for i in good) for field in ("path", "sha256"))
    labels, indices = listing.labels[good], listing.indices[good]
    return Split(listing.name, paths, labels, store.images, form, sha256, store.by_pillow, indices)


def _whole_fingerprint(listings: Sequence[Listing]) -> str:
    digest = hashlib.sha256(repr(listings[0].class_names).encode("utf-8", "backslashreplace"))
    for listing in listings:
        digest.update(f"{listing.name} {fingerprint(listing.files)}".encode())
        digest.update(listing.labels.tobytes())
    return digest.hexdigest()


def _listing_digest(listing: Listing) -> str:
    names = "\n".join(os.path.relpath(path, listing.directory) for path in listing.paths)
    return hashlib.sha256(names.encode("utf-8", "surrogateescape") + listing.labels.tobytes()).hexdigest()


def _held_out(train: Listing, config: DataConfig) -> list[Listing]:
    listings = hold_out_share(train, config.share_held_out, config.seed)
    if len(listings) == 2:
        num_held, share = len(listings[1].paths), config.share_held_out
        logger.info(
            "Holding out %d of %d images for validation (--validation_split=%g)", num_held, len(train.paths), share
        )
    return listings


def _listings(
    config: DataConfig, source: Source, shard: tuple[int, int] | None, recorded: Sequence[str] | None
) -> tuple[list[Listing], str]:
    """The splits with what their files say, and the digest of the training images' list."""
    listings = list_source(source)
    if unfit := why_unfit(listings):
        raise DataError(listed(unfit, MAX_BAD_SHOWN, "; "))
    index = index_path(config.cache_root, source.train_dir, shard)
    if shard is None:
        listings = _scan(listings, config, index)
    if recorded is not None:
        listings = _found_again(listings, recorded, source)
    elif source.validation_dir is None:
        listings = _held_out(listings[0], config)
    digest = _listing_digest(listings[0])
    if shard is not None:
        share = np.arange(shard[0], len(listings[0].paths), shard[1])
        listings = _scan([listings[0].part("train", share), *listings[1:]], config, index)
    return listings, digest


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
        DataError: folders or images that cannot be used (of more than 5 images, all are listed in a file); none of the
            `recorded` images is there.
        OSError: a cache that cannot be written.
    """
    source = find_source(config)
    _tell_left_out(source)
    listings, digest = _listings(config, source, shard, recorded)
    copies = _describe_copies(listings, source, sharded=shard is not None)
    splits, bad, home, reason = decode_listings(
        listings,
        ImageForm(config.size),
        source.name,
        cache=config.cache,
        cache_root=config.cache_root,
        skip_option=None if config.bad_images == "skip" else "--bad_images=skip",
        num_sharing=num_sharing,
    )
    for listing in listings[: 1 if recorded else None]:
        if unusable := listing.unusable_classes({path for path, _ in bad}):
            raise DataError(listed(unusable, MAX_BAD_SHOWN, "; "))
    return Data(
        source=source,
        class_names=tuple(listings[0].class_names),
        train=splits[0],
        validation=splits[1] if len(splits) == 2 else None,
        fingerprint=_whole_fingerprint(listings),
        listing=digest,
        cache=home,
        cache_reason=reason,
        bad=bad,
        copies=copies,
    )
