"""The codec for trials is known by its codebooks, whatever happens to them."""

import torch

from snac_tok.codec import SNAC
from snac_tok.codec.trial import is_trial


def test_a_codec_that_learns_is_one_of_its_own():
    """And one that gets the trial codec's weights is that, whatever it was when it was asked before."""
    codec, other = SNAC.from_pretrained("tiny"), SNAC(**SNAC.from_pretrained("tiny").config.to_dict())
    assert (is_trial(codec), is_trial(other)) == (True, False)
    other.load_state_dict(codec.state_dict())
    with torch.no_grad():
        codec.quantizer.quantizers[0].codebook.weight.mul_(1.5)
    assert (is_trial(codec), is_trial(other)) == (False, True)
