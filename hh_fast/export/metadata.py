"""Writes the metadata record into a `.tflite` file, and the labels into a zip behind it.

The record is a FlatBuffer that is built here field by field: the library that used to do it is no longer kept up. The
slots and the reader are in `hh_fast.predict.tflite_metadata`.
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from hh_fast.predict.tflite_metadata import (
    AXIS_LABELS,
    IMAGE_PROPERTIES,
    METADATA_IDENTIFIER,
    METADATA_NAME,
    NORMALIZATION,
    RGB,
    File,
    Metadata,
    ModelMetadata,
    Subgraph,
    Tensor,
)

LABELS_FILE = "labels.txt"
MIN_PARSER_VERSION = "1.0.0"
MODEL_IDENTIFIER = b"TFL3"
# LiteRT and XNNPACK read weights in place and want them aligned; the generated Python code does not see to it.
BUFFER_ALIGNMENT = 16
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is made

Build = Callable[[flatbuffers.Builder], int]


class _Byte(int):
    """A one-byte field (an enumeration or a union's type), where a plain int is four bytes."""


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _child(builder: flatbuffers.Builder, value: Any) -> Any:
    """The offset of a string, of a vector or of a table; numbers stay as they are."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, dict):
        return _table(builder, value)
    if isinstance(value, list):
        return _vector(builder, [_child(builder, item) for item in value])
    return value


def _table(builder: flatbuffers.Builder, fields: dict[int, Any]) -> int:
    """Writes a table from its fields by slot: str, float array, table (dict), vector of tables (list), number."""
    children = {slot: _child(builder, value) for slot, value in fields.items()}
    builder.StartObject(max(fields) + 1)
    for slot, value in fields.items():
        if isinstance(value, _Byte):
            builder.PrependUint8Slot(slot, int(value), 0)
        elif isinstance(value, int):
            builder.PrependUint32Slot(slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, children[slot], 0)
    return builder.EndObject()


def _floats(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)


def _record(metadata: Metadata, image_size: tuple[int, int]) -> bytes:
    height, width = image_size
    image = {
        Tensor.NAME: "image",
        Tensor.DESCRIPTION: f"RGB image of {height} x {width} pixels, values 0 to 255.",
        Tensor.CONTENT: {0: _Byte(IMAGE_PROPERTIES), 1: {0: _Byte(RGB), 1: {0: width, 1: height}}},
        Tensor.PROCESS_UNITS: [{0: _Byte(NORMALIZATION), 1: {0: _floats(metadata.mean), 1: _floats(metadata.std)}}],
        Tensor.STATS: {0: _floats(metadata.input_max), 1: _floats(metadata.input_min)},
    }
    scores = {
        Tensor.NAME: "scores",
        Tensor.DESCRIPTION: "One score for each class, 0 to 1; together they are 1.",
        Tensor.STATS: {0: _floats([1.0]), 1: _floats([0.0])},
        Tensor.FILES: [
            {
                File.NAME: LABELS_FILE,
                File.DESCRIPTION: "Class names, in the order of the scores.",
                File.TYPE: _Byte(AXIS_LABELS),
            }
        ],
    }
    fields: dict[int, Any] = {
        ModelMetadata.NAME: metadata.name,
        ModelMetadata.DESCRIPTION: metadata.description,
        ModelMetadata.VERSION: metadata.version,
        ModelMetadata.SUBGRAPHS: [{Subgraph.INPUTS: [image], Subgraph.OUTPUTS: [scores]}],
        ModelMetadata.AUTHOR: metadata.author,
        ModelMetadata.LICENSE: metadata.license,
        ModelMetadata.MIN_PARSER_VERSION: MIN_PARSER_VERSION,
    }
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, fields), METADATA_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):
    """A model's buffer that is written at an address that is a multiple of 16."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        data = None
        if self.data is not None:
            content = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(content), BUFFER_ALIGNMENT)
            builder.head = builder.Head() - len(content)
            builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def _aligned(data: Any) -> _AlignedBuffer:
    buffer = _AlignedBuffer()
    buffer.data = data
    return buffer


def _with_record(model_bytes: bytes, record: bytes) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model_bytes))
    model.buffers = [_aligned(buffer.data) for buffer in model.buffers]
    model.buffers.append(_aligned(np.frombuffer(record, np.uint8)))
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    kept = [other for other in model.metadata or [] if other.name not in (METADATA_NAME, METADATA_NAME.encode())]
    model.metadata = [*kept, entry]
    builder = flatbuffers.Builder(len(model_bytes) + len(record) + 4096)
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _zip_of(name: str, content: bytes) -> bytes:
    archive_bytes = io.BytesIO()
    with zipfile.ZipFile(archive_bytes, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), content)
    return archive_bytes.getvalue()


def embed(model_bytes: bytes, metadata: Metadata, image_size: tuple[int, int]) -> bytes:
    """The `.tflite` file with `metadata` inside and its labels in a zip behind; it stays a model and becomes a zip too.

    Args:
        model_bytes: A `.tflite` file of one image input and one output.
        metadata: What to write. `mean` and `std` are what a client does to pixels, (pixel - mean) / std, before a float
            input; `input_min` and `input_max` the range that comes out of it.
        image_size: (height, width) in pixels.
    """
    model = _with_record(model_bytes, _record(metadata, image_size))
    return model + _zip_of(LABELS_FILE, "".join(f"{name}\n" for name in metadata.labels).encode())
