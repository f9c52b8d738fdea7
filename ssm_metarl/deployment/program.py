"""An agent's acting step as a program that torch.export.load reads, without this package."""

import io
import json

import torch
from torch.export import Dim, ExportedProgram

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.deployment.description import describe
from ssm_metarl.deployment.step import ActingStep

FACTS = "policy.json"
"""Name of the facts among a program's extra files."""


def program_bytes(agent: Agent, *, sample: bool) -> bytes:
    """Return the file."""
    step = ActingStep(agent, sample=sample)
    facts = json.dumps(describe(step, agent.family))
    held = io.BytesIO()
    torch.export.save(exported_program(step), held, extra_files={FACTS: facts})
    return held.getvalue()


def exported_program(step: ActingStep) -> ExportedProgram:
    """Trace a step, for a batch of any size."""
    example = step.example()
    batch = Dim("batch", min=1)
    shapes = {name: {0: batch} for name in example}
    with torch.no_grad():
        return torch.export.export(step.eval(), (), example, dynamic_shapes=shapes, strict=False)
