"""Files that a stranger might hand over: small ones that would take much memory, and models that would run code."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.faults.hostile import encoded

PNG_START = b"\x89PNG\r\n\x1a\n"
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


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _claiming(data: bytes, form: str, at: int, *sides: int) -> bytes:
    """The file with other sides in its header."""
    out = bytearray(data)
    out[at : at + struct.calcsize(form)] = struct.pack(form, *sides)
    return bytes(out)


def bombs() -> dict[str, bytes]:
    """Small files that would take much memory or time; those whose name begins with `refused` must be refused."""
    plain, baseline = encoded("PNG", "RGB"), encoded("JPEG", "L")
    zeros = zlib.compress(bytes(1 << 28), 9)
    frame = next(i for i in range(len(baseline)) if baseline[i] == 0xFF and baseline[i + 1] == 0xC0)
    huge_jpeg = _claiming(baseline, ">HH", frame + 5, 60_000, 60_000)
    # What a reader of segments takes for a small frame, libjpeg passes over as stuffing on its way to the huge one.
    small_frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0"
    progressive = encoded("JPEG", "L", side=3000, progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    gif = encoded("GIF", "P", side=2000)
    first_frame = gif.index(b"\x2c", 13)

    def png_of(width: int, height: int) -> bytes:
        head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return PNG_START + head + _chunk(b"IDAT", zlib.compress(bytes(10_000))) + _chunk(b"IEND", b"")

    def webp(kind: bytes, body: bytes) -> bytes:
        part = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        return b"RIFF" + struct.pack("<I", 4 + len(part)) + b"WEBP" + part

    return {
        "refused-png-claims.png": png_of(60_000, 60_000),
        "refused-png-just-over.png": png_of(10_001, 10_000),
        "png-second-header.png": plain[:33] + png_of(20_000, 20_000)[8:],
        "png-text.png": plain[:33] + _chunk(b"zTXt", b"k\0\0" + zeros) + plain[33:],
        "png-many-texts.png": plain[:33] + _chunk(b"zTXt", b"k\0\0" + zeros[:60_000]) * 200 + plain[33:],
        "png-profile.png": plain[:33] + _chunk(b"iCCP", b"k\0\0" + zeros) + plain[33:],
        "png-many-chunks.png": plain[:33] + _chunk(b"tEXt", b"k\0x") * 200_000 + plain[33:],
        "refused-bmp-claims.bmp": _claiming(encoded("BMP", "RGB"), "<II", 18, 60_000, 60_000),
        "refused-jpeg-claims.jpg": huge_jpeg,
        "refused-jpeg-hidden-frame.jpg": b"\xff\xd8\xff\xff\0" + struct.pack(">H", 2) + small_frame + huge_jpeg[2:],
        "refused-jpeg-many-scans.jpg": progressive[:-2] + progressive[last_scan:-2] * 2000 + progressive[-2:],
        "refused-gif-screen.gif": _claiming(encoded("GIF", "P"), "<HH", 6, 60_000, 60_000),
        "refused-gif-frame.gif": _claiming(gif, "<HH", first_frame + 5, 12_000, 12_000),
        "gif-many-frames.gif": gif[:-1] + gif[first_frame:-1] * 1000 + gif[-1:],
        "refused-webp-canvas.png": webp(b"VP8X", bytes(4) + (59_999).to_bytes(3, "little") * 2),
        "refused-webp-lossless.png": webp(b"VP8L", b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(40)),
    }
