"""`--unknown`: fits the output for unknown pictures on features of the training images, and measures it on held-out ones."""

import logging
from pathlib import Path

import keras
import numpy as np

from hh_fast.any_model import image_size_of
from hh_fast.backbone.features import Front
from hh_fast.config import TrainConfig
from hh_fast.data.folders import walk
from hh_fast.data.load import Examples
from hh_fast.data.pipeline import images_at
from hh_fast.data.pixels import NO_LIMIT, ImageForm, read_pixels
from hh_fast.data.reading import in_threads
from hh_fast.data.rows import KeptRows
from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.training.report import outputs_of
from hh_fast.training.run import UnknownFit
from hh_fast.unknown import (
    add_unknown,
    feature_model,
    find_centres,
    find_threshold,
    largest_similarity,
    margins,
    scrambled,
)

logger = logging.getLogger(__name__)

BATCH = 64
# Every second picture of --other_dir helps to set the threshold; the others measure what share is let through.
STRIDE = 2
MAX_SCRAMBLED = 200


def read_pictures(folder: Path, image_size: tuple[int, int], max_image_pixels: int = NO_LIMIT) -> np.ndarray:
    """All readable pictures in `folder` and its sub-folders, uint8 (n, height, width, 3).

    Raises:
        DataError: there are none.
    """
    form = ImageForm(image_size)

    def read(path: str) -> np.ndarray | None:
        try:
            return read_pixels(path, form, max_image_pixels=max_image_pixels).copy()
        except (DataError, OSError) as e:
            logger.warning("Left out of --other_dir: %s", e)
            return None

    paths = walk(folder).images if folder.is_dir() else []
    pictures = [image for image in in_threads(read, paths) if image is not None]
    if not pictures:
        raise DataError(f"no picture in {folder}: --other_dir must be a folder of pictures that belong to no class")
    return np.stack(pictures)


def with_unknown(
    model: keras.Model,
    train: Examples,
    validation: Examples,
    front: Front | None,
    config: TrainConfig,
    *,
    seed: int,
    max_image_pixels: int,
) -> tuple[keras.Model, UnknownFit]:
    """`model` with the output `unknown`, and how that performs on the held-out images.

    The centres are those of the training images' features. The threshold is set on the held-out images, and on half of the
    pictures of other things or, without --other_dir, on scrambled training images.

    Raises:
        UsageError: as `feature_model`.
        DataError: as `read_pictures`.
    """
    network = feature_model(model)
    num_features = network.outputs[0].shape[1]
    both = keras.Model(model.inputs[0], keras.layers.Concatenate()([network.outputs[0], model.outputs[0]]))
    centres = find_centres(outputs_of(both, train, front)[:, :num_features], train.labels, seed)

    def margins_of(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities = class_probabilities(outputs[:, num_features:])
        return margins(largest_similarity(outputs[:, :num_features], centres), probabilities), probabilities

    held, probabilities = margins_of(outputs_of(both, validation, front))
    if config.other_dir is None:
        drawn = np.random.default_rng(seed).permutation(len(train))[:MAX_SCRAMBLED]
        pixels = scrambled(images_at(train, drawn))
        fed = pixels if front is None else front(pixels)
        others = Examples(train.images.select(drawn), KeptRows(fed), pixels=KeptRows(pixels))
        to_fit, left = margins_of(outputs_of(both, others, front))[0], np.empty(0)
    else:
        pixels = read_pictures(Path(config.other_dir).expanduser(), image_size_of(model), max_image_pixels)
        other, _ = margins_of(both.predict(pixels.astype(np.float32), batch_size=BATCH, verbose=0))
        to_fit, left = other[::STRIDE], np.delete(other, np.s_[::STRIDE])
    threshold = find_threshold(held, config.unknown_keep, to_fit)
    fit = UnknownFit(
        kept=float((held > threshold).mean()),
        accuracy_without=float((probabilities.argmax(axis=1) == validation.labels).mean()),
        num_centres=len(centres),
        threshold=threshold,
        num_other=len(left),
        let_through=float((left > threshold).mean()) if len(left) else None,
    )
    return add_unknown(model, network, centres, threshold), fit
