"""metadata.json and SHA256SUMS: the size, tensors, latency, memory and check of each file."""

import concurrent.futures
import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hh_fast.config import UNKNOWN, ExportConfig
from hh_fast.export.latency import Latency, measure_latency
from hh_fast.export.parity import ParityCheck
from hh_fast.export.saved_model import IMAGE, SCORES
from hh_fast.export.trained_model import TrainedModel
from hh_fast.io.cores import num_cores
from hh_fast.io.files import to_json, write_text
from hh_fast.io.versions import package_versions
from hh_fast.predict.tflite import Tensor, input_and_output, new_interpreter
from hh_fast.predict.trial import trial_run

logger = logging.getLogger(__name__)

SAVED_MODEL, SUMS = "saved_model", "SHA256SUMS"


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One format of the bundle, as in metadata.json. Only a `.tflite` file has the last four fields."""

    file: str
    bytes: int
    check: ParityCheck
    input: Tensor | None = None
    output: Tensor | None = None
    latency: list[Latency] = dataclasses.field(default_factory=list)
    peak_memory_bytes: int | None = None


def file_name(variant: str) -> str:
    return SAVED_MODEL if variant == SAVED_MODEL else f"model_{variant}.tflite"


def _num_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def _without_folders(check: ParityCheck) -> ParityCheck:
    """The check with images named by class and file only, since their folders are private."""
    worst = [dataclasses.replace(image, path="/".join(Path(image.path).parts[-2:])) for image in check.worst]
    return dataclasses.replace(check, worst=worst)


def describe_files(folder: Path, checks: Mapping[str, ParityCheck]) -> dict[str, ExportedFile]:
    """Describes the file in `folder` of each format in `checks`, with measured latency and memory."""
    logger.info("Measuring latency and memory")
    paths = {name: folder / file_name(name) for name in checks if name != SAVED_MODEL}
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        peak_memory = dict(zip(paths, pool.map(trial_run, paths.values()), strict=True))
    latency = measure_latency(paths)
    files = {}
    for name, check in checks.items():
        path = folder / file_name(name)
        image, scores = input_and_output(new_interpreter(path, 1), path) if name in paths else (None, None)
        files[name] = ExportedFile(
            path.name,
            _num_bytes(path),
            _without_folders(check),
            image,
            scores,
            latency.get(name, []),
            peak_memory.get(name),
        )
    return files


def metadata_json(
    config: ExportConfig, trained: TrainedModel, files: Mapping[str, ExportedFile], left_out: Mapping[str, str]
) -> dict[str, Any]:
    height, width = trained.image_size
    train = to_json(trained.run.train) if trained.run else {}
    training = {name: value for name, value in train.items() if not name.endswith("_dir") and name != "model"}
    return {
        "name": trained.name,
        "version": config.model_version,
        "author": config.author,
        "license": config.license,
        "class_names": list(trained.class_names),
        # The class for pictures that belong to no other class; null if there is none.
        "unknown_class": UNKNOWN if trained.has_unknown else None,
        "input": {
            "name": IMAGE,
            "height": height,
            "width": width,
            "channels": "RGB",
            "range": [0, 255],
            # How an image of another aspect ratio is fitted: stretch, crop (centre) or pad (black).
            "resize": {
                "aspect": "stretch",
                "interpolation": "bilinear",
                "half_pixel_centers": True,
                "antialias": False,
            },
        },
        "output": {"name": SCORES, "range": [0, 1], "order": "class_names"},
        "made_from": {
            "model_sha256": trained.sha256,
            "data": trained.data_name,
            "data_fingerprint": trained.fingerprint,
            "num_train": trained.num_train,
            "num_validation": len(trained.validation),
            "num_validation_missing": trained.num_missing,
            "training": training,
            "versions": package_versions("ai-edge-litert"),
        },
        "calibration_images": config.num_calibration(len(trained.train)),
        "files": to_json(files),
        "left_out": left_out,
    }


def write_sums(folder: Path) -> None:
    """Writes SHA256SUMS, with which `sha256sum --check SHA256SUMS` verifies all other files."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    write_text(folder / SUMS, "".join(lines))
