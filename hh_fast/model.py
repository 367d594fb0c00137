"""The CNN of the "Horses or Humans" recipe, in stock Keras layers, so that a saved model loads anywhere Keras does."""

import keras

from hh_fast.config import require_model_size

FILTERS = (16, 32, 64, 64, 64)
DENSE_UNITS = 512


def choose_head(head: str, num_classes: int) -> str:
    """`sigmoid` or `softmax`; `auto` is a sigmoid for two classes."""
    return ("sigmoid" if num_classes == 2 else "softmax") if head == "auto" else head


def build_model(
    image_size: tuple[int, int] = (300, 300),
    *,
    num_classes: int = 2,
    head: str = "auto",
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Sequential:
    """The recipe's CNN, with fresh weights drawn from `seed`.

    At 300 x 300 and with a sigmoid it has 1,704,097 parameters. Scaling to [0, 1] is a layer of it, so that training, SavedModel
    and TFLite share one preprocessing.

        >>> hh_fast.build_model((300, 300)).count_params()
        1704097

    Args:
        image_size: (height, width) in pixels, each at least 94.
        num_classes: Number of classes.
        head: `sigmoid`: one output, the probability of class 1 of 2. `softmax`: one probability a class. `auto`: a sigmoid
            for two classes.
        seed: Seed of the weights.
        dtype: Keras dtype policy: float32, mixed_bfloat16 or mixed_float16. Outputs are float32 under each.

    Returns:
        A model of images (batch, height, width, 3), uint8 or float with values 0 to 255, to float32 (batch, 1) or
        (batch, num_classes).
    """
    require_model_size(image_size)
    head = choose_head(head, num_classes)
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    kernel = lambda: keras.initializers.GlorotUniform(seed=next(seeds))  # noqa: E731
    layers = keras.layers
    policy, channels = {"dtype": dtype}, {"data_format": "channels_last"}  # whatever Keras is set to
    image = keras.Input((*image_size, 3), name="image", dtype="float32")
    stack = [image, layers.Rescaling(1 / 255, dtype="float32", name="scale")]
    for i, filters in enumerate(FILTERS, 1):
        stack.append(
            layers.Conv2D(
                filters, 3, activation="relu", kernel_initializer=kernel(), name=f"conv{i}", **policy, **channels
            )
        )
        stack.append(layers.MaxPooling2D(2, name=f"pool{i}", **policy, **channels))
    stack += [
        layers.Flatten(name="flatten", **policy, **channels),
        layers.Dense(DENSE_UNITS, activation="relu", kernel_initializer=kernel(), name="dense", **policy),
        # Probabilities near 0 and 1 need float32 whatever the policy.
        layers.Dense(
            1 if head == "sigmoid" else num_classes,
            activation=head,
            kernel_initializer=kernel(),
            name="probability" if head == "sigmoid" else "probabilities",
            dtype="float32",
        ),
    ]
    return keras.Sequential(stack, name="hh_fast")


def add_head(features: keras.Model, *, num_classes: int, head: str, dropout: float = 0.0, seed: int = 0) -> keras.Model:
    """A classifier on what `features` makes of an image, (batch, d), which it shares: dropout, then one dense layer.

    `head`, `num_classes` and `seed` as of `build_model`. The classifier computes in float32.
    """
    layers = keras.layers
    outputs = layers.Dropout(dropout, seed=seed, name="dropout")(features.output)
    head = choose_head(head, num_classes)
    outputs = layers.Dense(
        1 if head == "sigmoid" else num_classes,
        activation=head,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        name="probability" if head == "sigmoid" else "probabilities",
        dtype="float32",
    )(outputs)
    return keras.Model(features.input, outputs, name="hh_fast")
