"""The cells of a policy, by name; each follows :class:`core.protocols.Cell`."""

from ssm_metarl.core.registry import Entry

CELLS = {
    "ssm": Entry("diagonal complex SSM", "ssm_metarl.core.ssm", "DiagonalSSM"),
    "gated": Entry("input-dependent SSM", "ssm_metarl.core.gated", "GatedSSM"),
    "gru": Entry("gated recurrent unit", "ssm_metarl.core.gru", "GRU"),
    "mlp": Entry("no memory", "ssm_metarl.core.mlp", "MLP"),
}
