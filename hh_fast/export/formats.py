"""Writes the file of each format, not yet checked."""

import dataclasses
import logging
import tempfile
from pathlib import Path

import numpy as np

import hh_fast
from hh_fast.config import ExportConfig
from hh_fast.data.load import Split
from hh_fast.data.pipeline import eval_batches
from hh_fast.errors import CheckError, DataError
from hh_fast.export import saved_model, tflite
from hh_fast.export.check import balanced
from hh_fast.export.origin import Origin
from hh_fast.predict.tflite_metadata import Metadata, embed, read_metadata

logger = logging.getLogger(__name__)

SAVED_MODEL = "saved_model"
BATCH = 32


def file_name(number_format: str) -> str:
    return SAVED_MODEL if number_format == SAVED_MODEL else f"model_{number_format}.tflite"


def _images_at(split: Split, positions: np.ndarray) -> np.ndarray:
    """uint8 (n, height, width, 3), decoded as in training."""
    chosen = dataclasses.replace(
        split,
        paths=tuple(split.paths[i] for i in positions),
        labels=split.labels[positions],
        images=None,
    )
    return np.concatenate([images for images, _ in eval_batches(chosen, batch_size=BATCH).as_numpy_iterator()])


def _calibration_images(config: ExportConfig, origin: Origin) -> np.ndarray | None:
    if not set(config.formats) & set(tflite.CALIBRATED):
        return None
    train = origin.data.train
    if train.num_images < config.calibration_images:
        raise DataError(
            f"{train.num_images} training images in {origin.data.source.train_dir}, fewer than"
            f" --calibration_images={config.calibration_images}: add images, or give --calibration_images={train.num_images}"
        )
    seed = int(origin.run.get("data", {}).get("seed", 0))
    return _images_at(train, balanced(train.labels, config.calibration_images, seed))


def _metadata(config: ExportConfig, origin: Origin, number_format: str) -> Metadata:
    data = origin.data
    return Metadata(
        name=origin.name,
        description=(
            f"Classifies an image as {' or '.join(data.class_names)}. {number_format} form, made by hh_fast"
            f" {hh_fast.__version__} from a Keras model (SHA-256 {origin.sha256}) trained on {data.train.num_images} images"
            f" of {data.source.name} (fingerprint {data.fingerprint})."
        ),
        version=config.model_version,
        author=config.author,
        license=config.license,
        mean=(0.0,),
        std=(1.0,),
        input_min=(0.0,),
        input_max=(255.0,),
        labels=data.class_names,
    )


def _write_tflite(
    folder: Path, number_format: str, content: bytes, wanted: Metadata, image_size: tuple[int, int]
) -> None:
    path = folder / file_name(number_format)
    path.write_bytes(embed(content, wanted, image_size))
    if read_metadata(path) != wanted:
        raise CheckError(f"the metadata read back from {path.name} is not what was written: nothing was exported")


def write_formats(folder: Path, config: ExportConfig, origin: Origin) -> dict[str, str]:
    """Writes each format's file; returns what could not be converted, and why, by format."""
    model = origin.exported()
    image_size = saved_model.image_size_of(model)
    calibration = _calibration_images(config, origin)
    if SAVED_MODEL in config.formats:
        saved_model.save(model, origin.data.class_names, folder / SAVED_MODEL)
    faults: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hh_fast-") as scratch:
        saved_model.save_for_conversion(model, Path(scratch), dynamic_batch=config.dynamic_batch)
        for name in (name for name in config.formats if name != SAVED_MODEL):
            logger.info("Converting to %s", name)
            try:
                content = tflite.convert(Path(scratch), name, calibration)
            except CheckError as e:
                faults[name] = str(e)
            else:
                _write_tflite(folder, name, content, _metadata(config, origin, name), image_size)
    return faults
