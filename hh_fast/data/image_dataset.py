"""`image_dataset_from_directory`: Keras' function with this package's decoding, cache and shuffling."""

import collections
import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation
from hh_fast.config import CACHES, DataConfig, default_cache_dir
from hh_fast.data.engine import no_autograph
from hh_fast.data.folders import KERAS_SUFFIXES, describe_left_out, why_unreadable
from hh_fast.data.keras_rules import (
    check_labels,
    check_split,
    keras_subsets,
    list_as_keras,
    make_form,
)
from hh_fast.data.load import read_examples, refuse_bad
from hh_fast.data.pipeline import order, with_rows
from hh_fast.data.reading import index_path, read_images
from hh_fast.data.store import choose_cache
from hh_fast.errors import DataError, require

logger = logging.getLogger(__name__)

UNBATCHED = 32  # batch size before unbatch()
# Of images, but not read by Keras.
OTHER_SUFFIXES = (".avif", ".heic", ".heif", ".jfif", ".jpe", ".tif", ".tiff", ".webp")


def _warn_of_others(others: Sequence[str], directory: str | os.PathLike[str]) -> None:
    suffixes = (Path(path).suffix.lower() for path in others)
    if kinds := collections.Counter(suffix for suffix in suffixes if suffix in OTHER_SUFFIXES):
        logger.warning("%s in %s, with suffixes that Keras does not read", describe_left_out(kinds), directory)


def _warn_of_copies(trained_on: set[str], validation: Sequence[str]) -> None:
    """`trained_on` and `validation` are contents, see `Images.contents`."""
    count = sum(content in trained_on for content in validation)
    if count:
        logger.warning(
            "%d of the %d validation images are also training images (byte-identical), so the validation accuracy is too high:"
            " remove the copies, or use hh_fast.train, which keeps copies in one split",
            count,
            len(validation),
        )


def _element(
    images: tf.Tensor, labels: tf.Tensor, *, label_mode: str | None, num_classes: int, dtype: str, data_format: str
) -> Any:
    """The element of the data set for a batch."""
    pixels = tf.cast(images, dtype)
    if data_format == "channels_first":
        pixels = tf.transpose(pixels, (0, 3, 1, 2))
    if label_mode is None:
        return pixels
    if label_mode == "binary":
        labels = tf.expand_dims(tf.cast(labels, tf.float32), -1)
    if label_mode == "categorical":
        labels = tf.one_hot(tf.cast(labels, tf.int32), num_classes)
    return pixels, labels


def _plan(
    rows: np.ndarray, batch_size: int, seed: int | None, *, reshuffle_each_iteration: bool, initial_epoch: int
) -> tf.data.Dataset:
    """Pairs of the iteration's number, from `initial_epoch` on, and a batch of `rows`, int64 (k,); shuffled by `seed` and the
    iteration's number, unless `seed` is None.
    """
    # An iterator, not a variable, since it belongs to no device or strategy.
    iterations = iter(tf.data.Dataset.counter(initial_epoch))

    @no_autograph
    def of_iteration(_: tf.Tensor) -> tf.data.Dataset:
        number = iterations.get_next()
        taken = tf.constant(rows)
        if seed is not None:
            taken = tf.gather(taken, order(len(rows), seed, number if reshuffle_each_iteration else 0))
        starts = tf.data.Dataset.range(0, len(rows), batch_size)
        return starts.map(lambda start: (number, taken[start : start + batch_size]))

    return tf.data.Dataset.from_tensors(0).flat_map(of_iteration)


def _print_counts(num_files: int, names: Sequence[str] | None, wanted: dict[str, np.ndarray]) -> None:
    classes = "" if names is None else f" belonging to {len(names)} classes"
    lines = [f"Found {num_files} files{classes}."]
    lines += [f"Using {len(part)} files for {name}." for name, part in wanted.items() if name]
    print("\n".join(lines))  # noqa: T201  # as Keras does


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",  # noqa: A002  # Keras' name
    verbose: bool = True,
    *,
    cache: str = "auto",
    cache_dir: str | None = None,
    bad_images: str = "error",
    max_image_pixels: int = DataConfig.max_image_pixels,
    reshuffle_each_iteration: bool = True,
    dtype: str = "float32",
    augment: Augmentation | None = None,
    initial_epoch: int = 0,
) -> Any:
    """A `tf.data.Dataset` of the images below `directory`; like Keras' function of that name, but decoded once and faster.

    With the same arguments it lists, labels, orders and splits the files as
    `keras.utils.image_dataset_from_directory` (3.15) does; the parameters up to `verbose` are explained there.

        >>> train, validation = hh_fast.image_dataset_from_directory(
        ...     "pictures", label_mode="binary", image_size=(150, 150), validation_split=0.2, subset="both", seed=1)
        >>> model = hh_fast.build_model((150, 150))
        >>> model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
        >>> history = model.fit(train, validation_data=validation)

    Args:
        cache: Where the decoded images are kept, as uint8: `memory` (as long as the data set exists), `disk` (shared by all
            runs), `none` (decoded in each iteration), or `auto`, by their size and the free memory.
        cache_dir: Folder for the cache. Default: ~/.cache/hh_fast.
        bad_images: `error`: images that fail to decode raise `DataError`. `skip`: they are left out.
        max_image_pixels: Images with more pixels, by their header, are treated as bad before memory is allocated for them.
        reshuffle_each_iteration: If False, all iterations have the same order.
        dtype: `float32`, or `uint8`, a quarter of the bytes, for a model that accepts it.
        augment: Applied to each image in each iteration, drawn by `seed`, the iteration's number and the image's position in the
            listing; validation images are never augmented.
        initial_epoch: The number of the first iteration, as in `fit`, to continue with the order and augmentation of that epoch.

    Returns:
        A finite data set of known cardinality, with the remainder; for `subset="both"` a list of two, of which the second is
        in order. It yields images (batch, height, width, channels) in `dtype` with values 0 to 255, or pairs of these and
        labels: for `label_mode` "int" int32 (batch,), "binary" float32 (batch, 1), "categorical" float32 (batch, num_classes).
        With `batch_size=None` it yields single images, without the first axis; `data_format="channels_first"` puts the
        channels before height and width. `.class_names` and `.file_paths` are as in Keras, without skipped images.

        With `shuffle`, each iteration is a full permutation of its own, determined by `seed` and its number, whatever
        tf.random.set_seed is. (`fit` starts one iteration per epoch, and under a strategy an extra one, for its first batch.)
        There is no need to add `.cache()`, `.shuffle()` or `.prefetch()`.

    Differences from Keras:

    - Pixels are rounded and clipped to whole numbers from 0 to 255 before they become float32. JPEG is decoded accurately,
      while Keras uses a faster transform (up to 20 levels off); EXIF orientation is applied; BMP files with a palette are read
      correctly; and `color_mode` works for every file, while Keras fails for JPEG and GIF in rgba and for BMP, GIF and CMYK in
      grayscale.
    - A shuffled epoch is a permutation of all images, not the result of a buffer of 8 batches, so the order differs.
    - All images are read and decoded before this returns (with `cache="disk"` and `"none"`: the first time), and bad ones raise
      here, with their names, not in a later step.
    - `.bmp`, `.gif`, `.jpeg`, `.jpg` and `.png` are read, as in Keras; images with other suffixes that bin/train reads (`.webp`,
      `.heic`, `.avif`, ...) are left out with a warning.
    - A `validation_split` that leaves one subset empty, `format="grain"` and remote directories are refused.
    - tf.data's autotuner is off, also for data sets made from this one: in your own `map`, AUTOTUNE means all cores.

    Raises:
        UsageError: (a `ValueError`) an invalid argument, no images, or labels that do not match the files.
        DataError: images that fail to decode; if there are more than 5, all are listed in a file.
        OSError: no such folder, or a cache that cannot be written.
    """
    check_labels(labels, label_mode, class_names)
    form = make_form(image_size, color_mode, interpolation, crop_to_aspect_ratio, pad_to_aspect_ratio)
    check_split(validation_split, subset, shuffle, seed)
    require(batch_size is None or batch_size > 0, "`batch_size` must be at least 1, or None", batch_size)
    require(format == "tf", '`format` must be "tf"; for "grain" use keras.utils', repr(format))
    require("://" not in str(directory), "`directory` must be a local folder", directory)
    for name, value, allowed in (
        ("data_format", data_format, ("channels_first", "channels_last", None)),
        ("cache", cache, CACHES),
        ("bad_images", bad_images, ("error", "skip")),
        ("dtype", dtype, ("float32", "uint8")),
    ):
        require(value in allowed, f"`{name}` must be one of {', '.join(map(repr, allowed))}", repr(value))
    require(max_image_pixels >= 1, "`max_image_pixels` must be at least 1", max_image_pixels)
    require(initial_epoch >= 0, "`initial_epoch` must be at least 0", initial_epoch)
    require(augment is None or isinstance(augment, Augmentation), "`augment` must be an hh_fast.Augmentation", augment)
    require(not augment or color_mode == "rgb", '`color_mode` must be "rgb" where `augment` is given', repr(color_mode))
    if labels is None or label_mode is None:
        labels = label_mode = None
    if seed is None:  # as in Keras, so that keras.utils.set_random_seed determines it
        seed = int(np.random.randint(10**6))
    cache_root = Path(cache_dir or default_cache_dir()).expanduser()

    images, found, names = list_as_keras(directory, labels, class_names, follow_links=follow_links)
    if found.unreadable:
        raise DataError(why_unreadable(*found.unreadable[0]))
    require(len(images) > 0, f"No images found. {directory} must hold {', '.join(KERAS_SUFFIXES)} files", "none")
    require(
        label_mode != "binary" or len(names or ()) == 2,
        'With `label_mode="binary"` there must be exactly 2 classes',
        names,
    )
    subsets = keras_subsets(len(images), seed if shuffle else None, validation_split)
    wanted = subsets if subset in (None, "both") else {subset: subsets[subset]}
    if verbose:
        _print_counts(len(images), names, wanted)
    _warn_of_others(found.others, directory)
    needed = np.sort(np.concatenate(list(wanted.values())))
    cache, reason = choose_cache(cache, len(needed) * form.num_bytes, cache_root)
    logger.info("Cache: %s (%s)", cache, reason)
    pictures = read_examples(
        images.select(needed),
        form,
        cache,
        cache_root,
        max_image_pixels=max_image_pixels,
        index=index_path(cache_root, images.directory, "keras"),
    )
    log = cache_root / "bad_images" / f"{images.directory.name}.txt"
    refuse_bad([pictures.images], log, None if bad_images == "skip" else 'bad_images="skip"')
    place = np.full(len(images), -1)  # of each image in `pictures`
    place[needed[pictures.images.good()]] = pictures.images.good()
    if validation_split:
        others = images.select(np.setdiff1d(np.arange(len(images)), needed))
        index = index_path(cache_root, images.directory, "keras, the other subset")
        others = read_images(others, max_image_pixels=max_image_pixels, index=index)
        contents = dict(zip(others.paths, others.contents(), strict=True))
        contents |= zip(pictures.images.paths, pictures.images.contents(), strict=True)
        sides = [[contents[images.paths[i]] for i in subsets[name]] for name in ("training", "validation")]
        _warn_of_copies(set(sides[0]), sides[1])
    element = functools.partial(
        _element,
        label_mode=label_mode,
        num_classes=len(names or ()),
        dtype=dtype,
        data_format=data_format or keras.config.image_data_format(),
    )
    seed = int(seed) % 2**31  # the range for `order`; that of Keras' listing is larger
    datasets = []
    for name, positions in wanted.items():
        good = place[positions][place[positions] >= 0]
        require(len(good) > 0, f"`bad_images` leaves no {name} image that can be used", repr(bad_images))
        in_order = not shuffle or (subset == "both" and name == "validation")
        plan = _plan(
            good,
            batch_size or UNBATCHED,
            None if in_order else seed,
            reshuffle_each_iteration=reshuffle_each_iteration,
            initial_epoch=initial_epoch,
        )
        dataset = with_rows(plan, pictures, augment if name != "validation" else None, seed, element=element)
        if batch_size is None:
            dataset = dataset.unbatch()
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-len(good) // (batch_size or 1))))
        dataset.class_names, dataset.file_paths = names, [pictures.images.paths[i] for i in good]
        dataset.images, dataset.form = pictures.images.select(good), form
        datasets.append(dataset)
    return datasets if subset == "both" else datasets[0]
