"""Writes through `.data` cannot be seen; what is saved or recorded afterwards is what the codec works with."""

import copy

import pytest
import torch

from snac_tok.codec import SNAC


def fresh_copy_of(codec):
    """Return a codec that has never worked, with a codec's weights."""
    fresh = SNAC.from_config(codec.config)
    fresh.load_state_dict({name: value.clone() for name, value in codec.state_dict().items()})
    return fresh.eval()


@pytest.mark.parametrize(
    "tell",
    [
        lambda codec, _: codec.unfold_weight_norm(),
        lambda codec, _: codec.weights_sha256(),
        lambda codec, folder: codec.save_pretrained(folder),
        lambda codec, folder: codec.save_pretrained(folder, safe_serialization=False),
        lambda codec, _: codec.eval(),
    ],
    ids=["unfold", "digest", "save", "save for torch", "eval"],
)
def test_what_is_recorded_is_what_works_from_then_on(small_codec, tell, tmp_path):
    """Codes and sound are those of the weights that were saved, or that the digest is of."""
    audio = torch.randn(1, 1, 5_000, generator=torch.Generator().manual_seed(1)) * 0.3
    codec = copy.deepcopy(small_codec)
    before = codec.decode(codec.encode(audio), noise=0)
    for weight in codec.parameters():
        weight.data.mul_(1.1)
    tell(codec, tmp_path)
    fresh = fresh_copy_of(codec)
    codes = codec.encode(audio)
    assert all(torch.equal(*pair) for pair in zip(codes, fresh.encode(audio), strict=True))
    sound = codec.decode(codes, noise=0)
    assert torch.equal(sound, fresh.decode(codes, noise=0))
    assert not torch.equal(sound, before)
    assert codec.weights_sha256() == fresh.weights_sha256()
