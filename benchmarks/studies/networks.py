"""How long an image takes through each pretrained network as an int8 `.tflite` file, and how large that is.

    .venv/bin/python -m benchmarks.studies.networks

Takes about 2 minutes on 2 cores, most of it conversion. The networks have random weights, so that none is downloaded: these change
neither the operations nor the bytes. The files take turns, on one thread.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np

from benchmarks.harness import Row, finish_study, study
from hh_fast.backbone.pretrained import NETWORKS
from hh_fast.backbone.weights import IMAGE_SIZE
from hh_fast.export.latency import measure_latency
from hh_fast.export.quantization import quantize
from hh_fast.export.tflite import convert, open_converter

NUM_CLASSES = 5
CALIBRATION_IMAGES = 8


def main() -> None:
    parser = study("networks", __doc__ or "", repeats=7)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, with commas")
    arguments = parser.parse_args()
    rows: list[Row] = []
    noise = np.random.default_rng(0).integers(0, 256, (CALIBRATION_IMAGES, *IMAGE_SIZE, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="hh_fast-networks-") as folder:
        paths = {}
        for name in arguments.networks.split(","):
            network = NETWORKS[name](IMAGE_SIZE)
            scores = keras.layers.Dense(NUM_CLASSES, activation="softmax")(network.output)
            content = convert(open_converter(keras.Model(network.input, scores)), "float32")
            paths[name] = Path(folder, f"{name}.tflite")
            paths[name].write_bytes(quantize(content, noise))
        for repeat in range(arguments.repeats):
            for name, (one_thread, *_) in measure_latency(paths).items():
                figures = {"int8_bytes": paths[name].stat().st_size, "int8_ms": one_thread.median_ms}
                rows.append({"arm": name, "repeat": repeat, **figures})
    finish_study("networks", arguments, rows)


if __name__ == "__main__":
    main()
