"""A result of `bin/bench`, for the tests of what reads it."""

from benchmarks.harness import make_results
from benchmarks.race.training import mark_steady

GENERATOR, STOCK = "ImageDataGenerator + fit, float32", "stock tf.data + fit, mixed_bfloat16"
OWN = "hh_fast, mixed_bfloat16"
MACHINE = {
    "cpu": "A CPU",
    "cpu_flags": [],
    "num_cores": 2,
    "memory_bytes": 8_000_000_000,
    "gpus": [],
    "system": "Linux",
    "load_before": 0.1,
    "versions": {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.15.1"},
}


def training(arm, *repeats, val_accuracy=(0.5, 0.9)):
    """Rows of trainings, each given as its wall seconds and those of its epochs; steps take nine tenths of each epoch."""
    rows = [
        {
            "kind": "training",
            "arm": arm,
            "repeat": i,
            "wall_s": wall_s,
            "first_epoch_s": epoch_s[0] + 1,
            "epoch_s": list(epoch_s),
            "training_s": [0.9 * seconds for seconds in epoch_s],
            "images": [100] * len(epoch_s),
            "val_accuracy": list(val_accuracy),
            "peak_bytes": 1_000_000,
        }
        for i, (wall_s, epoch_s) in enumerate(repeats)
    ]
    mark_steady(rows)
    return rows


def reading(arm, *repeats):
    """Rows of input alone, each given as images a second of the first epoch and of steady ones."""
    return [
        {"kind": "input", "arm": arm, "repeat": i, "first_images_per_s": first, "steady_images_per_s": steady}
        for i, (first, steady) in enumerate(repeats)
    ]


def swept(images_per_s, *, precision="float32", batch_size=128, cache="memory"):
    return {
        "kind": "sweep",
        "arm": f"{precision}, no XLA, batch {batch_size}, cache {cache}",
        "repeat": 0,
        "precision": precision,
        "jit_compile": "false",
        "batch_size": batch_size,
        "cache": cache,
        "compile_s": 1.0,
        "images_per_s": images_per_s,
        "input_wait": 0.01,
    }


ROWS = [
    *reading("ImageDataGenerator", (500, 600), (520, 610), (510, 605)),
    *reading("hh_fast, memory", (1200, 45_000), (1100, 44_000), (1150, 46_000)),
    *training(GENERATOR, (40.0, (20, 20)), (41.0, (20, 20)), (42.0, (20, 20))),
    *training(STOCK, (12.0, (7, 6)), (12.5, (7, 6)), (12.2, (7, 6))),
    *training(OWN, (10.0, (6, 5)), (11.0, (6, 5)), (10.5, (6, 5))),
    {
        "kind": "bound",
        "arm": "bound: matrix product, float32",
        "repeat": 0,
        "steady_images_per_s": 256.0,
        "flops_per_s": 2e11,
    },
]


def small_results(rows=None, failures=None, **changes):
    about = {
        "data": {
            "name": "sample",
            "fingerprint": "f",
            "image_size": [300, 300],
            "num_available": 1024,
            "num_train": 1024,
            "num_validation": 256,
        },
        "precision": "mixed_bfloat16",
        "epochs": 2,
        "repeats": 3,
        "batch_size": 128,
        "remarks": ["A remark."],
    }
    machine = changes.pop("machine", MACHINE)
    return make_results("bin/bench", machine, ROWS if rows is None else rows, failures, **{**about, **changes})
