"""The machine's devices, and the choice of precision and compiler for them."""

import dataclasses
import logging
import platform
import re
from pathlib import Path

import keras
import tensorflow as tf

from hh_fast.config import TrainConfig
from hh_fast.errors import UsageError
from hh_fast.io.quiet import import_log

logger = logging.getLogger(__name__)

# NVIDIA compute capabilities: Volta's tensor cores take float16; Ampere's also bfloat16, which needs no loss scaling.
FLOAT16_CORES, BFLOAT16_CORES = (7, 0), (8, 0)
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The devices, and the settings chosen for them: `precision` is a Keras dtype policy, `jit_compile` XLA for the step."""

    devices: tuple[str, ...]
    precision: str
    precision_reason: str
    jit_compile: bool
    jit_compile_reason: str


def _cpuinfo(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo, or ""."""
    info = Path("/proc/cpuinfo")
    match = re.search(rf"^{field}\s*:\s*(.*)$", info.read_text() if info.is_file() else "", re.MULTILINE)
    return match[1] if match else ""


def cpu_flags() -> frozenset[str]:
    """The processor's features by their Linux names; empty on other systems."""
    return frozenset(_cpuinfo("flags").split())


def cpu_name() -> str:
    """The processor's model name, from /proc/cpuinfo or Python's platform module."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def why_no_gpu() -> str:
    """Why no GPU can be used, as far as the system and TensorFlow's log tell."""
    log = import_log()
    if not tf.test.is_built_with_cuda():
        return "this TensorFlow is built without CUDA"
    if not Path("/proc/driver/nvidia/version").exists():
        return "no NVIDIA driver is loaded"
    if "Cannot dlopen" in log or "Could not find cuda" in log:
        return (
            "TensorFlow finds no CUDA libraries; install them with `pip install 'hh-fast[cuda]'`, or remove .venv and run"
            " the command again where nvidia-smi works"
        )
    return "TensorFlow finds no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES"


def _gpu_details(gpu: "tf.config.PhysicalDevice") -> tuple[str, tuple[int, int]]:
    details = tf.config.experimental.get_device_details(gpu)
    return details.get("device_name", "GPU"), details.get("compute_capability", (0, 0))


def _depthwise_layer(model: keras.Model | None) -> str | None:
    """The name of the first depthwise or grouped convolution layer."""
    for layer in model._flatten_layers() if model else ():
        if isinstance(layer, (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)) or (
            isinstance(layer, keras.layers.Conv2D) and layer.groups > 1
        ):
            return str(layer.name)
    return None


def _auto_precision(gpus: list[tuple[str, tuple[int, int]]], model: keras.Model | None) -> tuple[str, str]:
    if gpus:
        name, capability = gpus[0]
        if capability >= BFLOAT16_CORES:
            return "mixed_bfloat16", f"{name} has tensor cores for bfloat16"
        if capability >= FLOAT16_CORES:
            return "mixed_float16", f"{name} has tensor cores for float16 only"
        return "float32", f"{name} has no tensor cores"
    found = [flag for flag in BF16_FLAGS if flag in cpu_flags()]
    if found and (layer := _depthwise_layer(model)):
        return "float32", f"on a CPU, depthwise convolutions such as `{layer}` are slower in bfloat16"
    if found:
        return "mixed_bfloat16", f"the CPU has {found[0]}"
    return "float32", "neither a GPU nor a CPU with bfloat16 instructions"


def use_devices(config: TrainConfig) -> None:
    """Hides the GPUs if `config` asks for the CPU; must run before TensorFlow's first operation.

    Raises:
        UsageError: `require_gpu` and no GPU.
    """
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus and config.require_gpu:
        raise UsageError(f"`require_gpu` is set, but no GPU can be used: {why_no_gpu()}")
    if not gpus and config.device == "gpu":
        logger.warning("No GPU can be used: %s. Training on the CPU.", why_no_gpu())


def choose(config: TrainConfig, model: keras.Model | None = None) -> Hardware:
    """The settings of `config`, with `auto` replaced by what is fastest on this machine for `model` (None: the built-in CNN)."""
    gpus = [_gpu_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    precision, precision_reason = config.precision, "set by --precision"
    if precision == "auto":
        precision, precision_reason = _auto_precision(gpus, model)
    jit, jit_reason = config.jit_compile == "true", "set by --jit_compile"
    if config.jit_compile == "auto":
        jit = bool(gpus)
        jit_reason = "faster on a GPU" if gpus else "slower than oneDNN's kernels on a CPU"
    devices = tuple(name for name, _ in gpus) or (cpu_name(),)
    return Hardware(devices, precision, precision_reason, jit, jit_reason)
