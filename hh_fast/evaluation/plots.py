"""Plots of a run: learning curves, confusion matrix, and the worst validation images."""

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from hh_fast.evaluation.confusion import Confusion
from hh_fast.io.files import atomic_path
from hh_fast.io.text import drawable

TRAIN_COLOR, VALIDATION_COLOR = "#1f77b4", "#d95f02"


def save_figure(figure: Figure, path: Path) -> None:
    if isinstance(layout := figure.get_layout_engine(), ConstrainedLayoutEngine):
        layout.set(w_pad=0.12, h_pad=0.12)  # inches to the edge
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=110)


def has_glyph(character: str, path: str) -> bool:
    """Whether the font at `path` has a glyph for `character`."""
    return bool(get_font(path).get_char_index(ord(character)))


@functools.cache
def _other_font(character: str) -> Any:
    """An installed font with a character that matplotlib's own font lacks, or None.

    Excludes the font of last resort, which draws boxes, and colour fonts, which matplotlib draws blank.
    """
    fonts = [font for font in fontManager.ttflist if not re.search(r"last ?resort|color", font.name, re.IGNORECASE)]
    upright = (font for font in fonts if font.style == "normal" and font.weight in (400, "normal"))
    found = (font for font in upright if Path(font.fname).is_file() and has_glyph(character, font.fname))
    return next(found, None) if character.isprintable() else None


def fonts_for(text: str) -> dict[str, str]:
    """Names and paths of the fonts for `text`: matplotlib's, then installed ones for characters that it lacks."""
    own = findfont(FontProperties())
    others = (_other_font(c) for c in text if not has_glyph(c, own))
    return {get_font(own).family_name: own} | {font.name: font.fname for font in others if font}


def _label(text: str) -> str:
    """`text` for matplotlib: without characters that no font has, and with dollar signs escaped."""
    paths = fonts_for(text).values()
    return drawable(text, lambda c: any(has_glyph(c, path) for path in paths)).replace("$", r"\$")


def _curve(axes: Axes, history: Sequence[dict[str, float]], name: str, best_epoch: int) -> None:
    epochs = [int(row["epoch"]) for row in history]
    for prefix, label, color in (("", "training", TRAIN_COLOR), ("val_", "validation", VALIDATION_COLOR)):
        if prefix + name in history[0]:
            values = [row[prefix + name] for row in history]
            axes.plot(epochs, values, marker="o", markersize=3.5, color=color, label=f"{label} (last {values[-1]:.3f})")
    axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
    axes.set_xlabel("epoch")
    axes.set_title(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def draw_curves(history: Sequence[dict[str, float]], path: Path, *, best_epoch: int) -> None:
    """Draws training and validation loss and accuracy by epoch, as a PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, history, "loss", best_epoch)
    _curve(right, history, "accuracy", best_epoch)
    save_figure(figure, path)


def draw_confusion(confusion: Confusion, path: Path, *, title: str) -> None:
    """Draws the confusion matrix with its counts as a PNG, a row for each class that has images."""
    shown = confusion.classes_shown()  # of many classes, those with the most errors
    names = [shortened(confusion.class_names[i], start=True) for i in shown]
    fonts = list(fonts_for("".join(names)))
    tested = np.flatnonzero(confusion.counts[shown])  # `unknown` has no images
    matrix, num_classes = confusion.matrix(shown)[tested], len(confusion.class_names)
    side = max(4.0, 0.6 * len(shown) + 2.5)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    shares = matrix / confusion.counts[shown[tested], np.newaxis]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        if (count := matrix[row, column]) or tested[row] == column:
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=12)
    rotation = 0 if max(map(len, names)) * len(names) <= 40 else 90
    labels = list(map(_label, names))
    axes.set_xticks(range(len(shown)), labels, rotation=rotation, fontfamily=fonts)
    axes.set_yticks(range(len(tested)), [labels[i] for i in tested], fontfamily=fonts)
    axes.set_xlabel("predicted\n(shade: fraction of the row)")
    axes.set_ylabel("true")
    lines = [title, f"accuracy {confusion.accuracy:.3f}: {confusion.num_right:,} of {confusion.num_images:,} images"]
    if len(shown) < num_classes:
        lines.append(f"the {len(shown)} of {num_classes:,} classes with the most errors")
    axes.set_title("\n".join(map(_label, lines)), fontfamily=list(fonts_for(title)))
    save_figure(figure, path)


def draw_images(
    images: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str],
    wrong: Iterable[bool],
    path: Path,
    *,
    heading: str = "",
) -> None:
    """Draws images uint8 (height, width, 3) in rows of four, as a PNG, each below its title, which is red if `wrong`."""
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    # Fixed positions, in inches, on one pair of axes: axes per image and a layout engine take many times as long.
    width, height, side = 2.8, 3.4, 2.6
    figure = Figure(figsize=(width * max(columns, 2), height * rows + 0.35 * bool(heading)))
    right, top = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, right), ylim=(0, top), autoscale_on=False)
    axes.set_axis_off()
    axes.text(right / 2, top - 0.2, _label(heading), ha="center", fontsize=10, fontfamily=list(fonts_for(heading)))
    for i, (image, title, is_wrong) in enumerate(zip(images, titles, wrong, strict=False)):
        middle, bottom = width * (i % columns + 0.5), height * (rows - 1 - i // columns) + 0.1
        tall, wide = side * np.array(image.shape[:2]) / max(image.shape[:2])
        axes.imshow(image, extent=(middle - wide / 2, middle + wide / 2, bottom, bottom + tall), aspect="auto")
        place = {"x": middle, "y": bottom + tall + 0.06, "ha": "center", "va": "bottom"}
        color = "#b2182b" if is_wrong else "black"
        axes.text(s=_label(title), fontsize=8, color=color, fontfamily=list(fonts_for(title)), **place)
    save_figure(figure, path)


def shortened(name: str, *, start: bool = False) -> str:
    """The end of a name (with `start`, its beginning), at most 30 characters."""
    if len(name) <= 30:
        return name
    return f"{name[:29]}…" if start else f"…{name[-29:]}"
