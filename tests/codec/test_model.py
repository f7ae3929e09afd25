"""The codec's surface: hostile inputs, folding, copying, training, subsets of levels."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

from snac_tok.codec import SNAC
from snac_tok.codec.weight_norm import NormConv1d
from snac_tok.errors import CodesError, ConfigError, WaveformError


def audio_for(codec, *, batch=2, frames=3.4, seed=0):
    """Random audio of a whole and a bit frames."""
    length = int(frames * codec.config.frame_length)
    return torch.randn(batch, 1, length, generator=torch.Generator().manual_seed(seed)) * 0.3


def nested(*rows):
    """Return a nested tensor, of which torch says that it may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor(list(rows))


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (torch.zeros(1, 1, 0), "not empty"),
        (torch.zeros(0, 1, 10), "not empty"),
        (torch.zeros(1, 2, 10), r"shape \(1, 2, 10\)"),
        (torch.zeros(10), r"shape \(10,\)"),
        (torch.zeros(1, 1, 10, dtype=torch.int16), "torch.int16"),
        ([[0.0]], "a list"),
        (torch.tensor([[[0.0, float("nan")]]]), "NaN"),
        (torch.tensor([[[0.0, float("inf")]]]), "infinite"),
        (
            torch.zeros(1, 1, 10).to(torch.float8_e4m3fn),
            r"^the audio is a tensor of torch.float8_e4m3fn; .*\.float\(\)",
        ),
        (torch.zeros(1, 1, 10, device="meta"), 'on the device "meta"'),
        (torch.zeros(1, 1, 10).to_sparse(), r"sparse tensor; .*\.to_dense\(\)"),
        (nested(torch.zeros(1, 10)), "nested tensor"),
        (None, "^the audio is None; "),
        (5, "^the audio is an int; "),
    ],
)
def test_unusable_audio_is_refused(small_codec, audio, says):
    """Both ways in give the same sentence."""
    for call in (small_codec.encode, small_codec):
        with pytest.raises(WaveformError, match=says):
            call(audio)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
@pytest.mark.parametrize("at", [0, 4_999, 9_999])
def test_one_bad_sample_among_many_is_found(small_codec, value, at):
    """Wherever it stands, in whatever row, and where it would become infinite only in the network's dtype."""
    audio = torch.zeros(2, 1, 10_000, dtype=torch.float64)
    audio[1, 0, at] = value
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        with pytest.raises(WaveformError, match=r"NaN or infinite|no recording is that loud"):
            small_codec.to(dtype).encode(audio.to(dtype) if dtype == torch.bfloat16 else audio)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32])
def test_codes_of_any_integer_type_are_taken(small_codec, dtype):
    """They mean the same, and are checked the same."""
    codes = small_codec.encode(audio_for(small_codec))
    wanted = small_codec.decode(codes, noise=0)
    assert torch.equal(small_codec.decode([level.to(dtype) for level in codes], noise=0), wanted)
    with pytest.raises(CodesError, match="they must lie in 0 to"):
        small_codec.decode([(level * 0 + 99).to(dtype) for level in codes], noise=0)


@torch.no_grad()
def test_a_move_there_and_back_leaves_nothing_of_the_weights_before(small_codec):
    """Rounded to bfloat16 and back, the sound is that of the rounded weights, even at the old addresses."""
    codes = small_codec.encode(audio_for(small_codec))
    small_codec.decode(codes, noise=0)
    small_codec.to(torch.bfloat16).to(torch.float32)
    fresh = SNAC.from_config(small_codec.config).eval()
    fresh.load_state_dict(small_codec.state_dict())
    assert torch.equal(small_codec.decode(codes, noise=0), fresh.decode(codes, noise=0))


def test_unusable_codes_are_refused(small_codec):
    """Wrong levels, lengths, types and values; nothing reaches the lookup."""
    codes = small_codec.encode(audio_for(small_codec))
    size = small_codec.codebook_size

    def replaced(level, values):
        return [values if at == level else other for at, other in enumerate(codes)]

    for bad, says in [
        ([], "0 levels"),
        ([*codes, codes[-1]], "levels"),
        (codes[0], "a tensor of"),
        (replaced(1, codes[1][:, :-1]), "level 1 has shape"),
        (replaced(0, codes[0].float()), "torch.float32"),
        (replaced(0, codes[0] > 1), "torch.bool"),
        (replaced(0, codes[0][:, :0]), "not empty"),
        (replaced(0, codes[0][0]), "batch, steps"),
        (replaced(1, codes[1] * 0 + size), f"from {size} to {size}"),
        (replaced(1, codes[1] * 0 - 1), "from -1 to -1"),
        (replaced(1, codes[1].tolist()), "a list"),
        (replaced(1, codes[1].to(torch.complex64)), "torch.complex64"),
        (replaced(1, codes[1].to("meta")), 'level 1 is a tensor on the device "meta"'),
        (replaced(1, codes[1].to_sparse()), "level 1 is a sparse tensor"),
        (
            replaced(1, torch.full(codes[1].shape, 2**63 + 7, dtype=torch.uint64)),
            f"codes from {2**63 + 7} to",
        ),
    ]:
        with pytest.raises(CodesError, match=says):
            small_codec.decode(bad)


def test_codes_of_any_integer_type_decode_alike(small_codec):
    """int32 and uint16 codes, as shards hold them, sound as int64 ones do."""
    codes = small_codec.encode(audio_for(small_codec))
    wanted = small_codec.decode(codes, noise=1)
    for dtype in (torch.int32, torch.uint16, torch.uint8):
        assert torch.equal(small_codec.decode([level.to(dtype) for level in codes], noise=1), wanted)


def test_one_sample_becomes_one_padding_window(small_codec):
    """The shortest clip gives the fewest codes, and forward gives one sample back."""
    found, codes = small_codec(torch.tensor([[[0.5]]]))
    assert found.shape == (1, 1, 1)
    frames = small_codec.config.padding_multiple // small_codec.config.frame_length
    assert [level.shape[1] for level in codes] == [
        frames * count for count in small_codec.config.codes_per_frame
    ]


def test_missing_fine_levels_are_left_out_of_the_sum(small_codec):
    """The first n levels decode like a quantizer that only ever had them."""
    codes = small_codec.encode(audio_for(small_codec))
    with torch.no_grad():
        latents = sum(
            q.decode(level) for q, level in zip(small_codec.quantizer.quantizers[:2], codes, strict=False)
        )
        short = latents.repeat_interleave(1, dim=-1)
        wanted = small_codec.decoder.model(short, None)
    torch.testing.assert_close(small_codec.decode(codes[:2], noise="off"), wanted, rtol=0, atol=1e-6)
    assert not torch.equal(wanted, small_codec.decode(codes, noise="off"))


def test_any_number_of_frames_decodes_with_attention(small_codec):
    """A language model stops at any frame: also between two attention windows."""
    for frames in (1, 2, 3, 5):
        codes = [
            torch.zeros(1, frames * count, dtype=torch.int64) for count in small_codec.config.codes_per_frame
        ]
        assert small_codec.decode(codes, noise="off").shape[-1] == frames * small_codec.config.frame_length


def test_folding_changes_no_bit_and_no_key(small_codec):
    """A folded network computes what the unfolded one does, and saves what upstream loads."""
    audio, keys = audio_for(small_codec), list(small_codec.state_dict())
    unfolded = small_codec.encoder(audio)
    small_codec.fold_weight_norm()
    assert torch.equal(small_codec.encoder(audio), unfolded)
    assert list(small_codec.state_dict()) == keys


def test_weights_written_to_are_folded_again(small_codec):
    """A stale fold would go on sounding like the old weights."""
    audio = audio_for(small_codec)
    before = small_codec.decode(small_codec.encode(audio), noise="off")
    with torch.no_grad():
        for parameter in small_codec.parameters():
            parameter.mul_(1.1)
    after = small_codec.decode(small_codec.encode(audio), noise="off")
    fresh = SNAC.from_config(small_codec.config).eval()
    fresh.load_state_dict(small_codec.state_dict())
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh.decode(fresh.encode(audio), noise="off"))
    small_codec.load_state_dict({name: value * 1.1 for name, value in fresh.state_dict().items()})
    assert not torch.equal(after, small_codec.decode(small_codec.encode(audio), noise="off"))


@pytest.mark.parametrize("folded", [True, False])
def test_a_network_pickles_and_copies(small_codec, folded):
    """Worker processes and deep copies get the same codec, folded or not."""
    if folded:
        small_codec.fold_weight_norm()
    audio = audio_for(small_codec)
    wanted = small_codec.encode(audio)
    for other in (pickle.loads(pickle.dumps(small_codec)), copy.deepcopy(small_codec)):
        assert all(torch.equal(one, two) for one, two in zip(wanted, other.encode(audio), strict=True))


@pytest.mark.slow
def test_a_folded_network_compiles():
    """torch.compile captures encoder and decoder as one graph each, with equal results."""
    codec = SNAC.from_pretrained("tiny").fold_weight_norm()
    audio = torch.randn(1, 1, 4096, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        wanted = codec.encoder(audio)
        found = torch.compile(codec.encoder, fullgraph=True)(audio)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_training_reaches_the_encoder_through_the_quantizer(small_codec):
    """Straight-through gradients: every parameter but the codebooks' gets one from a loss on the audio."""
    small_codec.train()
    found, _ = small_codec(audio_for(small_codec))
    found.square().mean().backward()
    silent = {name for name, parameter in small_codec.named_parameters() if parameter.grad is None}
    # Codebook entries learn from their own loss only; the straight-through sum hides them from this one.
    assert silent == {
        f"quantizer.quantizers.{level}.codebook.weight" for level in range(small_codec.n_codebooks)
    }
    assert small_codec.encoder.block[0].parametrizations["weight"].original1.grad.abs().max() > 0


def test_eval_mode_keeps_no_graph_but_lets_a_gradient_through_to_the_audio(small_codec):
    """Inference is free of autograd without a no_grad, and a loss on the audio still works."""
    audio = audio_for(small_codec)
    assert not small_codec(audio)[0].requires_grad
    audio.requires_grad_()
    small_codec(audio)[0].square().mean().backward()
    assert audio.grad.abs().max() > 0


def test_half_precision_runs(small_codec):
    """bf16 weights take float32 audio and give bf16 sound."""
    small_codec.to(torch.bfloat16)
    codes = small_codec.encode(audio_for(small_codec))
    assert small_codec.decode(codes, noise=0).dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second CUDA device")
def test_the_second_device_sounds_like_the_first():
    """Upstream's codec is silent on cuda:1 (its issue 30)."""
    codec = SNAC.from_pretrained("tiny")
    codes = codec.encode(audio_for(codec))
    first, second = (codec.to(f"cuda:{at}").decode(codes, noise=1).cpu() for at in (0, 1))
    torch.testing.assert_close(first, second)


def test_direct_calls_of_submodules_see_new_weights(small_codec):
    """Encoder and decoder called by hand never use a weight folded before a write or a load."""
    audio = audio_for(small_codec, frames=4)
    small_codec.encode(audio)
    changed = {name: value * 1.3 for name, value in small_codec.state_dict().items()}
    fresh = SNAC.from_config(small_codec.config).eval()
    fresh.load_state_dict(changed)
    small_codec.load_state_dict(changed)
    with torch.no_grad():
        padded = small_codec.preprocess(audio)
        assert torch.equal(small_codec.encoder(padded), fresh.encoder(padded))


def test_gradients_reach_the_weights_in_eval_mode_after_folding(small_codec):
    """A frozen-looking eval network still gives every weight its gradient when the audio requires one."""
    small_codec.encode(audio_for(small_codec))
    small_codec(audio_for(small_codec).requires_grad_())[0].square().mean().backward()
    without = {name for name, parameter in small_codec.named_parameters() if parameter.grad is None}
    assert without == {
        f"quantizer.quantizers.{level}.codebook.weight" for level in range(small_codec.n_codebooks)
    }


def test_the_digest_is_that_of_the_weights_that_make_the_next_codes(small_codec):
    """Writes through .data cannot be seen; asking for the digest, or eval(), makes them count."""
    audio = audio_for(small_codec, frames=9)
    small_codec.encode(audio)
    for parameter in small_codec.parameters():
        parameter.data.mul_(1.2)
    fresh = SNAC.from_config(small_codec.config).eval()
    fresh.load_state_dict(small_codec.state_dict())
    assert small_codec.weights_sha256() == fresh.weights_sha256()
    codes = small_codec.encode(audio)
    sound = small_codec.decode(codes, noise="off")
    assert torch.equal(sound, fresh.decode(codes, noise="off"))


def test_a_codec_tells_in_what_precision_it_encodes(small_codec):
    """That of its weights; what a GPU can do besides is in test_triton_networks.py."""
    assert small_codec.precision == "fp32"
    names = [
        copy.deepcopy(small_codec).to(dtype).precision for dtype in (torch.half, torch.bfloat16, torch.double)
    ]
    assert names == ["fp16", "bf16", "fp64"]


@torch.no_grad()
def test_folding_keeps_what_is_folded_and_eval_does_not(small_codec):
    """A codec in use begins another stream at once; one that is trained stays so, and weights in use are its own."""
    small_codec.encode(audio_for(small_codec))
    conv = next(module for module in small_codec.modules() if isinstance(module, NormConv1d))
    folded = conv.weight
    assert small_codec.fold_weight_norm() is small_codec
    assert conv.weight is folded
    assert small_codec.eval().fold_weight_norm().encoder.training is False
    assert conv.weight is not folded
    small_codec.encoder.train()
    modes = [module.training for module in small_codec.modules()]
    assert [module.training for module in small_codec.fold_weight_norm().modules()] == modes


def test_old_names_of_weight_norm_load_anywhere(small_codec):
    """load_state_dict takes weight_g and weight_v, too."""
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in small_codec.state_dict().items()
    }
    other = SNAC.from_config(small_codec.config)
    other.load_state_dict(old)
    assert other.weights_sha256() == small_codec.weights_sha256()


def test_numpy_numbers_are_numbers(small_codec):
    """Seeds and rates as they come out of arrays."""
    codes = small_codec.encode(audio_for(small_codec))
    assert torch.equal(small_codec.decode(codes, noise=np.int64(7)), small_codec.decode(codes, noise=7))
    assert SNAC(8_000, 4, np.array([2, 2]), None, 16, [2, 2], None, 16, 2, np.array([2, 1])).hop_length == 4
    with pytest.raises(ConfigError, match="encoder_rates is 3"):
        SNAC(encoder_rates=3)
