"""The encoders of a policy, by name; each follows :class:`core.protocols.Encoder`."""

from ssm_metarl.core.registry import Entry

ENCODERS = {
    "linear": Entry("one layer with tanh", "ssm_metarl.core.linear_encoder", "LinearEncoder"),
    "cnn": Entry("convolutions, for images", "ssm_metarl.core.cnn_encoder", "CNNEncoder"),
}
