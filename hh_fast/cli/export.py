"""`bin/export`: from a trained model to files that a phone loads, each checked against it."""

import functools
from typing import Any

from hh_fast.cli import command
from hh_fast.config import DataConfig, ExportConfig

SYNOPSIS = """\
bin/export --run_dir=RUN [flags]: writes a bundle with SavedModel, .tflite files, labels, metadata and a model card.
A file that does not do what the model does on the validation images is left out, and the exit code is 3.
With a run folder the data flags are the run's own, unless given here."""


def body(config: ExportConfig, data: dict[str, Any]) -> None:
    from hh_fast.io.quiet import import_tensorflow

    import_tensorflow()
    from hh_fast.export.bundle import export  # TensorFlow loads here, not for --help
    from hh_fast.export.trained_model import load_trained_model

    export(config, load_trained_model(config, data))


main = functools.partial(
    command.run, body, name="export", synopsis=SYNOPSIS, configs=(ExportConfig, DataConfig), as_given=(DataConfig,)
)
