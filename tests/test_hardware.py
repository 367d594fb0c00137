"""Precision and XLA by the machine, and what is said where a GPU is missing."""

import logging
from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from hh_fast.config import TrainConfig
from hh_fast.errors import UsageError
from hh_fast.training import hardware
from hh_fast.training.hardware import choose, use_devices


def pretend(monkeypatch: pytest.MonkeyPatch, gpu: tuple[str, tuple[int, int]] | None, flags: set[str]) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["gpu"] if gpu else [])
    monkeypatch.setattr(hardware, "_gpu_details", lambda _: gpu)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))


AMPERE, TURING, VOLTA, PASCAL = ("A100", (8, 0)), ("T4", (7, 5)), ("V100", (7, 0)), ("P100", (6, 0))


@pytest.mark.parametrize(
    ("gpu", "flags", "config", "precision", "jit"),
    [
        (AMPERE, set(), {}, "mixed_bfloat16", True),
        (("H100", (9, 0)), set(), {}, "mixed_bfloat16", True),
        (TURING, set(), {}, "mixed_float16", True),
        (VOLTA, set(), {}, "mixed_float16", True),
        (PASCAL, set(), {}, "float32", True),
        (None, {"avx512_bf16"}, {}, "mixed_bfloat16", False),
        (None, {"amx_bf16"}, {}, "mixed_bfloat16", False),
        (None, {"avx2"}, {}, "float32", False),
        (None, {"avx512_bf16"}, {"precision": "float32"}, "float32", False),
        (AMPERE, set(), {"precision": "mixed_float16", "jit_compile": "false"}, "mixed_float16", False),
        (None, set(), {"jit_compile": "true"}, "float32", True),
    ],
)
def test_the_machine_decides_and_a_flag_overrules(
    monkeypatch: pytest.MonkeyPatch, gpu: Any, flags: set[str], config: dict[str, Any], precision: str, jit: bool
) -> None:
    pretend(monkeypatch, gpu, flags)
    chosen = choose(TrainConfig(**config))
    assert (chosen.precision, chosen.jit_compile) == (precision, jit)
    assert ("set by --precision" in chosen.precision_reason) == ("precision" in config)


@pytest.mark.parametrize("gpu", [None, AMPERE])
@pytest.mark.parametrize(
    ("layer", "is_depthwise"),
    [
        (lambda: keras.layers.DepthwiseConv2D(3, name="dw"), True),
        (lambda: keras.layers.SeparableConv2D(8, 3, name="dw"), True),
        (lambda: keras.layers.Conv2D(8, 3, groups=4, name="dw"), True),
        (lambda: keras.Sequential([keras.Input((24, 24, 8)), keras.layers.DepthwiseConv2D(3, name="dw")]), True),
        (lambda: keras.layers.Conv2D(8, 3), False),
        (lambda: keras.layers.GroupNormalization(4), False),
    ],
)
def test_depthwise_convolutions_are_left_in_float32_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, gpu: Any, layer: Callable[[], keras.layers.Layer], is_depthwise: bool
) -> None:
    pretend(monkeypatch, gpu, {"avx512_bf16"})
    model = keras.Sequential([keras.Input((24, 24, 8)), layer()])
    chosen = choose(TrainConfig(), model)
    assert chosen.precision == ("float32" if is_depthwise and not gpu else "mixed_bfloat16")
    if is_depthwise and not gpu:
        assert chosen.precision_reason == "on a CPU, depthwise convolutions such as `dw` are slower in bfloat16"
    assert choose(TrainConfig(precision="mixed_bfloat16"), model).precision == "mixed_bfloat16"


def test_a_missing_gpu_is_one_warning_or_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch, None, {"avx512_bf16"})
    monkeypatch.setattr(hardware, "why_no_gpu", lambda: "no NVIDIA driver is loaded")
    with caplog.at_level(logging.WARNING):
        use_devices(TrainConfig(device="gpu"))
    assert caplog.messages == ["No GPU can be used: no NVIDIA driver is loaded. Training on the CPU."]
    with pytest.raises(UsageError) as caught:
        use_devices(TrainConfig(require_gpu=True))
    assert str(caught.value) == "`require_gpu` is set, but no GPU can be used: no NVIDIA driver is loaded"


@pytest.mark.parametrize(
    ("cuda_build", "driver", "log", "reason"),
    [
        (False, True, "", "this TensorFlow is built without CUDA"),
        (True, False, "", "no NVIDIA driver is loaded"),
        (True, True, "W0 Cannot dlopen some GPU libraries.", "TensorFlow finds no CUDA libraries; install them with"),
        (True, True, "", "TensorFlow finds no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, cuda_build: bool, driver: bool, log: str, reason: str
) -> None:
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: cuda_build)
    monkeypatch.setattr(hardware, "import_log", lambda: log)
    monkeypatch.setattr(hardware.Path, "exists", lambda _: driver)
    assert hardware.why_no_gpu().startswith(reason)
