"""Laws 3 and 4: chunks of a clip, rows of a batch and clips of a mixed batch equal the clip alone."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snac_tok.codec import SNAC, inference, latent_dependence, latent_influence, ragged
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.context import RowEnds
from snac_tok.codec.incremental import ChunkDecoder
from snac_tok.codec.state import StreamState
from snac_tok.errors import CodesError, WaveformError

# Of the loudest value; sums of float32 in another order differ by a few times 1e-7.
TOLERANCE = 3e-6

# Fixtures hand out networks that no example changes.
FIXTURES = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def audio_of(length, *, batch=1, seed=0):
    """Random audio (B, 1, T)."""
    return torch.randn(batch, 1, length, generator=torch.Generator().manual_seed(seed)) * 0.3


def codes_of(codec, frames, *, batch=1, seed=0):
    """Random codes [(B, T_k)]."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(codec.codebook_size, (batch, frames * count), generator=generator)
        for count in codec.config.codes_per_frame
    ]


def assert_codes_equal(found, wanted):
    """Integers, so equal means equal."""
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def assert_close(found, wanted):
    """Equal but for rounding, measured against the loudest sample."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE * float(wanted.abs().max()))


def run_in(network, x, cuts, **options):
    """Run x through a network in the chunks that `cuts` make of it."""
    state = StreamState()
    parts = torch.tensor_split(x, sorted(cuts), dim=-1)
    return torch.cat(
        [
            run_chunk(network, part, state, last=at == len(parts) - 1, **options)
            for at, part in enumerate(parts)
        ],
        dim=-1,
    )


@pytest.mark.law(4)
@FIXTURES
@given(data=st.data())
@torch.no_grad()
def test_latents_do_not_depend_on_the_cut(small_codec, data):
    """Any chunks, empty ones too, give the encoder's latents of the whole padded clip."""
    count = data.draw(st.integers(1, 6)) * small_codec.config.latents_multiple
    audio = audio_of(count * small_codec.hop_length, seed=count)
    cuts = data.draw(st.lists(st.integers(0, audio.shape[-1]), max_size=6))
    wanted = small_codec.fold_weight_norm().encoder.block(audio)
    assert_close(run_in(small_codec.encoder, audio, cuts), wanted)


@pytest.mark.law(4)
@FIXTURES
@given(data=st.data())
@torch.no_grad()
def test_audio_does_not_depend_on_the_cut(small_codec, data):
    """Any chunks of latents give the decoder's audio of the whole, with the same seeded noise."""
    count = data.draw(st.integers(1, 40))
    latents = torch.randn(2, small_codec.latent_dim, count, generator=torch.Generator().manual_seed(count))
    cuts = data.draw(st.lists(st.integers(0, count), max_size=6))
    noise = inference.whole_clip_noise(small_codec, 3, 2, count)
    wanted = small_codec.fold_weight_norm().decoder.model(latents, noise)
    found = run_in(small_codec.decoder, latents, cuts, noise=noise)
    assert_close(found, wanted)


@torch.no_grad()
def test_every_output_comes_out_as_early_as_it_is_final(small_codec):
    """Not one sample too few is held back, not one too many given: the next chunk changes the first held one."""
    config = small_codec.config
    if config.attn_window_size is not None:
        pytest.skip("attention gives whole windows")
    count = 3 - latent_influence(config).first // config.hop_length + config.latents_per_frame
    latents = torch.randn(1, small_codec.latent_dim, count + 1)
    small_codec.fold_weight_norm()
    first = run_chunk(small_codec.decoder, latents[..., :count], StreamState(), last=False)
    assert first.shape[-1] == count * config.hop_length + latent_influence(config).first
    other = latents.clone()
    other[..., count] += 1.0
    whole, changed = (small_codec.decoder.model(x, None) for x in (latents, other))
    assert_close(first, whole[..., : first.shape[-1]])
    assert (whole != changed)[0, 0].nonzero().min() >= first.shape[-1]
    audio = audio_of((count + 2) * config.hop_length)
    latents_out = run_chunk(small_codec.encoder, audio, StreamState(), last=False).shape[-1]
    reach = latent_dependence(config).last
    assert latents_out == (audio.shape[-1] - reach - 1) // config.hop_length + 1


@pytest.mark.parametrize("padding", [3, 9, 27])
def test_a_kept_end_that_is_one_sample_short_would_be_noticed(small_codec, monkeypatch, padding):
    """The tests have teeth: let layers of one dilation forget the oldest sample they keep, and chunks do not join."""
    read = StreamState.read

    def forgetful(state, slot):
        # A layer keeps its padding on both sides.
        kept = read(state, slot)
        if kept is None or kept.shape[-1] != 2 * padding:
            return kept
        return torch.cat((torch.zeros_like(kept[..., :1]), kept[..., 1:]), dim=-1)

    latents = torch.randn(1, small_codec.latent_dim, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = small_codec.fold_weight_norm().decoder.model(latents, None)
        monkeypatch.setattr(StreamState, "read", forgetful)
        found = run_in(small_codec.decoder, latents, [128])
    assert (found - wanted).abs().max() > 20 * TOLERANCE * wanted.abs().max()


@pytest.mark.law(3)
@FIXTURES
@given(lengths=st.lists(st.integers(1, 4000), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_mixed_batch_gives_each_clip_its_own_codes(small_codec, lengths, seed):
    """encode_batch of any lengths equals encode of each alone, whatever the neighbours are."""
    clips = [audio_of(length, seed=seed + at)[0] for at, length in enumerate(lengths)]
    for clip, codes in zip(clips, small_codec.encode_batch(clips), strict=True):
        assert_codes_equal(codes, [level[0] for level in small_codec.encode(clip[None])])


@pytest.mark.law(3)
@FIXTURES
@given(lengths=st.lists(st.integers(1, 4000), min_size=2, max_size=6), seed=st.integers(0, 99))
@torch.no_grad()
def test_padded_rows_equal_the_clips_alone(small_codec, lengths, seed):
    """The way of the GPU, run here: rows padded at the end, with every layer kept at zero behind a clip's end."""
    clips = [audio_of(length, seed=seed + at) for at, length in enumerate(lengths)]
    small_codec.fold_weight_norm()
    for clip, codes in zip(clips, ragged.encode_padded(small_codec, clips), strict=True):
        assert_codes_equal(codes, small_codec.encode(clip))
        (sound,) = small_codec.decode_batch([[level[0] for level in codes]], noise=5)
        assert_close(sound[None], small_codec.decode(codes, noise=5))


@pytest.mark.law(3)
@FIXTURES
@given(frames=st.lists(st.integers(1, 9), min_size=2, max_size=6), seed=st.integers(0, 99))
@torch.no_grad()
def test_padded_rows_sound_like_the_clips_alone(small_codec, frames, seed):
    """The same for decoding, with clips that do and do not fill their last attention window."""
    clips = [codes_of(small_codec, count, seed=seed + at) for at, count in enumerate(frames)]
    small_codec.fold_weight_norm()
    for noise in ("off", 4):
        for codes, sound in zip(clips, ragged.decode_padded(small_codec, clips, noise), strict=True):
            assert_close(sound, small_codec.decode(codes, noise=noise))


@torch.no_grad()
def test_padding_without_a_mask_would_be_noticed(small_codec, monkeypatch):
    """What a plainly padded batch does: it changes the end of the shorter clip."""
    clips = [codes_of(small_codec, frames) for frames in (14, 16)]
    wanted = small_codec.decode(clips[0], noise="off")
    monkeypatch.setattr(RowEnds, "mask_padding", lambda _, x: x)
    found = ragged.decode_padded(small_codec, clips, "off")[0]
    assert (found - wanted).abs().max() > 20 * TOLERANCE * wanted.abs().max()


@pytest.mark.law(4)
@FIXTURES
@given(data=st.data())
def test_blocks_of_any_size_give_the_whole_clips_codes(small_codec, data):
    """encode_blocks sees the same clip however it is cut, and leaves the caller's gradients on."""
    length = data.draw(st.integers(1, 2000))
    audio = audio_of(length)
    cuts = data.draw(st.lists(st.integers(1, max(1, length - 1)), max_size=5, unique=True))
    blocks = [block for block in torch.tensor_split(audio, sorted(cuts), dim=-1) if block.shape[-1]]
    pieces = []
    for piece in small_codec.encode_blocks(blocks):
        assert torch.is_grad_enabled()
        pieces.append(piece)
    assert_codes_equal(
        [torch.cat(level, dim=-1) for level in zip(*pieces, strict=True)], small_codec.encode(audio)
    )


@torch.no_grad()
@pytest.mark.parametrize("chunk_values", [1, 700])
def test_chunks_smaller_than_a_clip_change_nothing(small_codec, chunk_values):
    """Clips that are longer than a chunk are cut, to the same result, with upstream's noise, too."""
    config, audio = small_codec.config, audio_of(3_000, batch=2)
    codes = small_codec.encode(audio)
    frames = codes[0].shape[-1]
    assert len(inference.decode_cuts(small_codec, frames, chunk_values=chunk_values)) > 3
    (found,) = inference.encode_clips(small_codec, [audio], chunk_values=chunk_values)
    assert_codes_equal(found, codes)
    for noise in ("random", "off", 2):
        torch.manual_seed(3)
        sound = small_codec.decode(codes, noise=noise)
        torch.manual_seed(3)
        source = inference.whole_clip_noise(small_codec, noise, 2, frames * config.latents_per_frame)
        (found,) = inference.decode_clips(small_codec, [(codes, source)], chunk_values=chunk_values)
        assert_close(found, sound)
    pieces = inference.decode_blocks(small_codec, codes, source, chunk_values=chunk_values)
    assert_close(torch.cat(list(pieces), dim=-1), sound)


@torch.no_grad()
def test_no_chunk_decodes_more_than_one_attention_window(small_codec, monkeypatch):
    """The last chunk of a long clip is no larger than the others, or one thread would work while others wait."""
    config = small_codec.config
    if config.attn_window_size is None:
        pytest.skip("there is no attention")
    lengths, attend = [], F.scaled_dot_product_attention

    def watched(q, *args):
        lengths.append(q.shape[-3] * q.shape[-2])  # windows and latents in each
        return attend(q, *args)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    frames = 5 * config.latents_multiple // config.latents_per_frame
    inference.decode_clips(small_codec, [(codes_of(small_codec, frames), None)], chunk_values=1)
    assert lengths == [config.latents_multiple] * 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_cpus_codes():
    """Nearly every code is the CPU's; the rest are near ties. Mixed batches go through padded rows there."""
    codec = SNAC.from_pretrained("tiny")
    clips = [audio_of(length)[0] for length in (30_000, 31_000, 90_000)]
    wanted = codec.encode_batch(clips)
    found = codec.to("cuda").encode_batch(clips)
    pairs = [pair for one, other in zip(wanted, found, strict=True) for pair in zip(one, other, strict=True)]
    agreeing = sum(int((one == other.cpu()).sum()) for one, other in pairs)
    assert agreeing >= 0.99 * sum(one.numel() for one, _ in pairs)
    stretched = clips[0].pin_memory()[None].expand(3, 1, -1)
    assert all(torch.equal(level[0], level[2]) for level in codec.encode(stretched))
    stream = ChunkDecoder(codec, None)
    streamed = stream.push([level.cpu()[None] for level in found[0]], last=True)
    torch.testing.assert_close(streamed, codec.decode([level[None] for level in found[0]], noise="off"))
    sound = codec.decode_batch(found, noise=3)
    alone = codec.cpu().decode([level.cpu()[None] for level in found[0]], noise=3)
    torch.testing.assert_close(sound[0].cpu(), alone[0], rtol=0, atol=1e-3)


def test_unusable_clips_of_a_batch_are_named(small_codec):
    """One sentence, with the clip's number; an empty list is an empty batch."""
    assert small_codec.encode_batch([]) == []
    assert small_codec.decode_batch([]) == []
    good = torch.zeros(100)
    for bad in (torch.zeros(0), torch.zeros(2, 9), torch.full((5,), float("nan")), [0.0]):
        with pytest.raises(WaveformError, match="clip 1: "):
            small_codec.encode_batch([good, bad])
    codes = small_codec.encode_batch([good])[0]
    with pytest.raises(CodesError, match="clip 1: "):
        small_codec.decode_batch([codes, [level - 10_000 for level in codes]])
    with pytest.raises(CodesError, match="different numbers of levels"):
        small_codec.decode_batch([codes, codes[:2]])


@pytest.mark.parametrize(
    ("clips", "says"),
    [
        (None, "^the clips are None; for each clip "),
        (5, "^the clips are an int; "),
        (torch.tensor(5.0), "^the clips are a single number; "),
        ([5], r"^clip 0: the audio is an int; a floating point torch.Tensor \(T,\) or \(1, T\) is needed"),
        ([torch.tensor(5.0)], r"^clip 0: the audio has shape \(\); \(samples,\) or"),
        ([torch.zeros(2, 9)], r"^clip 0: the audio has shape \(2, 9\); "),
        ([torch.zeros(1, 9, device="meta")], '^clip 0: the audio is a tensor on the device "meta"'),
    ],
)
def test_what_is_no_batch_of_clips_is_refused(small_codec, clips, says):
    """With the shape that was given and the one that is needed at this door; never in Python's own words."""
    with pytest.raises(WaveformError, match=says):
        small_codec.encode_batch(clips)


@pytest.mark.parametrize(
    ("clips", "says"),
    [
        (None, "^the clips are None; for each clip "),
        (5, "^the clips are an int; "),
        ([None], "^clip 0: the codes are None; "),
        ([5], "^clip 0: the codes are an int; "),
        ([[5]], r"^clip 0: level 0 is an int; an integer torch.Tensor \(T_0,\) is needed"),
        ([[torch.tensor(5)]], r"^clip 0: level 0 has shape \(\); \(steps,\) is needed"),
        ([[torch.zeros(1, 3, dtype=torch.int64)]], r"^clip 0: level 0 has shape \(1, 3\); \(steps,\)"),
        ([[]], "^clip 0: the codes are 0 levels"),
        ([[torch.tensor([1], device="meta")]], '^clip 0: level 0 is a tensor on the device "meta"'),
    ],
)
def test_what_is_no_batch_of_codes_is_refused(small_codec, clips, says):
    """With the shape that was given and the one that is needed at this door; never in Python's own words."""
    with pytest.raises(CodesError, match=says):
        small_codec.decode_batch(clips)


MEMORY = """
import resource, torch
from snac_tok.codec import SNAC
torch.set_num_threads(1)
codec = SNAC(sampling_rate=8_000, encoder_dim=4, encoder_rates=(2, 3), decoder_dim=16, decoder_rates=(3, 2),
             attn_window_size=None, codebook_size=32, codebook_dim=4, vq_strides=(4, 2, 1)).eval()
block = torch.randn(1, 1, 10 * codec.sampling_rate) * 0.1
for blocks in (6, 48):
    frames = sum(piece[0].shape[-1] for piece in codec.encode_blocks(block for _ in range(blocks)))
    assert frames * codec.config.frame_length >= blocks * block.shape[-1]
    codes = [torch.randint(32, (1, frames * count)) for count in codec.config.codes_per_frame]
    samples = sum(sound.shape[-1] for sound in codec.decode_blocks(codes, noise=0))
    assert samples == frames * codec.config.frame_length
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip():
    """Eight minutes peak near where one does, in a process of its own; one activation would be 61 MB more."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    short, long = map(int, done.stdout.split())
    # What grows is the codes, 9 MB, and what is made of them: 45 to 50 MB in all.
    assert long - short < 75
