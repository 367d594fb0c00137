"""The guide's Python runs as it stands there, on small pictures and small settings."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import hh_fast

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[1] / "examples" / "guide.md"


@pytest.fixture
def blocks(make_images: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The code below each heading, to be run in a folder with pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    make_images("pictures", {"horses": 15, "humans": 15}, size=(40, 50))
    Image.fromarray(np.full((40, 50, 3), (200, 60, 60), np.uint8)).save("photo.jpg")
    sections = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return {heading: "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)) for heading, text in sections}


def test_a_pretrained_network_from_photos_to_a_file(blocks: dict[str, str]) -> None:
    code = blocks["In Python"].replace('run_dir="', 'image_size=(32, 32), epochs=2, run_dir="')
    code = code.replace("export_model(run, ", 'export_model(run, formats=["int8"], min_agreement=0, export_dir=')
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["run"].class_names == ("horses", "humans")
    assert scope["classifier"].class_names == ("horses", "humans")


def test_a_frozen_network_of_ones_own_is_found(blocks: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    code = (
        blocks["Your own model"]
        .replace("(224, 224", "(64, 64")
        .replace("include_top=False", "include_top=False, weights=None")
    )
    scope: dict[str, Any] = {"keras": keras, "hh_fast": hh_fast}
    exec(code.replace('run_dir="', 'epochs=1, run_dir="'), scope)
    frozen = scope["network"].count_params()
    assert f"Frozen layers: {frozen} of {frozen + 2049} weights, computed once for each image" in caplog.text
