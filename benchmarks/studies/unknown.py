"""`--unknown`: which pictures of other things are taken for a class, by it and by a threshold on the softmax score.

    .venv/bin/python -m benchmarks.studies.unknown flower-photos horse-or-human

Takes about 8 minutes on 2 cores. The folders hold train/ and validation/; the built-in sample is one more of the sets. The first set
is tried against each other one, and each of these against it. A half of validation/, drawn anew for each repeat, sets the threshold; what
is kept is measured on the other half, and what is let through on all pictures of the other set, none of which training saw. Then once
more with the threshold set on a part of train/, as where no validation images are given. To compare it with softmax: what each lets
through where it keeps 95% of the other half. Seed 0 is exported too.
"""

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import hh_fast
from benchmarks.harness import Row, finish_study, study
from benchmarks.studies.photos import Photos, read_photos
from hh_fast.config import DataConfig
from hh_fast.data.sources import find_source
from hh_fast.evaluation.metrics import class_probabilities
from hh_fast.export.latency import measure_latency
from hh_fast.unknown import without_unknown

BATCH = 64
KEPT = 0.95
NUM_LATENCIES = 7


class PhotoSet(NamedTuple):
    name: str
    train_dir: Path
    validation_dir: Path
    photos: Photos  # of both


def read_set(name: str, train_dir: Path, validation_dir: Path, limit: int) -> PhotoSet:
    both = [read_photos(folder, limit) for folder in (train_dir, validation_dir)]
    return PhotoSet(name, train_dir, validation_dir, Photos(*map(np.concatenate, zip(*both, strict=True))))


def halve(folder: Path, to: Path, seed: int) -> tuple[Path, Path]:
    """Two folders of links, each to a half of every class of `folder`."""
    rng, halves = np.random.default_rng(seed), (to / "first", to / "second")
    for class_dir in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = rng.permutation(sorted(class_dir.iterdir()))
        for half, part in zip(halves, (files[::2], files[1::2]), strict=True):
            (half / class_dir.name).mkdir(parents=True)
            for path in part:
                (half / class_dir.name / path.name).symlink_to(path.resolve())
    return halves


def train(known: PhotoSet, scratch: Path, seed: int, **settings: Any) -> Path:
    """The folder of a run; the features of the training images stay in `scratch` for the next seed."""
    run_dir = scratch / known.name.replace(" ", "_") / "run"
    hh_fast.train(
        train_dir=str(known.train_dir),
        backbone="efficientnet_lite0",
        seed=seed,
        run_dir=str(run_dir),
        overwrite=True,
        cache="disk",
        cache_dir=str(scratch / "cache"),
        **settings,
    )
    return run_dir


def scores_of(run_dir: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the run's saved model makes of them, (n, classes + 1), and the same without the output `unknown`, (n, classes)."""
    model = keras.models.load_model(run_dir / "model.keras", compile=False)
    both = keras.Model(model.input, [model.output, without_unknown(model).output])
    found = both.predict(pixels.astype(np.float32), batch_size=BATCH, verbose=0)
    return found[0], class_probabilities(found[1])


def is_known(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores.argmax(axis=1) < scores.shape[1] - 1)


def lead(scores: np.ndarray) -> np.ndarray:
    """By how much the best class is ahead of `unknown`: a picture is known above 0, with any other threshold above another limit."""
    ahead: np.ndarray = np.log(np.maximum(scores[:, :-1].max(axis=1), 1e-30) / np.maximum(scores[:, -1], 1e-30))
    return ahead


def passed(held: np.ndarray, foreign: np.ndarray) -> float:
    """The share of `foreign` above the limit that `KEPT` of `held` exceed."""
    return float((foreign >= np.quantile(held, 1 - KEPT, method="lower")).mean())


def export(run_dir: Path) -> Path:
    return hh_fast.export_model(run_dir, run_dir.with_name("exported"), formats=("int8",)).files["int8"]


def measure(known: PhotoSet, others: list[PhotoSet], scratch: Path, seed: int) -> list[Row]:
    """A row for each of `others`."""
    sets_threshold, half = halve(known.validation_dir, scratch / known.name / str(seed), seed)
    held, foreign = read_photos(half), [other.photos.pixels for other in others]
    by_split = scores_of(train(known, scratch, seed, unknown=True, validation_split=0.2), held.pixels)[0]
    run_dir = train(known, scratch, seed, unknown=True, validation_dir=str(sets_threshold))
    pixels = np.concatenate([held.pixels, *foreign])
    parts = np.cumsum([len(one) for one in (held.pixels, *foreign)])[:-1]
    with_it, without = (np.split(scores, parts) for scores in scores_of(run_dir, pixels))
    kept = float(is_known(with_it[0]).mean())
    figures: Row = {
        "repeat": seed,
        "num_held_out": len(held.labels),
        "kept": kept,
        "kept_by_split": float(is_known(by_split).mean()),
        "accuracy": float((with_it[0].argmax(axis=1) == held.labels).mean()),
        "accuracy_without": float((without[0].argmax(axis=1) == held.labels).mean()),
    }
    int8 = [np.empty((0, 1))] * len(with_it)
    if seed == 0:
        file = scratch / "int8.tflite"
        shutil.copyfile(export(run_dir), file)
        plain = export(train(known, scratch, seed, validation_dir=str(sets_threshold)))
        took = [measure_latency({"with": file, "without": plain}) for _ in range(NUM_LATENCIES)]
        num_classes = without[0].shape[1]
        ratios = [one["with"][0].median_ms / one["without"][0].median_ms for one in took]
        figures["int8_time"] = statistics.median(ratios)
        figures["int8_bytes_a_class"] = (file.stat().st_size - plain.stat().st_size) / num_classes
        int8 = np.split(hh_fast.load_classifier(file).score(pixels), parts)
        figures["int8_kept"] = float(is_known(int8[0]).mean())
    return [
        {
            "arm": f"{known.name} against {other.name}",
            **figures,
            "num_foreign": len(with_it[i]),
            "let_through": float(is_known(with_it[i]).mean()),
            "let_through_at_95": passed(lead(with_it[0]), lead(with_it[i])),
            "softmax_let_through_at_95": passed(without[0].max(axis=1), without[i].max(axis=1)),
            "int8_let_through": float(is_known(int8[i]).mean()) if len(int8[i]) else None,
        }
        for i, other in enumerate(others, 1)
    ]


def main() -> None:
    parser = study("unknown", __doc__ or "", repeats=3)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that hold train/ and validation/")
    parser.add_argument(
        "--limit", type=int, default=10_000, help="pictures of a folder that are foreign to another, about"
    )
    arguments = parser.parse_args()
    sample = find_source(DataConfig())
    folders = [(folder.name, folder / "train", folder / "validation") for folder in arguments.folders]
    folders.append(("the sample", Path(sample.train_dir), Path(str(sample.validation_dir))))
    first, *rest = (read_set(*folder, arguments.limit) for folder in folders)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="hh_fast-unknown-") as folder:
        for known, others in ((first, rest), *((one, [first]) for one in rest)):
            for seed in range(arguments.repeats):
                rows += measure(known, others, Path(folder), seed)
    finish_study("unknown", arguments, rows)


if __name__ == "__main__":
    main()
