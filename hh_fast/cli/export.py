"""`bin/export`: exports a trained model to files for phones, each checked against the model."""

import functools
from typing import Any

from hh_fast.cli import command
from hh_fast.config import DataConfig, ExportConfig

SYNOPSIS = """\
bin/export --run_dir=RUN [flags]: writes a bundle with SavedModel, .tflite files, labels, metadata and a model card.
A file whose outputs differ from the model's on the validation images is left out, and the exit code is 3.
The data flags default to those of the run."""


def body(config: ExportConfig, data: dict[str, Any]) -> None:
    from hh_fast.io.quiet import import_tensorflow

    import_tensorflow()
    from hh_fast.export.bundle import export  # TensorFlow loads here, not for --help
    from hh_fast.export.trained_model import load_trained_model

    export(config, load_trained_model(config, data))


main = functools.partial(
    command.run, body, name="export", synopsis=SYNOPSIS, configs=(ExportConfig, DataConfig), as_given=(DataConfig,)
)
