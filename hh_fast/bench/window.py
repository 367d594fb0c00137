"""A timed window over batches: images are counted from the batches themselves, inside it. No TensorFlow."""

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

# (images (batch, height, width, 3), labels (batch,)), as arrays or tensors.
Batch = tuple[Any, Any]
# A window over warm epochs is at least this long.
MIN_WARM_S = 0.5


@dataclasses.dataclass(frozen=True)
class Window:
    """Images counted from the batches, and seconds from the window's start to its first and to its last batch."""

    num_images: int
    first_batch_s: float
    total_s: float

    @property
    def images_per_s(self) -> float:
        return self.num_images / self.total_s


def count(batches: Iterable[Batch], start: float) -> Window:
    """Consumes `batches`; the window began at `start` (`time.perf_counter()`)."""
    num_images, first, now = 0, 0.0, start
    for images, _ in batches:
        num_images += int(images.shape[0])
        now = time.perf_counter()
        first = first or now
    return Window(num_images, first - start, now - start)
