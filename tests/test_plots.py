"""Pictures show every name legibly, without matplotlib's warnings (which are errors here)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.font_manager import fontManager

from hh_fast.evaluation.confusion import Confusion
from hh_fast.evaluation.plots import _label, _other_font, draw_confusion, draw_images, fonts_for
from hh_fast.io.text import drawable

NAMES = ["\N{HORSE FACE} horse", "\u99ac", "a$b$", "gr\u00f6\u00dfe", "\udcff.png"]


def diagonal(names: list[str]) -> Confusion:
    return Confusion(np.arange(len(names)), np.arange(len(names)), names)


@pytest.fixture(autouse=True)
def only_the_fonts_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if "mpl-data" in font.fname])
    _other_font.cache_clear()
    yield
    _other_font.cache_clear()


def test_characters_without_a_glyph_become_their_code_points() -> None:
    assert [_label(name) for name in NAMES] == ["U+1F434 horse", "U+99AC", r"a\$b\$", "gr\u00f6\u00dfe", "U+DCFF .png"]
    assert drawable("one\ntwo \u99ac\u99ac", str.isascii) == "one\ntwo U+99AC U+99AC"


def test_a_character_that_another_installed_font_has_is_drawn_in_it(tmp_path: Path) -> None:
    """STIX comes with matplotlib."""
    circled = "\N{CIRCLED LATIN CAPITAL LETTER A}"
    assert list(fonts_for(f"b{circled}\u99ac")) == [*fonts_for("b"), "STIXGeneral"]
    assert _label(f"{circled} \u99ac") == f"{circled} U+99AC"
    draw_confusion(diagonal([circled, "b"]), tmp_path / "circled.png", title=circled)
    draw_confusion(diagonal(["a", "b"]), tmp_path / "plain.png", title="a")
    assert (tmp_path / "circled.png").read_bytes() != (tmp_path / "plain.png").read_bytes()


def test_pictures_with_such_names(tmp_path: Path) -> None:
    draw_confusion(diagonal(NAMES), tmp_path / "confusion.png", title=NAMES[0])
    images = np.zeros((5, 24, 24, 3), np.uint8)
    draw_images(images, NAMES, [True] * 5, tmp_path / "images.png")
