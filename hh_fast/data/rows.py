"""What the model is fed of each image: rows that TensorFlow takes by their number, wherever they come from."""

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

# TensorFlow copies arrays that begin elsewhere.
ALIGNMENT = 64


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Fresh uint8 memory that TensorFlow takes without a copy."""
    size = math.prod(shape)
    block = np.empty(size + ALIGNMENT, np.uint8)
    return block[-block.ctypes.data % ALIGNMENT :][:size].reshape(shape)


class Rows(abc.ABC):
    """Random access to rows of `shape` and `dtype`. Its functions of tensors are for data sets to map."""

    shape: tuple[int, ...]
    dtype: tf.DType

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @property
    def num_bytes(self) -> int:
        """Bytes of all rows, where they are kept."""
        return len(self) * math.prod(self.shape) * self.dtype.size

    @abc.abstractmethod
    def select(self, rows: np.ndarray) -> "Rows":
        """These rows alone, in this order."""

    @abc.abstractmethod
    def locate(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A tensor (any, *shape) that holds `rows`, int (k,), and where they are in it, int (k,)."""

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """(k, *shape) of `rows`, int (k,)."""
        return tf.gather(*self.locate(rows))

    def first_fault(self) -> str | None:
        """`PATH: REASON` of the first row that cannot be had now."""
        return None


def _tensor(block: np.ndarray) -> tf.Tensor:
    """A tensor over the block's own memory, which it keeps alive; a copy of a block that TensorFlow cannot read in place."""
    if not block.size or block.ctypes.data % ALIGNMENT:
        return tf.constant(block)
    if not block.flags.writeable:
        # DLPack takes no read-only memory, and a private writable mapping of a file counts as memory taken: one that is
        # larger than the machine's would be refused. So the same memory under another name; nothing writes to it.
        named: Any = (ctypes.c_uint8 * block.nbytes).from_address(block.ctypes.data)
        named.block = block
        block = np.frombuffer(named, block.dtype).reshape(block.shape)
    return tf.experimental.dlpack.from_dlpack(block.__dlpack__())


class KeptRows(Rows):
    """Rows of a block that lies in memory or in a mapped file, read in place."""

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
    """Pixels of image files, decoded whenever they are asked for, on all cores."""

    def __init__(self, paths: Sequence[str], form: ImageForm) -> None:
        self._paths = np.array([os.fsencode(path) for path in paths], object)
        self._form = form
        self.shape = form.shape
        self.dtype = tf.uint8

    def __len__(self) -> int:
        return len(self._paths)

    def select(self, rows: np.ndarray) -> "DecodedRows":
        return DecodedRows([os.fsdecode(path) for path in self._paths[rows]], self._form)

    def locate(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.gather(rows), tf.range(tf.shape(rows)[0])

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        # TensorFlow keeps the function for ever, so the paths are an argument of it.
        paths = tf.gather(tf.constant(self._paths, tf.string), rows)
        decoded = tf.numpy_function(functools.partial(_decode, self._form), [paths], tf.uint8, stateful=False)
        return tf.ensure_shape(decoded, (*rows.shape, *self.shape))

    def first_fault(self) -> str | None:
        faults = in_threads(self._fault, [os.fsdecode(path) for path in self._paths])
        return next((fault for fault in faults if fault), None)

    def _fault(self, path: str) -> str | None:
        try:
            read_pixels(path, self._form)
        except DataError as e:
            return str(e)
        except OSError as e:
            return f"{path}: {e.strerror or e}"
        return None
