"""A TensorFlow Datasets data set with `image` and `label`, written once to class folders of its encoded files."""

import logging
from pathlib import Path
from typing import Any

import requests
import tensorflow_datasets as tfds

from hh_fast.data.headers import format_and_size
from hh_fast.errors import DataError, UsageError
from hh_fast.io.files import made_once

logger = logging.getLogger(__name__)

PROBE_SECONDS = 15
# The first of these that exists is the validation split.
VALIDATION_SPLITS = ("validation", "test")


def _builder(name: str, data_dir: Path) -> Any:
    try:
        builder = tfds.builder(name, data_dir=str(data_dir), try_gcs=False)
    except (tfds.core.DatasetNotFoundError, ValueError) as e:
        raise UsageError(
            f"`dataset`: TensorFlow Datasets has no data set {name!r}; see its catalog for the names"
        ) from e
    features = builder.info.features
    wanted = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    usable = isinstance(features, tfds.features.FeaturesDict) and all(
        name in features and isinstance(features[name], kind) for name, kind in wanted.items()
    )
    if not usable:
        raise UsageError(
            f"`dataset` must be a data set with the features image and label. {name!r} has {', '.join(features or ())}"
        )
    return builder


def _write_split(builder: Any, split: str, target: Path) -> None:
    names = builder.info.features["label"].names
    for name in names:
        (target / name).mkdir(parents=True)
    raw = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()}, shuffle_files=False)
    for number, example in enumerate(raw.as_numpy_iterator()):
        encoded = example["image"]
        suffix = {"jpeg": "jpg"}.get(kind := format_and_size(encoded)[0] or "png", kind)
        (target / names[int(example["label"])] / f"{number:07d}.{suffix}").write_bytes(encoded)


def _refuse_offline(builder: Any, name: str, manual_dir: str | None) -> None:
    """Raises `DataError` if the first URL is unreachable; the download itself would retry for minutes."""
    laid_out = {entry.name for entry in Path(manual_dir).expanduser().iterdir()} if manual_dir else set()
    missing = [url for url, info in (builder.url_infos or {}).items() if info.filename not in laid_out]
    if not missing:
        return
    try:
        requests.head(missing[0], timeout=PROBE_SECONDS)
    except requests.RequestException as e:
        raise DataError(_cannot_get(name, f"{missing[0]} cannot be reached")) from e


def _cannot_get(name: str, why: str) -> str:
    return (
        f"cannot get {name} ({why}): connect to the network; or put its archives, under their original names, into a folder for"
        " --tfds_manual_dir; or unpack them yourself and give --train_dir and --validation_dir"
    )


def _prepare(builder: Any, name: str, manual_dir: str | None) -> None:
    download = tfds.download.DownloadConfig(manual_dir=str(Path(manual_dir).expanduser()) if manual_dir else None)
    try:
        builder.download_and_prepare(download_config=download)
    except Exception as e:  # the data set's own code may raise anything: checksums, parsers, the network
        if isinstance(e, OSError) and e.filename is not None:
            raise
        raise DataError(_cannot_get(name, " ".join(str(e).split())[:300])) from e


def tfds_dirs(name: str, cache_root: Path, manual_dir: str | None) -> tuple[Path, Path | None]:
    """The training folder and the validation folder (or None) of a TFDS data set, which is downloaded on first use.

    Raises:
        UsageError: no such data set, or one without `image` and `label`.
        DataError: it cannot be downloaded and its archives are not in `manual_dir`, or it has no split `train`.
    """
    data_dir = cache_root / "tfds"
    builder = _builder(name, data_dir)
    folder = cache_root / "tfds_images" / f"{builder.info.full_name.replace('/', '-')}"

    def write_to(target: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        _refuse_offline(builder, name, manual_dir)
        _prepare(builder, name, manual_dir)
        if "train" not in builder.info.splits:
            raise DataError(
                f"{name} has no split `train`, only {', '.join(builder.info.splits)}: choose another data set"
            )
        logger.info("Writing the images of %s into %s (once)", name, folder)
        _write_split(builder, "train", target / "train")
        for split in [split for split in VALIDATION_SPLITS if split in builder.info.splits][:1]:
            _write_split(builder, split, target / "validation")

    made_once(folder, write_to, f"Waiting for another run that prepares {name}")
    validation = folder / "validation"
    return folder / "train", validation if validation.is_dir() else None
