"""The training race: same images, initial weights and number of updates; the arms differ in who makes and steps on the batches.

To add an arm for `fit`, write its feed (a function as `_stock_feed`), name it in `METHODS`, and list its arms in `all_arms`.
Each training runs in a process of its own. The clock starts before the images are listed and the model is built, and stops
after the last validation.
"""

import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from benchmarks.harness import Measure, Row, isolated
from benchmarks.process import in_process, peak_memory
from benchmarks.race import ours, rivals
from benchmarks.race.bounds import matrix_bound, own_step, resident_bound, stock_step
from benchmarks.race.inputs import DEFAULT, FULL, QUICK
from benchmarks.race.names import GENERATOR, OWN, OWN_DATA, STALLED, STOCK, arm_name, matrix_name, resident_name
from benchmarks.race.workload import Workload
from hh_fast.augmentation import Augmentation
from hh_fast.data.image_dataset import image_dataset_from_directory


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way of training: who makes the batches and steps on them (a key of `METHODS`), in which precision."""

    method: str
    precision: str = "float32"
    augment: bool = False

    @property
    def name(self) -> str:
        return arm_name(self.method, self.precision, augment=self.augment)


def all_arms(precision: str, level: int = FULL, *, augmented: bool = False) -> list[Arm]:
    """What is raced at this level, by what users commonly run first; `precision` is the machine's own."""
    methods = {QUICK: (STOCK, OWN), DEFAULT: (STOCK, OWN), FULL: (STOCK, OWN_DATA, OWN)}[level]
    precisions = [precision] if level == QUICK else ["float32", precision]
    plain = [Arm(method, kind) for method in methods for kind in precisions]
    further = [Arm(GENERATOR, augment=True), Arm(STOCK, precision, True), Arm(OWN, precision, True)]
    # On a machine whose own precision is float32 some are the same.
    return list(dict.fromkeys([Arm(GENERATOR), *plain, *(further if augmented else [])]))


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `fit` takes: batches to train and to validate on, its `options`, and the layers that they need before the CNN."""

    train: Any
    validation: Any
    options: dict[str, Any]
    first_layers: tuple[keras.layers.Layer, ...] = ()


def _generator_feed(workload: Workload, augment: bool) -> Feed:
    held_out, categorical = workload.validation_reader, workload.head == "softmax"
    batches = rivals.generator(**workload.train_reader, categorical=categorical, augment=augment)
    validation = rivals.generator(**held_out, categorical=categorical) if held_out else None
    return Feed(batches, validation, {"steps_per_epoch": len(batches)})


def _stock_feed(workload: Workload, augment: bool) -> Feed:
    """As TensorFlow's tutorial on loading images feeds `fit`; what its layers do at random is part of the model."""
    held_out = workload.validation_reader
    batches = rivals.stock_dataset(**workload.train_reader, cache=True)
    layers = rivals.augmentation_layers(workload.data.seed) if augment else []
    return Feed(
        batches.shuffle(rivals.SHUFFLE_BUFFER).prefetch(rivals.AUTOTUNE),
        rivals.stock_dataset(**held_out, cache=True, prefetch=True) if held_out else None,
        {"shuffle": False},  # the data set does
        (*layers, keras.layers.Rescaling(1 / 255)),
    )


def _own_data_feed(workload: Workload, augment: bool) -> Feed:
    """As its users put this package's data set under their own `fit`."""
    held_out = workload.validation_reader
    make = functools.partial(image_dataset_from_directory, cache="memory", dtype="uint8", verbose=False)
    augmentation = Augmentation(**rivals.AUGMENTATION) if augment else None
    return Feed(
        make(**workload.train_reader, augment=augmentation),
        make(**held_out) if held_out else None,
        {"shuffle": False},
        (keras.layers.Rescaling(1 / 255),),
    )


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch, and of its training part: from its begin to its last step's end, waits for input included."""

    def __init__(self) -> None:
        super().__init__()
        self.row: Row = {name: [] for name in ("epoch_s", "training_s", "loss", "val_accuracy")}
        self.num_steps: list[int] = []
        self.first_end = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._start = self._last_step = time.perf_counter()
        self.num_steps.append(0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if logs:
            float(logs["loss"])  # waits for the step, which a GPU may still be at
        self._last_step = time.perf_counter()
        self.num_steps[-1] += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        now = time.perf_counter()
        self.first_end = self.first_end or now
        self.row["epoch_s"].append(now - self._start)
        self.row["training_s"].append(self._last_step - self._start)
        for name in ("loss", "val_accuracy"):
            if name in (logs or {}):
                self.row[name].append(float(logs[name]))


def _fit(make_feed: Callable[[Workload, bool], Feed], arm: Arm, workload: Workload, clock: Clock) -> Row:
    """A training by Keras' own `compile` and `fit`."""
    feed = make_feed(workload, arm.augment)
    recipe = ours.build(workload, arm.precision).layers[1:]  # its first layer scales
    model = keras.Sequential([keras.Input((*workload.data.size, 3)), *feed.first_layers, *recipe])
    optimizer, learning_rate = workload.train.optimizer, workload.train.learning_rate
    rivals.compile_classifier(model, optimizer, learning_rate, dtype=arm.precision)
    options = {"epochs": workload.train.epochs, "callbacks": [clock], "verbose": 0, **feed.options}
    model.fit(feed.train, validation_data=feed.validation, **options)
    return {}


def _own(arm: Arm, workload: Workload, clock: Clock) -> Row:
    """hh_fast's own loop, with a cache folder of its own, so that none finds what another one kept."""
    trained = workload.changed(precision=arm.precision, **(rivals.AUGMENTATION if arm.augment else {}))
    with tempfile.TemporaryDirectory(prefix="train-", dir=workload.train_dir.parent) as folder:
        waits = ours.train(trained, Path(folder), [clock])
    return {"input_waits": waits}


METHODS: dict[str, Callable[[Arm, Workload, Clock], Row]] = {
    GENERATOR: functools.partial(_fit, _generator_feed),
    STOCK: functools.partial(_fit, _stock_feed),
    OWN_DATA: functools.partial(_fit, _own_data_feed),
    OWN: _own,
}


def train_arm(arm: Arm, workload: Workload) -> Row:
    """One training of the arm; called in a measuring process.

    `wall_s` is from listing the images to the last validation, `first_epoch_s` to the first epoch's end; the lists are by
    epoch, `training_s` without validation. `fit` does not tell `input_waits`.
    """
    clock = Clock()
    with peak_memory() as peak:
        start = time.perf_counter()
        row = METHODS[arm.method](arm, workload, clock)
        wall_s = time.perf_counter() - start
    times = {"wall_s": wall_s, "first_epoch_s": clock.first_end - start, **peak}
    images = [steps * workload.train.batch_size for steps in clock.num_steps]  # the folder holds whole batches
    return {**times, **clock.row, **row, "images": images, "seed": workload.data.seed}


def mark_steady(rows: Sequence[Row]) -> None:
    """Gives each training's row its steady-state figures: of the epochs after the first that were not stalled.

    Those are the ones that took up to `STALLED` times the shortest such epoch of the arm, of all repeats.
    """
    shortest: dict[str, float] = {}
    for row in rows:
        later = row["epoch_s"][1:] or row["epoch_s"]
        shortest[row["arm"]] = min([*later, shortest.get(row["arm"], later[0])])
    for row in rows:
        epochs = range(min(1, len(row["epoch_s"]) - 1), len(row["epoch_s"]))
        steady = [i for i in epochs if row["epoch_s"][i] <= STALLED * shortest[row["arm"]]]
        row["num_stalled"] = len(epochs) - len(steady)
        row["last_val_accuracy"] = row["val_accuracy"][-1] if row["val_accuracy"] else None
        if steady:
            row["steady_epoch_s"] = statistics.median(row["epoch_s"][i] for i in steady)
        if steady and "training_s" in row:
            seconds = sum(row["training_s"][i] for i in steady)
            row["steady_images_per_s"] = sum(row["images"][i] for i in steady) / seconds
            if "input_waits" in row:
                row["input_wait"] = statistics.mean(row["input_waits"][i] for i in steady)


def training_arms(arms: Sequence[Arm], workload: Workload) -> dict[str, Measure]:
    """The trainings; each repeat has a seed of its own, the same for all arms."""

    def measure(arm: Arm) -> Measure:
        return lambda repeat: in_process(train_arm, arm, workload.seeded(repeat))

    return {arm.name: measure(arm) for arm in arms}


def bound_arms(arms: Sequence[Arm], workload: Workload, level: int = FULL) -> dict[str, Measure]:
    """What no arm can exceed: the step of its kind on a resident batch, and the step's arithmetic as a matrix product."""
    bounded = [arm for arm in arms if level == FULL or arm.method == OWN]
    found = {}
    for arm in bounded:
        step = own_step if arm.method == OWN else stock_step
        on = workload.changed(precision=arm.precision)
        found[resident_name(arm.method, arm.precision)] = isolated(resident_bound, step, on)
        found[matrix_name(arm.precision)] = isolated(matrix_bound, on)
    return found
