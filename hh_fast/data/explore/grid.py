"""Images side by side in one picture, each under the name of its class. No TensorFlow."""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from hh_fast.augmentation import Augmentation, apply, draw
from hh_fast.data.explore.inspection import Report
from hh_fast.data.images import list_images
from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.data.sources import Source
from hh_fast.errors import DataError, require
from hh_fast.evaluation.plots import fonts_for, has_glyph
from hh_fast.io.files import atomic_path
from hh_fast.io.text import drawable, printable

logger = logging.getLogger(__name__)

T = TypeVar("T")
TILE, CAPTION, LINE, GAP, HEADING = 180, 20, 15, 12, 30  # pixels
PAPER, INK, MOUNT, CARD = (255, 255, 255), (40, 40, 40), (232, 232, 232), (203, 220, 238)
SOFTWARE = "hh_fast"  # in the PNG, where that says which program wrote it
TAIL = 10  # characters of a caption that stay where it is too long


def pick(by_class: Sequence[Sequence[T]], num_images: int) -> list[tuple[int, T]]:
    """Up to `num_images` (class, image), as evenly from the classes as they allow, spread over each class's list."""
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


@dataclasses.dataclass(frozen=True)
class GridImage:
    """An image to show under a `caption` of any lines; `index` is its position in the full listing.

    Neighbours of one `group` lie on one card.
    """

    caption: str
    path: str
    index: int = 0
    group: int | None = None


def grid_images(source: Source, report: Report, num_images: int) -> list[GridImage]:
    """Readable training images for a picture of `num_images`, as many of each class as there are."""
    images, _ = list_images(source.train_dir)
    broken = {path for path, _ in report.splits[0].unreadable}
    by_class = [
        [i for i in np.flatnonzero(images.labels == label).tolist() if images.paths[i] not in broken]
        for label in range(len(images.class_names))
    ]
    return [GridImage(images.class_names[label], images.paths[i], i) for label, i in pick(by_class, num_images)]


@dataclasses.dataclass(frozen=True)
class Variants:
    """What training makes of an image in its first epochs, by `augmentation` and `seed`, at `image_size` (height, width)."""

    augmentation: Augmentation
    seed: int
    image_size: tuple[int, int]

    def of(self, pixels: np.ndarray, index: int, epoch: int) -> np.ndarray:
        a = self.augmentation
        drawn = draw(a, self.image_size, seed=self.seed, epoch=epoch, indices=np.array([index]))
        return apply([pixels], drawn, fill_mode=a.fill_mode, cval=a.cval)[0]


def _tiles(
    images: Sequence[GridImage | None], columns: int, variants: Variants | None
) -> Iterator[tuple[str, np.ndarray | None]]:
    """Captions and pixels, left to right and down: the images, or each at the head of a row of its variants."""
    form = ImageForm(variants.image_size) if variants else None
    for image in images:
        if image is None:
            yield "", None
            continue
        try:
            pixels = read_pixels(image.path, form)  # those with too many pixels were refused before
        except (DataError, OSError) as e:
            logger.warning("Left out of the grid: %s", printable(str(e)))
            yield from [("", None)] * (columns if variants else 1)
            continue
        yield image.caption, pixels
        if variants:
            for epoch in range(columns - 1):
                yield f"epoch {epoch + 1}", variants.of(pixels, image.index, epoch)


def require_replaceable(path: Path) -> None:
    """Raises `UsageError` if a file at `path` is not a grid of ours, such as a photo of the person's own."""
    if path.is_file():
        try:
            with Image.open(path) as image:
                is_ours = image.info.get("Software") == SOFTWARE
        except (OSError, SyntaxError):  # no image, or a damaged one
            is_ours = False
        require(
            is_ours,
            "`grid` must not be a file that bin/explore did not draw: give another name, or move the file",
            path,
        )


def save_grid(
    path: Path,
    images: Sequence[GridImage | None],
    grid_size: tuple[int, int],
    variants: Variants | None = None,
    heading: str = "",
) -> int:
    """Writes a PNG of `grid_size` (rows, columns) to `path`, whole or not at all, and returns how many pictures it shows.

    With `variants` each row is an image and what training makes of it. None, and an image that does not decode any more, leave
    their place empty.

    Raises:
        OSError: the file cannot be written.
    """
    rows, columns = grid_size
    above = CAPTION + LINE * max((image.caption.count("\n") for image in images if image), default=0)
    first = GAP + (HEADING if heading else 0)
    width, height = columns * (TILE + GAP) + GAP, rows * (TILE + above + GAP) + first
    sheet = Image.new("RGB", (width, height), PAPER)
    draw_on = ImageDraw.Draw(sheet)
    _write(heading, (GAP, GAP), draw_on, width - 2 * GAP, 14)
    groups = [image.group if image and not variants else None for image in images]
    shown = 0
    places = itertools.product(range(rows), range(columns))
    for i, ((row, column), (caption, pixels)) in enumerate(
        zip(places, _tiles(images, columns, variants), strict=False)
    ):
        if pixels is None:
            continue
        left, top = GAP + column * (TILE + GAP), first + row * (TILE + above + GAP)
        if not variants and groups[i] is not None:
            goes_on = column + 1 < columns and groups[i : i + 2] == [groups[i]] * 2
            right = left + TILE + (GAP if goes_on else GAP // 4)
            draw_on.rectangle((left - GAP // 4, top, right, top + above + TILE + GAP // 4), CARD)
        for number, line in enumerate(caption.split("\n")):
            _write(line, (left + 2, top + 3 + LINE * number), draw_on, TILE - 2, 11)
        sheet.paste(ImageOps.pad(Image.fromarray(pixels), (TILE, TILE), color=MOUNT), (left, top + above))
        shown += 1
    with atomic_path(path) as temporary:
        mark = PngImagePlugin.PngInfo()
        mark.add_text("Software", SOFTWARE)
        sheet.save(temporary, "PNG", pnginfo=mark)
    return shown


def _write(text: str, place: tuple[int, int], draw_on: ImageDraw.ImageDraw, width: int, size: int) -> None:
    """Draws `text`, which loses characters from its middle where it is wider than `width`."""
    own, *others = fonts_for(text).values()  # Pillow draws a text in one font
    path = others[0] if others else own
    font = ImageFont.truetype(path, size)
    text = drawable(printable(text), functools.partial(has_glyph, path=path))
    if draw_on.textlength(text, font) > width:
        start, end = text[:-TAIL], text[-TAIL:]
        while start and draw_on.textlength(f"{start}...{end}", font) > width:
            start = start[:-1]
        text = f"{start}...{end}"
    draw_on.text(place, text, INK, font)
