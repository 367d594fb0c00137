"""From `--dataset`, `--train_dir` and `--validation_dir` to folders on disk whose sub-folders are the classes."""

import dataclasses
import logging
from pathlib import Path

from hh_fast.config import DataConfig
from hh_fast.data.archive import unpack
from hh_fast.errors import DataError
from hh_fast.sample.dataset import sample_dir

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Source:
    """Folders on disk. `name` is fit for a folder's name; `note` is what the person should know of the data, if anything."""

    name: str
    train_dir: Path
    validation_dir: Path | None
    note: str | None = None


def source_name(config: DataConfig) -> str:
    """A name for the data set that is fit for a folder's: `sample`, the TFDS name, or the training folder's or zip's own.

    A folder that is just called `train` says nothing: then the one above it.
    """
    if config.train_dir is not None:
        place = Path(config.train_dir).expanduser().resolve()
        return (place.parent.name if place.stem in ("train", "training") else place.stem) or "images"
    return config.dataset.removeprefix("tfds:").replace("/", "_").replace(":", "_")


def _folder(path: str, cache_root: Path) -> Path:
    place = Path(path).expanduser()
    if place.is_file() and place.suffix.lower() == ".zip":
        return unpack(place, cache_root)
    return place


def find_source(config: DataConfig) -> Source:
    """The folders that `config` names; the sample is drawn, a zip unpacked and a TFDS set written out the first time.

    Raises:
        DataError: a zip or TFDS set that cannot be used. (Folders are checked where they are listed.)
    """
    root = config.cache_root
    if config.train_dir is not None:
        train_dir = _folder(config.train_dir, root)
        validation_dir = None if config.validation_dir is None else _folder(config.validation_dir, root)
        if validation_dir is not None and validation_dir.resolve() == train_dir.resolve():
            raise DataError(
                f"{train_dir} is given to train and to validate on: validation would say nothing; use another folder"
            )
        return Source(source_name(config), train_dir, validation_dir)
    if config.dataset == "sample":
        folder = sample_dir(root)
        note = (
            "These are the drawn sample images, made by hh_fast, not photographs; for the real data set use"
            " --dataset=tfds:horses_or_humans, or --train_dir and --validation_dir."
        )
        return Source(source_name(config), folder / "train", folder / "validation", note)
    from hh_fast.data.tfds import tfds_dirs  # imports TensorFlow Datasets

    train_dir, validation_dir = tfds_dirs(config.dataset.removeprefix("tfds:"), root, config.tfds_manual_dir)
    return Source(source_name(config), train_dir, validation_dir)
