"""What every measuring process has imported. Importing TensorFlow prints lines that no setting turns off: kept off."""

import os
import sys

_quiet = os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0"
if _quiet:
    sys.stderr.flush()
    _stderr = os.dup(2)
    with open(os.devnull, "wb") as _null:  # noqa: PTH123
        os.dup2(_null.fileno(), 2)
try:
    import keras  # noqa: F401
    import numpy  # noqa: F401
    import PIL.Image  # noqa: F401
    import tensorflow  # noqa: F401

    import hh_fast.bench.inputs
    import hh_fast.bench.whole  # noqa: F401
finally:
    if _quiet:
        os.dup2(_stderr, 2)
        os.close(_stderr)
