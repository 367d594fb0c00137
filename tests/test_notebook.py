"""The notebook runs from its first cell to its last, and what is committed is a whole run of it."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "examples" / "horses_or_humans.ipynb"
SCREEN = 32  # lines
SMALL = """
DATA = Path({folder!r})
IMAGE_SIZE = (96, 96)
EPOCHS = 2
"""


def text_of(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_on_small_settings(make_images: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, seed in (("train", 1), ("validation", 2)):
        make_images(f"data/{part}", {"horses": 12, "humans": 12}, size=(40, 50), seed=seed)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    settings.source = SMALL.format(folder=str(tmp_path / "data"))
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert (tmp_path / "exports" / "horses_or_humans" / "model_int8.tflite").is_file()
    printed = "".join(text_of(cell) for cell in notebook.cells if cell.cell_type == "code")
    assert "12 for training, 12 for validation" in printed
    assert "epoch 2, hh_fast           : " in printed


def test_what_is_committed_is_one_whole_run() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) == 3
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert max(len(cell.source.splitlines()) for cell in cells) <= SCREEN
