"""`bin/explore`: what is in a data set, before anything is trained on it."""

import dataclasses
import functools
import json
import logging
from pathlib import Path

from hh_fast.cli import command
from hh_fast.config import DataConfig, ExploreConfig
from hh_fast.errors import DataError
from hh_fast.io.files import to_json

SYNOPSIS = """\
bin/explore [flags]: shows what a data set holds: counts per class, first file names, image sizes and modes, the memory of each
cache mode, a grid of images as a PNG, and its faults by path: unreadable, misnamed, duplicate and leaked files. With --augment, or a range of
augmentation, each row of the grid is an image and what training makes of it in its first epochs. With --backbone a pretrained network
looks at the photos too: which may be in the wrong folder, which resemble no other of their class, and which show the same scene; the
first of them are drawn, as pictures to look at.
Exit code 2 where training would refuse the data set."""

logger = logging.getLogger("hh_fast.explore")


def body(data: DataConfig, explore: ExploreConfig) -> int:
    from hh_fast.augmentation import Augmentation
    from hh_fast.backbone.weights import IMAGE_SIZE as BACKBONE_IMAGE_SIZE
    from hh_fast.data.explore.grid import Variants, grid_images, require_replaceable, save_grid
    from hh_fast.data.explore.inspection import inspect
    from hh_fast.data.explore.pictures import draw_findings, output_folder
    from hh_fast.data.explore.printing import to_text
    from hh_fast.data.sources import find_source

    augmentation = Augmentation(**explore.augmentation())
    if explore.backbone:
        data = dataclasses.replace(data, image_size=data.image_size or BACKBONE_IMAGE_SIZE)
    source = find_source(data)
    grid = Path(explore.grid or f"runs/{source.name}-{'augmented' if augmentation else 'grid'}.png").expanduser()
    findings = output_folder(Path(explore.findings_dir or grid.with_name(f"{source.name}-findings")).expanduser())
    rows, columns = explore.grid_size
    if rows:
        findings.check()  # before anything is read
        require_replaceable(grid)
    report = inspect(
        source,
        data,
        num_names=explore.num_names,
        backbone=explore.backbone,
        backbone_weights=explore.backbone_weights,
    )
    print(json.dumps(to_json(report), indent=2) if explore.json else to_text(report), flush=True)
    if rows:
        variants = Variants(augmentation, data.seed, data.size) if augmentation else None
        images = grid_images(source, report, rows if variants else rows * columns)
        shown = save_grid(grid, images, explore.grid_size, variants)
        logger.info("Drew %d images to %s; augmentation: %s", shown, grid, augmentation)
        draw_findings(findings, report)
    return DataError.exit_code if report.problems else 0


main = functools.partial(command.run, body, name="explore", synopsis=SYNOPSIS, configs=(DataConfig, ExploreConfig))
