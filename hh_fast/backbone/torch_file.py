"""Reads tensors from a torch.save file of PyTorch before 1.6, without torch and without running code in the file."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Unpickler(pickle.Unpickler):
    """Unpickles state dicts only, and refuses all other classes; tensor values are read later."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            **{("torch", name): dtype for name, dtype in DTYPES.items()},
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")
        return allowed[module, name]

    def persistent_load(self, pid: tuple[str, np.dtype, str, str, int, None]) -> np.ndarray:
        _, dtype, key, _, size, _ = pid
        return self.storages.setdefault(key, np.empty(size, dtype))


def _tensor(storage: np.ndarray, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> np.ndarray:
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0 or last >= storage.size:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} lies outside of its {storage.size} values")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, float32 or int64, in PyTorch's layout (kernels: out, in, height, width).

    Raises:
        pickle.UnpicklingError, ValueError, EOFError: another format, a damaged file, or one that holds more than tensors.
    """
    file = io.BytesIO(content)
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (MAGIC, PROTOCOL):
        raise ValueError("not a file that torch.save wrote before PyTorch 1.6")
    _Unpickler(file).load()  # the byte order and type sizes of the machine that wrote it
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size or file.readinto(storage.data) != storage.nbytes:
            raise EOFError("it is truncated")
    return tensors
