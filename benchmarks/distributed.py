"""What more replicas cost at equal total work, what they exchange, and the analytical model of many replicas.

    .venv/bin/python benchmarks/distributed.py

Takes about 4 minutes on 2 cores, which can show cost, not speed-up: one process, two mirrored replicas (logical CPU devices)
and two processes on loopback take the same global batches on the same cores, in turn, `--repeats` times, each in processes of
their own. Bytes are those of the loopback interface, whoever sent them, so run nothing else that talks over it.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from published import RESULTS
from scaling_model import exchanged_bytes, report

from hh_fast.cli.launch import free_addresses
from hh_fast.io.files import write_json
from hh_fast.io.quiet import import_tensorflow

KINDS = ("single", "mirrored", "multi_worker")
WARM_UP = 2


def loopback_bytes() -> int:
    """Bytes that left over the loopback interface since the machine started; 0 where the system does not tell."""
    devices = Path("/proc/net/dev")
    for line in devices.read_text().splitlines() if devices.is_file() else []:
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[8])
    return 0


def steps(kind: str, size: int, batch_size: int, num_steps: int) -> dict[str, Any]:
    """Seconds of each step of one replica's process; images are random, resident in memory."""
    import numpy as np

    import_tensorflow()
    import tensorflow as tf

    from hh_fast.config import TrainConfig
    from hh_fast.data.image_form import ImageForm
    from hh_fast.data.load import Split
    from hh_fast.distributed.inputs import train_input
    from hh_fast.distributed.shards import whole
    from hh_fast.distributed.strategy import start
    from hh_fast.distributed.tf_config import find_cluster
    from hh_fast.model import build_model
    from hh_fast.training.step import Trainer, make_optimizer

    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = "none" if kind == "single" else kind
    config = TrainConfig(strategy=strategy, batch_size=batch_size, precision="float32")
    replicas = start(config, find_cluster(strategy, os.environ))
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(0, 256, (2 * batch_size, size, size, 3), np.uint8))
    labels = np.arange(2 * batch_size, dtype=np.int32) % 2
    split = Split("train", ("",) * len(labels), labels, images, ImageForm((size, size)))

    with replicas.strategy.scope():
        model = build_model((size, size), num_classes=2, head="sigmoid")
        optimizer = make_optimizer(config, "float32")
    trainer = Trainer(model, optimizer, replicas, batch_size=batch_size, jit_compile=False)
    num_all = WARM_UP + num_steps
    batches = train_input(replicas, whole(split), split, config, seed=0, epochs=1, steps_per_epoch=num_all)
    seconds, sent = [], 0
    for i in range(num_all):
        if i == WARM_UP:
            sent = loopback_bytes()
        begin = time.perf_counter()
        trainer.train_step(*next(batches))
        seconds.append(time.perf_counter() - begin)
    sent = loopback_bytes() - sent
    replicas.gather_figures([0])
    return {"seconds": seconds[WARM_UP:], "bytes": sent, "model_bytes": 4 * model.count_params()}


def child(*words: object, **environment: str) -> "subprocess.Popen[str]":
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, __file__, "--child", *map(str, words)]
    return subprocess.Popen(command, env=os.environ | quiet | environment, stdout=subprocess.PIPE, text=True)


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, _ = process.communicate(timeout=600)
    if process.returncode:
        raise SystemExit(f"a measuring process ended with exit code {process.returncode}; see above")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def run_steps(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    words = [kind, arguments.image_size, arguments.batch_size, arguments.steps]
    if kind != "multi_worker":
        return result(child(*words))
    cluster = {"worker": free_addresses(2)}
    tasks = [{"type": "worker", "index": worker} for worker in range(2)]
    processes = [child(*words, TF_CONFIG=json.dumps({"cluster": cluster, "task": task})) for task in tasks]
    chief, _ = [result(process) for process in processes]
    return chief


def summarize(raw: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> dict[str, Any]:
    medians = {kind: [statistics.median(run["seconds"]) for run in raw[kind]] for kind in KINDS}
    model_bytes = raw["single"][0]["model_bytes"]
    over = {kind: [a / b for a, b in zip(medians[kind], medians["single"], strict=True)] for kind in KINDS}
    sent = statistics.median(run["bytes"] / arguments.steps for run in raw["multi_worker"])
    return {
        "step_ms": {kind: 1000 * statistics.median(medians[kind]) for kind in KINDS},
        "step_over_single": over,
        "model_bytes": model_bytes,
        "bytes_a_step_two_workers": sent,
        "bytes_a_step_lower_bound": 2 * exchanged_bytes(model_bytes, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=300)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "distributed.json")
    arguments = parser.parse_args()
    raw: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for repeat in range(arguments.repeats):
        for kind in KINDS[repeat % 3 :] + KINDS[: repeat % 3]:
            print(f"repeat {repeat + 1}: {kind}", file=sys.stderr)
            raw[kind].append(run_steps(kind, arguments))
    summary = summarize(raw, arguments)
    settings = {name: getattr(arguments, name) for name in ("image_size", "batch_size", "steps", "repeats")}
    from hh_fast.bench import machine  # imports TensorFlow, which the measuring processes need to do by themselves
    from hh_fast.io.typed_json import to_json

    results = {
        "command": " ".join(["python benchmarks/distributed.py", *(w for w in sys.argv[1:] if "output" not in w)]),
        "written": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": to_json(machine.describe([])),
        "settings": settings,
        "summary": summary,
        "entries": raw,
    }
    write_json(arguments.output, results)
    print(report(results))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        kind, *numbers = sys.argv[2:]
        print(json.dumps(steps(kind, *map(int, numbers))))
        sys.exit(0)
    sys.exit(main())
