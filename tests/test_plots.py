"""Pictures show every name legibly, without matplotlib's warnings (which are errors here)."""

from pathlib import Path

import numpy as np

from hh_fast.evaluation.plots import _label, draw_confusion, draw_images
from hh_fast.io.text import drawable

NAMES = ["\N{HORSE FACE} horse", "\u99ac", "a$b$", "gr\u00f6\u00dfe", "\udcff.png"]


def test_characters_without_a_glyph_become_their_code_points() -> None:
    assert [_label(name) for name in NAMES] == ["U+1F434 horse", "U+99AC", r"a\$b\$", "gr\u00f6\u00dfe", "U+DCFF .png"]
    assert drawable("one\ntwo \u99ac\u99ac", str.isascii) == "one\ntwo U+99AC U+99AC"


def test_pictures_with_such_names(tmp_path: Path) -> None:
    draw_confusion(np.eye(5, dtype=int), NAMES, tmp_path / "confusion.png", title=NAMES[0])
    images = np.zeros((5, 24, 24, 3), np.uint8)
    draw_images(images, NAMES, [True] * 5, tmp_path / "images.png")
