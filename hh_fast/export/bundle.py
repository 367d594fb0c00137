"""The bundle: all files built in a folder beside, checked, described, and put in place at once."""

import logging
import shutil
from pathlib import Path

import numpy as np

from hh_fast.config import FORMATS, DataConfig, ExportConfig
from hh_fast.data.pipeline import eval_batches
from hh_fast.errors import CheckError, UsageError
from hh_fast.export import card
from hh_fast.export.check import Check, compare, describe_failure, positions_to_check, score_all, score_files
from hh_fast.export.describe import SUMS, describe_files, metadata_json, write_sums
from hh_fast.export.formats import BATCH, SAVED_MODEL, file_name, write_formats
from hh_fast.export.origin import Origin, find_origin
from hh_fast.io.files import atomic_dir, write_json, write_text
from hh_fast.predict.opening import open_classifier

logger = logging.getLogger(__name__)

LABELS, METADATA = "labels.txt", "metadata.json"


def _target(config: ExportConfig, origin_name: str) -> Path:
    """The bundle's folder; raises `UsageError` where something else stands that a bundle must not replace."""
    target = Path(config.export_dir).expanduser() if config.export_dir else Path("exports") / origin_name
    if target.exists() and not target.is_dir():
        raise UsageError(f"`export_dir` must be a folder. Received: {target}, a file")
    if target.is_dir() and any(target.iterdir()) and not (target / SUMS).is_file():
        raise UsageError(
            f"`export_dir` must be new, empty or an older bundle. Received: {target}, which holds other files"
        )
    dropped = [name for name in FORMATS if name not in config.formats and (target / file_name(name)).exists()]
    if dropped:
        raise UsageError(
            f"`formats` must include those that {target} holds, or they would be lost: add {','.join(dropped)}, or give another"
            f" --export_dir. Received: {','.join(config.formats)}"
        )
    return target


def _check(folder: Path, config: ExportConfig, origin: Origin) -> tuple[dict[str, Check], np.ndarray]:
    """The check of each file that was written, and the Keras model's scores on all validation images."""
    split = origin.data.validation
    if split is None:
        raise ValueError("find_origin lets no data without validation images through")
    names = [name for name in config.formats if (folder / file_name(name)).exists()]
    logger.info("Checking %s on up to %d validation images", ", ".join(names), split.num_images)
    positions = {name: positions_to_check(name, split.labels, config.check_images, 0) for name in names}
    classifiers = {name: open_classifier(str(folder / file_name(name))) for name in names}
    everything = np.arange(split.num_images)
    scores = score_all(
        classifiers | {"": origin.reference()},
        eval_batches(split, batch_size=BATCH).as_numpy_iterator(),
        positions | {"": everything},
    )
    reference = scores.pop("")
    checks = {}
    for name, rows in positions.items():
        paths = [split.paths[i] for i in rows]
        made = scores[name]
        if name == SAVED_MODEL:  # both signatures must pass: take the worse of the two, score by score
            encoded = score_files(classifiers[name], paths)
            worse = np.abs(encoded - reference[rows]) > np.abs(made - reference[rows])
            made = np.where(worse, encoded, made)
        checks[name] = compare(name, made, reference[rows], split.labels[rows], paths, origin.data.class_names, config)
    return checks, reference


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fill(folder: Path, config: ExportConfig, origin: Origin) -> dict[str, str]:
    """Writes the whole bundle into `folder`; returns what was left out, and why, by format."""
    left_out = write_formats(folder, config, origin)
    checks, reference = _check(folder, config, origin)
    for name, check in checks.items():
        if not check.passed:
            left_out[name] = describe_failure(name, check)
            _remove(folder / file_name(name))
    passed = {name: check for name, check in checks.items() if check.passed}
    if not passed:
        raise CheckError(f"nothing was exported: {'; '.join(left_out.values())}")
    files = describe_files(folder, passed)
    write_text(folder / LABELS, "".join(f"{name}\n" for name in origin.data.class_names))
    write_json(folder / METADATA, metadata_json(config, origin, files, left_out))
    card.write(folder, config, origin, files, left_out, reference)
    write_sums(folder)
    return left_out


def export(config: ExportConfig, flags: DataConfig) -> Path:
    """Writes the bundle that `config` asks for and returns its folder.

    Args:
        config: What to export.
        flags: The data to calibrate and check on; with a run folder, only what differs from the run's own.

    Raises:
        CheckError: a format did not pass, or could not be converted; the bundle of the others is in place.
        DataError, UsageError: as `find_origin` says; too few calibration images; a target that must not be replaced.
        OSError: the target cannot be written; what stood there before still does.
    """
    origin = find_origin(config, flags)
    target = _target(config, origin.name)
    with atomic_dir(target) as folder:
        left_out = _fill(folder, config, origin)
    logger.info("Exported to %s", target)
    if left_out:
        raise CheckError(f"left out of {target}: {'; '.join(left_out.values())}")
    return target
