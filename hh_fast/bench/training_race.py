"""The arms of the training race: same images, initial weights and number of updates; what differs is data of an `Arm`.

To add an arm for `fit`, write its feed (a function as `_stock_feed`), name it in `METHODS`, and list its arms in `all_arms`. Each training runs
in a process of its own, with TensorFlow imported and its thread pools started. The clock starts before the images are listed
and the model is built, and stops after the last validation.
"""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from hh_fast.augmentation import Augmentation
from hh_fast.bench import baselines, own_loop
from hh_fast.bench.bounds import matrix_bound, own_step, resident_bound, stock_step
from hh_fast.bench.isolate import isolated
from hh_fast.bench.results import TrainingFigures
from hh_fast.bench.statistics import Claim, Variant
from hh_fast.bench.workload import Workload
from hh_fast.data.image_dataset import image_dataset_from_directory
from hh_fast.io.memory import PeakMemory

GENERATOR, STOCK, OWN = "ImageDataGenerator + fit", "stock tf.data + fit", "hh_fast"
OWN_DATA = "hh_fast.image_dataset_from_directory + fit"


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way of training: who makes the batches and steps on them (a key of `METHODS`), in which precision."""

    method: str
    precision: str = "float32"
    augment: bool = False

    @property
    def name(self) -> str:
        return f"{self.method}, {self.precision}{', augmented' if self.augment else ''}"


def all_arms(precision: str) -> list[Arm]:
    """Every arm, by what users commonly run first; `precision` is the machine's own."""
    plain = [Arm(method, kind) for method in (STOCK, OWN_DATA, OWN) for kind in ("float32", precision)]
    # On a machine whose own precision is float32 some are the same.
    return list(dict.fromkeys([Arm(GENERATOR), *plain, *augmented_arms(precision)]))


def augmented_arms(precision: str) -> list[Arm]:
    return [Arm(GENERATOR, augment=True), Arm(STOCK, precision, augment=True), Arm(OWN, precision, augment=True)]


def raced_arms(precision: str, *, quick: bool, augmented: bool = False) -> list[Arm]:
    """What `bin/bench` races: the five arms that matter, or three; `augmented`: three more."""
    arms = [arm for arm in all_arms(precision) if arm.method != OWN_DATA and not arm.augment]
    if quick:
        arms = [Arm(GENERATOR), Arm(STOCK, precision), Arm(OWN, precision)]
    return arms + (augmented_arms(precision) if augmented else [])


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `fit` takes: batches to train and to validate on, its `options`, and the layers that they need before the CNN."""

    train: Any
    validation: Any
    options: dict[str, Any]
    first_layers: tuple[keras.layers.Layer, ...] = ()


def _generator_feed(workload: Workload, augment: bool) -> Feed:
    held_out, categorical = workload.validation_reader, workload.head == "softmax"
    batches = baselines.generator(**workload.train_reader, categorical=categorical, augment=augment)
    validation = baselines.generator(**held_out, categorical=categorical) if held_out else None
    return Feed(batches, validation, {"steps_per_epoch": len(batches)})


def _stock_feed(workload: Workload, augment: bool) -> Feed:
    """As TensorFlow's tutorial on loading images feeds `fit`; what its layers do at random is part of the model."""
    held_out = workload.validation_reader
    batches = baselines.stock_dataset(**workload.train_reader, cache=True)
    layers = baselines.augmentation_layers(workload.data.seed) if augment else []
    return Feed(
        batches.shuffle(baselines.SHUFFLE_BUFFER).prefetch(baselines.AUTOTUNE),
        baselines.stock_dataset(**held_out, cache=True, prefetch=True) if held_out else None,
        {"shuffle": False},  # the data set does
        (*layers, keras.layers.Rescaling(1 / 255)),
    )


def _own_data_feed(workload: Workload, augment: bool) -> Feed:
    """As its users put this package's data set under their own `fit`."""
    held_out = workload.validation_reader
    make = functools.partial(image_dataset_from_directory, cache="memory", dtype="uint8", verbose=False)
    augmentation = Augmentation(**baselines.AUGMENTATION) if augment else None
    return Feed(
        make(**workload.train_reader, augment=augmentation),
        make(**held_out) if held_out else None,
        {"shuffle": False},
        (keras.layers.Rescaling(1 / 255),),
    )


class _Clock(keras.callbacks.Callback):
    """Seconds of each epoch, and of its training part: from its begin to its last step's end, waits for input included."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch_s: list[float] = []
        self.training_s: list[float] = []
        self.num_steps: list[int] = []
        self.logs: list[dict[str, float]] = []
        self.first_end = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._start = self._last_step = time.perf_counter()
        self.num_steps.append(0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._last_step = time.perf_counter()
        self.num_steps[-1] += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        now = time.perf_counter()
        self.first_end = self.first_end or now
        self.epoch_s.append(now - self._start)
        self.training_s.append(self._last_step - self._start)
        self.logs.append({name: float(value) for name, value in (logs or {}).items()})

    def figures(self, start: float, images: Sequence[int], peak_bytes: int, **further: Any) -> TrainingFigures:
        """Of a training that began at `start` and has just ended."""
        return TrainingFigures(
            wall_s=time.perf_counter() - start,
            first_epoch_s=self.first_end - start,
            epoch_s=tuple(self.epoch_s),
            training_s=tuple(self.training_s),
            images=tuple(images),
            loss=tuple(row["loss"] for row in self.logs),
            val_accuracy=tuple(row["val_accuracy"] for row in self.logs if "val_accuracy" in row),
            peak_bytes=peak_bytes,
            **further,
        )


class _Counter(keras.callbacks.Callback):
    """Images of each epoch's steps, as the accuracy metric counted them from the batches.

    Reading the count also waits for the last step, which a GPU may still be at: it goes before the clock.
    """

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self._metric = metric
        self.images: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if batch + 1 == self.params["steps"]:
            self.images.append(round(float(self._metric.count.numpy())))


def _fit(make_feed: Callable[[Workload, bool], Feed], arm: Arm, workload: Workload) -> TrainingFigures:
    """A training by Keras' own `compile` and `fit`."""
    initial = workload.initial_weights()
    clock = _Clock()
    with PeakMemory() as peak:
        start = time.perf_counter()
        feed = make_feed(workload, arm.augment)
        model = baselines.recipe_model(
            workload.data.image_size,
            num_classes=workload.num_classes,
            softmax=workload.head == "softmax",
            dtype=arm.precision,
            first_layers=feed.first_layers,
        )
        model.set_weights(initial)
        counter = _Counter(baselines.compile_recipe(model, workload.train, dtype=arm.precision))
        options = {"epochs": workload.train.epochs, "callbacks": [counter, clock], "verbose": 0, **feed.options}
        model.fit(feed.train, validation_data=feed.validation, **options)
    return clock.figures(start, counter.images, peak.own_bytes, seed=workload.data.seed)


def _own(arm: Arm, workload: Workload) -> TrainingFigures:
    """hh_fast's own loop, with a cache folder of its own, so that none finds what another one kept."""
    clock = _Clock()
    trained = workload.changed(precision=arm.precision, **(baselines.AUGMENTATION if arm.augment else {}))
    with tempfile.TemporaryDirectory(prefix="train-", dir=workload.train_dir.parent) as folder, PeakMemory() as peak:
        start = time.perf_counter()
        waits = own_loop.train(trained, Path(folder), [clock])
        images = [
            steps * workload.train.batch_size for steps in clock.num_steps
        ]  # a compiled step takes no other batch
        figures = clock.figures(start, images, 0, input_waits=tuple(waits), seed=workload.data.seed)
    return dataclasses.replace(figures, peak_bytes=peak.own_bytes)


METHODS: dict[str, Callable[[Arm, Workload], TrainingFigures]] = {
    GENERATOR: functools.partial(_fit, _generator_feed),
    STOCK: functools.partial(_fit, _stock_feed),
    OWN_DATA: functools.partial(_fit, _own_data_feed),
    OWN: _own,
}


def train_arm(arm: Arm, workload: Workload) -> TrainingFigures:
    """One training of the arm; called in a measuring process."""
    return METHODS[arm.method](arm, workload)


def training_variants(arms: Sequence[Arm], workload: Workload) -> list[Variant]:
    return [isolated(arm.name, train_arm, arm, workload, use_gpu=True) for arm in arms]


def resident_name(method: str, precision: str) -> str:
    return f"bound: resident batch, {'hh_fast' if method == OWN else 'fit'}, {precision}"


def matrix_name(precision: str) -> str:
    return f"bound: matrix product, {precision}"


def bound_variants(arms: Sequence[Arm], workload: Workload) -> list[Variant]:
    """What no arm can exceed: the step of its kind on a resident batch, and the step's arithmetic as a matrix product."""
    variants = {}
    for arm in arms:
        on = workload.changed(precision=arm.precision)
        step = own_step if arm.method == OWN else stock_step
        name = resident_name(arm.method, arm.precision)
        variants[name] = isolated(name, resident_bound, step, on, use_gpu=True)
    for arm in arms:
        name = matrix_name(arm.precision)
        variants[name] = isolated(name, matrix_bound, workload.changed(precision=arm.precision), use_gpu=True)
    return list(variants.values())


def training_claims(arms: Sequence[Arm], precision: str) -> list[Claim]:
    """Of `arms`: speedups over what is commonly run and over stock tf.data at equal precision, and shares of their bounds."""
    pairs = [(Arm(GENERATOR), Arm(OWN, precision)), (Arm(STOCK, precision), Arm(OWN, precision))]
    pairs += [(Arm(STOCK, precision), Arm(OWN_DATA, precision))]
    pairs += [(Arm(GENERATOR), Arm(OWN)), (Arm(STOCK), Arm(OWN)), (Arm(STOCK), Arm(OWN_DATA))]
    pairs += [
        (Arm(method, kind, augment=True), Arm(OWN, precision, augment=True))
        for method, kind in ((GENERATOR, "float32"), (STOCK, precision))
    ]
    claims = [
        Claim(f"speedup, {what}", above.name, below.name, figure)
        for what, figure in (("steady-state epoch", "steady_epoch_s"), ("training time", "wall_s"))
        for above, below in dict.fromkeys(pairs)
        if {above, below} <= set(arms)
    ]
    plain, augmented = (Arm(OWN, precision, augment=augment) for augment in (False, True))
    if {plain, augmented} <= set(arms):
        what = "images/s with augmentation over without"
        claims.append(Claim(what, augmented.name, plain.name, "steady_images_per_s"))
    for arm in (arm for arm in arms if not arm.augment):  # no bound augments
        bounds = {
            "synthetic bound": resident_name(arm.method, arm.precision),
            "matrix product": matrix_name(arm.precision),
        }
        for what, name in bounds.items():
            claims.append(Claim(f"share of the {what}", arm.name, name, "steady_images_per_s", bound=True))
    return claims
