"""Maps `--dataset`, `--train_dir` and `--validation_dir` to folders on disk whose sub-folders are the classes."""

import dataclasses
import logging
from pathlib import Path

from hh_fast.config import DataConfig
from hh_fast.data.archive import unpack
from hh_fast.errors import DataError, UsageError
from hh_fast.sample.dataset import sample_dir

logger = logging.getLogger(__name__)

# A folder with one of each contains splits, not classes; the first name that exists is used.
TRAIN_NAMES = ("train", "training")
VALIDATION_NAMES = ("validation", "valid", "val", "test")


@dataclasses.dataclass(frozen=True)
class Source:
    """Folders on disk. `name` is usable as a folder name; `note` is a remark for the user, if any."""

    name: str
    train_dir: Path
    validation_dir: Path | None
    note: str | None = None


def source_name(config: DataConfig) -> str:
    """A name for the data set, usable as a folder name: `sample`, the TFDS name, or that of the training folder or zip.

    For a training folder called `train`, it is the name of its parent.
    """
    if config.train_dir is not None:
        place = Path(config.train_dir).expanduser().resolve()
        return (place.parent.name if place.stem.lower() in TRAIN_NAMES else place.stem) or "images"
    return config.dataset.removeprefix("tfds:").replace("/", "_").replace(":", "_")


def _folder(path: str, cache_root: Path) -> Path:
    place = Path(path).expanduser()
    if place.is_file() and place.suffix.lower() == ".zip":
        return unpack(place, cache_root)
    return place


def _sub_folders(folder: Path) -> dict[str, Path]:
    """The visible sub-folders by lower-case name."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return {entry.name.lower(): entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")}


def _splits_in(folder: Path) -> tuple[Path, Path] | None:
    """The training and validation folders inside `folder`, if it has both, each with class folders."""
    inner = {name: path for name, path in _sub_folders(folder).items() if _sub_folders(path)}
    train = next((inner[name] for name in TRAIN_NAMES if name in inner), None)
    validation = next((inner[name] for name in VALIDATION_NAMES if name in inner), None)
    return (train, validation) if train and validation else None


def _given_folders(config: DataConfig) -> tuple[Path, Path | None, str | None]:
    """The training and validation folders, and a remark."""
    train_dir = _folder(str(config.train_dir), config.cache_root)
    validation_dir = None if config.validation_dir is None else _folder(config.validation_dir, config.cache_root)
    note = None
    if validation_dir is not None and (splits := _splits_in(validation_dir)):
        validation_dir = splits[1]
    if splits := _splits_in(train_dir):
        names = f"{splits[0].name}/ and {splits[1].name}/"
        if config.validation_split is not None:
            raise UsageError(
                f"`validation_split` must be left out if --train_dir contains {names}. Received: {config.validation_split}"
            )
        unused = [f"{path.name}/" for path in _sub_folders(train_dir).values() if path not in splits]
        train_dir, validation_dir = splits[0], validation_dir or splits[1]
        where = "" if validation_dir == splits[1] else f", except for --validation_dir={config.validation_dir}"
        note = f"{config.train_dir} contains {names}, which are used as the two splits{where}"
        note += f"; unused: {', '.join(unused)}" if unused else ""
    if validation_dir is not None and validation_dir.resolve() == train_dir.resolve():
        raise DataError(
            f"{train_dir} is both the training and the validation folder, so validation would be meaningless: use another folder"
        )
    return train_dir, validation_dir, note


def find_source(config: DataConfig) -> Source:
    """The folders named by `config`; on first use the sample is drawn, a zip unpacked, or a TFDS data set downloaded.

    Raises:
        DataError: an unusable zip or TFDS data set. (Folders are checked when they are listed.)
        UsageError: `validation_split` for a folder that has validation images.
    """
    note = None
    if config.train_dir is not None:
        train_dir, validation_dir, note = _given_folders(config)
    elif config.dataset == "sample":
        folder = sample_dir(config.cache_root)
        train_dir, validation_dir = folder / "train", folder / "validation"
        note = (
            "The built-in sample consists of drawings, not photos; for the original data set use --dataset=tfds:horses_or_humans, or"
            " --train_dir and --validation_dir."
        )
    else:
        from hh_fast.data.tfds import tfds_dirs  # imports TensorFlow Datasets

        name = config.dataset.removeprefix("tfds:")
        train_dir, validation_dir = tfds_dirs(name, config.cache_root, config.tfds_manual_dir)
    return Source(source_name(config), train_dir, validation_dir, note)
