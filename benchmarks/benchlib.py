"""What the benchmarks share: their data, their progress line, and the JSON that each leaves in benchmarks/results."""

import argparse
import contextlib
import dataclasses
import datetime
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
from published import RESULTS, GpuStep, Published

import hh_fast.bench.preload  # noqa: F401  # TensorFlow, without the lines that it prints
from hh_fast.bench import machine
from hh_fast.bench.isolate import import_tensorflow_without_gpu, in_process, start_server
from hh_fast.bench.results import Plan
from hh_fast.bench.statistics import Claim, Outcome, Variant, ratios, run_in_turn
from hh_fast.bench.workload import Workload, link_workloads, summarize
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import load_data
from hh_fast.io.files import scratch_dir, write_json
from hh_fast.io.typed_json import to_json


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """An argument parser with what every benchmark takes: the data, the cache folder, and where the JSON goes.

    Called first of all, by the process that directs: it also makes the others ready.
    """
    start_server()
    import_tensorflow_without_gpu()
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--train_dir", help="folder of class folders; default: the built-in sample")
    made.add_argument("--validation_dir")
    made.add_argument("--image_size", type=int, default=300, help="side in pixels")
    made.add_argument("--cache_dir", help="default: ~/.cache/hh_fast")
    made.add_argument("--output", type=Path, default=RESULTS / f"{name}.json")
    return made


def data_config(arguments: argparse.Namespace, **changes: Any) -> DataConfig:
    values = {
        "train_dir": arguments.train_dir,
        "validation_dir": arguments.validation_dir,
        "image_size": (arguments.image_size, arguments.image_size),
        "cache_dir": arguments.cache_dir,
    }
    return DataConfig(**{**values, **changes})


def show(line: str) -> None:
    """Says what is being measured, on standard error."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def whole_workload(config: DataConfig, train: TrainConfig) -> Iterator[tuple[Workload, Any]]:
    """A workload of all whole batches of the data set, linked beside the caches and gone afterwards; and its summary."""
    data = load_data(dataclasses.replace(config, cache="none"))
    num_images = data.train.num_images // train.batch_size * train.batch_size
    plan = Plan(num_images, num_images, data.validation.num_images if data.validation else 0)
    with scratch_dir(config.cache_root / "bench") as folder:
        _, workload = link_workloads(data, plan, Workload(config, train, len(data.class_names)), folder)
        yield workload, summarize(data)


def in_turn(variants: Sequence[Variant], repeats: int) -> tuple[Outcome[Any], ...]:
    return run_in_turn(variants, repeats=repeats, on_progress=show)


def _portable(words: Sequence[str]) -> list[str]:
    """The flags, without those that only say where files go, and with the last part of each path."""
    own = [word for word in words if not word.startswith(("--cache_dir", "--output", "--plot"))]
    return [f"{word.partition('=')[0]}={Path(word.partition('=')[2]).name}" if "/" in word else word for word in own]


def write(
    path: Path,
    outcomes: Sequence[Outcome[Any]],
    *,
    bounds: Sequence[Outcome[Any]] = (),
    steps: Sequence[GpuStep] = (),
    claims: Sequence[Claim] = (),
    data: Any = None,
    **settings: int | str,
) -> None:
    """Writes a benchmark's JSON: the command that made it, the machine, the versions, every raw repeat."""
    published: Published[Any] = Published(
        command=" ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_portable(sys.argv[1:])]),
        written=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        machine=machine.describe(in_process(machine.gpu_names, use_gpu=True)),
        settings=settings,
        outcomes=tuple(outcomes),
        bounds=tuple(bounds),
        steps=tuple(steps),
        data=data,
        ratios=ratios((*outcomes, *bounds), claims),
    )
    write_json(path, to_json(published))
    show(f"written: {path}")
