"""What `bin/bench` is asked to do: the flags that it has beside bin/train's. No TensorFlow."""

import dataclasses
from typing import NamedTuple

from hh_fast.config import Config, option
from hh_fast.errors import require

# What the pretrained networks were trained at.
BACKBONE_IMAGE_SIZE = (224, 224)


class Plan(NamedTuple):
    """How much is raced: `level` is of arms and paths (inputs.QUICK, DEFAULT, FULL), `num_images` None all of them."""

    level: int
    num_images: int | None
    epochs: int
    repeats: int


QUICK, DEFAULT, FULL = Plan(0, 256, 2, 1), Plan(1, 384, 2, 3), Plan(2, None, 5, 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchConfig(Config):
    """What is measured, and where the results go."""

    quick: bool = option(False, f"A first look: one repeat of the shortest list of arms, on {QUICK.num_images} images.")
    full: bool = option(
        False,
        "Every arm on all images: what benchmarks/README.md publishes. Half an hour or more for the built-in sample.",
    )
    epochs: int | None = option(
        None,
        f"Epochs of each training. Default: {DEFAULT.epochs}; {FULL.epochs} with --full; 15 with --backbone, as the recipe has.",
        least=1,
    )
    repeats: int | None = option(
        None,
        f"Times that every arm is run, in turn with the others, trainings with a seed each. Default: {DEFAULT.repeats}; 1 with --quick.",
        least=1,
    )
    augmented: bool = option(
        False,
        "Also race with the original notebook's augmentation: ImageDataGenerator, stock tf.data with Keras' layers, hh_fast.",
    )
    sweep: bool = option(
        False, "Also measure precision x XLA x batch size x cache, to find this machine's best settings."
    )
    sweep_batch_sizes: tuple[int, ...] = option((64, 128, 256), "Batch sizes that --sweep tries.")
    write_flags: str | None = option(
        None, "With --sweep: write the best settings to this flagfile, which bin/train takes."
    )
    compare: bool = option(False, "Compare two results.json, given as two arguments, and measure nothing.")
    output_dir: str | None = option(
        None, "Folder for results.json, results.md and the chart. Default: bench_results/ and the date and time."
    )

    def check(self) -> None:
        self.require("full", not (self.quick and self.full), "left out with --quick")
        require(bool(self.sweep_batch_sizes), "`sweep_batch_sizes` must be a list of numbers", "nothing")
        for size in self.sweep_batch_sizes:
            require(size >= 1, "`sweep_batch_sizes` must be a list of numbers from 1", size)
        self.require("write_flags", self.write_flags is None or self.sweep, "given with --sweep")

    def plan(self, *, backbone: bool = False) -> Plan:
        """The plan, with the epochs and repeats that were asked for. A backbone's race takes all images, but for `quick`."""
        plan = QUICK if self.quick else FULL if self.full else DEFAULT
        if backbone:
            plan = plan._replace(num_images=plan.num_images if self.quick else None, epochs=3 if self.quick else 15)
        return plan._replace(epochs=self.epochs or plan.epochs, repeats=self.repeats or plan.repeats)
