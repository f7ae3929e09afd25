"""Law 1: our SNAC equals the PyPI package `snac` 1.2.1 on the same weights."""

import copy
from pathlib import Path

import pytest
import snac
import torch

from snac_tok.audio import read_audio
from snac_tok.codec import PRESETS, SNAC, inference
from snac_tok.codec.incremental import ChunkDecoder, ChunkEncoder
from snac_tok.codec.noise import DrawnNoise, SeededNoise

NAMES = (
    "sampling_rate",
    "encoder_dim",
    "encoder_rates",
    "decoder_dim",
    "decoder_rates",
    "latent_dim",
    "hop_length",
    "n_codebooks",
    "codebook_size",
    "codebook_dim",
    "vq_strides",
    "attn_window_size",
)
# Sound is equal to 1e-6. Of the decoders with 1,536 channels single samples are over it: `snac`'s own roundings reach
# 9.1e-7 there, and ours are of that size, too (docs/performance.md).
LARGEST_DIFFERENCE = 1e-6
LARGEST_DIFFERENCE_WIDE = 1.25e-6
SPEECH = Path(__file__).parents[1] / "speech"


@pytest.fixture(params=PRESETS, scope="module")
def pair(request):
    """Upstream's network and ours, same weights, one released shape."""
    torch.manual_seed(7)
    upstream = snac.SNAC(**PRESETS[request.param].to_dict()).eval()
    ours = SNAC.from_config(PRESETS[request.param])
    ours.load_state_dict(upstream.state_dict())
    return upstream, ours.eval()


def assert_equal(upstream, ours, audio):
    """Codes identical, audio equal to rounding with equal noise, through encode and decode."""
    with torch.no_grad():
        wanted = upstream.encode(audio)
        found = ours.encode(audio)
        assert [level.dtype for level in found] == [torch.int64] * len(wanted)
        for one, other in zip(wanted, found, strict=True):
            assert torch.equal(one, other)
        torch.manual_seed(1)
        wanted_audio = upstream.decode(wanted)
        torch.manual_seed(1)
        found_audio = ours.decode(found)
    assert found_audio.shape == wanted_audio.shape
    wide = ours.config.decoder_dim > 1024
    limit = LARGEST_DIFFERENCE_WIDE if wide else LARGEST_DIFFERENCE
    assert (found_audio - wanted_audio).abs().max() <= limit
    assert (found_audio - wanted_audio).square().mean().sqrt() <= 0.25e-6


@pytest.mark.parametrize(("length", "batch"), [(1, 1), (511, 3), (6_145, 2), (12_289, 1)])
def test_codes_and_audio_equal_upstream(pair, length, batch):
    """Every length and batch size gives upstream's codes and, with equal noise, its audio."""
    audio = torch.randn(batch, 1, length, generator=torch.Generator().manual_seed(length)) * 0.3
    assert_equal(*pair, audio)


@pytest.mark.slow
def test_a_clip_of_many_chunks_equals_upstream(pair):
    """A clip whose length is not a multiple of anything, in at least four chunks either way."""
    ours = pair[1]
    first, second = (cut * ours.config.frame_length for cut in inference.decode_cuts(ours, 10_000)[1:3])
    num_samples = 1 + max(3 * inference.encode_chunk_samples(ours), 2 * second - first)
    frames = ours.config.num_frames(num_samples)
    assert num_samples > 3 * inference.even_chunk_samples(ours, num_samples)
    assert len(inference.decode_cuts(ours, frames)) > 4
    assert_equal(*pair, torch.randn(1, 1, num_samples, generator=torch.Generator().manual_seed(5)) * 0.3)


def test_sound_is_as_exact_as_upstreams(pair):
    """Against the same network in float64, ours is no farther off than upstream, which sums in another order."""
    upstream, ours = pair
    codes = ours.encode(torch.randn(1, 1, 16_000, generator=torch.Generator().manual_seed(8)) * 0.3)
    with torch.no_grad():
        latents = ours.quantizer.from_codes(codes)
        torch.manual_seed(1)
        theirs = upstream.decode(codes)
        torch.manual_seed(1)
        found = ours.decode(codes)
        torch.manual_seed(1)
        noise = DrawnNoise.from_global_generator(latents, ours.config.decoder_rates)
        exact_noise = DrawnNoise(layers=tuple(layer.double() for layer in noise.layers))
        exact = copy.deepcopy(ours).double().decoder.model(latents.double(), exact_noise)
    error, their_error = ((audio - exact).square().mean().sqrt() for audio in (found, theirs))
    assert error <= 1.1 * their_error


def test_forward_equals_upstream(pair):
    """Forward trims to the input and returns the same codes."""
    upstream, ours = pair
    audio = torch.randn(2, 1, 7_001, generator=torch.Generator().manual_seed(2)) * 0.3
    with torch.no_grad():
        torch.manual_seed(1)
        wanted, wanted_codes = upstream(audio)
        torch.manual_seed(1)
        found, found_codes = ours(audio)
    assert found.shape == audio.shape
    assert (found - wanted).abs().max() <= 1e-6
    assert all(torch.equal(one, other) for one, other in zip(wanted_codes, found_codes, strict=True))


def test_unfolded_weights_equal_upstream(pair):
    """Training mode, where weight norm is computed on every call, gives the same numbers, gradients included."""
    upstream, ours = pair
    audio = torch.randn(1, 1, 3_000, generator=torch.Generator().manual_seed(3)) * 0.3
    upstream.train(), ours.train()
    try:
        torch.manual_seed(1)
        wanted, _ = upstream(audio)
        wanted.square().mean().backward()
        torch.manual_seed(1)
        found, _ = ours(audio)
        found.square().mean().backward()
    finally:
        upstream.eval(), ours.eval()
    assert (found - wanted).abs().max() <= 1e-6
    name = "encoder.block.0.parametrizations.weight.original1"
    wanted_gradient, found_gradient = (dict(model.named_parameters())[name].grad for model in pair)
    torch.testing.assert_close(found_gradient, wanted_gradient, rtol=1e-3, atol=1e-9)
    for model in pair:
        model.zero_grad(set_to_none=True)


@pytest.mark.law(1)
def test_state_dict_keys_and_attributes_equal_upstream(pair):
    """State dicts are interchangeable, and the attributes that callers read have upstream's values."""
    upstream, ours = pair
    wanted, found = upstream.state_dict(), ours.state_dict()
    assert list(found) == list(wanted)
    assert all(found[name].shape == wanted[name].shape for name in wanted)
    upstream.load_state_dict(found)
    for name in (
        "sampling_rate",
        "hop_length",
        "n_codebooks",
        "codebook_size",
        "latent_dim",
        "attn_window_size",
    ):
        assert getattr(ours, name) == getattr(upstream, name), name
    assert type(ours.hop_length) is int


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_both_file_formats_load_to_upstreams_codes(tmp_path, file):
    """A folder in upstream's format loads as it is, and so does one that we saved."""
    torch.manual_seed(9)
    upstream = snac.SNAC(**PRESETS["snac_24khz"].to_dict()).eval()
    (tmp_path / "config.json").write_text(__import__("json").dumps(PRESETS["snac_24khz"].to_dict()))
    torch.save(upstream.state_dict(), tmp_path / "pytorch_model.bin")
    ours = SNAC.from_pretrained(tmp_path)
    if file == "model.safetensors":
        ours.save_pretrained(tmp_path / "ours")
        ours = SNAC.from_pretrained(tmp_path / "ours")
    assert_equal(upstream, ours, torch.randn(1, 1, 5_001, generator=torch.Generator().manual_seed(4)) * 0.3)


@pytest.mark.law(1)
def test_the_embedded_codec_equals_upstream_on_real_speech():
    """Trained weights and speech, where codes are not random: every code and every sample."""
    ours = SNAC.from_pretrained("tiny")
    values = ours.config.to_dict()
    upstream = snac.SNAC(**{name: values[name] for name in values if name != "latent_dim"}).eval()
    upstream.load_state_dict(ours.state_dict())
    for clip in sorted(SPEECH.glob("*.flac")):
        assert_equal(upstream, ours, torch.from_numpy(read_audio(clip).samples)[None])


def test_default_constructor_is_upstreams():
    """SNAC() without arguments is upstream's 50.3 M parameter default, initial values included."""
    torch.manual_seed(0)
    upstream = snac.SNAC()
    torch.manual_seed(0)
    ours = SNAC()
    assert ours.num_parameters == sum(parameter.numel() for parameter in upstream.parameters()) == 50_339_746
    assert all(torch.equal(upstream.state_dict()[name], value) for name, value in ours.state_dict().items())


@pytest.mark.slow
@torch.no_grad()
def test_chunks_of_any_length_give_the_same_codes_and_sound(pair):
    """Laws 4 and 5 for the released shapes, whose sums are long: codes exactly, sound to rounding or better."""
    _, ours = pair
    config, hop = ours.config, ours.hop_length
    latents = 2 * config.latents_multiple
    audio = torch.randn(1, 1, latents * hop, generator=torch.Generator().manual_seed(6)) * 0.3
    codes = ours.encode(audio)
    sound = ours.decode(codes, noise=3)
    for size in (hop, 5 * hop + 1, audio.shape[-1]):
        encoder = ChunkEncoder(ours)
        *pieces, end = torch.split(audio, size, dim=-1)
        found = [*(encoder.push(piece) for piece in pieces), encoder.flush(end)]
        for level, wanted in zip(zip(*found, strict=True), codes, strict=True):
            assert torch.equal(torch.cat(level, dim=-1), wanted)
    decoder = ChunkDecoder(ours, SeededNoise(seed=3))
    # The codes of a frame, per level.
    frames = list(
        zip(
            *(torch.split(c, n, dim=-1) for c, n in zip(codes, config.codes_per_frame, strict=True)),
            strict=True,
        )
    )
    parts = [decoder.push(frame, last=frame is frames[-1]) for frame in frames]
    assert (torch.cat(parts, dim=-1) - sound).abs().max() <= 1e-6
