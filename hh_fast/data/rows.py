"""Random access to the model's input for each image: `Rows` of pixels or features, kept or decoded on demand."""

import abc
import ctypes
import functools
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.data.reading import in_threads
from hh_fast.errors import DataError

# Bytes; TensorFlow copies arrays with another alignment.
ALIGNMENT = 64


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """New uint8 memory that TensorFlow takes without a copy."""
    size = math.prod(shape)
    block = np.empty(size + ALIGNMENT, np.uint8)
    return block[-block.ctypes.data % ALIGNMENT :][:size].reshape(shape)


class Rows(abc.ABC):
    """Random access to rows of `shape` and `dtype`. `locate` and `gather` can be used in `Dataset.map`."""

    shape: tuple[int, ...]
    dtype: tf.DType

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @property
    def num_bytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * math.prod(self.shape) * self.dtype.size

    @abc.abstractmethod
    def select(self, rows: np.ndarray) -> "Rows":
        """Only these rows, in this order."""

    @abc.abstractmethod
    def locate(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A tensor (any, *shape) that contains `rows`, int (k,), and their positions in it, int (k,)."""

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """The values, (k, *shape), of `rows`, int (k,)."""
        return tf.gather(*self.locate(rows))

    def first_fault(self) -> str | None:
        """`PATH: REASON` of the first row that cannot be read now, or None."""
        return None


def _tensor(block: np.ndarray) -> tf.Tensor:
    """A tensor that shares the block's memory and keeps it alive; a copy if TensorFlow cannot read the block in place."""
    if not block.size or block.ctypes.data % ALIGNMENT:
        return tf.constant(block)
    if not block.flags.writeable:
        # DLPack does not take read-only memory, and a private writable mapping of the file counts as allocated memory, so one
        # larger than the machine's memory would be refused. So the memory is declared writable; nothing writes to it.
        named: Any = (ctypes.c_uint8 * block.nbytes).from_address(block.ctypes.data)
        named.block = block
        block = np.frombuffer(named, block.dtype).reshape(block.shape)
    return tf.experimental.dlpack.from_dlpack(block.__dlpack__())


class KeptRows(Rows):
    """Rows of a block in memory or in a mapped file, read in place."""

    def __init__(self, block: np.ndarray | tf.Tensor, places: np.ndarray | None = None) -> None:
        self._block = _tensor(block) if isinstance(block, np.ndarray) else block
        self._places = np.arange(self._block.shape[0]) if places is None else places
        self.shape = tuple(self._block.shape[1:])
        self.dtype = self._block.dtype

    def __len__(self) -> int:
        return len(self._places)

    def select(self, rows: np.ndarray) -> "KeptRows":
        return KeptRows(self._block, self._places[rows])

    def locate(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._block, tf.gather(tf.constant(self._places), rows)


def _decode(form: ImageForm, paths: Sequence[bytes]) -> np.ndarray:
    out = aligned((len(paths), *form.shape))
    in_threads(lambda path, row: read_pixels(os.fsdecode(path), form, out=row), paths, out)
    return out


class DecodedRows(Rows):
    """Pixels of image files, decoded on demand, on all cores."""

    def __init__(self, paths: Sequence[str], form: ImageForm) -> None:
        # A tensor of its own, to which graphs refer: a constant made inside a graph is copied with each of them.
        self._paths = tf.constant([os.fsencode(path) for path in paths], tf.string)
        self._form = form
        self.shape = form.shape
        self.dtype = tf.uint8

    def __len__(self) -> int:
        return int(self._paths.shape[0])

    def select(self, rows: np.ndarray) -> "DecodedRows":
        return DecodedRows([os.fsdecode(path) for path in self._paths.numpy()[rows]], self._form)

    def locate(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.gather(rows), tf.range(tf.shape(rows)[0])

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        # TensorFlow never frees the function, so the paths must be an argument.
        paths = tf.gather(self._paths, rows)
        decoded = tf.numpy_function(functools.partial(_decode, self._form), [paths], tf.uint8, stateful=False)
        return tf.ensure_shape(decoded, (*rows.shape, *self.shape))

    def first_fault(self) -> str | None:
        faults = in_threads(self._fault, [os.fsdecode(path) for path in self._paths.numpy()])
        return next((fault for fault in faults if fault), None)

    def _fault(self, path: str) -> str | None:
        try:
            read_pixels(path, self._form)
        except DataError as e:
            return str(e)
        except OSError as e:
            return f"{path}: {e.strerror or e}"
        return None
