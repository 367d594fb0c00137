"""Input alone: every path from folder to batches, first epoch and steady-state epochs, with their bounds, in turn.

    .venv/bin/python benchmarks/inputs.py

Takes about 5 minutes on 2 cores for 5 repeats of the whole sample.
"""

import sys

import benchlib

from hh_fast.bench import fairness
from hh_fast.bench.input_race import CLAIMS, DECODE_BOUND, GENERATOR, input_paths, input_variants
from hh_fast.bench.isolate import in_process
from hh_fast.bench.statistics import Claim
from hh_fast.config import TrainConfig

FURTHER = (
    Claim("steady input, disk", "hh_fast, disk, second run", GENERATOR, "steady_images_per_s"),
    *(
        Claim(
            "share of bound: first epoch's input", f"hh_fast, {cache}", DECODE_BOUND, "first_images_per_s", bound=True
        )
        for cache in ("disk", "none")
    ),
)


def main() -> int:
    parser = benchlib.parser(__doc__ or "", "inputs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument(
        "--cold", action="store_true", help="drop the files from the page cache before each first epoch"
    )
    arguments = parser.parse_args()
    train = TrainConfig(batch_size=arguments.batch_size)
    with benchlib.whole_workload(benchlib.data_config(arguments), train) as (workload, data):
        checked = in_process(fairness.check, input_paths(), workload)
        paths = [path for path in input_paths() if path.name not in checked.failed]
        variants = input_variants(paths, workload, cold=arguments.cold)
        outcomes = benchlib.in_turn(variants, arguments.repeats)
        num_images = len(workload.files)
    settings = {"num_images": num_images, "batch_size": arguments.batch_size, "cold": int(arguments.cold)}
    benchlib.write(arguments.output, outcomes, claims=(*CLAIMS, *FURTHER), data=data, **settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
