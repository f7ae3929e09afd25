"""Weights made in inference mode do not count what is written to them; what is made of them is made anew, too."""

import torch

from snac_tok.codec import SNAC


def test_weights_that_are_loaded_in_inference_mode_are_used(small_codec):
    """Codes and sound are those of the weights that were loaded last."""
    audio = torch.randn(1, 1, 3000, generator=torch.Generator().manual_seed(1)) * 0.2
    other = SNAC(**small_codec.config.to_dict()).eval()
    with torch.inference_mode():
        codec = SNAC(**small_codec.config.to_dict()).eval()
        for wanted in (small_codec, other, small_codec):
            codec.load_state_dict(wanted.state_dict())
            codes = codec.encode(audio)
            assert all(torch.equal(*pair) for pair in zip(codes, wanted.encode(audio), strict=True))
            assert torch.equal(codec.decode(codes, noise=0), wanted.decode(codes, noise=0))
