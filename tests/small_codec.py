"""A network of a few thousand weights, for tests in which its size does not matter."""

from snac_tok.codec import CodecConfig

SMALL = CodecConfig(
    sampling_rate=8_000,
    encoder_dim=4,
    encoder_rates=(2, 3),
    decoder_dim=16,
    decoder_rates=(3, 2),
    attn_window_size=None,
    codebook_size=32,
    codebook_dim=4,
    vq_strides=(4, 2, 1),
)
