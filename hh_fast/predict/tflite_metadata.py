"""What a `.tflite` file says of itself: the metadata record inside the model, and the labels in the zip behind it.

The record is a FlatBuffer, "TFLite Model Metadata", which the Android, iOS and web libraries for classifiers read.
The slot numbers below are the order of the fields in the two public schemas, `schema.fbs` (the model) and
`metadata_schema.fbs` (the record). Loads no TensorFlow.
"""

import dataclasses
import enum
import struct
import zipfile
from pathlib import Path

from flatbuffers import number_types  # type: ignore[import-untyped]
from flatbuffers.table import Table  # type: ignore[import-untyped]

from hh_fast.errors import DataError
from hh_fast.predict.classifier import read_labels

METADATA_NAME = "TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"
AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
NORMALIZATION = 1  # ProcessUnitOptions.NormalizationOptions
IMAGE_PROPERTIES = 2  # ContentProperties.ImageProperties
RGB = 1  # ColorSpaceType.RGB


class Model(enum.IntEnum):
    """Slots of the model's root table."""

    BUFFERS = 4
    METADATA = 6


class ModelMetadata(enum.IntEnum):
    NAME = 0
    DESCRIPTION = 1
    VERSION = 2
    SUBGRAPHS = 3
    AUTHOR = 4
    LICENSE = 5
    MIN_PARSER_VERSION = 7


class Subgraph(enum.IntEnum):
    INPUTS = 2
    OUTPUTS = 3


class Tensor(enum.IntEnum):
    NAME = 0
    DESCRIPTION = 1
    CONTENT = 3
    PROCESS_UNITS = 4
    STATS = 5
    FILES = 6


class File(enum.IntEnum):
    NAME = 0
    DESCRIPTION = 1
    TYPE = 2


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What was read; empty where the file does not say. The input wants (pixel - mean) / std."""

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


class _Record:
    """One FlatBuffer table, its fields read by slot."""

    def __init__(self, buffer: bytes, position: int):
        self.table = Table(buffer, position)

    @classmethod
    def root(cls, buffer: bytes) -> "_Record":
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def _field(self, slot: int) -> int:
        offset = self.table.Offset(4 + 2 * slot)
        return self.table.Pos + offset if offset else 0

    def number(self, slot: int, flags: type = number_types.Uint8Flags) -> int:
        field = self._field(slot)
        return self.table.Get(flags, field) if field else 0

    def text(self, slot: int) -> str:
        field = self._field(slot)
        return self.table.String(field).decode("utf-8") if field else ""

    def record(self, slot: int) -> "_Record | None":
        field = self._field(slot)
        return _Record(self.table.Bytes, self.table.Indirect(field)) if field else None

    def _vector(self, slot: int) -> tuple[int, int]:
        offset = self.table.Offset(4 + 2 * slot)
        return (self.table.Vector(offset), self.table.VectorLen(offset)) if offset else (0, 0)

    def records(self, slot: int) -> list["_Record"]:
        start, length = self._vector(slot)
        return [_Record(self.table.Bytes, self.table.Indirect(start + 4 * i)) for i in range(length)]

    def floats(self, slot: int) -> tuple[float, ...]:
        start, length = self._vector(slot)
        return struct.unpack_from(f"<{length}f", self.table.Bytes, start)

    def data(self, slot: int) -> bytes:
        start, length = self._vector(slot)
        return bytes(self.table.Bytes[start : start + length])


def _metadata_buffer(model: bytes) -> bytes | None:
    root = _Record.root(model)
    buffers = root.records(Model.BUFFERS)
    for entry in root.records(Model.METADATA):
        if entry.text(0) == METADATA_NAME:
            return buffers[entry.number(1, number_types.Uint32Flags)].data(0)
    return None


def _labels(path: Path, tensor: _Record) -> tuple[str, ...]:
    for file in tensor.records(Tensor.FILES):
        if file.number(File.TYPE) == AXIS_LABELS and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return read_labels(archive.read(file.text(File.NAME)).decode("utf-8"))
    return ()


def _parse(path: Path, buffer: bytes) -> Metadata:
    root = _Record.root(buffer)
    subgraph = root.records(ModelMetadata.SUBGRAPHS)[0]
    image, scores = subgraph.records(Subgraph.INPUTS)[0], subgraph.records(Subgraph.OUTPUTS)[0]
    normalization = next(
        (unit.record(1) for unit in image.records(Tensor.PROCESS_UNITS) if unit.number(0) == NORMALIZATION), None
    )
    stats = image.record(Tensor.STATS)
    return Metadata(
        name=root.text(ModelMetadata.NAME),
        description=root.text(ModelMetadata.DESCRIPTION),
        version=root.text(ModelMetadata.VERSION),
        author=root.text(ModelMetadata.AUTHOR),
        license=root.text(ModelMetadata.LICENSE),
        mean=normalization.floats(0) if normalization else (),
        std=normalization.floats(1) if normalization else (),
        input_max=stats.floats(0) if stats else (),
        input_min=stats.floats(1) if stats else (),
        labels=_labels(path, scores),
    )


def read_metadata(path: Path) -> Metadata:
    """The metadata inside a `.tflite` file; an empty `Metadata` where it has none.

    Raises:
        DataError: the file's tables or its zip point outside of it.
    """
    try:
        buffer = _metadata_buffer(path.read_bytes())
        return Metadata() if buffer is None else _parse(path, buffer)
    except OSError:
        raise
    except Exception as e:  # damage makes FlatBuffers, struct and zipfile raise nearly anything
        reason = " ".join(str(e).split()) or type(e).__name__
        raise DataError(f"{path} is cut off or damaged ({reason}): export or copy it again") from e
