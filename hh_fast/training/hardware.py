"""What this machine has, and the precision and compiler that follow from it."""

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

# NVIDIA's compute capabilities: Volta's tensor cores take float16, Ampere's bfloat16 too, which needs no loss scaling.
FLOAT16_CORES, BFLOAT16_CORES = (7, 0), (8, 0)
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The machine, and what was chosen for it: `precision` is a Keras dtype policy, `jit_compile` XLA for the train step."""

    devices: tuple[str, ...]
    precision: str
    precision_reason: str
    jit_compile: bool
    jit_compile_reason: str


def _cpuinfo(field: str) -> str:
    """What Linux says of the first processor, or nothing."""
    info = Path("/proc/cpuinfo")
    match = re.search(rf"^{field}\s*:\s*(.*)$", info.read_text() if info.is_file() else "", re.MULTILINE)
    return match[1] if match else ""


def cpu_flags() -> frozenset[str]:
    """The processor's features by their Linux names; empty where the system does not tell."""
    return frozenset(_cpuinfo("flags").split())


def cpu_name() -> str:
    """The processor's model name, as /proc/cpuinfo or Python's platform module tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def why_no_gpu() -> str:
    """What is missing for a GPU, as far as the system and TensorFlow's own log tell."""
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
    """The name of the first layer that convolves each channel, or each group of channels, by itself."""
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
            return "mixed_float16", f"{name} has tensor cores for float16 alone"
        return "float32", f"{name} has no tensor cores"
    found = [flag for flag in BF16_FLAGS if flag in cpu_flags()]
    if found and (layer := _depthwise_layer(model)):
        return "float32", f"a CPU is slower at depthwise convolutions, such as `{layer}`, in bfloat16"
    if found:
        return "mixed_bfloat16", f"the CPU has {found[0]}"
    return "float32", "neither a GPU nor a CPU with bfloat16 instructions"


def use_devices(config: TrainConfig) -> None:
    """Hides the GPUs where `config` wants the CPU; before TensorFlow runs its first operation.

    Raises:
        UsageError: `require_gpu` and no GPU.
    """
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus and config.require_gpu:
        raise UsageError(f"`require_gpu` is set, and no GPU can be used: {why_no_gpu()}")
    if not gpus and config.device == "gpu":
        logger.warning("No GPU can be used: %s. Training with this machine's own settings.", why_no_gpu())


def choose(config: TrainConfig, model: keras.Model | None = None) -> Hardware:
    """What `config` asks for, and where it says `auto`, what this machine is fastest with for `model`; None: the recipe's CNN."""
    gpus = [_gpu_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    precision, precision_reason = config.precision, "as asked by --precision"
    if precision == "auto":
        precision, precision_reason = _auto_precision(gpus, model)
    jit, jit_reason = config.jit_compile == "true", "as asked by --jit_compile"
    if config.jit_compile == "auto":
        jit = bool(gpus)
        jit_reason = "it pays on a GPU" if gpus else "on a CPU it is slower than oneDNN's kernels"
    devices = tuple(name for name, _ in gpus) or (cpu_name(),)
    return Hardware(devices, precision, precision_reason, jit, jit_reason)
