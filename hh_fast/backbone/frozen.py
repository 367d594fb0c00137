"""Splits a model into its frozen front, whose output for an image never changes, and the rest, which is trained."""

import re
from typing import Any, TypeAlias

import keras
from keras.src.models.functional import Functional

# The common prefix of the layer names of a block in pretrained networks, in Keras and here.
BLOCK = re.compile(r"(block_?\d+[a-z]?|expanded_conv(?:_\d+)?)_")

Call: TypeAlias = tuple[Any, Any, Any]  # a layer, its arguments (positional, by name), its outputs


def _tensors(structure: Any) -> list[keras.KerasTensor]:
    return [value for value in keras.tree.flatten(structure) if isinstance(value, keras.KerasTensor)]


def _call_layers(model: keras.Model, inputs: Any, calls: list[Call]) -> Any:
    """The outputs of `model` for symbolic `inputs`; calls the layers of nested models one by one, and records all in `calls`."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if type(layer) in (keras.Sequential, Functional):
            return _call_layers(layer, args[0], calls)
        outputs = layer(*args, **kwargs)
        calls.append((layer, (args, kwargs), outputs))
        return outputs

    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)


def _changes(layer: Any) -> bool:
    """Whether training changes the output of `layer` for an input, by weights, running statistics or randomness.

    In training, all layers are called in training mode, even those that were called with `training=False` (Keras 3.15).
    """
    if not isinstance(layer, keras.Layer) or isinstance(layer, keras.layers.Normalization):
        return False  # an operation of keras.ops, or statistics that only `adapt` changes
    draws = any(
        isinstance(value, keras.random.SeedGenerator) and getattr(part, "rate", 1) > 0
        for part in layer._flatten_layers()
        for value in vars(part).values()
    )
    states = [variable for variable in layer.variables if "seed_generator" not in variable.path]
    return draws or bool(layer.trainable_variables or (layer.trainable and states))


def split(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """(front, rest) with the layers and weights of `model`, such that rest(front(x)) equals model(x); None without a front.

    The front ends at the last tensor through which all data flows and that training never changes: its layers are frozen, are
    not random in training, and do not update running statistics. Nested models are split where the front ends in them. Layers
    without weights alone are not a front.

    Args:
        model: A functional or sequential model with one input and one output.
    """
    image = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype, name="image")
    calls: list[Call] = []
    (output,) = _tensors(_call_layers(model, image, calls))
    last_use = {id(tensor): i for i, call in enumerate(calls) for tensor in _tensors(call[1])} | {
        id(output): len(calls)
    }
    cut, num_in_front, has_weights = image, 0, False
    still_used = last_use.get(id(image), 0)  # the last call that uses a tensor computed so far
    for i, (layer, _, made) in enumerate(calls):
        if _changes(layer):
            break
        has_weights = has_weights or bool(getattr(layer, "weights", ()))
        if has_weights and still_used <= i and isinstance(made, keras.KerasTensor):
            cut, num_in_front = made, i + 1
        still_used = max(still_used, *(last_use.get(id(tensor), 0) for tensor in _tensors(made)))
    if num_in_front == 0:
        return None
    features = keras.Input(batch_shape=cut.shape, dtype=cut.dtype, name="features")
    remade = {id(cut): features}
    for layer, arguments, made in calls[num_in_front:]:
        args, kwargs = keras.tree.map_structure(lambda value: remade.get(id(value), value), arguments)
        remade.update(zip(map(id, _tensors(made)), _tensors(layer(*args, **kwargs)), strict=True))
    made = remade[id(output)]
    # A model of its input alone is none in Keras 3.12, the last one for Python 3.10.
    rest = keras.Model(features, keras.layers.Identity()(made) if made is features else made, name="rest")
    return keras.Model(image, cut, name="front"), rest


def unfreeze(model: keras.Model, which: str | int) -> None:
    """Makes layers of `model`, including nested models, trainable, except for batch normalisation.

    Args:
        which: `all`, or the number of last blocks, by the layer names of pretrained networks; layers after them are trained too. For
            a model without blocks, the number of last layers with weights.
    """
    calls: list[Call] = []
    _call_layers(model, keras.Input(batch_shape=model.inputs[0].shape), calls)
    layers = [layer for layer in dict.fromkeys(call[0] for call in calls) if getattr(layer, "weights", ())]
    before = [layer.trainable for layer in layers]
    blocks = [match[1] if (match := BLOCK.match(layer.name)) else None for layer in layers]
    starts = [i for i, block in enumerate(blocks) if block and block not in blocks[:i]] or list(range(len(layers)))
    first = 0 if which == "all" else starts[-min(int(which), len(starts))]
    model.trainable = True  # includes nested models, in which nothing would be trained otherwise
    for i, layer in enumerate(layers):
        layer.trainable = before[i] if i < first else not isinstance(layer, keras.layers.BatchNormalization)
