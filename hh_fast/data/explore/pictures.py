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
    suspects, copies = to_look_at(report.wrong_folder or ()), in_groups(report.near_copies)
    num_groups = len({image.group for image in copies[:MOST_SHOWN] if image})
    drawn: dict[str, tuple[str, Sequence[GridImage | None]]] = {
        WRONG_FOLDER: (
            f"In the wrong folder? These look like another class{_of(MOST_SHOWN, len(suspects))}",
            [
                GridImage(
                    f"{one.class_name}?\nlooks like {one.looks_like} {one.looks_like_probability:.2f}\n{Path(one.path).name}",
                    one.path,
                )
                for one in suspects
            ],
        ),
        SAME_PICTURE: (f"The same picture more than once{_of(num_groups, len(report.near_copies))}", copies),
        UNLIKE_OTHERS: (
            "Unlike all others of their class",
            [GridImage(f"{one.class_name}\n{Path(one.path).name}", one.path) for one in report.unlike_others or ()],
        ),
    }
    drawn = {name: (heading, images[:MOST_SHOWN]) for name, (heading, images) in drawn.items() if images}
    if not drawn and not folder.recorded():
        return
    with folder.replaced(WRONG_FOLDER) as temporary:
        for name, (heading, images) in drawn.items():
            # No narrower than its heading.
            size = -(-len(images) // COLUMNS), min(COLUMNS, max(len(images), 3))
            save_grid(temporary / name, images, size, heading=heading)
            logger.info("Drew what is to be looked at: %s", folder.path / name)


def _of(shown: int, count: int) -> str:
    return f" (the first {shown} of {count:,})" if shown < count else ""


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
