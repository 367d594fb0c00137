"""From `--dataset`, `--train_dir` and `--validation_dir` to folders on disk whose sub-folders are the classes."""

import dataclasses
import logging
from pathlib import Path

from hh_fast.config import DataConfig
from hh_fast.data.archive import unpack
from hh_fast.errors import DataError, UsageError
from hh_fast.sample.dataset import sample_dir

logger = logging.getLogger(__name__)

# A folder that holds one of each holds the splits, not the classes; the first that is there is used.
TRAIN_NAMES = ("train", "training")
VALIDATION_NAMES = ("validation", "valid", "val", "test")


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
        return (place.parent.name if place.stem.lower() in TRAIN_NAMES else place.stem) or "images"
    return config.dataset.removeprefix("tfds:").replace("/", "_").replace(":", "_")


def _folder(path: str, cache_root: Path) -> Path:
    place = Path(path).expanduser()
    if place.is_file() and place.suffix.lower() == ".zip":
        return unpack(place, cache_root)
    return place


def _sub_folders(folder: Path) -> dict[str, Path]:
    """The visible sub-folders by their names in lower case."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return {entry.name.lower(): entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")}


def _splits_in(folder: Path) -> tuple[Path, Path] | None:
    """The training and the validation folder inside `folder`, where it holds both, each with class folders."""
    inner = {name: path for name, path in _sub_folders(folder).items() if _sub_folders(path)}
    train = next((inner[name] for name in TRAIN_NAMES if name in inner), None)
    validation = next((inner[name] for name in VALIDATION_NAMES if name in inner), None)
    return (train, validation) if train and validation else None


def _given_folders(config: DataConfig) -> Source:
    train_dir = _folder(str(config.train_dir), config.cache_root)
    validation_dir = None if config.validation_dir is None else _folder(config.validation_dir, config.cache_root)
    note = None
    if validation_dir is not None and (splits := _splits_in(validation_dir)):
        validation_dir = splits[1]
    if splits := _splits_in(train_dir):
        names = f"{splits[0].name}/ and {splits[1].name}/"
        if config.validation_split is not None:
            raise UsageError(
                f"`validation_split` must be left out if --train_dir holds {names}. Received: {config.validation_split}"
            )
        unused = [f"{path.name}/" for path in _sub_folders(train_dir).values() if path not in splits]
        train_dir, validation_dir = splits[0], validation_dir or splits[1]
        where = "" if validation_dir == splits[1] else f", but for --validation_dir={config.validation_dir}"
        note = f"{config.train_dir} holds {names}: they are used as the two splits{where}"
        note += f"; not used: {', '.join(unused)}" if unused else ""
    if validation_dir is not None and validation_dir.resolve() == train_dir.resolve():
        raise DataError(
            f"{train_dir} is given to train and to validate on: validation would say nothing; use another folder"
        )
    return Source(source_name(config), train_dir, validation_dir, note)


def find_source(config: DataConfig) -> Source:
    """The folders that `config` names; the sample is drawn, a zip unpacked and a TFDS set written out the first time.

    Raises:
        DataError: a zip or TFDS set that cannot be used. (Folders are checked where they are listed.)
        UsageError: a share of images to hold out of a folder that holds its own validation images.
    """
    root = config.cache_root
    if config.train_dir is not None:
        return _given_folders(config)
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
