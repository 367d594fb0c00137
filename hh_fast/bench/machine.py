"""What a result must say of the machine and the software that it was measured on."""

import os
import platform
from typing import Any

import psutil

from hh_fast.io.cores import num_cores
from hh_fast.io.versions import package_versions
from hh_fast.training.precision import cpu_flags, cpu_name

NOTED_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def versions() -> dict[str, str | None]:
    """Of Python and the packages that take part; None for one that is not installed."""
    return package_versions("pillow", "scipy", "torch")


def gpu_names() -> list[str]:
    """Called in a measuring process: asking starts the GPU's driver."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")) for gpu in gpus]


def describe(gpus: list[str]) -> dict[str, Any]:
    """Processor, cores that this process may use, memory, system; and how busy the machine was before anything began."""
    return {
        "cpu": cpu_name(),
        "cpu_flags": [flag for flag in NOTED_CPU_FLAGS if flag in cpu_flags()],
        "num_cores": num_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
        "system": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
