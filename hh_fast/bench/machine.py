"""What a result must say of the machine and the software that it was measured on."""

import os
import platform

import psutil

from hh_fast.bench.results import Machine
from hh_fast.io.cores import num_cores
from hh_fast.io.versions import package_versions
from hh_fast.training.precision import cpu_flags, cpu_name

NOTED_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def gpu_names() -> list[str]:
    """Called in a measuring process: asking starts the GPU's driver."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")) for gpu in gpus]


def describe(gpus: list[str]) -> Machine:
    """This machine, before anything is measured on it."""
    return Machine(
        cpu=cpu_name(),
        cpu_flags=tuple(flag for flag in NOTED_CPU_FLAGS if flag in cpu_flags()),
        num_cores=num_cores(),
        memory_bytes=psutil.virtual_memory().total,
        gpus=tuple(gpus),
        system=f"{platform.system()} {platform.release()}",
        load_before=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        versions=package_versions("pillow", "scipy"),
    )
