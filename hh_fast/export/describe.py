"""What a bundle holds, as data: each file's size, tensors, cost and check; metadata.json and SHA256SUMS."""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hh_fast.config import ExportConfig
from hh_fast.export.check import Check
from hh_fast.export.formats import SAVED_MODEL, file_name
from hh_fast.export.latency import Latency, measure_latency
from hh_fast.export.origin import Origin
from hh_fast.export.saved_model import IMAGE, SCORES
from hh_fast.io.files import write_text
from hh_fast.predict.tflite import TensorForm, forms, new_interpreter
from hh_fast.predict.trial import trial_run

logger = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
PACKAGES = ("hh-fast", "tensorflow", "keras", "ai-edge-litert")


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One format of the bundle: its file's name, size, tensors, cost and check. Only a `.tflite` has the last four."""

    name: str
    file: str
    num_bytes: int
    check: Check
    input: TensorForm | None = None
    output: TensorForm | None = None
    latency: Sequence[Latency] = ()
    peak_memory_bytes: int | None = None


def _num_bytes(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


def describe_files(folder: Path, checks: Mapping[str, Check]) -> list[ExportedFile]:
    paths = {name: folder / file_name(name) for name in checks}
    lite = {name: path for name, path in paths.items() if name != SAVED_MODEL}
    logger.info("Measuring latency and memory")
    latency = measure_latency(lite)
    described = []
    for name, path in paths.items():
        common = (name, path.name, _num_bytes(path), checks[name])
        if name == SAVED_MODEL:
            described.append(ExportedFile(*common))
        else:
            tensors = forms(new_interpreter(path, 1), path)
            described.append(ExportedFile(*common, *tensors, latency[name], trial_run(path)))
    return described


def _tensor_json(form: TensorForm | None) -> dict[str, Any] | None:
    if form is None:
        return None
    quantization = {"scale": form.scale, "zero_point": form.zero_point} if form.is_quantized else None
    shape = [None if form.has_dynamic_batch else 1, *form.shape[1:]]
    return {"shape": shape, "dtype": np.dtype(form.dtype).name, "quantization": quantization}


def metadata_json(
    config: ExportConfig, origin: Origin, files: Sequence[ExportedFile], left_out: dict[str, str]
) -> dict[str, Any]:
    data = origin.data
    height, width = data.train.image_size
    train = origin.run.get("train", {})
    return {
        "name": origin.name,
        "version": config.model_version,
        "author": config.author,
        "license": config.license,
        "class_names": list(data.class_names),
        "input": {
            "name": IMAGE,
            "height": height,
            "width": width,
            "channels": "RGB",
            "range": [0, 255],
            # How an image of another aspect becomes height x width: squeeze, crop (its centre) or pad (with black).
            "resize": {
                "method": "squeeze",
                "interpolation": "bilinear",
                "half_pixel_centers": True,
                "antialias": False,
            },
        },
        "output": {"name": SCORES, "range": [0, 1], "order": "class_names"},
        "made_from": {
            "model_sha256": origin.sha256,
            "data": data.source.name,
            "data_fingerprint": data.fingerprint,
            "num_train": data.train.num_images,
            "num_validation": data.validation.num_images if data.validation else 0,
            "training": {name: value for name, value in train.items() if not name.endswith("_dir")},
            "versions": {name: version(name) for name in PACKAGES},
        },
        "calibration_images": config.calibration_images,
        "files": {
            file.name: {
                "file": file.file,
                "bytes": file.num_bytes,
                "input": _tensor_json(file.input),
                "output": _tensor_json(file.output),
                "latency": [dataclasses.asdict(latency) for latency in file.latency],
                "peak_memory_bytes": file.peak_memory_bytes,
                "check": file.check.to_json(),
            }
            for file in files
        },
        "left_out": left_out,
    }


def write_sums(folder: Path) -> None:
    """`sha256sum --check SHA256SUMS` in the folder verifies every other file."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    write_text(folder / SUMS, "".join(lines))
