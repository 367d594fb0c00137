"""Shared by the tests: tiny image folders, and TensorFlow imported once and quietly."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# A shell that starts the tests in the background has Ctrl-C ignored, and the commands that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of class folders of small PNGs that can be told apart: each class has a colour of its own, with noise."""

    def make(name: str, counts: dict[str, int], *, size: tuple[int, int] = (24, 24), seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        root = tmp_path / name
        for k, (class_name, count) in enumerate(counts.items()):
            (root / class_name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 128, (*size, 3), np.uint8)
                pixels[..., k % 3] += 127
                Image.fromarray(pixels).save(root / class_name / f"{i:03d}.png")
        return root

    return make


@pytest.fixture(autouse=True)
def package_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Lets caplog see the package's messages also after a command took its logger for the terminal."""
    logger = logging.getLogger("hh_fast")
    before = logger.propagate, logger.level, list(logger.handlers)
    logger.propagate = True
    caplog.set_level(logging.INFO, "hh_fast")
    yield
    logger.propagate, logger.level, logger.handlers = before
