"""`export_model`: bin/export as a function, of a run or of anyone's model."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras

from hh_fast.config import FORMATS, DataConfig, ExportConfig
from hh_fast.errors import UsageError
from hh_fast.export.bundle import export
from hh_fast.export.bundle_metadata import file_name
from hh_fast.export.trained_model import load_trained_model, take_trained_model
from hh_fast.training.run import Run


@dataclasses.dataclass(frozen=True)
class Bundle:
    """The folder that an export wrote: model files, labels.txt, metadata.json and a model card, README.md."""

    export_dir: Path

    @property
    def files(self) -> dict[str, Path]:
        """The path of each format's file (of `saved_model` a folder), by its name: float32, float16, dynamic, int8 ..."""
        paths = {name: self.export_dir / file_name(name) for name in FORMATS}
        return {name: path for name, path in paths.items() if path.exists()}


def export_model(
    run_or_model: Run | keras.Model | str | os.PathLike[str],
    export_dir: str | os.PathLike[str],
    *,
    train: Any = None,
    validation: Any = None,
    **settings: Any,
) -> Bundle:
    """Exports a trained model as SavedModel and TFLite files, each checked against it on the validation images.

        >>> train, validation = hh_fast.image_dataset_from_directory(
        ...     "pictures", label_mode="binary", image_size=(96, 96), validation_split=0.2, subset="both", seed=1)
        >>> model = hh_fast.build_model((96, 96))
        >>> model.compile("rmsprop", "binary_crossentropy")
        >>> history = model.fit(train, validation_data=validation)
        >>> bundle = hh_fast.export_model(model, "exports/fit", train=train, validation=validation, formats=("float16",))
        >>> hh_fast.load_classifier(bundle.files["float16"]).classify(["photo.jpg"])
        [Classification(class_name='humans', score=0.5...)]

    Args:
        run_or_model: A finished run of `hh_fast.train`, or its folder. Or a Keras model of images (batch, height, width, 3) to
            one sigmoid or n softmax probabilities; it stays as it is.
        export_dir: Folder that the bundle becomes, in place of an older one.
        train: Of a model: the data set of `image_dataset_from_directory` that it was trained on, for quantization's ranges.
            Exported files, and all that runs them here, stretch an image to the model's size: one that was trained on cropped
            or padded images is checked, with a warning, on stretched ones.
        validation: Of a model: another such data set, that it is checked on.
        settings: The flags of bin/export by name: `formats`, `calibration_images`, `author` ..., with the same defaults. Of a
            run also those for data that moved (`train_dir` ...); of a model that takes values 0 to 1 `input_max=1`.

    Returns:
        The bundle, in place; what stood there before is kept where this raises another error than `CheckError`.

    Raises:
        CheckError: a format did not pass, or could not be converted. The bundle of the others is in place.
        DataError: no finished run, data that cannot be used, or a model that is no classifier of these images.
        UsageError: a setting that cannot be used, or a folder that holds other things.
    """
    data_names, names = ({field.name for field in dataclasses.fields(kind)} for kind in (DataConfig, ExportConfig))
    unknown = sorted(
        settings.keys()
        - (names - {"run_dir", "model", "export_dir"})
        - (set() if isinstance(run_or_model, keras.Model) else data_names)
    )
    if unknown:
        raise UsageError(f"unknown setting `{unknown[0]}`; choose from the flags of bin/export (bin/export --help)")
    options = {name: value for name, value in settings.items() if name in names} | {"export_dir": os.fspath(export_dir)}
    if isinstance(run_or_model, keras.Model):
        config = ExportConfig(model=f"<keras.Model {run_or_model.name}>", **options)
        trained = take_trained_model(run_or_model, train, validation, input_max=config.input_max)
        return Bundle(export(config, trained))
    if train is not None or validation is not None:
        raise UsageError(
            "`train` and `validation` must be left out for a run, which knows its own. Received: data sets"
        )
    run_dir = run_or_model.run_dir if isinstance(run_or_model, Run) else run_or_model
    given = {name: value for name, value in settings.items() if name in data_names}
    config = ExportConfig(run_dir=os.fspath(run_dir), **options)
    return Bundle(export(config, load_trained_model(config, given)))
