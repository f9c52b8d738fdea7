"""The kinds of files that an agent is exported to, by suffix; importing this imports no torch."""

from ssm_metarl.core.registry import Entry

FORMATS = {
    ".onnx": Entry("ONNX, for ONNX Runtime", "ssm_metarl.deployment.onnx", "onnx_bytes"),
    ".pt2": Entry("torch.export", "ssm_metarl.deployment.program", "program_bytes"),
    ".c": Entry("C99 without dependencies", "ssm_metarl.deployment.c_code", "c_bytes"),
}
"""Each is called as ``bytes_of(agent, sample=...)`` and returns the file."""
