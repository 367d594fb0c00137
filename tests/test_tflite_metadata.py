"""Metadata in a `.tflite` file, read back by our reader and by the generated schema of MediaPipe."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hh_fast.errors import DataError
from hh_fast.predict.tflite_metadata import Metadata, read_metadata

pytest_plugins = ["small_run"]

WRITTEN = Metadata(
    name="a name",
    description="ä description",
    version="3",
    author="A. Author",
    license="apache-2.0",
    mean=(127.5,),
    std=(2.0,),
    input_min=(-63.75,),
    input_max=(63.75,),
    labels=("horses", "hümans"),
)


@pytest.fixture
def plain(bundle: Path) -> bytes:
    """An exported model without the zip behind it."""
    content = (bundle / "model_float32.tflite").read_bytes()
    return content[: content.rindex(b"PK\x03\x04")]


@pytest.fixture
def embedded(plain: bytes, tmp_path: Path) -> Path:
    from hh_fast.predict.tflite_metadata import embed

    path = tmp_path / "model.tflite"
    path.write_bytes(embed(plain, WRITTEN, (96, 128)))
    return path


def test_reads_back_what_was_written(embedded: Path) -> None:
    assert read_metadata(embedded) == WRITTEN


def test_writing_again_replaces_it(embedded: Path, plain: bytes) -> None:
    from hh_fast.predict.tflite_metadata import embed

    embedded.write_bytes(embed(plain, Metadata(name="other", labels=("a", "b")), (96, 96)))
    assert read_metadata(embedded) == Metadata(name="other", labels=("a", "b"))


def test_the_same_bytes_each_time(embedded: Path, plain: bytes) -> None:
    from hh_fast.predict.tflite_metadata import embed

    assert embed(plain, WRITTEN, (96, 128)) == embedded.read_bytes()


def test_it_is_a_zip_with_the_labels(embedded: Path) -> None:
    with zipfile.ZipFile(embedded) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode() == "horses\nhümans\n"


def test_weights_stay_aligned_and_whole(embedded: Path, plain: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    content = embedded.read_bytes()
    before, after = schema.Model.GetRootAs(plain), schema.Model.GetRootAs(content)
    assert after.Description() == before.Description()
    for i in range(before.BuffersLength()):
        data = after.Buffers(i).DataAsNumpy()
        np.testing.assert_array_equal(data, before.Buffers(i).DataAsNumpy())
        if not isinstance(data, int):
            start = (
                data.__array_interface__["data"][0] - np.frombuffer(content, np.uint8).__array_interface__["data"][0]
            )
            assert start % 16 == 0


def test_the_public_schema_reads_every_field(embedded: Path) -> None:
    schema = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    from ai_edge_litert import schema_py_generated

    model = schema_py_generated.ModelT.InitFromObj(schema_py_generated.Model.GetRootAs(embedded.read_bytes()))
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    record = bytes(model.buffers[entry.buffer].data)
    assert record[4:8] == b"M001"
    root = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(record))
    assert (root.name, root.description) == (b"a name", "ä description".encode())
    assert (root.version, root.author, root.license) == (b"3", b"A. Author", b"apache-2.0")
    assert root.minParserVersion == b"1.0.0"
    (subgraph,) = root.subgraphMetadata
    (image,), (scores,) = subgraph.inputTensorMetadata, subgraph.outputTensorMetadata
    assert image.content.contentPropertiesType == schema.ContentProperties.ImageProperties
    properties = image.content.contentProperties
    assert properties.colorSpace == schema.ColorSpaceType.RGB
    assert (properties.defaultSize.height, properties.defaultSize.width) == (96, 128)
    (unit,) = image.processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (list(unit.options.mean), list(unit.options.std)) == ([127.5], [2.0])
    assert (list(image.stats.min), list(image.stats.max)) == ([-63.75], [63.75])
    (labels,) = scores.associatedFiles
    assert labels.name == b"labels.txt"
    assert labels.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS


def test_a_model_without_metadata_says_nothing(plain: bytes, tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(plain))
    model.metadata = []
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "bare.tflite").write_bytes(bytes(builder.Output()))
    assert read_metadata(tmp_path / "bare.tflite") == Metadata()


@pytest.mark.parametrize("cut", [12, 1000, 5000])
def test_a_cut_off_file_is_one_clear_line(cut: int, embedded: Path) -> None:
    embedded.write_bytes(embedded.read_bytes()[:cut])
    with pytest.raises(DataError) as caught:
        read_metadata(embedded)
    assert str(caught.value).startswith(f"{embedded} is truncated or damaged (")
    assert str(caught.value).endswith("): export or copy it again")


def test_labels_missing_from_the_zip(embedded: Path) -> None:
    content = embedded.read_bytes()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.txt", "x")
    embedded.write_bytes(content[: content.rindex(b"PK\x03\x04")] + other.getvalue())
    with pytest.raises(DataError, match="is truncated or damaged .*labels.txt"):
        read_metadata(embedded)
