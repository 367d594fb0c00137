"""Reads and writes the metadata in the `.tflite` file of an image classifier.

It is a record inside the model, read by the Android, iOS and web classifier libraries, plus the labels in a zip appended to the
file. The record is a FlatBuffer, "TFLite Model Metadata". No maintained package that is light enough for `bin/predict` ships its
schema, so SCHEMA defines the parts used here. Loads no TensorFlow.
"""

import dataclasses
import io
import mmap
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table  # type: ignore[import-untyped]

from hh_fast.errors import DataError
from hh_fast.predict.classifier import read_labels

SIGNATURE = "serving_default"
RECORD_NAME, RECORD_IDENTIFIER, MODEL_IDENTIFIER = "TFLITE_METADATA", b"M001", b"TFL3"
MIN_PARSER_VERSION = "1.0.0"
LABELS_FILE = "labels.txt"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # for reproducible bytes
# LiteRT and XNNPACK read weights in place and need them aligned, which the generated Python code does not do.
BUFFER_ALIGNMENT = 16
STATED = ("name", "description", "version", "author", "license")
# AssociatedFileType, ProcessUnitOptions, ContentProperties and ColorSpaceType
AXIS_LABELS, NORMALIZATION, IMAGE_PROPERTIES, RGB = 2, 1, 2, 1

SCALARS = {"byte": number_types.Uint8Flags, "uint": number_types.Uint32Flags}
# The tables and their fields, with a dash for each unused field. A field is text, bytes, floats, a byte, a uint, a table, or,
# in brackets, a vector of tables. The first three tables are from the public schema.fbs, the others from
# metadata_schema.fbs.
SCHEMA = """
Model: - - - - buffers:[Buffer] - metadata:[Metadata]
Buffer: data:bytes
Metadata: name:text buffer:uint
ModelMetadata: name:text description:text version:text subgraphs:[SubGraph] author:text license:text - min_parser_version:text
SubGraph: - - inputs:[Tensor] outputs:[Tensor]
Tensor: name:text description:text - content:Content process_units:[ProcessUnit] stats:Stats files:[AssociatedFile]
Content: type:byte properties:ImageProperties
ImageProperties: color_space:byte default_size:ImageSize
ImageSize: width:uint height:uint
ProcessUnit: type:byte normalization:Normalization
Normalization: mean:floats std:floats
Stats: max:floats min:floats
AssociatedFile: name:text description:text type:byte
"""


def _fields(names_and_types: str) -> dict[str, tuple[int, str]]:
    """The slot and type of each field, by name."""
    fields = [field.partition(":") for field in names_and_types.split()]
    return {name: (slot, kind) for slot, (name, _, kind) in enumerate(fields) if kind}


TABLES = {line.partition(": ")[0]: _fields(line.partition(": ")[2]) for line in SCHEMA.strip().splitlines()}


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata; missing values are empty. The input is (pixel - mean) / std, from `input_min` to `input_max`."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    input_min: tuple[float, ...] = ()
    input_max: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


class _Table:
    """A table of a FlatBuffer with its fields by name. A missing field is empty, zero or None."""

    def __init__(self, kind: str, buffer: Any, position: int | None = None):
        self.fields = TABLES[kind]
        self.table = Table(buffer, struct.unpack_from("<I", buffer)[0] if position is None else position)

    def __getitem__(self, name: str) -> Any:
        slot, kind = self.fields[name]
        offset = self.table.Offset(4 + 2 * slot)
        start = self.table.Pos + offset
        if kind == "text":
            return self.table.String(start).decode("utf-8") if offset else ""
        if kind in SCALARS:
            return self.table.Get(SCALARS[kind], start) if offset else 0
        if kind in TABLES:
            return _Table(kind, self.table.Bytes, self.table.Indirect(start)) if offset else None
        first, length = (self.table.Vector(offset), self.table.VectorLen(offset)) if offset else (0, 0)
        if kind == "bytes":
            return bytes(self.table.Bytes[first : first + length])
        if kind == "floats":
            return struct.unpack_from(f"<{length}f", self.table.Bytes, first)
        return [_Table(kind[1:-1], self.table.Bytes, self.table.Indirect(first + 4 * i)) for i in range(length)]


def _write(builder: flatbuffers.Builder, kind: str, value: Any) -> int:
    """Writes text, floats, a table (a dict) or a vector of tables; returns its offset."""
    if kind == "text":
        return int(builder.CreateString(value))
    if kind == "floats":
        return int(builder.CreateNumpyVector(np.array(value, np.float32)))
    if kind.startswith("["):
        offsets = [_write(builder, kind[1:-1], item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    prepend = {"byte": builder.PrependUint8Slot, "uint": builder.PrependUint32Slot}
    slots = []
    for name, item in value.items():
        slot, inner = TABLES[kind][name]
        if inner in prepend:
            slots.append((slot, prepend[inner], item))
        else:
            slots.append((slot, builder.PrependUOffsetTRelativeSlot, _write(builder, inner, item)))
    builder.StartObject(max(slot for slot, *_ in slots) + 1)
    for slot, prepend_slot, item in slots:
        prepend_slot(slot, item, 0)
    return int(builder.EndObject())


def _record(metadata: Metadata, image_size: tuple[int, int]) -> bytes:
    height, width = image_size
    image = {
        "name": "image",
        "description": f"RGB image of {height} x {width} pixels, values 0 to 255.",
        "content": {
            "type": IMAGE_PROPERTIES,
            "properties": {"color_space": RGB, "default_size": {"width": width, "height": height}},
        },
        "process_units": [{"type": NORMALIZATION, "normalization": {"mean": metadata.mean, "std": metadata.std}}],
        "stats": {"max": metadata.input_max, "min": metadata.input_min},
    }
    labels = {"name": LABELS_FILE, "description": "Class names, in the order of the scores.", "type": AXIS_LABELS}
    scores = {
        "name": "scores",
        "description": "One score per class, 0 to 1, with a sum of 1.",
        "stats": {"max": [1.0], "min": [0.0]},
        "files": [labels],
    }
    stated = {name: getattr(metadata, name) for name in STATED}
    subgraph = {"inputs": [image], "outputs": [scores]}
    root = {**stated, "subgraphs": [subgraph], "min_parser_version": MIN_PARSER_VERSION}
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, "ModelMetadata", root), RECORD_IDENTIFIER)
    return bytes(builder.Output())


def _with_record(model_bytes: bytes, record: bytes) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):
        def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
            if self.data is not None:
                builder.Prep(BUFFER_ALIGNMENT, len(self.data))
            return int(super().Pack(builder))

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model_bytes))
    model.buffers = [AlignedBuffer(buffer.data) for buffer in model.buffers]
    model.buffers.append(AlignedBuffer(np.frombuffer(record, np.uint8)))
    graph = model.subgraphs[0]
    named = {"image": int(graph.inputs[0]), "scores": int(graph.outputs[0])}
    for name, index in named.items():
        graph.tensors[index].name = name
    maps = [[schema.TensorMapT(name, index)] for name, index in named.items()]
    model.signatureDefs = [schema.SignatureDefT(*maps, SIGNATURE)]
    kept = [entry for entry in model.metadata or [] if entry.name != RECORD_NAME.encode()]
    model.metadata = [*kept, schema.MetadataT(RECORD_NAME, len(model.buffers) - 1)]
    builder = flatbuffers.Builder(len(model_bytes) + len(record) + 4096)
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def embed(model_bytes: bytes, metadata: Metadata, image_size: tuple[int, int]) -> bytes:
    """The `.tflite` file with `metadata` inside and the labels in an appended zip, so that it is both a model and a zip.

    Its tensors are named `image` and `scores`, also in its only signature, `serving_default`.

    Args:
        model_bytes: A `.tflite` file with one image input and one output.
        metadata: What to write.
        image_size: (height, width) in pixels.
    """
    labels = io.BytesIO()
    with zipfile.ZipFile(labels, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, ZIP_DATE), "".join(f"{name}\n" for name in metadata.labels))
    return _with_record(model_bytes, _record(metadata, image_size)) + labels.getvalue()


def _labels(path: Path, files: Sequence[_Table]) -> tuple[str, ...]:
    names = [file["name"] for file in files if file["type"] == AXIS_LABELS]
    if not names or not zipfile.is_zipfile(path):
        return ()
    with zipfile.ZipFile(path) as archive:
        return read_labels(archive.read(names[0]).decode("utf-8"))


def _parse(path: Path, content: Any) -> Metadata:
    model = _Table("Model", content)
    found = [entry["buffer"] for entry in model["metadata"] if entry["name"] == RECORD_NAME]
    if not found:
        return Metadata()
    root = _Table("ModelMetadata", model["buffers"][found[0]]["data"])
    image, scores = root["subgraphs"][0]["inputs"][0], root["subgraphs"][0]["outputs"][0]
    units = [unit["normalization"] for unit in image["process_units"] if unit["type"] == NORMALIZATION]
    stats = image["stats"]
    return Metadata(
        **{name: root[name] for name in STATED},
        mean=units[0]["mean"] if units else (),
        std=units[0]["std"] if units else (),
        input_min=stats["min"] if stats else (),
        input_max=stats["max"] if stats else (),
        labels=_labels(path, scores["files"]),
    )


def read_metadata(path: Path) -> Metadata:
    """The metadata in a `.tflite` file; an empty `Metadata` if it has none.

    Raises:
        DataError: the file is truncated or damaged.
    """
    try:
        # Memory-mapped, so that the weights are not read.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _parse(path, content)
    except OSError:
        raise
    except Exception as e:  # damage makes FlatBuffers, struct and zipfile raise nearly anything
        reason = " ".join(str(e).split()) or type(e).__name__
        raise DataError(f"{path} is truncated or damaged ({reason}): export or copy it again") from e
