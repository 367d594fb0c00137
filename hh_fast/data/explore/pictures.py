"""What was found among the photos, as pictures: in the wrong folder, the same picture twice, unlike all others. No TensorFlow."""

import logging
from collections.abc import Sequence
from pathlib import Path

from hh_fast.data.explore.grid import GridImage, save_grid
from hh_fast.data.explore.inspection import Report
from hh_fast.data.explore.labels import to_look_at
from hh_fast.io.output_folder import OutputFolder

logger = logging.getLogger(__name__)

COLUMNS, MOST_SHOWN = 6, 24
NAMES = WRONG_FOLDER, SAME_PICTURE, UNLIKE_OTHERS = "wrong_folder.png", "same_picture.png", "unlike_others.png"


def output_folder(path: Path) -> OutputFolder:
    return OutputFolder(path, "findings_dir", "findings", NAMES)


def draw_findings(folder: OutputFolder, report: Report) -> None:
    """Writes a PNG for each kind of finding into `folder`, up to 24 photos each, in place of those of an earlier call.

    Raises:
        UsageError, DataError: as `OutputFolder.held`.
        OSError: a file cannot be written.
    """
    suspects = to_look_at(report.wrong_folder or ())
    unlike, copies = report.unlike_others or (), report.near_copies
    drawn: dict[str, tuple[str, Sequence[GridImage | None]]] = {
        WRONG_FOLDER: (
            f"In the wrong folder? {_first(len(suspects), 'photos')} that look like another class",
            [
                GridImage(
                    f"{one.class_name}?\nlooks like {one.looks_like} {one.looks_like_probability:.2f}\n{Path(one.path).name}",
                    one.path,
                )
                for one in suspects
            ],
        ),
        SAME_PICTURE: (f"The same picture more than once: {len(copies):,} groups", in_groups(copies)),
        UNLIKE_OTHERS: (
            "Unlike all others of their class",
            [GridImage(f"{one.class_name}\n{Path(one.path).name}", one.path) for one in unlike],
        ),
    }
    if not any(images for _, images in drawn.values()) and not folder.recorded():
        return
    with folder.replaced(WRONG_FOLDER) as temporary:
        for name, (heading, images) in drawn.items():
            if images:
                shown = images[:MOST_SHOWN]
                rows = -(-len(shown) // COLUMNS)
                save_grid(temporary / name, shown, (rows, min(COLUMNS, max(len(shown), 3))), heading=heading)
    logger.info("Drew what is to be looked at to %s", folder.path)


def _first(count: int, what: str) -> str:
    return f"The first {MOST_SHOWN} of {count:,} {what}" if count > MOST_SHOWN else f"{count} {what}"


def in_groups(groups: Sequence[Sequence[str]]) -> list[GridImage | None]:
    """The photos of each group side by side: one that does not fit beside those before it begins a row."""
    images: list[GridImage | None] = []
    for number, group in enumerate(groups):
        shown = group[:COLUMNS]
        left = -len(images) % COLUMNS
        if len(shown) > left:
            images += [None] * left
        more = f" (+ {len(group) - COLUMNS:,} more)" if len(group) > COLUMNS else ""
        images += [
            GridImage(
                f"{Path(path).parent.name}{more if i == COLUMNS - 1 else ''}\n{Path(path).name}", path, group=number
            )
            for i, path in enumerate(shown)
        ]
    return images
