"""Forged `.keras` files: each tries to run code, read or write a file, or reach out, when it is loaded."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faultlib.counts import Counts
from benchmarks.faultlib.models import judge_models

SIZE = 8


def _layer(class_name: str, config: Any, module: str = "keras.layers", registered: str | None = None) -> Any:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


def _sequential(*layers: Any) -> Any:
    image = _layer("InputLayer", {"batch_shape": [None, SIZE, SIZE, 3], "dtype": "float32", "name": "image"})
    end = [_layer("Flatten", {"name": "flat"}), _layer("Dense", {"name": "scores", "units": 2})]
    return _layer("Sequential", {"name": "forged", "layers": [image, *layers, *end]}, "keras")


def _archive(config: Any, weights: bytes = b"", extra: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return out.getvalue()


def _h5(**external: str) -> bytes:
    import h5py  # type: ignore[import-untyped]

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables.create_dataset("1", data=np.zeros(2, np.float32))
        if "link" in external:
            variables["0"] = h5py.ExternalLink(external["link"], "/secret")
        else:
            path = external["raw"]
            variables.create_dataset("0", (SIZE * SIZE * 3, 2), np.float32, external=[(path, 0, SIZE * SIZE * 6 * 4)])
    return out.getvalue()


def forged(folder: Path) -> dict[str, bytes]:
    """Files by name; one that is not refused would leave a file in `folder` or read `folder/secret` into its weights."""
    mark = str(folder / "mark")
    touch = f"touch {mark}"
    code = f"open({mark!r}, 'w')"
    function = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    lambda_value = {"class_name": "__lambda__", "config": {"value": code, "defaults": None, "closure": None}}
    fetch = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
    return {
        "lambda.keras": _archive(_sequential(_layer("Lambda", {"name": "a", "function": lambda_value}))),
        "lambda-of-os.keras": _archive(_sequential(_layer("Lambda", {"name": "a", "function": function}))),
        "lambda-of-get-file.keras": _archive(
            _sequential(_layer("Lambda", {"name": "a", "function": fetch, "arguments": {"origin": f"file://{mark}"}}))
        ),
        "lambda-below.keras": _archive(
            _sequential(
                _layer(
                    "TimeDistributed",
                    {"name": "a", "layer": _layer("Lambda", {"name": "b", "function": lambda_value})},
                )
            )
        ),
        "class-of-os.keras": _archive(_layer("system", {"command": touch}, "os")),
        "class-of-subprocess.keras": _archive(_layer("Popen", {"args": ["touch", mark]}, "subprocess")),
        "layer-of-subprocess.keras": _archive(_sequential(_layer("Popen", {"args": ["touch", mark]}, "subprocess"))),
        "builtin-eval.keras": _archive(_sequential(_layer("eval", {"source": code}, "builtins"))),
        "activation-of-os.keras": _archive(_sequential(_layer("Activation", {"name": "a", "activation": function}))),
        "initializer-of-os.keras": _archive(
            _sequential(_layer("Dense", {"units": 2, "kernel_initializer": _layer("system", {"command": touch}, "os")}))
        ),
        "custom.keras": _archive(_sequential(_layer("Mine", {}, "evil", "evil>Mine"))),
        "saved-model-layer.keras": _archive(
            _sequential(_layer("TFSMLayer", {"filepath": str(folder), "name": "a", "trainable": False}))
        ),
        "torch-layer.keras": _archive(
            _sequential(_layer("TorchModuleWrapper", {"module": {"__class__": "x"}, "name": "a"}, "keras.layers"))
        ),
        "vocabulary-file.keras": _archive(
            _sequential(_layer("StringLookup", {"name": "a", "vocabulary": str(folder / "secret")}))
        ),
        "enable-unsafe.keras": _archive(
            _layer("function", "enable_unsafe_deserialization", "keras.config", "enable_unsafe_deserialization")
        ),
        "outer-link.keras": _archive(_sequential(), _h5(link=str(folder / "secret"))),
        "outer-raw.keras": _archive(_sequential(), _h5(raw=str(folder / "secret"))),
        "asset-out.keras": _archive(_sequential(), b"", {"assets/../../mark": b"x", mark: b"x"}),
    }


def forged_models(work: Path) -> Counts:
    """Every one must be refused in one line, and leave no mark."""
    counts = Counts("forged .keras")
    work.mkdir(parents=True, exist_ok=True)
    files = forged(work)
    for name, data in files.items():
        (work / name).write_bytes(data)
    judge_models([str(work / name) for name in files], counts)
    counts.check(counts.notes.get("refused") == len(files), f"one was used: {counts.notes}")
    counts.check({path.name for path in work.iterdir()} == set(files), f"files were written to {work}")
    return counts
