"""What a command is asked to do: frozen dataclasses that check themselves.

Each field is also a flag: its name, default, type, help text and allowed values are stated here once, and
`hh_fast.cli.command` makes the flags of them. Standard library only.
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

from hh_fast.errors import UsageError

CACHES = ("auto", "memory", "disk", "none")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
HEADS = ("auto", "sigmoid", "softmax")
OPTIMIZERS = ("auto", "rmsprop", "sgd", "adam")
BACKBONES = ("efficientnet_lite0", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_v2_b0")
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
STRATEGIES = ("auto", "none", "mirrored", "multi_worker")
# Files of a run folder that other commands read.
# The class name of the output for pictures that are none of the classes.
UNKNOWN = "unknown"
RUN_CONFIG, RUN_RESULT, RUN_MODEL = "config.json", "result.json", "model.keras"
IMAGE_SIZE = (300, 300)
# The recipe's; fewer images make smaller batches, so that an epoch keeps its steps.
BATCH_SIZE, STEPS_PER_EPOCH = 128, 8
# What suits a classifier on pretrained features, and fine-tuning, was chosen by measurement (benchmarks/README.md).
RECIPE = {"optimizer": "rmsprop", "epochs": 15}
PRETRAINED = {"optimizer": "adam", "epochs": 20, "early_stopping_patience": 5}
PRETRAINED_BATCH_SIZE = 32
# Five times a 3 x 3 convolution without padding, then a halving: the least side that leaves one pixel.
MIN_IMAGE_SIDE = 94


def option(
    default: Any,
    help: str,  # noqa: A002
    choices: Sequence[str] | None = None,
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> Any:
    """A dataclass field that is also a flag: its help text (with the unit), for an enumeration its values, its range."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "range": (least, most)})


def require(holds: bool, name: str, rule: str, received: object) -> None:
    if not holds:
        shown = ",".join(map(str, received)) if isinstance(received, (tuple, list)) else received
        raise UsageError(f"`{name}` must be {rule}. Received: {shown}")


def is_address(text: str) -> bool:
    """Whether it is HOST:PORT."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536


def _number(value: Any) -> int | float:
    """An int where it is given or written as one: for a range of pixels that makes a difference."""
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
    """The items of a list, or of text with commas; anything else alone."""
    if isinstance(value, str):
        return value.split(",")
    return tuple(value) if hasattr(value, "__iter__") else (value,)


def _how_many(value: Any) -> str | int:
    return "all" if value is True or value in ("all", "true") else _int(value)


def _range(value: Any) -> float | tuple[float, ...]:
    numbers = tuple(map(_number, _parts(value)))
    return numbers if len(numbers) > 1 else numbers[0]


def _pair(value: Any) -> tuple[int, ...]:
    numbers = tuple(map(_int, _parts(value)))
    return numbers if len(numbers) > 1 else 2 * numbers


# What a field of each type takes, and what makes it of flags' text, lists, NumPy's numbers, paths and whole floats.
KINDS: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    str: ("text", os.fspath),
    bool: ("true or false", _bool),
    int: ("a whole number", _int),
    float: ("a number", _float),
    str | int: ("left without a value, or a whole number", _how_many),
    int | float | tuple[int | float, ...]: ("a number, or numbers with commas", _range),
    tuple[int, int]: ("whole numbers with commas", _pair),
    tuple[int, ...]: ("whole numbers with commas", lambda value: tuple(map(_int, _parts(value)))),
    tuple[str, ...]: ("words with commas", lambda value: tuple(map(os.fspath, _parts(value)))),
}
NEVER_NONE = frozenset(KINDS)
KINDS |= {kind | None: kept for kind, kept in KINDS.items()}
type_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


class Config:
    """Takes values as flags and callers write them, and checks them: for the dataclasses below."""

    def __post_init__(self) -> None:
        hints = type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, choices = getattr(self, field.name), field.metadata["choices"]
            rule, convert = KINDS[hints[field.name]]
            if choices and isinstance(value, bool):
                value = str(value).lower()
            if value is not None or hints[field.name] in NEVER_NONE:
                try:
                    value = convert(value)
                except (TypeError, ValueError, OverflowError, IndexError):
                    self.require(field.name, False, rule)
            object.__setattr__(self, field.name, value)
            if (
                field.default is None
            ):  # an empty text is a shell's variable that is not set; as a path it is this folder
                self.require(field.name, value != "", "left out, or not empty")
            least, most = field.metadata["range"]
            if choices and value is not None:
                self.require(field.name, value in choices, f"one of {', '.join(choices)}")
            if least > -math.inf and value is not None:
                rule = f"at least {least}" if most == math.inf else f"from {least} to {most}"
                self.require(field.name, least <= value <= most, rule)
        self.check()

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Raises `UsageError`, that the field must be as the rule says, where it does not hold."""
        require(holds, name, rule, getattr(self, name))

    def check(self) -> None:
        """Raises `UsageError` for values out of range and for fields that contradict each other."""


def default_cache_dir() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hh_fast")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Which images, and how they are read."""

    dataset: str = option(
        "sample",
        "`sample` (drawn by this package), or `tfds:NAME` (a TensorFlow Datasets set with image and label,"
        " such as tfds:horses_or_humans). Not used where --train_dir is given.",
    )
    train_dir: str | None = option(
        None, "Folder whose sub-folders are the classes, or a .zip of such a folder, to train on."
    )
    validation_dir: str | None = option(None, "As --train_dir, to validate on. Without it, see --validation_split.")
    validation_split: float | None = option(
        None,
        "Share of the training images, 0 to under 1, held out of each class for validation where there is no"
        " validation folder. 0: no validation. Default: 0.2 there.",
    )
    tfds_manual_dir: str | None = option(
        None, "Folder that holds the archives of a TFDS set, under their own names, for use without a network."
    )
    image_size: tuple[int, int] | None = option(
        None,
        "Height,width in pixels that every image is resized to. Default: the model's own, 300,300 for the recipe's CNN.",
    )
    cache: str = option(
        "auto",
        "Where decoded images are kept: memory (decoded once a run), disk (once a machine), none (each epoch),"
        " or auto, by their predicted size.",
        CACHES,
    )
    cache_dir: str | None = option(
        None,
        "Folder for what is kept between runs: drawn sample, unpacked zips, decoded images. Default: ~/.cache/hh_fast.",
    )
    bad_images: str = option(
        "error",
        "What an image that does not decode does: error (stop, and list them all), or skip it.",
        ("error", "skip"),
    )
    max_image_pixels: int = option(
        100_000_000,
        "Images whose header claims more pixels than this are bad, before any memory is taken for them.",
        least=1,
    )
    seed: int = option(
        0,
        "Seed of the weights, the order of the images, augmentation, and the validation split.",
        least=0,
        most=2**31 - 1,
    )

    def check(self) -> None:
        self.require(
            "dataset",
            self.dataset == "sample" or (self.dataset.startswith("tfds:") and len(self.dataset) > 5),
            "`sample` or `tfds:NAME`; for folders use --train_dir",
        )
        self.require(
            "dataset", self.train_dir is None or self.dataset == "sample", "left out where --train_dir is given"
        )
        self.require(
            "validation_dir",
            self.validation_dir is None or self.train_dir is not None,
            "given together with --train_dir",
        )
        if self.validation_split is not None:
            self.require("validation_split", 0 <= self.validation_split < 1, "at least 0 and under 1")
            self.require("validation_split", self.validation_dir is None, "left out where --validation_dir is given")
            self.require(
                "validation_split",
                self.train_dir is not None or self.dataset != "sample",
                "left out for the built-in sample, which has its own validation images",
            )
        self.require(
            "tfds_manual_dir",
            self.tfds_manual_dir is None or self.dataset.startswith("tfds:"),
            "given together with --dataset=tfds:NAME",
        )
        self.require("image_size", len(self.size) == 2 and min(self.size) >= 1, "two numbers, height,width")

    def absolute(self) -> "DataConfig":
        """The same with paths that hold in every working directory."""
        changed: dict[str, Any] = {
            name: str(Path(path).expanduser().absolute())
            for name in ("train_dir", "validation_dir", "tfds_manual_dir", "cache_dir")
            if (path := getattr(self, name)) is not None
        }
        return dataclasses.replace(self, **changed)

    @property
    def size(self) -> tuple[int, int]:
        """`image_size`, where it is left open the recipe's."""
        return self.image_size or IMAGE_SIZE

    @property
    def cache_root(self) -> Path:
        return Path(self.cache_dir or default_cache_dir()).expanduser()

    @property
    def share_held_out(self) -> float:
        """Of the training images, for validation where there is no validation folder."""
        return 0.2 if self.validation_split is None else self.validation_split


# What leaves most photos looking like photos of the same thing.
DEFAULT_AUGMENTATION: dict[str, Any] = {
    "rotation_range": 20.0,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.1,
    "horizontal_flip": True,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Config):
    """How training images are changed at random, by ImageDataGenerator's names."""

    augment: bool = option(
        False,
        "Change training images at random, anew each epoch: rotation_range 20, width_shift_range and height_shift_range 0.1,"
        " zoom_range 0.1, horizontal_flip. One of these flags beside it overrules that range; without it, it turns on only itself.",
    )
    rotation_range: float | None = option(None, "Rotate by up to so many degrees, either way.")
    width_shift_range: int | float | tuple[int | float, ...] | None = option(
        None,
        "Shift sideways, either way, by up to a share of the width (0.2) or up to so many pixels (20.0), by fewer than so many"
        " whole pixels (20), or by one of a list (4,8).",
    )
    height_shift_range: int | float | tuple[int | float, ...] | None = option(
        None, "As --width_shift_range, up and down."
    )
    shear_range: float | None = option(None, "Shear by an angle of up to so many degrees, either way.")
    zoom_range: int | float | tuple[int | float, ...] | None = option(
        None, "Scale width and height, each on its own, by 1 / a number from lower,upper; 0.2 is 0.8,1.2."
    )
    horizontal_flip: bool | None = option(None, "Mirror left and right, half of the time.")
    vertical_flip: bool | None = option(None, "Mirror top and bottom, half of the time.")
    brightness_range: int | float | tuple[int | float, ...] | None = option(
        None, "Multiply all values by a number from lower,upper."
    )
    channel_shift_range: float | None = option(None, "Add a number up to so many of 255 levels, either way.")
    fill_mode: str = option(
        "nearest", "What lies outside of the image: its edge, --cval, its mirror image or itself.", FILL_MODES
    )
    cval: float = option(0.0, "The value, 0 to 255, that --fill_mode=constant fills with.")

    def augmentation(self) -> dict[str, Any]:
        """The arguments of `hh_fast.Augmentation` that are not its defaults; `Augmentation` checks their values."""
        names = {
            field.name: field.default for field in dataclasses.fields(AugmentationConfig) if field.name != "augment"
        }
        given = {name: getattr(self, name) for name, default in names.items() if getattr(self, name) != default}
        return (DEFAULT_AUGMENTATION if self.augment else {}) | given


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(AugmentationConfig):
    """How the CNN is trained, and where the run goes."""

    model: str | None = option(
        None,
        "A .keras file to train, instead of the recipe's CNN with fresh weights, or an earlier run's folder: any of one input (height,"
        " width, 3), values 0 to 255, and a sigmoid or softmax; frozen layers stay frozen.",
    )
    backbone: str | None = option(
        None,
        "A network that was trained on the million photos of ImageNet, instead of the recipe's CNN: what is frozen of it is computed"
        " once for each image, and a classifier of your classes is trained on that. Default --image_size: 224,224.",
        BACKBONES,
    )
    backbone_weights: str | None = option(
        None,
        "File of the weights of --backbone. Default: installed with this package for efficientnet_lite0; Keras downloads the others"
        " once, to ~/.keras/models.",
    )
    unfreeze: str | int | None = option(
        None,
        "Train layers of --backbone or --model that are frozen too: all, or by --unfreeze=N the last N blocks (of a model without"
        " blocks, layers with weights). Batch normalisation stays frozen. A run's model goes on best with --learning_rate=0.0001.",
    )
    dropout: float = option(
        0.2, "With --backbone: share of the features that each training step leaves out at random.", least=0, most=0.9
    )
    unknown: bool = option(
        False,
        "With --backbone or --model: give the trained model one output more, `unknown`, for pictures that resemble no training image.",
    )
    unknown_keep: float = option(
        0.95, "Share of the images held out that --unknown shall leave their class.", least=0.5, most=1
    )
    other_dir: str | None = option(
        None,
        "Folder of pictures that are none of the classes, in any sub-folders: how many --unknown takes for one is measured on half of"
        " them, and the other half helps to draw the line.",
    )
    reset_weights: bool = option(False, "Draw fresh weights for --model, instead of going on from its own.")
    run_dir: str | None = option(None, "Folder that the run is written to. Default: runs/ and the data set's name.")
    overwrite: bool = option(False, "Start anew in a run folder that holds a finished or different run.")
    epochs: int = option(
        None,
        f"Number of epochs. Default: {RECIPE['epochs']}; with --backbone or --unfreeze at most {PRETRAINED['epochs']}.",
        least=1,
    )
    steps_per_epoch: int | None = option(
        None, "Steps (batches) an epoch. Default: as many whole batches as there are.", least=1
    )
    batch_size: int = option(
        0,
        f"Images a training step, over all replicas together. 0: {BATCH_SIZE} ({PRETRAINED_BATCH_SIZE} with --backbone or"
        f" --unfreeze), or as many fewer as make {STEPS_PER_EPOCH} steps an epoch.",
    )
    validation_batch_size: int = option(32, "Images a validation step.", least=1)
    optimizer: str = option("auto", "auto: rmsprop; with --backbone or --unfreeze adam.", OPTIMIZERS)
    learning_rate: float = option(0.001, "The optimizer's learning rate.")
    learning_rate_schedule: str = option(
        "constant", "constant, or cosine: by half a cosine down to 0 at the end of the run.", ("constant", "cosine")
    )
    warmup_steps: int = option(0, "Steps over which the learning rate first rises to --learning_rate.", least=0)
    early_stopping_patience: int | None = option(
        None,
        "End the run after so many epochs without a better one, by what decides the best epoch: the lowest validation loss of those"
        " whose validation accuracy is within the best one's 95% interval (training's without validation images). Default: all epochs; with --backbone or --unfreeze"
        f" {PRETRAINED['early_stopping_patience']}.",
        least=1,
    )
    class_weight: str = option(
        "none",
        "balanced: an image counts in the loss the more, the rarer its class, so that all classes count alike; the best epoch is"
        " then chosen by balanced accuracy.",
        ("none", "balanced"),
    )
    head: str = option(
        "auto", "Last layer: one sigmoid (two classes) or a softmax; auto: sigmoid for two classes.", HEADS
    )
    precision: str = option("auto", "Keras dtype policy of the step; auto: by what the machine is fast at.", PRECISIONS)
    jit_compile: str = option("auto", "Compile the training step with XLA; auto: on a GPU.", ("auto", "true", "false"))
    device: str = option(
        "auto", "gpu: warn where no GPU can be used, and train without; cpu: leave GPUs alone.", ("auto", "gpu", "cpu")
    )
    require_gpu: bool = option(False, "Stop where no GPU can be used, instead of training without one.")
    strategy: str = option(
        "auto",
        "How replicas share each step: none (one device), mirrored (all GPUs of this machine), multi_worker (the cluster that"
        " TF_CONFIG names); auto: multi_worker where TF_CONFIG names a cluster, mirrored with two or more GPUs, else none.",
        STRATEGIES,
    )
    worker_timeout_s: int = option(300, "Seconds to wait for the other workers of a cluster.", least=1)
    shard_data: bool = option(
        False,
        "In a cluster: each worker reads and keeps only its own share of the training images, for data too large for one"
        " machine. Each epoch still sees every image once; the order differs from one machine's. The automatic validation"
        " split then goes by position alone, and may have byte-identical copies on both sides.",
    )
    checkpoint_every_steps: int | None = option(
        None, "Also save a checkpoint every so many steps. Default: each epoch only.", least=1
    )
    profile_steps: tuple[int, ...] = option(
        (),
        "First,last step of the run, from 1, to trace with TensorFlow's profiler into the folder `profile` of the run.",
    )

    def __post_init__(self) -> None:
        for name, value in (PRETRAINED if self.is_pretrained else RECIPE).items():
            if getattr(self, name) in (None, "auto"):
                object.__setattr__(self, name, value)
        super().__post_init__()

    @property
    def is_pretrained(self) -> bool:
        """Whether training goes on from what a network has learnt, with the defaults that suit that."""
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
        self.require("reset_weights", not self.reset_weights or self.model is not None, "given together with --model")
        self.require("backbone", self.backbone is None or self.model is None, "left out where --model is given")
        given = self.backbone is not None
        self.require("backbone_weights", given or self.backbone_weights is None, "given together with --backbone")
        starts = given or self.model is not None
        self.require("unknown", starts or not self.unknown, "given together with --backbone or --model")
        self.require("other_dir", self.unknown or self.other_dir is None, "given together with --unknown")
        self.require("unfreeze", starts or self.unfreeze is None, "given together with --backbone or --model")
        self.require(
            "unfreeze", not isinstance(self.unfreeze, int) or self.unfreeze > 0, "left without a value, or at least 1"
        )

    def for_images(self, num_images: int, num_replicas: int = 1) -> "TrainConfig":
        """This config with the batch size that it leaves open, for so many training images."""
        if self.batch_size:
            return self
        size = min(self.largest_default_batch, num_images // STEPS_PER_EPOCH)
        return dataclasses.replace(self, batch_size=max(size // num_replicas, 1) * num_replicas)


def require_model_size(image_size: tuple[int, int]) -> None:
    """Raises `UsageError` where five convolutions and poolings would leave nothing of the image."""
    require(
        min(image_size) >= MIN_IMAGE_SIDE,
        "image_size",
        f"at least {MIN_IMAGE_SIDE},{MIN_IMAGE_SIDE}, the least that five 3 x 3 convolutions and 2 x 2 poolings leave a pixel of",
        ",".join(map(str, image_size)),
    )


CALIBRATION_IMAGES = 100
FORMATS = ("saved_model", "float32", "float16", "dynamic", "int8", "int16x8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """What is exported, in which formats, and the parity check that each file must pass."""

    run_dir: str | None = option(
        None, "Run folder of bin/train whose model is exported, with the run's data and class names."
    )
    model: str | None = option(
        None, "Instead of --run_dir: a .keras file from elsewhere; give its images by --dataset or --train_dir."
    )
    input_max: float = option(
        255.0,
        "Largest pixel value that --model was trained on: 255, or 1 where images were scaled before they reached it.",
    )
    export_dir: str | None = option(
        None,
        "Folder for the bundle: new, empty, or with an older bundle, which it replaces. Default: exports/ and the run folder's name.",
    )
    formats: tuple[str, ...] = option(
        ("saved_model", "float32", "int8"), f"Comma-separated list of {', '.join(FORMATS)}; or all."
    )
    dynamic_batch: bool = option(False, "Let the .tflite files take any number of images at once, not just one.")
    calibration_images: int | None = option(
        None,
        "Training images that int8 and int16x8 take their ranges from, as many of each class. Default: 100, or all where"
        " there are fewer.",
        least=1,
    )
    check_images: int | None = option(
        None,
        "Validation images that each file is checked on. Default: all, but 128 for int16x8, which has no fast kernels.",
        least=1,
    )
    max_accuracy_drop: float | None = option(
        None,
        "A quantized file is left out if its accuracy falls by more than this share of the checked images. Default: 0.01,"
        " beyond what chance explains.",
        least=0,
        most=1,
    )
    min_agreement: float | None = option(
        None,
        "A quantized file is left out if it gives the model's class on a smaller share of them. Default: 0.97, less what"
        " chance explains.",
        least=0,
        most=1,
    )
    author: str = option("not stated", "Author, for the metadata and the model card.")
    license: str = option("unknown", "License identifier, such as apache-2.0, for the metadata and the model card.")
    model_version: str = option("1", "Version of the model, for the metadata and the model card.")

    def check(self) -> None:
        self.require("run_dir", (self.run_dir is None) != (self.model is None), "given, or --model instead, not both")
        self.require("input_max", self.model is not None or self.input_max == 255, "left out where --run_dir is given")
        self.require("input_max", 0 < self.input_max <= 255, "above 0 and at most 255")
        if self.formats == ("all",):
            object.__setattr__(self, "formats", FORMATS)
        require(bool(self.formats), "formats", f"a list of {', '.join(FORMATS)}, or all", "nothing")
        for name in self.formats:
            require(name in FORMATS, "formats", f"a list of {', '.join(FORMATS)}, or all", name)

    def num_calibration(self, num_train: int) -> int:
        return self.calibration_images or min(CALIBRATION_IMAGES, num_train)

    def gates(self, num_images: int, num_changed: int) -> tuple[float, float]:
        """(max_accuracy_drop, min_agreement) for a check on so many images, of which so many get another class.

        A default allows two standard errors: of 100 images, 94 are no evidence against 97%.
        """
        drop, agreement = self.max_accuracy_drop, self.min_agreement
        if drop is None:
            drop = 0.01 + 2 * math.sqrt(num_changed) / num_images
        return drop, 0.97 - 2 * math.sqrt(0.97 * 0.03 / num_images) if agreement is None else agreement


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """What classifies, and how the result is written."""

    model: str | None = option(
        None,
        "A .tflite or .keras file, a run folder, or a SavedModel folder. A SavedModel is a program that runs with your rights:"
        " open only one that you trust.",
    )
    signature: str = option(
        "pixels",
        "SavedModel: hand it decoded pixels, or bytes (the files as they are, which it decodes itself).",
        ("pixels", "bytes"),
    )
    held_out: bool = option(
        False, "Of a run's model: classify only the images that the run held out for validation, by content."
    )
    top: int = option(1, "Classes to name for each image, best first.", least=1)
    json: bool = option(False, "Write JSON, one object a line.")
    csv: bool = option(False, "Write CSV with a header line.")
    batch_size: int = option(32, "Images that are decoded and classified together.", least=1)
    max_image_pixels: int = option(
        100_000_000, "Images whose header claims more pixels than this are not read.", least=1
    )

    def check(self) -> None:
        require(
            self.model is not None,
            "model",
            "given: a .tflite or .keras file, a run folder or a SavedModel folder",
            "nothing",
        )
        self.require("csv", not (self.json and self.csv), "left out where --json is given")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExploreConfig(AugmentationConfig):
    """What is shown of a data set."""

    json: bool = option(False, "Print the report as JSON, with every path, instead of text.")
    grid: str | None = option(
        None, "PNG file that the grid of images is drawn to. Default: runs/ and the data set's name."
    )
    grid_size: tuple[int, int] = option((4, 4), "Rows,columns of the grid. 0,0: no pictures.")
    findings_dir: str | None = option(
        None,
        "Folder for pictures of the photos to look at: in the wrong folder, the same picture twice, unlike all others. Default: runs/ and"
        " the data set's name.",
    )
    backbone: str | None = option(
        None,
        "A network that was trained on the million photos of ImageNet, as of bin/train: by what it makes of each photo, kept on disk for"
        " training too, labels are looked at. Default --image_size: 224,224.",
        BACKBONES,
    )
    backbone_weights: str | None = option(None, "File of the weights of --backbone. Default: as of bin/train.")
    num_names: int = option(4, "File names to show of each class.", least=0)

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
    grace_s: int = option(20, "Seconds that the others get to end by themselves when one has failed.", least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig(Config):
    """Which bundle becomes a page, and how the page reaches a phone."""

    export_dir: str | None = option(
        None, "Bundle of bin/export. The page runs its int8 file, or where that is missing float32, dynamic or float16."
    )
    site_dir: str | None = option(
        None, "Instead of serving: write the page as a static site for any https host to this folder, and end."
    )
    runtime_dir: str | None = option(
        None,
        "Folder with the npm packages @litertjs/core and @litertjs/wasm-utils, for machines without npm. Default: npm"
        " fetches them once, to ~/.cache/hh_fast.",
    )
    https: str = option(
        "auto",
        "auto: https with a certificate of this machine's own, since a phone gives its camera to nothing less; off: plain"
        " http, where photos work and the camera only on this machine.",
        ("auto", "off"),
    )
    cert: str | None = option(None, "A certificate (PEM, with its chain) that browsers trust, instead of the own one.")
    key: str | None = option(None, "The private key of --cert (PEM).")
    host: str = option(
        "0.0.0.0",
        "Address to listen at: 0.0.0.0 for all of this machine's (:: with IPv6), 127.0.0.1 for this machine alone, or the one of"
        " several that the phone reaches.",
    )
    port: int = option(8443, "Port for the phone; 0: a free one.", least=0, most=65535)
    http_port: int = option(
        8442,
        "Port of plain http for this machine's own browser, where --port is https; 0: a free one.",
        least=0,
        most=65535,
    )
    qr: bool = option(True, "Print the address as a QR code too.")

    def check(self) -> None:
        self.require("export_dir", bool(self.export_dir), "a folder that bin/export wrote")
        self.require("cert", (self.cert is None) == (self.key is None), "given together with --key")
        self.require("cert", self.https == "auto" or self.cert is None, "left out with --https=off")
        self.require("host", bool(self.host), "an address of this machine, or 0.0.0.0 for all of them")
