"""Input alone: every path from folder to batches, first epoch and warm epochs, with their bounds, in turn.

    .venv/bin/python benchmarks/inputs.py

Takes about 5 minutes on 2 cores for 5 repeats of the whole sample.
"""

import sys

import benchlib

from hh_fast.bench.isolate import in_process
from hh_fast.bench.progress import Progress
from hh_fast.bench.race import COPY_BOUND, DECODE_BOUND, GENERATOR, OWN_INPUT, race_inputs
from hh_fast.bench.run import check_paths
from hh_fast.config import BenchConfig, TrainConfig


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "inputs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument(
        "--cold", action="store_true", help="drop the files from the page cache before each first epoch"
    )
    arguments = parser.parse_args()
    bench = BenchConfig(repeats=arguments.repeats, cold=arguments.cold)
    train = TrainConfig(batch_size=arguments.batch_size)
    with benchlib.whole_data(benchlib.data_config(arguments), train, bench) as (setting, data):
        checked = in_process(check_paths, setting)
        progress = Progress(benchlib.show)
        progress.plan(setting.plan.input_s)
        outcomes = race_inputs(setting, checked, progress)
        yields = {path.name: path.yields for path in setting.input_paths()}
    second = "hh_fast, disk, second run"
    asked = [
        ("warm", OWN_INPUT, GENERATOR, "warm_img_s"),
        ("warm, disk", second, GENERATOR, "warm_img_s"),
        ("warm over a memory copy", OWN_INPUT, COPY_BOUND, "warm_img_s"),
        ("first epoch", OWN_INPUT, GENERATOR, "first_img_s"),
        ("first epoch over bare decoding", OWN_INPUT, DECODE_BOUND, "first_img_s"),
        ("first epoch, disk, over bare decoding", "hh_fast, disk", DECODE_BOUND, "first_img_s"),
        ("first epoch, none, over bare decoding", "hh_fast, none", DECODE_BOUND, "first_img_s"),
        ("warm, none, over bare decoding", "hh_fast, none", DECODE_BOUND, "warm_img_s"),
    ]
    benchlib.write(
        arguments.output,
        outcomes,
        data=benchlib.describe(data),
        num_images=setting.plan.num_input,
        batch_size=arguments.batch_size,
        cold=arguments.cold,
        yields=yields,
        ratios=benchlib.ratios(outcomes, asked),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
