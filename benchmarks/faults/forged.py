"""Forged `.keras` files: each tries to run code, read or write a file, or reach out, when it is loaded."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.hostile import judge_all, write_files
from benchmarks.faults.lab import Lab

SIZE = 8


def _layer(class_name: str, config: Any, module: str = "keras.layers", registered: str | None = None) -> Any:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


def _archive(config: Any, weights: bytes = b"", extra: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return out.getvalue()


def _sequential(*layers: Any) -> Any:
    image = _layer("InputLayer", {"batch_shape": [None, SIZE, SIZE, 3], "dtype": "float32", "name": "image"})
    end = [_layer("Flatten", {"name": "flat"}), _layer("Dense", {"name": "scores", "units": 2})]
    return _layer("Sequential", {"name": "forged", "layers": [image, *layers, *end]}, "keras")


def _weights(secret: str, *, link: bool) -> bytes:
    """Weights that lie in another file."""
    import h5py  # type: ignore[import-untyped]

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables.create_dataset("1", data=np.zeros(2, np.float32))
        if link:
            variables["0"] = h5py.ExternalLink(secret, "/secret")
        else:
            shape = (SIZE * SIZE * 3, 2)
            variables.create_dataset("0", shape, np.float32, external=[(secret, 0, 4 * shape[0] * shape[1])])
    return out.getvalue()


def forged(folder: Path) -> dict[str, bytes]:
    """Files by name; one that is not refused would leave a file in `folder` or read `folder/secret` into its weights."""
    mark, secret = str(folder / "mark"), str(folder / "secret")
    code, touch = f"open({mark!r}, 'w')", {"command": f"touch {mark}"}
    system = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    fetch = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
    inline = {"class_name": "__lambda__", "config": {"value": code, "defaults": None, "closure": None}}
    popen = _layer("Popen", {"args": ["touch", mark]}, "subprocess")
    unsafe = "enable_unsafe_deserialization"

    def lambda_of(function: Any, **further: Any) -> Any:
        return _layer("Lambda", {"name": "a", "function": function, **further})

    layers = {
        "lambda": lambda_of(inline),
        "lambda-of-os": lambda_of(system),
        "lambda-of-get-file": lambda_of(fetch, arguments={"origin": f"file://{mark}"}),
        "lambda-below": _layer("TimeDistributed", {"name": "b", "layer": lambda_of(inline)}),
        "layer-of-subprocess": popen,
        "builtin-eval": _layer("eval", {"source": code}, "builtins"),
        "activation-of-os": _layer("Activation", {"name": "a", "activation": system}),
        "initializer-of-os": _layer("Dense", {"units": 2, "kernel_initializer": _layer("system", touch, "os")}),
        "custom": _layer("Mine", {}, "evil", "evil>Mine"),
        "saved-model-layer": _layer("TFSMLayer", {"filepath": str(folder), "name": "a", "trainable": False}),
        "torch-layer": _layer("TorchModuleWrapper", {"module": {"__class__": "x"}, "name": "a"}),
        "vocabulary-file": _layer("StringLookup", {"name": "a", "vocabulary": secret}),
    }
    return {
        **{f"{name}.keras": _archive(_sequential(layer)) for name, layer in layers.items()},
        "class-of-os.keras": _archive(_layer("system", touch, "os")),
        "class-of-subprocess.keras": _archive(popen),
        "enable-unsafe.keras": _archive(_layer("function", unsafe, "keras.config", unsafe)),
        "outer-link.keras": _archive(_sequential(), _weights(secret, link=True)),
        "outer-raw.keras": _archive(_sequential(), _weights(secret, link=False)),
        "asset-out.keras": _archive(_sequential(), b"", {"assets/../../mark": b"x", mark: b"x"}),
    }


def forged_models(lab: Lab) -> None:
    """Every one must be refused in one line, and leave no mark."""
    folder = lab.work / "forged"
    files = forged(folder)
    judge_all(lab, "model", write_files(folder, files), max_peak=2_000_000_000)
    lab.check(lab.notes.get("refused") == len(files), f"one was used: {lab.notes}")
    lab.check({path.name for path in folder.iterdir()} == set(files), f"files were written to {folder}")
