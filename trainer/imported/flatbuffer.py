"""A TFLite file becomes a version's flatbuffer: what precedes and follows its graph is put into it.

Both are converted by themselves, and their operations, tensors and buffers appended to those of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from trainer.imported.model import ImportedModel
from trainer.imported.tflite import quantized, real
from trainer.release.exported import INPUT, OUTPUT, SIGNATURE

Graph = Callable[[tf.Tensor], tf.Tensor]


def wrapped(path: Path, model: ImportedModel) -> bytes:
    """A flatbuffer that takes raw pixels and gives probabilities, with the one signature `serving_default`.

    Args:
        path: of the TFLite file.
        model: the one in that file.
    """
    whole = flatbuffer_utils.read_model(str(path))
    interpreter = Interpreter(str(path))
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    batch = model.source.input[0]
    images = tf.TensorSpec((batch, *model.shape), tf.float32)
    scores = tf.TensorSpec((batch, model.source.units), tf.as_dtype(output_details["dtype"]))
    before = _converted(lambda values: quantized(model.before(values), input_details), images)
    after = _converted(lambda values: model.after(real(values, output_details)), scores)
    graph = whole.subgraphs[0]
    (input_index,), (output_index,) = graph.inputs, graph.outputs
    first, graph.inputs = _added(whole, before, {before.subgraphs[0].outputs[0]: input_index})
    last, graph.outputs = _added(whole, after, {after.subgraphs[0].inputs[0]: output_index})
    graph.operators = [*first, *graph.operators, *last]
    names = ((INPUT, graph.inputs[0]), (OUTPUT, graph.outputs[0]))
    inputs, outputs = ([schema.TensorMapT(name, index)] for name, index in names)
    whole.signatureDefs = [schema.SignatureDefT(inputs, outputs, SIGNATURE, 0)]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(whole))


def _added(whole: Any, part: Any, joined: Mapping[int, int]) -> tuple[list[Any], list[int]]:
    """Appends a flatbuffer's buffers, codes of operations and tensors to those of another.

    Args:
        joined: tensors of the part by the tensors of the whole that stand for them.

    Returns:
        The part's operations, and its inputs where those of `joined` are its outputs, else its outputs.
    """
    graph, added = whole.subgraphs[0], part.subgraphs[0]
    buffers, codes, tensors = len(whole.buffers), len(whole.operatorCodes), len(graph.tensors)

    def place(index: int) -> int:
        return joined.get(index, index if index < 0 else index + tensors)

    for tensor in added.tensors:
        tensor.buffer += buffers
    for operation in added.operators:
        operation.opcodeIndex += codes
        operation.inputs, operation.outputs = ([*map(place, each)] for each in (operation.inputs, operation.outputs))
    whole.buffers += part.buffers
    whole.operatorCodes += part.operatorCodes
    graph.tensors += added.tensors
    ends = added.inputs if added.outputs[0] in joined else added.outputs
    return added.operators, [*map(place, ends)]


def _converted(function: Graph, spec: tf.TensorSpec) -> Any:
    """A function of TensorFlow's as a flatbuffer."""
    concrete = tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
    return flatbuffer_utils.read_model_from_bytearray(
        bytearray(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    )
