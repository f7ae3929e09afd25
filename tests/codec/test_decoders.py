"""Decoders in the place of a codec's own: the laws hold for them, codes stay the same, misfits are refused."""

import copy
import dataclasses
import itertools
import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_codec import SMALL
from test_chunks import TOLERANCE, assert_close, audio_of, codes_of, run_in

from snac_tok import SNAC, BatchStreamDecoder, SnacTokenizer, StreamDecoder
from snac_tok.codec import CodecConfig, VocosConfig, VocosDecoder, inference, ragged
from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.decoders import codes_sha256
from snac_tok.codec.state import StreamState
from snac_tok.errors import CheckpointError, CodesError, ConfigError, NetworkError

FIXTURES = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Frames of even and odd numbers of hops, and convolutions that look ahead as far as behind, less, or not at all; and a
# codec whose own decoder has attention windows, which these have not.
WITH_ATTENTION = CodecConfig(
    **SMALL.to_dict() | {"encoder_dim": 16, "latent_dim": None, "decoder_dim": 64, "attn_window_size": 16}
)
SHAPES = {
    "as the paper": (SMALL, 4, 3),
    "three hops": (SMALL, 3, 1),
    "causal": (SMALL, 2, 0),
    "in a codec with attention": (WITH_ATTENTION, 4, 2),
}


def vocos_config(config, *, hops=4, lookahead=3, **changes):
    """A Vocos-type decoder's config for a codec."""
    values = {
        "sampling_rate": config.sampling_rate,
        "input_channels": config.latent_dim,
        "hop_length": config.hop_length,
        "n_fft": hops * config.hop_length,
        "dim": 12,
        "intermediate_dim": 20,
        "num_layers": 2,
        "lookahead": lookahead,
    }
    return VocosConfig(**(values | changes))


def vocos(config, *, seed=1, **changes):
    """A seeded Vocos-type decoder, loud enough that every weight matters."""
    torch.manual_seed(seed)
    decoder = VocosDecoder(vocos_config(config, **changes))
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if weight.ndim > 1:
                weight.mul_(8.0)
            elif name.endswith("bias"):
                weight.normal_(std=0.3)
    return decoder


@pytest.fixture(params=SHAPES)
def codec(request):
    """A small codec with a Vocos-type decoder."""
    config, hops, lookahead = SHAPES[request.param]
    torch.manual_seed(0)
    made = SNAC.from_config(config).eval()
    return made.exchange_decoder(vocos(config, hops=hops, lookahead=lookahead))


@pytest.fixture
def own():
    """A small codec with its own decoder."""
    torch.manual_seed(0)
    return SNAC.from_config(SMALL).eval()


def latents_of(codec, count, *, batch=1):
    """Random latents (B, C, T)."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(batch, codec.latent_dim, count, generator=generator)


def written_out(decoder, latents):
    """The decoder after the paper: whole clips, torch's layers, and overlap-add by `fold`."""
    config, ahead = decoder.config, decoder.config.lookahead

    def conv(layer, x):
        return F.conv1d(F.pad(x, (6 - ahead, ahead)), layer.weight, layer.bias, groups=layer.groups)

    x = decoder.backbone.norm(conv(decoder.backbone.embed, latents).transpose(1, 2)).transpose(1, 2)
    for block in decoder.backbone.convnext:
        rows = block.norm(conv(block.dwconv, x).transpose(1, 2))
        x = x + (block.gamma * block.pwconv2(F.gelu(block.pwconv1(rows)))).transpose(1, 2)
    log_magnitude, phase = decoder.head.out(decoder.backbone.final_layer_norm(x.transpose(1, 2))).chunk(2, -1)
    spectra = log_magnitude.exp().clip(max=1e2) * torch.exp(1j * phase)
    window = torch.hann_window(config.n_fft)
    frames = torch.fft.irfft(spectra, config.n_fft, dim=-1) * window
    count, cut = latents.shape[-1], (config.n_fft - config.hop_length) // 2
    length = count * config.hop_length + 2 * cut

    def added(columns):
        folded = F.fold(columns, (1, length), (1, config.n_fft), stride=(1, config.hop_length))
        return folded[:, :, 0, cut : length - cut]

    weights = added(window.square()[None, :, None].expand(1, -1, count))
    return (added(frames.transpose(1, 2)) / weights).clip(-1, 1)


@torch.no_grad()
def test_a_vocos_decoder_computes_what_the_paper_says(codec):
    """In training mode layer by layer, in eval mode in chunks; with the sound inside of [-1, 1]."""
    latents = latents_of(codec, 23, batch=2)
    wanted = written_out(codec.decoder, latents)
    assert float(wanted.std()) > 0.05
    assert_close(codec.decoder(latents), wanted)
    assert_close(codec.decoder.train()(latents), wanted)


def marked(folder, codec):
    """Write a decoder that says which codes it was trained for."""
    decoder = vocos(codec.config)
    decoder.config = dataclasses.replace(decoder.config, codes_sha256=codes_sha256(codec))
    decoder.save_pretrained(folder)
    return folder


def test_a_decoder_goes_with_the_codes_that_it_was_trained_for(own, tmp_path):
    """Whatever the codec's own decoder is, and in whatever precision codec and files are."""
    decoder = marked(tmp_path / "decoder", own)
    own.save_pretrained(tmp_path / "own")
    with torch.no_grad():
        next(own.decoder.parameters()).mul_(1.5)
    own.save_pretrained(tmp_path / "finetuned")
    own.half().save_pretrained(tmp_path / "half")
    for name in ("own", "finetuned", "half"):
        for dtype in (None, "bfloat16"):
            loaded = SNAC.from_pretrained(tmp_path / name, decoder=decoder, dtype=dtype).decoder
            assert isinstance(loaded, VocosDecoder)
    values = json.loads((decoder / "config.json").read_text())
    assert VocosConfig.from_dict(values) == loaded.config
    assert "codes_sha256" not in vocos_config(own.config).to_dict()


@pytest.mark.parametrize("change", ["weights", "strides"])
def test_a_decoder_of_other_codes_of_the_same_shape_is_refused(own, tmp_path, change):
    """It would make noise of them; one that does not say its codes passes, as those of earlier versions."""
    decoder = marked(tmp_path / "decoder", own)
    strides = (2, 2, 1) if change == "strides" else SMALL.vq_strides
    other = SNAC.from_config(dataclasses.replace(SMALL, vq_strides=strides))
    if change == "strides":
        other.load_state_dict(own.state_dict())
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError) as refused:
        SNAC.from_pretrained(tmp_path / "other", decoder=decoder)
    assert str(refused.value) == (
        f"{decoder / 'config.json'}: this decoder was trained for the codes of another codec of the same shape; name "
        "that codec, or take a decoder that was trained for this one."
    )
    vocos(own.config).save_pretrained(tmp_path / "silent")
    assert isinstance(
        SNAC.from_pretrained(tmp_path / "other", decoder=tmp_path / "silent").decoder, VocosDecoder
    )


@pytest.mark.parametrize("digests", ["abc", 5, [1], {"a": 1}])
def test_digests_that_are_none_are_refused(digests):
    """Whatever stands in the file."""
    with pytest.raises(ConfigError, match="codes_sha256 is no list of digests"):
        vocos_config(SMALL, codes_sha256=digests)


@pytest.mark.law(4)
@FIXTURES
@given(data=st.data())
@torch.no_grad()
def test_audio_does_not_depend_on_the_cut(codec, data):
    """Any chunks of latents, empty ones too, give the whole clip's sound."""
    count = data.draw(st.integers(1, 40))
    latents = latents_of(codec, count, batch=2)
    cuts = data.draw(st.lists(st.integers(0, count), max_size=6))
    assert_close(run_in(codec.decoder, latents, cuts), written_out(codec.decoder, latents))


@pytest.mark.law(4)
def test_chunks_smaller_than_a_clip_change_nothing(codec):
    """Through the codec: whole, in blocks, and in the smallest chunks."""
    codes = codes_of(codec, 24, batch=2)
    wanted = codec.decode(codes, noise=3)
    with torch.no_grad():
        assert_close(written_out(codec.decoder, codec.quantizer.from_codes(codes)), wanted)
        for at in range(2):
            row = [level[at : at + 1] for level in codes]
            (found,) = inference.decode_clips(codec, [(row, None)], chunk_values=1)
            assert_close(found, wanted[at : at + 1])
    assert_close(torch.cat([*codec.decode_blocks(codes, noise="off")], dim=-1), wanted)


@pytest.mark.law(3)
@FIXTURES
@given(frames=st.lists(st.integers(1, 9), min_size=2, max_size=6), seed=st.integers(0, 99))
@torch.no_grad()
def test_rows_of_a_batch_sound_like_the_clips_alone(codec, frames, seed):
    """Of mixed lengths, one after the other as on a CPU, and padded as on a GPU."""
    clips = [codes_of(codec, count, seed=seed + at) for at, count in enumerate(frames)]
    alone = [codec.decode(codes) for codes in clips]
    for sound, wanted in zip(ragged.decode_padded(codec, clips, "off"), alone, strict=True):
        assert_close(sound, wanted)
    mixed = codec.decode_batch([[level[0] for level in codes] for codes in clips])
    for sound, wanted in zip(mixed, alone, strict=True):
        assert torch.equal(sound, wanted[0])


@pytest.mark.law(5)
@FIXTURES
@given(data=st.data())
def test_streams_give_the_whole_clips_sound(codec, data):
    """One alone and several side by side, under any partition of their codes."""
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    clips = [codes_of(codec, frames, seed=at) for at, frames in enumerate(lengths)]
    layout = SnacTokenizer(codec, None).layout
    lines = [layout.flatten([level[0].numpy() for level in codes]) for codes in clips]
    wanted = [codec.decode(codes)[0, 0].numpy() for codes in clips]
    together, heard = BatchStreamDecoder(codec, None), [[] for _ in lines]
    for at in range(len(lines)):
        together.open(at)
    alone, parts = StreamDecoder(codec, None), []
    places = [0] * len(lines)
    sizes = itertools.cycle(data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=5)))
    while any(place < len(line) for place, line in zip(places, lines, strict=True)):
        for at, line in enumerate(lines):
            piece = line[places[at] : places[at] + next(sizes)]
            places[at] += len(piece)
            together.push(at, piece)
            if at == 0:
                parts.append(alone.push(piece))
        for at, sound in together.step().items():
            heard[at].append(sound)
    for at in range(len(lines)):
        together.end(at)
    for at, sound in together.step().items():
        heard[at].append(sound)
    heard.append([*parts, alone.flush()])
    for sound, whole in zip(heard, [*wanted, wanted[0]], strict=True):
        np.testing.assert_allclose(np.concatenate(sound), whole, rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_sound_comes_as_early_as_whole_hops_of_it_are_final(codec):
    """The lag is the reach that the decoder tells: the next latent changes the hop that is held back first."""
    decoder, hop = codec.decoder, codec.hop_length
    count = 3 - decoder.influence.first // hop
    latents = latents_of(codec, count + 1)
    first = run_chunk(decoder, latents[..., :count], StreamState(), last=False)
    assert first.shape[-1] == count * hop + decoder.influence.first
    other = latents.clone()
    other[..., count] += 1.0
    changed = (decoder(latents) != decoder(other))[0, 0].nonzero()
    assert 0 <= int(changed.min()) - first.shape[-1] < hop
    assert StreamDecoder(codec, None).lag_samples == -decoder.influence.first


@torch.no_grad()
def test_one_latent_changes_what_the_decoder_says_it_does(codec):
    """Nothing outside of its reach, and something in the first and last hop of it."""
    decoder, hop, at = codec.decoder, codec.hop_length, 30
    latents = latents_of(codec, 70)
    other = latents.clone()
    other[..., at] += 1.0
    changed = (decoder(latents) != decoder(other))[0, 0].nonzero() - at * hop
    reach = decoder.influence
    assert reach.first <= int(changed.min()) < reach.first + hop
    assert reach.last - hop < int(changed.max()) <= reach.last


def test_a_kept_frame_less_would_be_noticed(codec, monkeypatch):
    """The tests have teeth: without the state of the inverse transform, chunks do not join."""
    latents = latents_of(codec, 40)
    whole = codec.decode(codes_of(codec, 8))
    head = type(codec.decoder.head)
    step = head.step

    def forgetful(self, rows, context):
        sound = step(self, rows, context)
        kept = context.state.kept[-1]
        context.state.kept[-1] = torch.zeros_like(kept)
        return sound

    with torch.no_grad():
        wanted = codec.decoder(latents)
        monkeypatch.setattr(head, "step", forgetful)
        found = run_in(codec.decoder, latents, [20])
    assert whole.shape[-1] == 8 * codec.config.frame_length
    assert (found - wanted).abs().max() > 20 * TOLERANCE


def test_codes_and_their_digest_stay_the_same(own):
    """What another decoder changes is the sound alone; it has a digest of its own."""
    audio = audio_of(3_000)
    before, digest, codes = own.decoder.sha256(), own.weights_sha256(), own.encode(audio)
    other = copy.deepcopy(own).exchange_decoder(vocos(SMALL))
    assert all(map(torch.equal, other.encode(audio), codes))
    assert other.weights_sha256() == digest
    assert other.decoder.sha256() != before
    assert not torch.allclose(other.decode(codes), own.decode(codes))
    with torch.no_grad():
        other.encoder.block[0].bias.add_(1.0)
    assert other.weights_sha256() != digest


def test_a_vocos_decoder_is_loaded_by_its_folder(own, tmp_path):
    """Everywhere a codec is, with the same sound after saving, copying and pickling."""
    own.save_pretrained(tmp_path / "codec")
    decoder = vocos(SMALL)
    decoder.save_pretrained(tmp_path / "vocos")
    loaded = SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "vocos")
    assert loaded.decoder_id == str(tmp_path / "vocos")
    assert loaded.decoder.sha256() == decoder.sha256()
    codes = codes_of(own, 6)
    wanted = own.exchange_decoder(decoder).decode(codes)
    tok = SnacTokenizer.from_pretrained(tmp_path / "codec", preset=None, decoder=tmp_path / "vocos")
    for each in (loaded, tok.codec, copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert torch.equal(each.decode(codes), wanted)
        assert each.decoder_id == loaded.decoder_id
    half = SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "vocos", dtype=torch.bfloat16)
    assert half.decode(codes).dtype is torch.bfloat16
    assert (half.decode(codes).float() - wanted).abs().max() < 0.2 * wanted.abs().max()


def test_a_decoder_that_was_trained_further_is_taken_from_its_checkpoint(own, tmp_path):
    """Of a codec of the same shape the decoder alone: encoder and codebooks stay the codec's."""
    own.save_pretrained(tmp_path / "codec")
    torch.manual_seed(7)
    tuned = SNAC.from_config(SMALL).eval()
    tuned.save_pretrained(tmp_path / "tuned")
    both = SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "tuned")
    assert both.weights_sha256() == own.weights_sha256()
    assert both.decoder.sha256() == tuned.decoder.sha256()
    audio, codes = audio_of(2_000), own.encode(audio_of(2_000))
    assert all(map(torch.equal, both.encode(audio), codes))
    own.decoder = tuned.decoder
    assert torch.equal(both.decode(codes, noise=2), own.decode(codes, noise=2))
    both.save_pretrained(tmp_path / "joined")
    assert torch.equal(
        SNAC.from_pretrained(tmp_path / "joined").decode(codes, noise=2), own.decode(codes, noise=2)
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"input_channels": 20}, "input_channels is 20 and the codec needs 16; take one that was trained on"),
        ({"hop_length": 3, "n_fft": 12}, "hop_length is 3 and the codec needs 6"),
        ({"sampling_rate": 9_000}, "sampling_rate is 9000 and the codec needs 8000"),
    ],
)
def test_a_decoder_for_another_codec_is_refused(own, tmp_path, changes, sentence):
    """In one sentence that names what does not fit."""
    own.save_pretrained(tmp_path / "codec")
    other = vocos(SMALL, **changes)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match=f"this decoder is for another codec: .*{sentence}"):
        SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "other")
    with pytest.raises(ConfigError, match=sentence):
        own.exchange_decoder(other)


def test_a_snac_decoder_of_another_shape_is_refused(own, tmp_path):
    """Though its latents might fit."""
    own.save_pretrained(tmp_path / "codec")
    SNAC.from_config({**SMALL.to_dict(), "decoder_dim": 8}).save_pretrained(tmp_path / "narrow")
    with pytest.raises(ConfigError, match=r"config.json: .*decoder_dim is 8 and the codec needs 16"):
        SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "narrow")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decoder_type": "hifi-gan"}, "decoder_type is 'hifi-gan'; 'vocos' is the kind"),
        ({"causal": True}, r"unknown entries \['causal'\]"),
        ({"n_fft": 25}, "n_fft is 25 and hop_length 6; n_fft must be 2 to 16 hops"),
        ({"n_fft": 6}, "n_fft must be 2 to 16 hops"),
        ({"dim": "wide"}, "dim is 'wide'; it must be a whole number"),
        ({"lookahead": 7}, "lookahead is 7; it must be a whole number from 0 to 6"),
        ({"dim": 8192, "intermediate_dim": 32768, "num_layers": 64}, "parameters; at most"),
    ],
)
def test_a_config_that_describes_no_decoder_is_refused(own, tmp_path, changes, sentence):
    """Before anything is made of it, and with the file's name."""
    own.save_pretrained(tmp_path / "codec")
    vocos(SMALL).save_pretrained(tmp_path / "vocos")
    path = tmp_path / "vocos" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ConfigError, match=rf"vocos.config\.json: .*{sentence}"):
        SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "vocos")


def test_weights_that_do_not_fit_their_config_are_refused(own, tmp_path):
    """As a codec's are."""
    own.save_pretrained(tmp_path / "codec")
    vocos(SMALL).save_pretrained(tmp_path / "vocos")
    path = tmp_path / "vocos" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_layers": 3}))
    with pytest.raises(CheckpointError, match="tensors are missing"):
        SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "vocos")
    with pytest.raises(CheckpointError, match="neither an existing folder nor a hub repository"):
        SNAC.from_pretrained(tmp_path / "codec", decoder=tmp_path / "nowhere")


def test_a_codec_with_a_vocos_decoder_is_not_saved_as_one(own, tmp_path):
    """No codec's files have a place for it; each is saved by itself."""
    own.exchange_decoder(vocos(SMALL))
    with pytest.raises(NetworkError, match="save it by itself with"):
        own.save_pretrained(tmp_path)


def test_a_decoder_that_was_moved_ends_its_streams(own):
    """As the codec's own does: what follows would not join."""
    stream = StreamDecoder(own.exchange_decoder(vocos(SMALL)), None)
    codes = [level[0].numpy() for level in codes_of(own, 4)]
    stream.push(codes)
    with torch.no_grad():
        next(own.decoder.parameters()).add_(1.0)
    with pytest.raises(CodesError, match="in the middle of the clip"):
        stream.push(codes)


@pytest.mark.parametrize("name", ["decoder.model.2", "quantizer.quantizers.1.codebook"])
def test_weights_that_change_in_part_end_streams_too(own, name):
    """Training may leave the first layers as they are, and codebooks are none of the decoder's."""
    stream = StreamDecoder(own, None)
    codes = [level[0].numpy() for level in codes_of(own, 4)]
    stream.push(codes)
    with torch.no_grad():
        next(own.get_submodule(name).parameters()).add_(0.1)
    with pytest.raises(CodesError, match="in the middle of the clip"):
        stream.push(codes)


def test_the_number_of_weights_is_known_before_any_is_made():
    """From the config alone."""
    config = vocos_config(CodecConfig())
    assert config.num_parameters == sum(weight.numel() for weight in VocosDecoder(config).parameters())
