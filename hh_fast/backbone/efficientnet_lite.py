"""EfficientNet-Lite0 (Tan, Le and others, 2020) in stock Keras layers: EfficientNet-B0 without squeeze-and-excitation, with ReLU6."""

import keras
import numpy as np

from hh_fast.backbone.torch_file import read_tensors

# Repeats, kernel size, stride of the first block, expansion ratio, filters.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
layers = keras.layers


def _norm(x: keras.KerasTensor, name: str, *, relu: bool = True) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu6")(x) if relu else x


def _conv(
    x: keras.KerasTensor, filters: int, name: str, *, kernel: int = 1, stride: int = 1, relu: bool = True
) -> keras.KerasTensor:
    conv = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")
    return _norm(conv(x), name, relu=relu)


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, filters: int
) -> keras.KerasTensor:
    """An inverted residual block: expansion, depthwise convolution, projection."""
    inputs = x
    if expansion != 1:
        x = _conv(x, expansion * x.shape[-1], f"{name}_expand")
    depthwise = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")
    x = _norm(depthwise(x), f"{name}_depthwise")
    x = _conv(x, filters, f"{name}_project", relu=False)
    return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and filters == inputs.shape[-1] else x


def efficientnet_lite0(image_size: tuple[int, int] = (224, 224)) -> keras.Model:
    """Images (batch, height, width, 3), values 0 to 255, to features float32 (batch, 1280); 3,413,024 parameters, untrained."""
    image = keras.Input((*image_size, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="scale")(image)
    x = _conv(x, 32, "stem", kernel=3, stride=2)
    number = 0
    for repeats, kernel, stride, expansion, filters in STAGES:
        for i in range(repeats):
            x = _block(x, f"block{number}", kernel, stride if i == 0 else 1, expansion, filters)
            number += 1
    x = _conv(x, 1280, "top")
    return keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x), name="efficientnet_lite0")


def read_weights(model: keras.Model, content: bytes) -> None:
    """Loads the weights from a file of its PyTorch port. Both list their layers in execution order.

    Raises:
        pickle.UnpicklingError, ValueError, EOFError: a damaged file, or that of another network.
    """
    tensors = {name: value for name, value in read_tensors(content).items() if not name.endswith("num_batches_tracked")}
    # Without the last layer, the ImageNet classifier.
    kernels = iter([value for value in tensors.values() if value.ndim == 4])
    norms = iter([name.removesuffix(".running_mean") for name in tensors if name.endswith(".running_mean")])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            name = next(norms)
            layer.set_weights([tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
        elif layer.weights:
            kernel = next(kernels)
            axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            layer.set_weights([np.transpose(kernel, axes)])
    if next(kernels, None) is not None or next(norms, None) is not None:
        raise ValueError("it has more layers")
