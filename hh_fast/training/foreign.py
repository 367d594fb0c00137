"""What `--unknown` adds to a trained model: fitted on the features of its images, and measured on those held out."""

import logging
from pathlib import Path

import keras
import numpy as np

from hh_fast.any_model import image_size_of
from hh_fast.backbone.features import Front
from hh_fast.config import TrainConfig
from hh_fast.data.folders import walk
from hh_fast.data.load import Examples
from hh_fast.data.pixels import NO_LIMIT, ImageForm, read_pixels
from hh_fast.data.reading import in_threads
from hh_fast.errors import DataError
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.training.report import outputs_of
from hh_fast.training.run import UnknownFit
from hh_fast.unknown import add_unknown, feature_model, find_bend, find_centres, largest_similarity, margins

logger = logging.getLogger(__name__)

BATCH = 64
# Of the pictures of --other_dir this part helps to find the bend, and the rest measures what is let through.
PART = 2


def read_pictures(folder: Path, image_size: tuple[int, int], max_image_pixels: int = NO_LIMIT) -> np.ndarray:
    """The pictures in `folder` and below that can be read, uint8 (n, height, width, 3).

    Raises:
        DataError: there are none.
    """
    form = ImageForm(image_size)

    def read(path: str) -> np.ndarray | None:
        try:
            return read_pixels(path, form, max_image_pixels=max_image_pixels).copy()
        except (DataError, OSError) as e:
            logger.warning("Left out of the pictures of other things: %s", e)
            return None

    paths = walk(folder).images if folder.is_dir() else []
    pictures = [image for image in in_threads(read, paths) if image is not None]
    if not pictures:
        raise DataError(f"no picture in {folder}: --other_dir is a folder of pictures that are none of the classes")
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
    """`model` with the output `unknown`, and what it does to the images held out.

    Its features of the training images make the centres; those of the images held out, and of a part of the pictures of other
    things, the bend.

    Raises:
        UsageError: as `feature_model`.
        DataError: as `read_pictures`.
    """
    network = feature_model(model)
    num_features = network.outputs[0].shape[1]
    both = keras.Model(model.inputs[0], keras.layers.Concatenate()([network.outputs[0], model.outputs[0]]))
    centres = find_centres(outputs_of(both, train, front)[:, :num_features], train.labels, seed)

    def measured(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chances = class_probabilities(outputs[:, num_features:])
        return margins(largest_similarity(outputs[:, :num_features], centres), chances), chances

    held, chances = measured(outputs_of(both, validation, front))
    other = np.empty(0)
    if config.other_dir is not None:
        folder = Path(config.other_dir).expanduser()
        pictures = read_pictures(folder, image_size_of(model), max_image_pixels)
        other, _ = measured(both.predict(pictures.astype(np.float32), batch_size=BATCH, verbose=0))
    bend = find_bend(held, config.unknown_keep, other[::PART])
    left = np.delete(other, np.s_[::PART])
    fit = UnknownFit(
        kept=float((held > bend).mean()),
        accuracy_without=float((chances.argmax(axis=1) == validation.labels).mean()),
        num_centres=len(centres),
        bend=bend,
        num_other=len(left),
        let_through=float((left > bend).mean()) if len(left) else None,
    )
    return add_unknown(model, network, centres, bend), fit
