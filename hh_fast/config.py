"""The settings of each command: frozen dataclasses that check themselves.

Each field is also a flag. Its name, default, type, help text and allowed values are stated here once;
`hh_fast.cli.command` generates the flags. Standard library only.
"""

import dataclasses
import functools
import math
import operator
import os
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hh_fast.errors import require

CACHES = ("auto", "memory", "disk", "none")
BACKBONES = ("efficientnet_lite0", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_v2_b0")
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
# The class name of the output for pictures that belong to no class.
UNKNOWN = "unknown"
# Files of a run folder that other commands read.
RUN_CONFIG, RUN_RESULT, RUN_MODEL = "config.json", "result.json", "model.keras"
IMAGE_SIZE = (300, 300)
# Of the original notebook. With fewer images the default batch shrinks to keep the steps per epoch.
BATCH_SIZE, STEPS_PER_EPOCH = 128, 8
# The defaults for a classifier on pretrained features, and for fine-tuning, were chosen by measurement (benchmarks/README.md).
RECIPE = {"optimizer": "rmsprop", "epochs": 15}
PRETRAINED = {"optimizer": "adam", "epochs": 20, "early_stopping_patience": 5}
PRETRAINED_BATCH_SIZE = 32
# The smallest side of which five unpadded 3 x 3 convolutions, each followed by 2 x 2 pooling, leave one pixel.
MIN_IMAGE_SIDE = 94


def option(
    default: Any,
    help: str,  # noqa: A002
    choices: Sequence[str] | None = None,
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> Any:
    """A dataclass field that is also a flag, with its help text (units included), allowed values (`choices`) and range."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "range": (least, most)})


def _number(value: Any) -> int | float:
    """An int if `value` is one or is written as one, else a float: shift ranges give the two different meanings."""
    if isinstance(value, str):
        return int(value) if value.strip().lstrip("+-").isdigit() else float(value)
    return operator.index(value) if hasattr(value, "__index__") else float(value)


def _bool(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's too
        raise TypeError
    return bool(value)


def _int(value: Any) -> int:
    if isinstance(value, bool) or int(number := _number(value)) != number:
        raise TypeError
    return int(number)


def _float(value: Any) -> float:
    if isinstance(value, bool) or math.isnan(number := float(value)):
        raise TypeError
    return number


def _parts(value: Any) -> Sequence[Any]:
    """The items of a list or of comma-separated text; a single item for any other value."""
    if isinstance(value, str):
        return value.split(",")
    return tuple(value) if hasattr(value, "__iter__") else (value,)


def _all_or_int(value: Any) -> str | int:
    return "all" if value is True or value in ("all", "true") else _int(value)


def _range(value: Any) -> float | tuple[float, ...]:
    numbers = tuple(map(_number, _parts(value)))
    return numbers if len(numbers) > 1 else numbers[0]


def _pair(value: Any) -> tuple[int, ...]:
    numbers = tuple(map(_int, _parts(value)))
    return numbers if len(numbers) > 1 else 2 * numbers


# By field type: what it accepts, in words, and the conversion from flag text, lists, NumPy numbers, paths and whole floats.
KINDS: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    str: ("text", os.fspath),
    bool: ("true or false", _bool),
    int: ("a whole number", _int),
    float: ("a number", _float),
    str | int: ("given without a value, or a whole number", _all_or_int),
    int | float | tuple[int | float, ...]: ("a number, or comma-separated numbers", _range),
    tuple[int, int]: ("comma-separated whole numbers", _pair),
    tuple[int, ...]: ("comma-separated whole numbers", lambda value: tuple(map(_int, _parts(value)))),
    tuple[str, ...]: ("comma-separated words", lambda value: tuple(map(os.fspath, _parts(value)))),
}
REQUIRED_TYPES = frozenset(KINDS)
KINDS |= {kind | None: kept for kind, kept in KINDS.items()}
type_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


class Config:
    """Base of the dataclasses below: converts the values of flags and callers to the fields' types, and checks them."""

    def __post_init__(self) -> None:
        hints = type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, choices = getattr(self, field.name), field.metadata["choices"]
            rule, convert = KINDS[hints[field.name]]
            if choices and isinstance(value, bool):
                value = str(value).lower()
            if value is not None or hints[field.name] in REQUIRED_TYPES:
                try:
                    value = convert(value)
                except (TypeError, ValueError, OverflowError, IndexError):
                    self.require(field.name, False, rule)
            object.__setattr__(self, field.name, value)
            if field.default is None:  # "" is an unset shell variable, and as a path the current folder
                self.require(field.name, value != "", "left out, or not empty")
            least, most = field.metadata["range"]
            if choices and value is not None:
                self.require(field.name, value in choices, f"one of {', '.join(choices)}")
            if least > -math.inf and value is not None:
                rule = f"at least {least}" if most == math.inf else f"from {least} to {most}"
                self.require(field.name, least <= value <= most, rule)
        self.check()

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Raises `UsageError`, "`name` must be `rule`", with the field's value, unless the rule `holds`."""
        value = getattr(self, name)
        shown = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value
        require(holds, f"`{name}` must be {rule}", shown)

    def check(self) -> None:
        """Raises `UsageError` for values out of range and for fields that contradict each other."""


def default_cache_dir() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hh_fast")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """The images, and how they are read."""

    dataset: str = option(
        "sample",
        "`sample` (drawn by this package), or `tfds:NAME` (a TensorFlow Datasets data set of labelled images,"
        " such as tfds:horses_or_humans). Ignored if --train_dir is given.",
    )
    train_dir: str | None = option(None, "Training images: a folder with one sub-folder per class, or a .zip of one.")
    validation_dir: str | None = option(
        None, "Validation images, in the same layout as --train_dir. If left out, see --validation_split."
    )
    validation_split: float | None = option(
        None,
        "Fraction of each class's training images, from 0 to under 1, held out for validation if there is no validation"
        " folder. 0: no validation. Default: 0.2.",
    )
    tfds_manual_dir: str | None = option(
        None, "Folder with the archives of a TFDS data set, under their original names, for use without a network."
    )
    image_size: tuple[int, int] | None = option(
        None,
        "Height,width in pixels to which every image is resized. Default: the model's own size; 300,300 for the built-in CNN.",
    )
    cache: str = option(
        "auto",
        "Where decoded images are kept: memory (decoded once per run), disk (once per machine), none (decoded in each"
        " epoch), or auto (chosen by their predicted size).",
        CACHES,
    )
    cache_dir: str | None = option(
        None,
        "Folder for files shared by runs: the drawn sample, unpacked zips, decoded images. Default: ~/.cache/hh_fast.",
    )
    bad_images: str = option(
        "error",
        "What to do with images that fail to decode: error (list them all and stop), or skip.",
        ("error", "skip"),
    )
    max_image_pixels: int = option(
        100_000_000,
        "Images with more pixels than this, by their header, are treated as bad before any memory is allocated for them.",
        least=1,
    )
    seed: int = option(
        0,
        "Random seed of the initial weights, the order of the images, augmentation and the validation split.",
        least=0,
        most=2**31 - 1,
    )

    def check(self) -> None:
        self.require(
            "dataset",
            self.dataset == "sample" or (self.dataset.startswith("tfds:") and len(self.dataset) > 5),
            "`sample` or `tfds:NAME`; for folders use --train_dir",
        )
        self.require("dataset", self.train_dir is None or self.dataset == "sample", "left out if --train_dir is given")
        self.require(
            "validation_dir",
            self.validation_dir is None or self.train_dir is not None,
            "given with --train_dir",
        )
        if self.validation_split is not None:
            self.require("validation_split", 0 <= self.validation_split < 1, "at least 0 and under 1")
            self.require("validation_split", self.validation_dir is None, "left out if --validation_dir is given")
            self.require(
                "validation_split",
                self.train_dir is not None or self.dataset != "sample",
                "left out for the built-in sample, which has its own validation images",
            )
        self.require(
            "tfds_manual_dir",
            self.tfds_manual_dir is None or self.dataset.startswith("tfds:"),
            "given with --dataset=tfds:NAME",
        )
        self.require("image_size", len(self.size) == 2 and min(self.size) >= 1, "two numbers, height,width")

    def absolute(self) -> "DataConfig":
        """The same settings with absolute paths."""
        changed: dict[str, Any] = {
            name: str(Path(path).expanduser().absolute())
            for name in ("train_dir", "validation_dir", "tfds_manual_dir", "cache_dir")
            if (path := getattr(self, name)) is not None
        }
        return dataclasses.replace(self, **changed)

    @property
    def size(self) -> tuple[int, int]:
        """`image_size`, by default that of the original notebook."""
        return self.image_size or IMAGE_SIZE

    @property
    def cache_root(self) -> Path:
        return Path(self.cache_dir or default_cache_dir()).expanduser()

    @property
    def validation_share(self) -> float:
        """The fraction of the training images held out for validation if there is no validation folder."""
        return 0.2 if self.validation_split is None else self.validation_split


# Ranges after which most photos still look like photos of the same thing.
DEFAULT_AUGMENTATION: dict[str, Any] = {
    "rotation_range": 20.0,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.1,
    "horizontal_flip": True,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Config):
    """Random changes to training images, by ImageDataGenerator's names."""

    augment: bool = option(
        False,
        "Change training images at random in each epoch: rotation_range 20, width_shift_range and height_shift_range 0.1,"
        " zoom_range 0.1, horizontal_flip. The flags below override single ranges; without --augment each turns on only itself.",
    )
    rotation_range: float | None = option(None, "Rotate by up to this many degrees in either direction.")
    width_shift_range: int | float | tuple[int | float, ...] | None = option(
        None,
        "Shift left or right by up to a fraction of the width (0.2), up to a number of pixels (20.0), less than a number of"
        " whole pixels (20), or one of a list (4,8).",
    )
    height_shift_range: int | float | tuple[int | float, ...] | None = option(
        None, "Like --width_shift_range, up or down."
    )
    shear_range: float | None = option(None, "Shear by an angle of up to this many degrees in either direction.")
    zoom_range: int | float | tuple[int | float, ...] | None = option(
        None, "Scale width and height independently, each by 1 / a random number from lower,upper; 0.2 means 0.8,1.2."
    )
    horizontal_flip: bool | None = option(None, "Mirror left to right, half of the time.")
    vertical_flip: bool | None = option(None, "Mirror top to bottom, half of the time.")
    brightness_range: int | float | tuple[int | float, ...] | None = option(
        None, "Multiply all pixel values by a random number from lower,upper."
    )
    channel_shift_range: float | None = option(
        None, "Add a random number of up to this many of the 255 levels, positive or negative."
    )
    fill_mode: str = option(
        "nearest",
        "How the area outside of the image is filled: with its edge pixels, --cval, its mirror image, or by repeating it.",
        FILL_MODES,
    )
    cval: float = option(0.0, "The pixel value, 0 to 255, for --fill_mode=constant.")

    def augmentation(self) -> dict[str, Any]:
        """The arguments of `hh_fast.Augmentation` that differ from its defaults; `Augmentation` checks their values."""
        names = {
            field.name: field.default for field in dataclasses.fields(AugmentationConfig) if field.name != "augment"
        }
        given = {name: getattr(self, name) for name, default in names.items() if getattr(self, name) != default}
        return (DEFAULT_AUGMENTATION if self.augment else {}) | given


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(AugmentationConfig):
    """How the model is trained, and where the run is written."""

    model: str | None = option(
        None,
        "Train this .keras file, or the model of this run folder, instead of the built-in CNN. It takes one input (height,"
        " width, 3), values 0 to 255, and ends in a sigmoid or softmax; frozen layers stay frozen.",
    )
    backbone: str | None = option(
        None,
        "Start from a network pretrained on ImageNet's million photos instead of the built-in CNN. Its frozen layers are computed"
        " once for each image; a classifier of your classes is trained on their output. Default --image_size: 224,224.",
        BACKBONES,
    )
    backbone_weights: str | None = option(
        None,
        "Weights file of --backbone. Default: efficientnet_lite0's come with this package; Keras downloads the others once, to"
        " ~/.keras/models.",
    )
    unfreeze: str | int | None = option(
        None,
        "Also train the frozen layers of --backbone or --model: all of them, or with --unfreeze=N the last N blocks (for a model"
        " without blocks, the last N layers with weights). Batch normalisation stays frozen. For a run's model, use"
        " --learning_rate=0.0001.",
    )
    dropout: float = option(
        0.2, "Fraction of the features of --backbone dropped at random in each training step.", least=0, most=0.9
    )
    unknown: bool = option(
        False,
        "With --backbone or --model: add an output, `unknown`, for pictures that resemble no training image.",
    )
    unknown_keep: float = option(
        0.95, "Fraction of the held-out images that --unknown must not take for unknown.", least=0.5, most=1
    )
    other_dir: str | None = option(
        None,
        "Folder of pictures that belong to no class, in any sub-folders. Half of them help to set the threshold of --unknown; on the"
        " other half the share still taken for a class is measured.",
    )
    reset_weights: bool = option(False, "Train --model from freshly initialised weights instead of its own.")
    run_dir: str | None = option(None, "Folder for the run. Default: runs/ and the data set's name.")
    overwrite: bool = option(False, "Discard the run in the run folder and start over.")
    epochs: int = option(
        None,
        f"Number of epochs. Default: {RECIPE['epochs']}; with --backbone or --unfreeze {PRETRAINED['epochs']}, or fewer by early stopping.",
        least=1,
    )
    steps_per_epoch: int | None = option(
        None, "Steps (batches) per epoch. Default: the number of whole batches.", least=1
    )
    batch_size: int = option(
        0,
        f"Images per training step, summed over all replicas. 0: {BATCH_SIZE} ({PRETRAINED_BATCH_SIZE} with --backbone or"
        f" --unfreeze), reduced if that gives fewer than {STEPS_PER_EPOCH} steps per epoch.",
    )
    validation_batch_size: int = option(32, "Images per validation step.", least=1)
    optimizer: str = option(
        "auto", "auto: rmsprop; with --backbone or --unfreeze adam.", ("auto", "rmsprop", "sgd", "adam")
    )
    learning_rate: float = option(0.001, "The optimizer's learning rate.")
    learning_rate_schedule: str = option(
        "constant",
        "constant, or cosine: decays along half a cosine to 0 at the end of the run.",
        ("constant", "cosine"),
    )
    warmup_steps: int = option(0, "Steps over which the learning rate rises linearly to --learning_rate.", least=0)
    early_stopping_patience: int | None = option(
        None,
        "Stop after this many epochs without a new best one. The best epoch has the lowest validation loss of those whose accuracy is"
        " within the 95% interval of the highest (training loss and accuracy if there are no validation images). Default: never stop"
        f" early; with --backbone or --unfreeze {PRETRAINED['early_stopping_patience']}.",
        least=1,
    )
    class_weight: str = option(
        "none",
        "balanced: weigh each image's loss inversely to the size of its class, so that all classes count equally; the best epoch"
        " is then chosen by balanced accuracy.",
        ("none", "balanced"),
    )
    head: str = option(
        "auto",
        "Output layer: one sigmoid (two classes only) or a softmax; auto: sigmoid for two classes.",
        ("auto", "sigmoid", "softmax"),
    )
    precision: str = option(
        "auto",
        "Keras dtype policy of the training step; auto: the fastest on this machine.",
        ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: str = option("auto", "Compile the training step with XLA; auto: on a GPU.", ("auto", "true", "false"))
    device: str = option(
        "auto", "gpu: warn if no GPU can be used, and train on the CPU; cpu: use no GPU.", ("auto", "gpu", "cpu")
    )
    require_gpu: bool = option(False, "Fail if no GPU can be used, instead of training on the CPU.")
    strategy: str = option(
        "auto",
        "How each step is distributed: none (one device), mirrored (all GPUs of this machine), multi_worker (the cluster that"
        " TF_CONFIG names); auto: multi_worker if TF_CONFIG names a cluster, mirrored with two or more GPUs, else none.",
        ("auto", "none", "mirrored", "multi_worker"),
    )
    worker_timeout_s: int = option(300, "Seconds to wait for the other workers of a cluster.", least=1)
    shard_data: bool = option(
        False,
        "In a cluster: each worker reads and keeps only its own shard of the training images, for data too large for one"
        " machine. Each epoch still sees every image once, but in another order than on one machine. The automatic validation"
        " split is then by position alone, so copies of an image may be on both sides.",
    )
    checkpoint_every_steps: int | None = option(
        None, "Also save a checkpoint every this many steps. Default: after each epoch only.", least=1
    )
    profile_steps: tuple[int, ...] = option(
        (),
        "First,last step of the run, from 1, to trace with TensorFlow's profiler; the trace is written to the run's profile/.",
    )

    def __post_init__(self) -> None:
        for name, value in (PRETRAINED if self.is_pretrained else RECIPE).items():
            if getattr(self, name) in (None, "auto"):
                object.__setattr__(self, name, value)
        super().__post_init__()

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from pretrained weights, which have defaults of their own."""
        return self.backbone is not None or self.unfreeze is not None

    @property
    def largest_default_batch(self) -> int:
        return PRETRAINED_BATCH_SIZE if self.is_pretrained else BATCH_SIZE

    def check(self) -> None:
        self.require("batch_size", self.batch_size >= 0, "at least 1, or 0 for the default")
        self.require("require_gpu", not (self.require_gpu and self.device == "cpu"), "left out with --device=cpu")
        self.require("learning_rate", 0 < self.learning_rate < float("inf"), "above 0 and finite")
        steps = self.profile_steps
        in_order = len(steps) == 2 and 1 <= steps[0] <= steps[1]
        self.require("profile_steps", not steps or in_order, "two numbers, first,last, from 1")
        self.require("reset_weights", not self.reset_weights or self.model is not None, "given with --model")
        self.require("backbone", self.backbone is None or self.model is None, "left out if --model is given")
        given = self.backbone is not None
        self.require("backbone_weights", given or self.backbone_weights is None, "given with --backbone")
        starts = given or self.model is not None
        self.require("unknown", starts or not self.unknown, "given with --backbone or --model")
        self.require("other_dir", self.unknown or self.other_dir is None, "given with --unknown")
        self.require("unfreeze", starts or self.unfreeze is None, "given with --backbone or --model")
        self.require(
            "unfreeze", not isinstance(self.unfreeze, int) or self.unfreeze > 0, "given without a value, or at least 1"
        )

    def for_images(self, num_images: int, num_replicas: int = 1) -> "TrainConfig":
        """This config with its default batch size filled in for `num_images` training images."""
        if self.batch_size:
            return self
        size = min(self.largest_default_batch, num_images // STEPS_PER_EPOCH)
        return dataclasses.replace(self, batch_size=max(size // num_replicas, 1) * num_replicas)


def require_model_size(image_size: tuple[int, int]) -> None:
    """Raises `UsageError` if the image is too small for the CNN's five convolutions and poolings."""
    require(
        min(image_size) >= MIN_IMAGE_SIDE,
        f"`image_size` must be at least {MIN_IMAGE_SIDE},{MIN_IMAGE_SIDE}: five 3 x 3 convolutions and 2 x 2 poolings leave"
        " nothing of a smaller image",
        ",".join(map(str, image_size)),
    )


CALIBRATION_IMAGES = 100
FORMATS = ("saved_model", "float32", "float16", "dynamic", "int8", "int16x8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """What is exported, in which formats, and the parity check that each file must pass."""

    run_dir: str | None = option(
        None, "Run folder of bin/train; its model is exported with the run's data and class names."
    )
    model: str | None = option(
        None, "Instead of --run_dir: any .keras file; name its images with --dataset or --train_dir."
    )
    input_max: float = option(
        255.0,
        "Largest pixel value that --model takes: 255, or 1 if its training images were scaled outside of the model.",
    )
    export_dir: str | None = option(
        None,
        "Folder for the bundle: new, empty, or an older bundle, which is replaced. Default: exports/ and the run folder's name.",
    )
    formats: tuple[str, ...] = option(
        ("saved_model", "float32", "int8"), f"Comma-separated list of {', '.join(FORMATS)}; or all."
    )
    dynamic_batch: bool = option(False, "Let the .tflite files take batches of any size instead of a single image.")
    calibration_images: int | None = option(
        None,
        "Number of training images, the same from each class, that calibrate int8 and int16x8. Default: 100, or all if there"
        " are fewer.",
        least=1,
    )
    check_images: int | None = option(
        None,
        "Number of validation images on which each file is checked. Default: all; 128 for int16x8, which has no fast kernels.",
        least=1,
    )
    max_accuracy_drop: float | None = option(
        None,
        "Reject a quantized file whose accuracy drops by more than this, 0 to 1. Default: 0.01 plus two standard errors.",
        least=0,
        most=1,
    )
    min_agreement: float | None = option(
        None,
        "Reject a quantized file that agrees with the model's class on a smaller fraction of the images. Default: 0.97 minus two"
        " standard errors.",
        least=0,
        most=1,
    )
    author: str = option("not stated", "Author, for the metadata and the model card.")
    license: str = option("unknown", "License identifier, such as apache-2.0, for the metadata and the model card.")
    model_version: str = option("1", "Version of the model, for the metadata and the model card.")

    def check(self) -> None:
        self.require(
            "run_dir", (self.run_dir is None) != (self.model is None), "given, or --model instead, but not both"
        )
        self.require("input_max", self.model is not None or self.input_max == 255, "left out if --run_dir is given")
        self.require("input_max", 0 < self.input_max <= 255, "above 0 and at most 255")
        if self.formats == ("all",):
            object.__setattr__(self, "formats", FORMATS)
        unknown = [name for name in self.formats if name not in FORMATS]
        rule = f"`formats` must be a list of {', '.join(FORMATS)}, or all"
        require(bool(self.formats) and not unknown, rule, ",".join(unknown) or "nothing")

    def num_calibration(self, num_train: int) -> int:
        return self.calibration_images or min(CALIBRATION_IMAGES, num_train)

    def gates(self, num_images: int, num_changed: int) -> tuple[float, float]:
        """(max_accuracy_drop, min_agreement) for a check on `num_images`, of which `num_changed` change their class.

        The defaults allow for two standard errors: 94 of 100 images are no evidence against 97%.
        """
        drop, agreement = self.max_accuracy_drop, self.min_agreement
        if drop is None:
            drop = 0.01 + 2 * math.sqrt(num_changed) / num_images
        return drop, 0.97 - 2 * math.sqrt(0.97 * 0.03 / num_images) if agreement is None else agreement


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Which model classifies the images, and how the result is printed."""

    model: str | None = option(
        None,
        "A .tflite or .keras file, a run folder, or a SavedModel folder. A SavedModel can run any code with your rights: open only"
        " one that you trust.",
    )
    signature: str = option(
        "pixels",
        "What a SavedModel is given: decoded pixels, or bytes (the encoded files, which it decodes itself).",
        ("pixels", "bytes"),
    )
    held_out: bool = option(
        False,
        "With a run's model: classify only the images that the run held out for validation, identified by content.",
    )
    top: int = option(1, "Number of classes to print for each image, best first.", least=1)
    json: bool = option(False, "Print JSON, one object per line.")
    csv: bool = option(False, "Print CSV with a header line.")
    batch_size: int = option(32, "Images classified at once.", least=1)
    max_image_pixels: int = option(
        100_000_000, "Images with more pixels than this, by their header, are not read.", least=1
    )

    def check(self) -> None:
        rule = "`model` must be given: a .tflite or .keras file, a run folder or a SavedModel folder"
        require(self.model is not None, rule, "nothing")
        self.require("csv", not (self.json and self.csv), "left out if --json is given")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExploreConfig(AugmentationConfig):
    """What is shown of a data set."""

    json: bool = option(False, "Print the report as JSON, with all paths, instead of text.")
    grid: str | None = option(None, "PNG file for the grid of images. Default: runs/ and the data set's name.")
    grid_size: tuple[int, int] = option((4, 4), "Rows,columns of the grid; 0,0: draw no pictures.")
    findings_dir: str | None = option(
        None,
        "Folder for pictures of suspicious photos: those in the wrong folder, duplicates, outliers. Default: beside the"
        " grid, by the data set's name.",
    )
    backbone: str | None = option(
        None,
        "Check the labels by the features of this pretrained network, as in bin/train, which reuses the features. Default"
        " --image_size: 224,224.",
        BACKBONES,
    )
    backbone_weights: str | None = option(None, "Weights file of --backbone. Default: as in bin/train.")
    num_names: int = option(4, "File names to show for each class.", least=0)

    def check(self) -> None:
        size = self.grid_size
        self.require(
            "grid_size",
            len(size) == 2 and (size == (0, 0) or all(1 <= side <= 100 for side in size)),
            "two numbers from 1 to 100, rows,columns, or 0,0 for no pictures",
        )
        given = self.backbone is not None
        self.require("backbone_weights", given or self.backbone_weights is None, "given together with --backbone")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchConfig(Config):
    """How many workers are started on this machine."""

    workers: int = option(2, "Number of worker processes.", least=1, most=64)
    grace_s: int = option(20, "Seconds that the other workers have to exit by themselves after one failed.", least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig(Config):
    """Which bundle is served, and how a phone reaches it."""

    export_dir: str | None = option(
        None,
        "Bundle written by bin/export. The page runs its int8 file, or if there is none float32, dynamic or float16.",
    )
    site_dir: str | None = option(
        None, "Write the page to this folder as a static site for any https host, instead of serving it."
    )
    runtime_dir: str | None = option(
        None,
        "Folder with the npm packages @litertjs/core and @litertjs/wasm-utils, for machines without npm. Default: npm"
        " downloads them once, to ~/.cache/hh_fast.",
    )
    https: str = option(
        "auto",
        "auto: https with a self-signed certificate, without which a phone does not give access to its camera; off: plain"
        " http, with photos only, and the camera only on this machine.",
        ("auto", "off"),
    )
    cert: str | None = option(
        None, "A certificate (PEM, with its chain) that browsers trust, instead of the self-signed one."
    )
    key: str | None = option(None, "The private key of --cert (PEM).")
    host: str = option(
        "0.0.0.0",
        "Address to listen on: 0.0.0.0 for all of this machine's (:: with IPv6), 127.0.0.1 for this machine only, or the one"
        " that the phone can reach.",
    )
    port: int = option(8443, "Port for the phone; 0: any free one.", least=0, most=65535)
    http_port: int = option(
        8442,
        "Plain http port for this machine's own browser while --port is https; 0: any free one.",
        least=0,
        most=65535,
    )
    qr: bool = option(True, "Also print the address as a QR code.")

    def check(self) -> None:
        self.require("export_dir", bool(self.export_dir), "a folder that bin/export wrote")
        self.require("cert", (self.cert is None) == (self.key is None), "given with --key")
        self.require("cert", self.https == "auto" or self.cert is None, "left out with --https=off")
        self.require("host", bool(self.host), "an address of this machine, or 0.0.0.0 for all of them")
