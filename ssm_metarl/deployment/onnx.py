"""An agent's acting step as one ONNX file."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.deployment.description import describe
from ssm_metarl.deployment.program import exported_program
from ssm_metarl.deployment.step import OUTPUTS, ActingStep
from ssm_metarl.errors import UserError


def onnx_bytes(agent: Agent, *, sample: bool) -> bytes:
    """Return the file, with the weights inside and the facts of it in its metadata.

    Raises:
        UserError: The extra is missing.
    """
    try:
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]  (torch needs it)
    except ImportError as error:
        raise UserError(
            f"ONNX needs an extra ({error.name} is missing): pip install 'ssm-metarl[onnx]'"
        ) from error
    step = ActingStep(agent, sample=sample)
    with _quietly():
        made = torch.onnx.export(
            exported_program(step),
            input_names=[*step.example()],
            output_names=OUTPUTS,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    opset = made.model.opset_imports[""]
    made.model.metadata_props.update(describe(step, agent.family), opset=str(opset))
    model = made.model_proto  # with the weights inside, where saving it would make a second file
    del model.graph.value_info[:]  # shapes in between, by names that are no longer there:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model.SerializeToString()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what the exporter says of packages that are not there, and of torch's own code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
