"""`bin/bench`: the ImageDataGenerator path and the tf.data path, timed in turn on this machine."""

import contextlib
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from hh_fast.cli import command
from hh_fast.config import BenchConfig, DataConfig, TrainConfig
from hh_fast.errors import UsageError

SYNOPSIS = """\
bin/bench [flags]: times the ImageDataGenerator path and hh_fast, in turn, on the same images, and writes results.json,
results.md and a chart. It takes the images and settings by the same flags as bin/train.
bin/bench --compare OLD.json NEW.json: says what got slower or faster between two results."""


def _compare(arguments: Sequence[str]) -> None:
    if len(arguments) != 2:
        raise UsageError(
            f"`compare` must be given two results.json, the older first. Received: {len(arguments)} arguments"
        )
    from hh_fast.bench.comparison import compare
    from hh_fast.bench.results import read_results

    print(compare(*(read_results(Path(path)) for path in arguments)))


def body(bench: BenchConfig, data: DataConfig, train: TrainConfig, free: Sequence[str]) -> None:
    if bench.compare:
        _compare(free)
        return
    command.no_arguments(free)
    from hh_fast.bench.output import prepare_flagfile, prepare_output, write_all

    output_dir, flagfile = prepare_output(bench, train), prepare_flagfile(bench, train)
    from hh_fast.bench.isolate import import_tensorflow_without_gpu, start_server

    start_server()  # imports TensorFlow for the measuring processes while this one does
    import_tensorflow_without_gpu()
    from hh_fast.bench.benchmark import run_bench
    from hh_fast.bench.progress import Progress

    shown = logging.getLogger("hh_fast").isEnabledFor(logging.INFO)
    with contextlib.closing(Progress(shown=shown)) as progress:
        results = run_bench(bench, data, train, progress)
    print(write_all(results, output_dir))
    if flagfile is not None:
        from hh_fast.bench.sweep import write_flagfile

        print(write_flagfile(results, flagfile))


main = functools.partial(
    command.run,
    body,
    name="bench",
    synopsis=SYNOPSIS,
    configs=(BenchConfig, DataConfig, TrainConfig),
    takes_arguments=True,
)
