"""A SavedModel folder as a `Classifier`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from hh_fast.errors import DataError
from hh_fast.predict.classifier import Classifier, name_classes, names_beside, score_per_class

PIXELS_SIGNATURE = "serving_default"
BYTES_SIGNATURE = "serving_bytes"
# Operations with which a graph reaches beyond its own tensors: files, processes, network, Python.
UNSAFE_OPS = frozenset(
    {
        "DebugIdentityV2",
        "DebugNumericSummary",
        "EagerPyFunc",
        "PrintV2",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "RpcCall",
        "Save",
        "SaveSlices",
        "WriteFile",
    }
)


def _unsafe_ops(path: Path) -> list[str]:
    """The operations of the graph that a classifier has no use for and that could do harm.

    `SaveV2`, `MergeV2Checkpoints` and `RestoreV2` are part of every SavedModel (its own weights), so not among them.
    """
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graphs = [meta.graph_def for meta in proto.meta_graphs]
    used = {node.op for graph in graphs for node in graph.node}
    used |= {node.op for graph in graphs for function in graph.library.function for node in function.node_def}
    return sorted(used & UNSAFE_OPS)


def _load(path: Path) -> Any:
    try:
        unsafe = _unsafe_ops(path)
        if unsafe:
            raise DataError(
                f"{path} would run {', '.join(unsafe)}, which a classifier has no use for: it is not loaded"
            )
        return tf.saved_model.load(str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, tf.errors.OpError) as e:
        raise DataError(
            f"TensorFlow cannot load {path}: {' '.join(str(e).split())[:300]}; export or copy it again"
        ) from e
    except Exception as e:
        if type(e).__name__ == "DecodeError":  # protobuf's, wherever its implementation keeps the class
            raise DataError(f"{path / 'saved_model.pb'} is cut off or damaged: export or copy it again") from e
        raise


def _scores_of(outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    return outputs["scores"] if "scores" in outputs else next(iter(outputs.values()))


def _pixels_input(signature: Any, path: Path) -> tuple[str, tf.TensorSpec]:
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if len(inputs) == 1 and ("scores" in outputs or len(outputs) == 1):
        name, spec = next(iter(inputs.items()))
        if spec.shape.rank == 4 and spec.shape[3] == 3 and None not in spec.shape[1:3]:
            return name, spec
    raise DataError(
        f"{path}: its signature {PIXELS_SIGNATURE} does not map images (batch, height, width, 3) to `scores`:"
        f" it maps {inputs} to {outputs}"
    )


def open_saved_model(path: Path) -> Classifier:
    """The signature `serving_default` of a SavedModel; `score_bytes` is its `serving_bytes`, where it has one.

    Raises:
        DataError: it cannot be loaded, has operations that reach beyond the graph, or is no image classifier.
    """
    loaded = _load(path)
    signatures = loaded.signatures
    if PIXELS_SIGNATURE not in signatures:
        raise DataError(
            f"{path} has no signature {PIXELS_SIGNATURE}, only {', '.join(signatures) or 'none'}: export it again"
        )
    pixels = signatures[PIXELS_SIGNATURE]
    name, spec = _pixels_input(pixels, path)

    def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return pixels(**{name: tf.cast(images, spec.dtype)})

    def score(images: np.ndarray) -> np.ndarray:
        return score_per_class(_scores_of(run(tf.constant(images))).numpy())

    score_bytes: Callable[[Sequence[bytes]], np.ndarray] | None = None
    if BYTES_SIGNATURE in signatures:
        encoded = signatures[BYTES_SIGNATURE]
        encoded_name = next(iter(encoded.structured_input_signature[1]))

        def score_bytes(files: Sequence[bytes]) -> np.ndarray:
            return score_per_class(_scores_of(encoded(**{encoded_name: tf.constant(list(files))})).numpy())

    image_size = (spec.shape[1], spec.shape[2])
    probe = run(tf.zeros((1, *image_size, 3), tf.uint8))
    num_scores = score_per_class(_scores_of(probe).numpy()).shape[1]
    names = [text.decode("utf-8") for text in probe["classes"].numpy()[0]] if "classes" in probe else names_beside(path)
    return Classifier(
        str(path), "saved_model", name_classes(names, num_scores, str(path)), image_size, score, score_bytes
    )
