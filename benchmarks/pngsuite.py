"""What hh_fast makes of Willem van Schaik's PngSuite, file by file: http://www.schaik.com/pngsuite/

    .venv/bin/python benchmarks/pngsuite.py --suite_dir=FOLDER   # of the unpacked suite, which is not part of hh_fast

Training (TensorFlow where it decodes as viewers do) and `bin/predict` (Pillow) must agree on every verdict and pixel. Files whose
names begin with x are damaged on purpose. The verdicts go to results/pngsuite.json. A few seconds.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from hh_fast.data.image_form import ImageForm
from hh_fast.data.pixels import mode_or_fault, read_image
from hh_fast.data.scan import scan
from hh_fast.data.store import fill_memory

RESULTS = Path(__file__).parent / "results" / "pngsuite.json"
MAX_PIXELS = 10**8
SIZE = (32, 32)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--suite_dir", type=Path, required=True)
    paths = sorted(str(path) for path in parser.parse_args().suite_dir.glob("*.png"))
    files = scan(paths, max_image_pixels=MAX_PIXELS)
    store = fill_memory(files, ImageForm(SIZE))
    if store.images is None:
        raise RuntimeError("memory keeps the images")
    images = iter(store.images.numpy())
    verdicts, differing = {}, []
    for i, path in enumerate(paths):
        trained, predicted = store.bad.get(i), mode_or_fault(path, max_image_pixels=MAX_PIXELS)[1]
        same = trained == predicted
        if trained is None:
            same &= np.array_equal(next(images), read_image(path, SIZE, max_image_pixels=MAX_PIXELS))
        differing += [] if same else [Path(path).name]
        verdicts[Path(path).name] = trained or "read"
    refused = [name for name, verdict in verdicts.items() if verdict != "read"]
    print(
        f"{len(paths)} files: {len(paths) - len(refused)} read, {len(refused)} refused, {len(differing)} read differently"
    )
    RESULTS.write_text(json.dumps({"verdicts": verdicts, "read_differently": differing}, indent=2) + "\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
