"""Images side by side in one picture, each under the name of its class. No TensorFlow."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from hh_fast.data.explore.inspection import Report
from hh_fast.data.pixels import read_image
from hh_fast.data.scan import list_images
from hh_fast.data.sources import Source
from hh_fast.errors import DataError
from hh_fast.evaluation.plots import font_path, has_glyph
from hh_fast.io.files import atomic_path
from hh_fast.io.text import drawable, printable

logger = logging.getLogger(__name__)

TILE, CAPTION, GAP = 150, 20, 6  # pixels
PAPER, INK, MOUNT = (255, 255, 255), (40, 40, 40), (232, 232, 232)


def pick(by_class: Sequence[Sequence[str]], num_images: int) -> list[tuple[int, str]]:
    """Up to `num_images` (class, path), as evenly from the classes as they allow, spread over each class's list."""
    shares = [0] * len(by_class)
    left = num_images
    while left and any(share < len(paths) for share, paths in zip(shares, by_class, strict=True)):
        for label, paths in enumerate(by_class):
            if left and shares[label] < len(paths):
                shares[label] += 1
                left -= 1
    return [
        (label, paths[number * len(paths) // share])
        for label, (share, paths) in enumerate(zip(shares, by_class, strict=True))
        for number in range(share)
    ]


def grid_images(source: Source, report: Report, num_images: int) -> list[tuple[str, str]]:
    """(class name, path) of readable training images for a picture of `num_images`, as many of each class as there are."""
    paths, labels, class_names = list_images(source.train_dir)
    broken = {path for path, _ in report.splits[0].unreadable}
    by_class: list[list[str]] = [[] for _ in class_names]
    for path, label in zip(paths, labels.tolist(), strict=True):
        if path not in broken:
            by_class[label].append(path)
    return [(class_names[label], path) for label, path in pick(by_class, num_images)]


def save_grid(path: Path, images: Sequence[tuple[str, str]], grid_size: tuple[int, int]) -> int:
    """Writes a PNG of `grid_size` (rows, columns) to `path`, whole or not at all, and returns how many images it shows.

    `images` are (class name, path); one that does not decode any more leaves its place empty.

    Raises:
        OSError: the file cannot be written.
    """
    rows, columns = grid_size
    width, height = columns * (TILE + GAP) + GAP, rows * (TILE + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.truetype(font_path(), 11)
    shown = 0
    for number, (class_name, image_path) in enumerate(images[: rows * columns]):
        left = GAP + number % columns * (TILE + GAP)
        top = GAP + number // columns * (TILE + CAPTION + GAP)
        try:
            tile = _tile(image_path)
        except (DataError, OSError) as e:
            logger.warning("Left out of the grid: %s", printable(str(e)))
            continue
        draw.text((left + 2, top + 3), _shortened(drawable(printable(class_name), has_glyph), draw, font), INK, font)
        sheet.paste(tile, (left, top + CAPTION))
        shown += 1
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")
    return shown


def _tile(path: str) -> Image.Image:
    """The image as training sees it, whole, in the middle of a square."""
    pixels = read_image(path, None, max_image_pixels=sys.maxsize)  # those with too many were refused before
    return ImageOps.pad(Image.fromarray(pixels), (TILE, TILE), color=MOUNT)


def _shortened(text: str, draw: ImageDraw.ImageDraw, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    if draw.textlength(text, font) <= TILE:
        return text
    while text and draw.textlength(text + "...", font) > TILE:
        text = text[:-1]
    return text + "..."
