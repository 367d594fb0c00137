"""What the benchmarks share: their data, their progress line, and the JSON that each leaves in benchmarks/results."""

import argparse
import contextlib
import datetime
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import hh_fast.bench.preload  # noqa: F401  # TensorFlow, without the lines that it prints
from hh_fast.bench import machine
from hh_fast.bench.isolate import import_tensorflow_without_gpu, in_process, start_server
from hh_fast.bench.measure import Outcome, noise_warning, ratio
from hh_fast.bench.plan import Plan
from hh_fast.bench.setting import Setting, link_all
from hh_fast.config import BenchConfig, DataConfig, TrainConfig
from hh_fast.data.load import Data, load_data
from hh_fast.io.files import scratch_dir, write_json

RESULTS = Path(__file__).resolve().parent / "results"


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """An argument parser with what every benchmark takes: the data, the cache folder, and where the JSON goes.

    Called first of all, by the process that directs: it also makes the others ready.
    """
    start_server()
    import_tensorflow_without_gpu()
    made = argparse.ArgumentParser(description=description)
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
def whole_data(config: DataConfig, train: TrainConfig, bench: BenchConfig) -> Iterator[tuple[Setting, Data]]:
    """A setting over all whole batches of the data set, linked beside the caches and gone afterwards."""
    data = load_data(DataConfig(**{**config.to_json(), "image_size": config.image_size, "cache": "none"}))
    num_images = data.train.num_images // train.batch_size * train.batch_size
    num_validation = data.validation.num_images if data.validation else 0
    plan = Plan(num_images, num_images, num_validation, 1.0, 1.0)
    with scratch_dir(config.cache_root / "bench") as folder:
        link_all(data, plan, folder)
        yield Setting(bench, config, train, folder, len(data.class_names), plan), data


def describe(data: Data) -> dict[str, Any]:
    return {
        "name": data.source.name,
        "fingerprint": data.fingerprint,
        "num_train": data.train.num_images,
        "num_validation": data.validation.num_images if data.validation else 0,
        "image_size": list(data.train.image_size),
    }


def ratios(outcomes: dict[str, Outcome], asked: Sequence[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
    """Of (what, over, under, figure): each pair's ratios summed up, where both were measured."""
    found = []
    for what, above, below, figure in asked:
        summary = ratio(outcomes[above], outcomes[below], figure) if {above, below} <= set(outcomes) else None
        if summary is not None:
            entry = {"what": what, "over": above, "under": below, "figure": figure, **summary.to_json()}
            found.append({**entry, "warning": noise_warning(what, summary)})
    return found


def _portable(words: Sequence[str]) -> list[str]:
    """The flags, without those that only say where files go, and with the last part of each path."""
    own = [word for word in words if not word.startswith(("--cache_dir", "--output", "--plot"))]
    return [f"{word.partition('=')[0]}={Path(word.partition('=')[2]).name}" if "/" in word else word for word in own]


def write(path: Path, outcomes: dict[str, Outcome], **parts: Any) -> None:
    """Writes a benchmark's JSON: the command that made it, the machine, the versions, every raw repeat."""
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_portable(sys.argv[1:])])
    about = {
        "command": command,
        "written": started,
        "machine": machine.describe(in_process(machine.gpu_names, use_gpu=True)),
    }
    entries = [outcome.to_json() for outcome in outcomes.values()]
    write_json(path, {**about, "versions": machine.versions(), **parts, "entries": entries})
    show(f"written: {path}")
