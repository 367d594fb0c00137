"""Models that training starts from instead of the built-in CNN: a user's Keras model or a pretrained network."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras

from hh_fast.any_model import (
    can_trace,
    digest,
    head_of,
    image_size_of,
    load_model,
    output_layer,
    require_classifier,
    with_policy,
)
from hh_fast.backbone.frozen import unfreeze
from hh_fast.backbone.pretrained import build
from hh_fast.backbone.weights import WEIGHTS, find_weights
from hh_fast.config import TrainConfig
from hh_fast.errors import DataError, require
from hh_fast.io.text import listed
from hh_fast.training.run import BEST_MODEL, LAST_MODEL, Backbone, Run
from hh_fast.unknown import without_unknown


@dataclasses.dataclass(frozen=True)
class StartingModel:
    """`model` maps images (batch, height, width, 3), values 0 to 255, to probabilities, or to features; `name` is for messages.

    `sha256` is that of the file, or of an object's config and weights. `class_names` are those of the run that trained it, and
    `backbone` is the pretrained network that it was made from, if known.
    """

    model: keras.Model
    name: str
    sha256: str
    class_names: tuple[str, ...] | None = None
    backbone: Backbone | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        return image_size_of(self.model)

    def whole(self, config: TrainConfig, seed: int) -> keras.Model:
        """A float32 model for training to change, with the layers unfrozen that `config.unfreeze` asks for.

        Raises:
            DataError: a classifier without trainable weights.
        """
        whole = self.model
        if config.backbone is None:
            whole = with_policy(whole, "float32", seed=seed, reset_weights=config.reset_weights)
        if config.unfreeze is not None:
            unfreeze(whole, config.unfreeze)
        if config.backbone is None and not whole.trainable_variables:
            raise DataError(
                f"all layers of {self.name} are frozen, so nothing can be trained: set layer.trainable = True for some, or give"
                " --unfreeze"
            )
        return whole

    def require_classes(self, class_names: Sequence[str]) -> None:
        """Raises `DataError` if the outputs do not match these classes."""
        count, found = max(self.model.outputs[0].shape[1], 2), listed(class_names)
        if count != len(class_names):
            raise DataError(
                f"{self.name} has {count} classes, but the images have {len(class_names)}, {found}: give it a matching output"
                " layer"
            )
        own = self.class_names
        if own is not None and own != tuple(class_names) and sorted(own) == sorted(class_names):
            raise DataError(
                f"{self.name} has its classes in the order {listed(own)}, but the images in the order {found}: name the class"
                " folders so that they sort in the model's order"
            )


def _check(model: keras.Model, name: str, head: str) -> None:
    own = head_of(model)
    if own is None:
        units = model.outputs[0].shape[1]
        activation = "sigmoid" if units == 1 else "softmax"
        raise DataError(
            f"the outputs of {name}, of its layer `{output_layer(model).name}`, are not probabilities: end it with"
            f' keras.layers.Activation("{activation}")'
        )
    require(head in ("auto", own), f"`head` must be the model's own, {own}, or left out", head)
    if not can_trace(model):
        raise DataError(
            f"{name} has a layer name that is invalid in a TensorFlow graph, so it cannot be trained: name its layers with"
            " letters, digits and underscores"
        )


def model_file(path: Path) -> Path:
    """The `.keras` file at `path`, or in the run folder at `path`."""
    return path / BEST_MODEL if (path / BEST_MODEL).is_file() else path


def read_starting_model(path: Path, head: str) -> StartingModel:
    """The model in a `.keras` file; `head` is the output that it must have, or `auto`.

    Raises:
        DataError: a file that cannot be read or contains code, or a model that cannot be trained.
        UsageError: another head.
    """
    model = without_unknown(load_model(path))
    content = path.read_bytes()
    _check(model, str(path), head)
    run = Run(path.parent).read_config() if path.name in (BEST_MODEL, LAST_MODEL) else None
    known = (run.class_names, run.backbone) if run else ()
    return StartingModel(model, str(path), hashlib.sha256(content).hexdigest(), *known)


def take_starting_model(model: keras.Model, head: str) -> StartingModel:
    """The same for a model in memory, which is not changed."""
    name = f"the model {model.name}"
    require_classifier(model, name)
    model = without_unknown(model)
    _check(model, name, head)
    return StartingModel(model, name, digest(model))


def read_backbone(config: TrainConfig, image_size: tuple[int, int]) -> StartingModel:
    """The network named by `config.backbone`, without its classifier; raises as `build`."""
    name = str(config.backbone)
    path = Path(config.backbone_weights).expanduser() if config.backbone_weights else find_weights(name)
    model = build(name, path, image_size)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = WEIGHTS[name]
    backbone = Backbone(name=name, weights=path.name, sha256=sha256, license=known.license, source=known.source)
    return StartingModel(model, name, sha256, backbone=backbone)
