"""The bundle: all files are built in a temporary folder, checked, described, and moved into place at once."""

import functools
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import hh_fast
from hh_fast.any_model import image_size_of, rounding
from hh_fast.config import CALIBRATION_IMAGES, FORMATS, ExportConfig
from hh_fast.data.folders import read_bytes
from hh_fast.data.images import Images
from hh_fast.data.pipeline import eval_batches, images_at
from hh_fast.errors import CheckError, DataError, UsageError
from hh_fast.export import model_card, saved_model, tflite
from hh_fast.export.bundle_metadata import SAVED_MODEL, SUMS, describe_files, file_name, metadata_json, write_sums
from hh_fast.export.parity import ParityCheck, balanced, check_parity, describe_failure, positions_to_check, score_all
from hh_fast.export.quantization import quantize
from hh_fast.export.trained_model import METADATA, TrainedModel
from hh_fast.io.files import write_json, write_text
from hh_fast.io.output_folder import OutputFolder
from hh_fast.predict.saved_model import open_saved_model
from hh_fast.predict.tflite import open_tflite
from hh_fast.predict.tflite_metadata import Metadata, embed, read_metadata
from hh_fast.training.fit_unknown import read_pictures
from hh_fast.unknown import scrambled

logger = logging.getLogger(__name__)

LABELS = "labels.txt"
BATCH = 32
SCRAMBLED_STRIDE = 4  # every so many calibration images, a scrambled one is added
MAX_OTHER_PICTURES = 200  # of other things, in the check
# Of scores: TensorFlow's decoder and resizing change pixels by up to 1 of 255, and a pretrained network's scores by up to 0.009.
BYTES_DIFFERENCE = 5e-2


def _output_folder(config: ExportConfig, name: str) -> OutputFolder:
    """The bundle's folder; raises `UsageError` if it holds other files, or formats that the new bundle would not have."""
    target = Path(config.export_dir).expanduser() if config.export_dir else Path("exports") / name
    names = (*map(file_name, FORMATS), LABELS, METADATA, model_card.README, model_card.EXAMPLES, SUMS)
    folder = OutputFolder(target, "export_dir", "bundle", names)
    folder.check()
    dropped = [name for name in FORMATS if name not in config.formats and (target / file_name(name)).exists()]
    if dropped:
        raise UsageError(
            f"`formats` must include those in {target}, which would be lost: add {','.join(dropped)}, or give another"
            f" --export_dir. Received: {','.join(config.formats)}"
        )
    return folder


def _calibration_images(config: ExportConfig, trained: TrainedModel) -> np.ndarray:
    """The calibration images, uint8 (n, height, width, 3); empty if no format needs them."""
    if not set(config.formats) & set(tflite.CALIBRATED):
        return tflite.NO_IMAGES
    train = trained.train
    count = config.num_calibration(len(train))
    if len(train) < count:
        raise DataError(
            f"{train.images.directory} has {len(train)} training images, fewer than --calibration_images={count}: add images, or"
            f" give --calibration_images={len(train)}"
        )
    if count < CALIBRATION_IMAGES and config.calibration_images is None:
        logger.info(
            "Calibrating on all %d training images instead of %d (--calibration_images)", count, CALIBRATION_IMAGES
        )
    images = images_at(train, balanced(train.labels, count, trained.run.data.seed if trained.run else 0))
    if trained.has_unknown:  # so that the ranges include those of other pictures
        images = np.concatenate([images, scrambled(images[::SCRAMBLED_STRIDE])])
    return images


def _other_pictures(trained: TrainedModel) -> np.ndarray:
    """Pictures that belong to no class: those of the run's --other_dir, else scrambled validation images."""
    other_dir = trained.run.train.other_dir if trained.run else None
    if other_dir is not None and Path(other_dir).expanduser().is_dir():
        return read_pictures(Path(other_dir).expanduser(), trained.image_size)[:MAX_OTHER_PICTURES]
    return scrambled(images_at(trained.validation, balanced(trained.validation.labels, MAX_OTHER_PICTURES, seed=0)))


def _tflite_metadata(config: ExportConfig, trained: TrainedModel, variant: str) -> Metadata:
    return Metadata(
        name=trained.name,
        description=(
            f"Classifies an image as {' or '.join(trained.class_names)}. {variant} variant, exported by hh_fast"
            f" {hh_fast.__version__} from a Keras model (SHA-256 {trained.sha256}) trained on {trained.num_train} images"
            f" of {trained.data_name} (fingerprint {trained.fingerprint})."
        ),
        version=config.model_version,
        author=config.author,
        license=config.license,
        mean=(0.0,),
        std=(1.0,),
        input_min=(0.0,),
        input_max=(255.0,),
        labels=trained.class_names,
    )


def _write_formats(folder: Path, config: ExportConfig, trained: TrainedModel) -> dict[str, str]:
    """Writes the file of each format, unchecked; returns the reason for each format that could not be converted."""
    model = trained.exported()
    calibration = _calibration_images(config, trained)
    if SAVED_MODEL in config.formats:
        saved_model.save(model, trained.class_names, folder / SAVED_MODEL)
    faults: dict[str, str] = {}
    converter = tflite.open_converter(model, dynamic_batch=config.dynamic_batch)
    float32 = functools.cache(lambda: tflite.convert(converter, "float32"))
    for name in (name for name in config.formats if name != SAVED_MODEL):
        logger.info("Converting to %s", name)
        try:
            if name == "int8":
                content = quantize(float32(), calibration)
            else:
                content = float32() if name == "float32" else tflite.convert(converter, name, calibration)
        except CheckError as e:
            faults[name] = str(e)
            continue
        path, wanted = folder / file_name(name), _tflite_metadata(config, trained, name)
        path.write_bytes(embed(content, wanted, image_size_of(model)))
        if read_metadata(path) != wanted:
            raise CheckError(f"the metadata read back from {path.name} differs from what was written")
    return faults


def _score_files(score_bytes: Callable[[Sequence[bytes]], np.ndarray], files: Sequence[bytes]) -> list[Any]:
    """The scores of each encoded file; NaN if the SavedModel fails to decode it."""
    try:
        return list(score_bytes(files))
    except tf.errors.OpError:
        middle = len(files) // 2
        parts = files[:middle], files[middle:]
        return [row for part in parts for row in _score_files(score_bytes, part)] if middle else [np.nan]


def _worse_scores(
    score_bytes: Callable[[Sequence[bytes]], np.ndarray], images: Images, scores: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """For each image, the scores of the pixels or those of the encoded file, whichever differ more from the reference.

    Differences up to `BYTES_DIFFERENCE` are allowed for the encoded files. Files of kinds that TensorFlow does not decode correctly
    keep the scores of their pixels.
    """
    encoded = scores.copy()
    plain = [i for i, header in enumerate(images.headers) if header.is_upright_and_plain]
    for rows in (plain[i : i + BATCH] for i in range(0, len(plain), BATCH)):
        for i, row in zip(rows, _score_files(score_bytes, [read_bytes(images.paths[i]) for i in rows]), strict=True):
            encoded[i] = row
    if num_refused := int(np.isnan(encoded).any(axis=1).sum()):
        logger.warning("The SavedModel fails to decode %d of %d images", num_refused, len(images))
    distance = np.nan_to_num(np.abs(encoded - reference), nan=np.inf)
    return np.where(distance > np.maximum(np.abs(scores - reference), BYTES_DIFFERENCE), encoded, scores)


def _check(folder: Path, config: ExportConfig, trained: TrainedModel) -> tuple[dict[str, ParityCheck], np.ndarray]:
    """The check of each exported file, and the Keras model's scores on all validation images."""
    split = trained.validation
    names = [name for name in config.formats if (folder / file_name(name)).exists()]
    logger.info("Checking %s on up to %d validation images", ", ".join(names), len(split))
    positions = {name: positions_to_check(name, split.labels, config.check_images) for name in names}
    open_file = {name: open_saved_model if name == SAVED_MODEL else open_tflite for name in names}
    classifiers = {name: open_file[name](folder / file_name(name)) for name in names}
    scores = score_all(
        classifiers | {"": trained.reference()},
        eval_batches(split, batch_size=BATCH).as_numpy_iterator(),
        positions | {"": np.arange(len(split))},
    )
    reference = scores.pop("")
    other: dict[str, np.ndarray] = {}
    if trained.has_unknown:
        pictures = _other_pictures(trained)
        batches = [(pictures[i : i + BATCH], None) for i in range(0, len(pictures), BATCH)]
        every = {name: np.arange(len(pictures)) for name in ("", *names)}
        other = score_all(classifiers | {"": trained.reference()}, batches, every)
    checks = {}
    for name, rows in positions.items():
        images = split.images.select(rows)
        if score_bytes := classifiers[name].score_bytes:  # both signatures of the SavedModel must pass
            scores[name] = _worse_scores(score_bytes, images, scores[name], reference[rows])
        checks[name] = check_parity(
            name,
            scores[name],
            reference[rows],
            images.labels,
            list(images.paths),
            trained.class_names,
            config,
            rounding=rounding(trained.model),
            other=(other[name], other[""]) if other else None,
        )
    return checks, reference


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fill(folder: Path, config: ExportConfig, trained: TrainedModel) -> list[str]:
    """Writes the whole bundle into `folder`; returns a message for each format that was left out."""
    reasons = _write_formats(folder, config, trained)
    messages = list(reasons.values())
    checks, reference = _check(folder, config, trained)
    for name, check in checks.items():
        if not check.passed:
            # The bundle itself does not name images, whose paths are private.
            reasons[name] = " and ".join(check.failures)
            messages.append(describe_failure(name, check))
            _remove(folder / file_name(name))
    passed = {name: check for name, check in checks.items() if check.passed}
    if not passed:
        raise CheckError(f"nothing was exported: {'; '.join(messages)}")
    files = describe_files(folder, passed)
    write_text(folder / LABELS, "".join(f"{name}\n" for name in trained.class_names))
    write_json(folder / METADATA, metadata_json(config, trained, files, reasons))
    model_card.write(folder, config, trained, files, reasons, reference)
    write_sums(folder)
    return messages


def export(config: ExportConfig, trained: TrainedModel) -> Path:
    """Writes the bundle of `trained` that `config` asks for, and returns its folder.

    Raises:
        CheckError: a format failed its check or could not be converted; the bundle has the others.
        DataError: too few calibration images, or a model whose outputs are not probabilities.
        UsageError: an existing folder that must not be replaced.
        OSError: the folder cannot be written; an older bundle is kept.
    """
    target = _output_folder(config, trained.name)
    with target.replaced(METADATA) as folder:
        left_out = _fill(folder, config, trained)
    logger.info("Exported to %s", target.path)
    if left_out:
        raise CheckError(f"left out of {target.path}: {'; '.join(left_out)}")
    return target.path
