"""What a second worker process costs at equal total work, and what the two exchange.

    .venv/bin/python -m benchmarks.studies.replicas

Takes about 3 minutes on 2 cores, which can show cost, not speedup: bin/train by itself and bin/launch with two workers take the
same global batches on the same cores, in turn. Bytes are those of the loopback interface over the whole run, whoever sent them,
so run nothing else that talks over it.
"""

import csv
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.harness import Row, command_words, finish_study, run_in_turn, study

EPOCHS, BATCH_SIZE, NUM_IMAGES = 4, 128, 1024
FLAGS = ("--precision=float32", f"--batch_size={BATCH_SIZE}", f"--epochs={EPOCHS}", "--verbosity=-1")


def loopback_bytes() -> int:
    """Bytes that left over the loopback interface since the machine started; 0 where the system does not tell."""
    devices = Path("/proc/net/dev")
    for line in devices.read_text().splitlines() if devices.is_file() else []:
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[8])
    return 0


def measure(workers: int) -> Row:
    """A training's step in the epochs after the first, and the bytes sent per step of all of them."""
    with tempfile.TemporaryDirectory() as folder:
        flags = [*FLAGS, f"--run_dir={folder}/run"]
        words = command_words("train", *flags)
        if workers > 1:
            words = command_words("launch", f"--workers={workers}", "--", "train", *flags)
        before = loopback_bytes()
        subprocess.run(words, check=True)
        sent = loopback_bytes() - before
        with (Path(folder) / "run" / "history.csv").open() as file:
            rates = [float(row["images_per_second"]) for row in csv.DictReader(file)]
    num_steps = EPOCHS * (NUM_IMAGES // BATCH_SIZE)
    return {"step_s": BATCH_SIZE / statistics.median(rates[1:]), "bytes_per_step": sent / num_steps}


def main() -> None:
    arguments = study("replicas", __doc__ or "", repeats=3).parse_args()
    arms = {"one process": lambda _: measure(1), "two workers": lambda _: measure(2)}
    finish_study("replicas", arguments, *run_in_turn(arms, repeats=arguments.repeats))


if __name__ == "__main__":
    main()
