"""Quantizes a float32 `.tflite` file to int8.

TensorFlow's own calibration measures the ranges of some tensors after operators have overwritten them in place, and rounds each
weight independently. For EfficientNet-Lite0 on photos this doubles the error of the scores (BUILD.md).
"""

import collections
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tensorflow.lite.python.convert import mlir_quantize  # what TensorFlow's converter ends with

from hh_fast.errors import CheckError
from hh_fast.io.cores import num_cores
from hh_fast.io.quiet import native_stderr_logged

DEPTHWISE = schema.BuiltinOperator.DEPTHWISE_CONV_2D
WEIGHTED = (DEPTHWISE, schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)


class _Weights:
    """Kernel and bias of an operator, which no other operator uses."""

    def __init__(self, model: Any, operator: Any) -> None:
        self._model = model
        self._kernel, self._bias = (model.subgraphs[0].tensors[i] for i in operator.inputs[1:3])
        self.is_depthwise = model.operatorCodes[operator.opcodeIndex].builtinCode == DEPTHWISE

    def _read(self, tensor: Any) -> np.ndarray:
        return np.frombuffer(bytes(self._model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape)

    def _write(self, tensor: Any, values: np.ndarray) -> None:
        content = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
        tensor.buffer = len(self._model.buffers)  # equal constants share a buffer
        self._model.buffers.append(schema.BufferT(data=content))

    def round(self, mean_input: np.ndarray) -> None:
        """Rounds the kernel to its int8 steps so that the errors cancel out.

        Neighbouring pixels are similar, so rounding must not change the sum of the weights over a window. The mean error that
        remains is subtracted from the bias (Nagel et al. 2019).

        Args:
            mean_input: The mean of each input channel, float (channels,).
        """
        kernel = self._read(self._kernel)
        if self.is_depthwise:
            kernels = kernel.reshape(-1, kernel.shape[-1]).T[:, np.newaxis]
            mean_input = np.repeat(mean_input, len(kernels) // len(mean_input))[:, np.newaxis]
        else:
            kernels = kernel.reshape(len(kernel), -1, kernel.shape[-1]).swapaxes(1, 2)
        # (output channels, input channels, positions in the window)
        step = np.maximum(np.abs(kernels).max(axis=(1, 2), keepdims=True), 1e-12) / 127
        rounded = np.round(kernels / step)
        error = rounded - kernels / step
        if kernels.shape[2] > 1:
            excess = np.round(error.sum(axis=2, keepdims=True))
            # The weights with the largest errors of that sign are rounded the other way.
            rank = np.argsort(np.argsort(-np.sign(excess) * error, axis=2), axis=2)
            rounded = np.clip(rounded - np.sign(excess) * (rank < np.abs(excess)), -127, 127)
            error = rounded - kernels / step
        shift = ((error * step).sum(axis=2) * mean_input).sum(axis=1)
        made = rounded * step
        self._write(self._kernel, made[:, 0].T if self.is_depthwise else made.swapaxes(1, 2))
        self._write(self._bias, self._read(self._bias) - shift)


def _find_weights(model: Any) -> list[tuple[int, int, _Weights]]:
    """(input tensor, input channels per kernel, weights) of the operators whose weights are constants of their own."""
    graph = model.subgraphs[0]
    uses = collections.Counter(int(i) for operator in graph.operators for i in operator.inputs)
    found = []
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode not in WEIGHTED or len(operator.inputs) < 3:
            continue
        image, kernel, bias = map(int, operator.inputs[:3])
        if bias < 0 or not uses[kernel] == uses[bias] == 1:
            continue
        tensors = [graph.tensors[i] for i in (kernel, bias)]
        if all(t.type == schema.TensorType.FLOAT32 and model.buffers[t.buffer].data is not None for t in tensors):
            found.append((image, int(tensors[0].shape[-1]), _Weights(model, operator)))
    return found


def quantize(float32_content: bytes, calibration_images: np.ndarray) -> bytes:
    """The file in int8, with raw uint8 pixels as input and uint8 scores in steps of 1/256 as output.

    Args:
        float32_content: A `.tflite` file from `tflite.convert`.
        calibration_images: uint8 (n, height, width, 3), values 0 to 255, decoded as in training.

    Raises:
        CheckError: the model has loops, or an operator without an int8 version.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(float32_content))
    if len(model.subgraphs) > 1:
        raise CheckError("the model has loops, which cannot be quantized to int8: use dynamic")
    graph = model.subgraphs[0]
    pixels = int(graph.inputs[0])
    computed = {int(i) for operator in graph.operators for i in operator.outputs} | {pixels}
    measured = [i for i in sorted(computed) if graph.tensors[i].type == schema.TensorType.FLOAT32]
    weights = _find_weights(model)
    interpreter = Interpreter(
        model_content=float32_content,
        num_threads=num_cores(),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    ranges, sums = {i: [0.0, 0.0] for i in measured}, {i: 0.0 for i, _, _ in weights}
    for image in calibration_images:
        interpreter.set_tensor(pixels, image[np.newaxis].astype(np.float32))
        interpreter.invoke()
        for i in measured:
            values = interpreter.tensor(i)()
            ranges[i] = [min(ranges[i][0], float(values.min())), max(ranges[i][1], float(values.max()))]
            if i in sums:
                sums[i] = sums[i] + values.mean(axis=tuple(range(values.ndim - 1)))
            del values  # a view that must be gone before the next run
    for i, (low, high) in {**ranges, pixels: [0.0, 255.0]}.items():
        graph.tensors[i].quantization = schema.QuantizationParametersT(min=[low], max=[high])
    for i, num_channels, of_operator in weights:
        mean = np.asarray(sums[i]) / len(calibration_images)
        if len(mean) == num_channels or of_operator.is_depthwise:  # not a grouped convolution
            of_operator.round(mean)
    builder = flatbuffers.Builder(len(float32_content))
    builder.Finish(model.Pack(builder), b"TFL3")
    try:
        with native_stderr_logged():
            quantized: bytes = mlir_quantize(
                bytes(builder.Output()), input_data_type=tf.uint8, output_data_type=tf.uint8
            )
    except RuntimeError as e:
        raise CheckError(f"TensorFlow cannot convert the model to int8: {' '.join(str(e).split())[:300]}") from e
    return quantized
