"""`export_model`: bin/export as a function, for a run or any Keras model."""

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
    """An exported folder: model files, labels.txt, metadata.json and a model card, README.md."""

    export_dir: Path

    @property
    def files(self) -> dict[str, Path]:
        """The path of the file of each format by name: float32, float16, dynamic, int8 ...; a folder for `saved_model`."""
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
    """Exports a trained model as SavedModel and TFLite files, each checked against the model on the validation images.

        >>> train, validation = hh_fast.image_dataset_from_directory(
        ...     "pictures", label_mode="binary", image_size=(96, 96), validation_split=0.2, subset="both", seed=1)
        >>> model = hh_fast.build_model((96, 96))
        >>> model.compile("rmsprop", "binary_crossentropy")
        >>> history = model.fit(train, validation_data=validation)
        >>> bundle = hh_fast.export_model(model, "exports/fit", train=train, validation=validation, formats=("float16",))
        >>> hh_fast.load_classifier(bundle.files["float16"]).classify(["photo.jpg"])
        [Classification(class_name='humans', score=0.5...)]

    Args:
        run_or_model: A finished run of `hh_fast.train`, or its folder. Or a Keras model that maps images (batch, height, width,
            3) to one sigmoid or n softmax probabilities; it is not changed.
        export_dir: Folder for the bundle; an older bundle is replaced.
        train: For a model: the data set of `image_dataset_from_directory` on which it was trained, for calibration.
            Exported files take images stretched to the model's size: a model that was trained on cropped or padded images is
            checked on stretched ones, with a warning.
        validation: For a model: another such data set, on which the files are checked.
        settings: The flags of bin/export by name: `formats`, `calibration_images`, `author` ..., with the same defaults. For a
            run also those for data that moved (`train_dir` ...); for a model that takes values 0 to 1, `input_max=1`.

    Returns:
        The bundle. On any error but `CheckError` an older bundle is kept.

    Raises:
        CheckError: a format failed its check or could not be converted. The bundle has the others.
        DataError: not a finished run, unusable data, or a model that is not a classifier of these images.
        UsageError: an invalid setting, or a folder with other files.
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
        raise UsageError("`train` and `validation` must be left out for a run, which has its own. Received: data sets")
    run_dir = run_or_model.run_dir if isinstance(run_or_model, Run) else run_or_model
    given = {name: value for name, value in settings.items() if name in data_names}
    config = ExportConfig(run_dir=os.fspath(run_dir), **options)
    return Bundle(export(config, load_trained_model(config, given)))
