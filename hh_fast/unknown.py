"""An output `unknown` for pictures that belong to no class, in stock Keras layers on top of a pretrained network.

A picture is known if its features resemble those of some training image, by cosine similarity to cluster centres of these. The class
scores are multiplied by k, which rises from 0 to 1 with that similarity, and the score of `unknown` is 1 - k. So an app that reads
labelled scores needs no extra code. The background counts too: with a class of insects on flowers, pictures of flowers pass.
"""

import keras
import numpy as np

from hh_fast.config import UNKNOWN
from hh_fast.errors import UsageError

CENTRES, MOST_CENTRES = 32, 1024  # per class, and in total
ROUNDS = 10  # of k-means
# Of k over similarity: k rises from 0.12 to 0.88 while the similarity rises by 0.1.
SLOPE = 40.0
INT8_STEP = 1 / 256  # of a similarity: keeps an image at the threshold on its side after rounding
ODD_ONE_OUT = 10  # held-out images
TILES = 7  # per row and column of a scrambled picture
BOTH, KNOWN_SCORES, WITH_UNKNOWN = "both_classes", "known_scores", "scores_with_unknown"  # layers


def feature_model(model: keras.Model) -> keras.Model:
    """The part of a classifier up to the features (batch, d) that its last dense layers take.

    Raises:
        UsageError: these layers take flattened feature maps, as in the built-in CNN.
    """
    head = (keras.layers.Dense, keras.layers.Dropout, keras.layers.Activation, keras.layers.Softmax)
    tensor = model.outputs[0]
    layer, node, _ = tensor._keras_history
    while isinstance(layer, head):
        tensor = layer._inbound_nodes[node].input_tensors[0]
        layer, node, _ = tensor._keras_history
    if len(tensor.shape) != 2 or isinstance(layer, (keras.layers.Flatten, keras.layers.InputLayer)):
        raise UsageError(
            "`unknown` needs a network that ends in pooled features, such as that of --backbone. Received: a model whose"
            f" classifier begins after `{layer.name}`"
        )
    return keras.Model(model.inputs[0], tensor, name="features")


def has_unknown(model: keras.Model) -> bool:
    return model.outputs[0]._keras_history.operation.name == WITH_UNKNOWN


def without_unknown(model: keras.Model) -> keras.Model:
    """The classifier to which `add_unknown` added the output; any other model is returned unchanged."""
    if not has_unknown(model):
        return model
    scores = model.get_layer(KNOWN_SCORES)._inbound_nodes[0].input_tensors[0]
    layer = scores._keras_history.operation
    outputs = layer._inbound_nodes[0].input_tensors[1] if layer.name == BOTH else scores
    return keras.Model(model.inputs[0], outputs, name=model.name)


def find_centres(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Cluster centres of each class's features, float32 (k, d) of length 1, by k-means on cosine similarity, seeded by `seed`.

    `CENTRES` per class, fewer if there are many classes; for a class with fewer images, all of its images.
    """
    rng = np.random.default_rng(seed)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    classes = np.unique(labels)
    most = max(1, min(CENTRES, MOST_CENTRES // len(classes)))
    return np.concatenate([_cluster(unit[labels == label], most, rng) for label in classes]).astype(np.float32)


def _cluster(unit: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if len(unit) <= count:
        return unit
    centres = unit[[rng.integers(len(unit))]]
    while len(centres) < count:  # distant ones are drawn with higher probability (k-means++)
        distance = np.maximum(1 - (unit @ centres.T).max(axis=1), 0) + 1e-9
        centres = np.concatenate([centres, unit[[rng.choice(len(unit), p=distance / distance.sum())]]])
    for _ in range(ROUNDS):
        nearest = (unit @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, unit)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), centres)
    return centres


def largest_similarity(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The cosine similarity, (n,), of features (n, d) to the nearest of `centres` (k, d)."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray((features @ centres.T).max(axis=1) / np.maximum(lengths[:, 0], 1e-6))


def margins(similarity: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each image, (n,), the threshold above which it becomes `unknown`, from its similarity (n,) and class probabilities (n, c)."""
    # A class with probability p stays ahead while p k > 1 - k, where k = sigmoid(SLOPE (similarity - threshold)).
    return similarity + np.log(np.maximum(probabilities.max(axis=1), 1e-6)) / SLOPE


def find_threshold(held: np.ndarray, keep: float, other: np.ndarray) -> float:
    """The similarity at which k is one half, from the `margins` of held-out images and of pictures that belong to no class.

    At least the fraction `keep` of the held-out images keep their class. From `ODD_ONE_OUT` images on, one may lose it in any
    case, so that a single odd image does not decide. If `keep` of the other pictures lie below that similarity, the threshold is
    halfway between the two, because new images may resemble the training images less than the held-out ones do.
    """
    num_lost = max(int((1 - keep) * len(held) + 1e-9), int(keep < 1 and len(held) >= ODD_ONE_OUT))
    threshold = np.sort(held)[num_lost] - INT8_STEP
    return float(min(threshold, (threshold + np.quantile(other, keep)) / 2))


def add_unknown(model: keras.Model, features: keras.Model, centres: np.ndarray, threshold: float) -> keras.Model:
    """`model` with `unknown` as its last output, from the `centres` of its features and the similarity `threshold`.

    `features` is `feature_model(model)`. The new model shares the layers of both, which are not changed.
    """
    layers = keras.layers
    scores = model.outputs[0]
    if scores.shape[1] == 1:
        scores = layers.Concatenate(name=BOTH, dtype="float32")([layers.Rescaling(-1.0, offset=1.0)(scores), scores])
    unit = layers.UnitNormalization(name="unit_features", dtype="float32")(features.outputs[0])
    similarity = layers.Dense(len(centres), use_bias=False, name="similarity", dtype="float32", trainable=False)
    nearest = layers.GlobalMaxPooling1D(name="nearest")(layers.Reshape((-1, 1), name="each_centre")(similarity(unit)))
    gates = [
        layers.Dense(1, activation="sigmoid", name=name, dtype="float32", trainable=False)
        for name in ("known", UNKNOWN)
    ]
    known, unknown = (gate(nearest) for gate in gates)
    known_scores = layers.Multiply(name=KNOWN_SCORES, dtype="float32")([scores, known])
    outputs = layers.Concatenate(name=WITH_UNKNOWN, dtype="float32")([known_scores, unknown])
    similarity.set_weights([centres.T])
    for gate, slope in zip(gates, (SLOPE, -SLOPE), strict=True):
        gate.set_weights([np.full((1, 1), slope), np.array([-slope * threshold])])
    return keras.Model(model.inputs[0], outputs, name=model.name)


def scrambled(images: np.ndarray) -> np.ndarray:
    """Pictures that belong to no class: each of `images`, uint8 (n, height, width, 3), with its tiles in random order."""
    rng = np.random.default_rng(0)
    height, width = (side // TILES for side in images.shape[1:3])
    found = images.copy()
    for picture, image in zip(found, images, strict=True):
        for place, tile in enumerate(rng.permutation(TILES * TILES)):
            (to_y, to_x), (y, x) = divmod(place, TILES), divmod(int(tile), TILES)
            picture[to_y * height : (to_y + 1) * height, to_x * width : (to_x + 1) * width] = image[
                y * height : (y + 1) * height, x * width : (x + 1) * width
            ]
    return found
