"""SnacTokenizer: the same ids whatever form the sound comes in, and sound back at the length it had."""

import pickle

import numpy as np
import pytest
import torch

from snac_tok import SNAC, SnacTokenizer, Vocabulary, Waveform, preset, read_audio, write_audio
from snac_tok.errors import (
    AudioFileError,
    CheckpointError,
    LayoutError,
    SamplingRateError,
    TokenError,
    WaveformError,
)
from snac_tok.frames import vocabulary_to_json
from snac_tok.tokenizer import decoding

SPEECH = "tests/speech/LJ001-0008.flac"
RATE = 24_000


@pytest.fixture(scope="module")
def tok():
    """The embedded codec with the most used id table, at one rate only."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus", resample=False)


@pytest.fixture(scope="module")
def resampling():
    """The same, for recordings at any rate."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


def sine(seconds=0.5, rate=RATE, hertz=220.0):
    """A float64 tone (T,)."""
    return 0.4 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def test_every_form_of_one_sound_gives_the_same_ids(tok):
    """Arrays, tensors, lists, dicts, waveforms, with and without a channel dimension."""
    samples = sine().astype(np.float32)
    wanted = tok.encode(samples, sampling_rate=RATE)
    assert all(isinstance(token_id, int) for token_id in wanted)
    waveform = Waveform(samples=samples[None], sampling_rate=RATE)
    for form in (
        samples[None],
        np.stack([samples, samples]),
        torch.from_numpy(samples),
        samples.tolist(),
        {"array": samples, "sampling_rate": RATE, "path": None},
        waveform,
    ):
        given = None if isinstance(form, (dict, Waveform)) else RATE
        assert tok.encode(form, sampling_rate=given) == wanted


def test_a_path_gives_the_ids_of_its_samples(resampling):
    """Files bring their own rate, and are resampled to the codec's."""
    speech = read_audio(SPEECH)
    assert resampling.encode(SPEECH) == resampling.encode(speech.samples, sampling_rate=speech.sampling_rate)


def test_ids_are_the_codecs_codes_in_depth_first_order(tok):
    """Nothing stands between SNAC.encode and the ids but the layout's arithmetic."""
    samples = torch.from_numpy(sine().astype(np.float32))
    c0, c1, c2 = (level[0].tolist() for level in tok.codec.encode(samples[None, None]))
    by_hand = []
    for i, code in enumerate(c0):
        frame = [code, c1[2 * i], c2[4 * i], c2[4 * i + 1], c1[2 * i + 1], c2[4 * i + 2], c2[4 * i + 3]]
        by_hand += [128_266 + 4096 * slot + value for slot, value in enumerate(frame)]
    assert tok.encode(samples, sampling_rate=RATE) == by_hand


def test_a_clips_ids_do_not_depend_on_its_neighbours(tok):
    """Law 3 at the surface: any list gives each clip the ids it has alone."""
    clips = [sine(0.31), sine(0.9, hertz=90), sine(0.05), sine(0.6, hertz=700)]
    alone = [tok.encode(clip, sampling_rate=RATE) for clip in clips]
    assert tok(clips, sampling_rate=RATE)["input_ids"] == alone
    assert tok(clips[::-1], sampling_rate=RATE)["input_ids"] == alone[::-1]


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_fills_with_the_pad_id_and_is_masked(side):
    """Padded rows hold the clip's ids where the mask is 1 and the pad id elsewhere, and decode to the clip."""
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus", padding_side=side)
    clips = [sine(0.2), sine(0.5)]
    batch = tok(clips, sampling_rate=RATE, padding=True, return_tensors="pt")
    assert batch.input_ids.dtype == batch["attention_mask"].dtype == torch.int64
    short = batch.input_ids[0][batch.attention_mask[0].bool()]
    assert short.tolist() == tok.encode(clips[0], sampling_rate=RATE)
    assert (
        set(batch.input_ids[0][~batch.attention_mask[0].bool()].tolist()) == {tok.pad_token_id} == {128_263}
    )
    first_is_pad = int(batch.attention_mask[0, 0]) == 0
    assert first_is_pad == (side == "left")
    sounds = tok.batch_decode(batch)
    assert [sound.num_samples for sound in sounds] == [4_800, 12_000]
    np.testing.assert_array_equal(sounds[0].samples, tok.decode(short, num_samples=4_800).samples)


def test_padding_to_a_length(tok):
    """max_length fills up and never cuts."""
    batch = tok(sine(0.2), sampling_rate=RATE, padding="max_length", max_length=50, return_tensors="np")
    assert batch["input_ids"].shape == (1, 50)
    assert batch["attention_mask"].sum() == 21
    with pytest.raises(TokenError, match="a clip has 21 ids, max_length is 20"):
        tok(sine(0.2), sampling_rate=RATE, padding="max_length", max_length=20)
    with pytest.raises(TokenError, match="padding is 'max_length' and max_length None"):
        tok(sine(0.2), sampling_rate=RATE, padding="max_length")
    with pytest.raises(TokenError, match="padding is 'most'"):
        tok(sine(0.2), sampling_rate=RATE, padding="most")


def test_rows_of_unequal_length_need_padding_for_an_array(tok):
    """An error instead of an object array."""
    with pytest.raises(TokenError, match="ask for padding=True"):
        tok([sine(0.2), sine(0.5)], sampling_rate=RATE, return_tensors="np")
    with pytest.raises(TokenError, match="return_tensors is 'tf'"):
        tok(sine(0.2), sampling_rate=RATE, return_tensors="tf")


def test_an_empty_list_gives_an_empty_batch(tok):
    """No clips, no ids, no error."""
    assert tok([])["input_ids"] == []
    assert tok([], padding=True, return_tensors="np")["input_ids"].shape == (0, 0)
    assert tok.batch_decode([]) == []


def test_special_tokens_go_around_the_codes_and_are_passed_over_when_decoding(tok):
    """Start and end of speech, as language models are trained with."""
    plain = tok.encode(sine(), sampling_rate=RATE)
    wrapped = tok.encode(sine(), sampling_rate=RATE, add_special_tokens=True)
    assert wrapped == [128_257, *plain, 128_258]
    np.testing.assert_array_equal(tok.decode(wrapped).samples, tok.decode(plain).samples)
    np.testing.assert_array_equal(tok.decode(torch.tensor(wrapped)).samples, tok.decode(plain).samples)


def test_decoding_is_repeatable_and_trimmed(tok):
    """The default noise is seeded; the original length comes back when it is known."""
    ids = tok.encode(sine(0.3), sampling_rate=RATE)
    first, second = tok.decode(ids, num_samples=7_200), tok.decode(ids)
    assert (first.num_samples, second.num_samples) == (7_200, 8_192)
    np.testing.assert_array_equal(first.samples, second.samples[:, :7_200])
    assert not np.array_equal(second.samples, tok.decode(ids, noise=1).samples)


def test_decoding_equals_the_codec(tok):
    """The same codes through SNAC.decode, the same sound."""
    samples = torch.from_numpy(sine().astype(np.float32))[None, None]
    wanted = tok.codec.decode(tok.codec.encode(samples), noise=0)[0].numpy()
    np.testing.assert_array_equal(tok.decode(tok.encode(samples[0], sampling_rate=RATE)).samples, wanted)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda ids: ids[:-1], "partial"),
        (lambda ids: [*ids[:9], 128_258, *ids[9:]], "position 9: id 128258"),
        (lambda ids: [*ids[:3], ids[3] + 4096, *ids[4:]], "position 3: id"),
        (lambda ids: [*ids[:7], 10**12, *ids[8:]], "position 7: id 1000000000000"),
        (lambda ids: [-1, *ids[1:]], "position 0: id -1"),
        (lambda ids: ids[1:], "position 0"),
        (lambda _: [], "hold no frame"),
        (lambda _: [128_257, 128_258], "hold no frame"),
        (lambda ids: [float(token_id) for token_id in ids], "int"),
    ],
)
def test_ids_that_are_no_whole_frames_are_refused(tok, change, says):
    """The message names the position and the id; nothing reaches the network."""
    with pytest.raises(TokenError, match=says):
        tok.decode(change(tok.encode(sine(0.2), sampling_rate=RATE)))


@pytest.mark.parametrize("noise", [0, 7, "off"])
def test_rows_decoded_together_sound_as_they_do_alone(tok, noise):
    """To the last bit; rows of several lengths, the longest of several chunks."""
    rows = [tok.encode(sine(seconds), sampling_rate=RATE) for seconds in (0.2, 7.0, 0.1, 1.5)]
    for row, sound in zip(rows, tok.batch_decode(rows, noise=noise), strict=True):
        np.testing.assert_array_equal(sound.samples, tok.decode(row, noise=noise).samples)


def test_random_noise_goes_from_row_to_row(tok):
    """The global generator's draws, in the rows' order, as if they were decoded one after the other."""
    rows = [tok.encode(sine(seconds), sampling_rate=RATE) for seconds in (0.5, 0.2)]
    torch.manual_seed(5)
    alone = [tok.decode(row, noise="random") for row in rows]
    torch.manual_seed(5)
    together = tok.batch_decode(rows, noise="random")
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_rows_that_calls_returned_are_trimmed_by_themselves(tok):
    """A list of what several calls gave brings each one's length along, unless another is given."""
    rows = [tok(sine(seconds), sampling_rate=RATE) for seconds in (0.2, 0.5)]
    assert [sound.num_samples for sound in tok.batch_decode(rows)] == [4_800, 12_000]
    assert [sound.num_samples for sound in tok.batch_decode(rows, num_samples=[None, 7])] == [4_800, 7]


@pytest.mark.parametrize("name", ["orpheus", "mini-omni"])
@pytest.mark.parametrize("kind", [list, np.asarray, torch.as_tensor])
def test_rows_of_a_data_set_are_decoded_as_they_are(name, kind):
    """One by one or several at once, with or without a mask, trimmed to the column `num_samples`."""
    tok = SnacTokenizer.from_pretrained("tiny", preset=name)
    ids, mask = kind(tok.encode(sine(0.2), sampling_rate=RATE)), kind([1] * 21)
    if tok.vocabulary.is_parallel:
        mask = kind([1] * len(ids[0]))
    for row in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": mask}):
        assert tok.decode(row).num_samples == 6_144
        assert tok.decode(row | {"num_samples": 4_800}).num_samples == 4_800
        assert tok.decode(row | {"num_samples": 4_800}, num_samples=5).num_samples == 5
        assert [sound.num_samples for sound in tok.batch_decode(row | {"num_samples": 7})] == [7]
        both = {key: [value, value] for key, value in row.items()} | {"num_samples": kind([4_800, 7])}
        assert [sound.num_samples for sound in tok.batch_decode(both)] == [4_800, 7]
        with pytest.raises(TokenError, match="decode takes one recording, these are 2"):
            tok.decode(both)


@pytest.mark.parametrize("name", ["orpheus", "lucy"])
def test_ids_of_too_many_dimensions_are_told_as_ids(name):
    """Not as levels of codes; one dimension in front may be a batch of one."""
    tok = SnacTokenizer.from_pretrained("tiny", preset=name)
    ids = torch.tensor(tok.encode(sine(0.2), sampling_rate=RATE))
    assert tok.decode(ids[None]).num_samples == 6_144
    for wrong in (ids[None, None], ids[None, None].tolist(), ids[None, None, None]):
        with pytest.raises(TokenError, match=r"decode takes one recording, .* got ids of shape \(1, 1, "):
            tok.decode(wrong)
    assert [sound.num_samples for sound in tok.batch_decode(ids[None, None])] == [6_144]


def test_a_batch_with_more_columns_keeps_its_lengths(tok):
    """`|` makes a batch, too."""
    batch = tok([sine(0.2), sine(0.5)], sampling_rate=RATE) | {"speaker": [1, 2]}
    assert batch["speaker"] == [1, 2]
    assert [sound.num_samples for sound in tok.batch_decode(batch)] == [4_800, 12_000]


def test_nothing_is_decoded_where_a_row_is_bad(tok, monkeypatch):
    """A length that is too large is found before the work begins, and the row is named."""
    good = tok.encode(sine(0.2), sampling_rate=RATE)
    monkeypatch.setattr(SNAC, "decode_batch", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(WaveformError, match="row 1: num_samples is 8193"):
        tok.batch_decode([good, good], num_samples=[5, 8_193])


def test_a_large_batch_is_decoded_in_groups(tok, monkeypatch):
    """Rows come back in their order whatever the size of a group."""
    rows = [tok.encode(sine(0.1 * (1 + at)), sampling_rate=RATE) for at in range(5)]
    wanted = [sound.samples for sound in tok.batch_decode(rows)]
    monkeypatch.setattr(decoding, "_ROWS_AT_ONCE", 2)
    for sound, samples in zip(tok.batch_decode(rows), wanted, strict=True):
        np.testing.assert_array_equal(sound.samples, samples)


def test_a_bad_row_of_many_is_named(tok):
    """batch_decode says which row."""
    good = tok.encode(sine(0.2), sampling_rate=RATE)
    with pytest.raises(TokenError, match="row 1: "):
        tok.batch_decode([good, good[:-2]])
    with pytest.raises(TokenError, match="1 values of num_samples were given for 2 rows"):
        tok.batch_decode([good, good], num_samples=[5])
    for length in (0, 8_193):
        with pytest.raises(WaveformError, match=f"num_samples is {length}"):
            tok.decode(good, num_samples=length)


@pytest.mark.parametrize(
    ("audio", "rate", "error", "says"),
    [
        (sine(), None, SamplingRateError, "sampling_rate"),
        (sine(), 8_000, SamplingRateError, "at 8000 Hz, the codec at 24000 Hz"),
        (SPEECH, None, SamplingRateError, "resample=False was asked for"),
        (SPEECH, 24_000, SamplingRateError, "22050"),
        (np.zeros(0), RATE, WaveformError, "no samples"),
        (np.full(10, np.nan), RATE, WaveformError, "NaN"),
        (np.zeros((5000, 2)), RATE, WaveformError, "transpose"),
        ("absent.wav", None, AudioFileError, "absent.wav"),
        (None, RATE, WaveformError, "NoneType"),
        (object(), RATE, WaveformError, "object"),
    ],
)
def test_unusable_sound_is_refused(tok, audio, rate, error, says):
    """Never silence, never a guess."""
    with pytest.raises(error, match=says):
        tok(audio, sampling_rate=rate)


def test_encode_takes_one_recording(tok):
    """A list of clips in encode is a mistake with a way out."""
    with pytest.raises(WaveformError, match="call the tokenizer itself"):
        tok.encode([sine(), sine()], sampling_rate=RATE)


def test_one_sample_is_a_clip(tok):
    """The shortest recording has one frame and comes back as one sample."""
    batch = tok(np.array([0.1]), sampling_rate=RATE)
    assert len(batch["input_ids"]) == 7
    assert tok.decode(batch["input_ids"], num_samples=batch.num_samples[0]).num_samples == 1


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_other_rates_are_resampled(resampling, rate):
    """The number of samples is that of the resampled clip, and its frames follow from it."""
    batch = resampling(sine(0.7, rate), sampling_rate=rate)
    assert batch.num_samples == [16_800]
    assert len(batch["input_ids"]) == resampling.tokens_for(0.7) == 63


def test_tokens_and_seconds(tok):
    """82 ids a second, in whole frames."""
    assert tok.tokens_for(10) == 118 * 7
    assert tok.seconds_for(7) == tok.seconds_for(13) == 2048 / 24_000
    assert tok.seconds_for(0) == tok.seconds_for(6) == 0
    assert tok.seconds_for(tok.tokens_for(3.0)) >= 3.0


def test_hugging_face_names(tok):
    """Sizes, special tokens and conversions, as text tokenizers have them."""
    assert tok.vocab_size == len(tok) == tok.vocabulary.size == 1 + max(tok.get_vocab().values()) == 156_940
    assert (tok.bos_token_id, tok.eos_token_id, tok.pad_token_id) == (128_257, 128_258, 128_263)
    assert (tok.bos_token, tok.eos_token, tok.pad_token) == (
        "<custom_token_1>",
        "<custom_token_2>",
        "<custom_token_7>",
    )
    assert tok.special_tokens_map["eos_token"] == "<custom_token_2>"
    assert tok.convert_ids_to_tokens(128_266) == "<custom_token_10>"
    assert tok.convert_ids_to_tokens([128_266, 156_937]) == ["<custom_token_10>", "<custom_token_28681>"]
    assert tok.convert_tokens_to_ids("<custom_token_10>") == 128_266
    assert tok.convert_tokens_to_ids(["<custom_token_28681>"]) == [156_937]
    vocab = tok.get_vocab()
    assert len(vocab) == 28_684
    assert all(tok.convert_tokens_to_ids(token) == token_id for token, token_id in list(vocab.items())[::997])
    assert len(tok.all_special_ids) == len(tok.all_special_tokens) == 12


@pytest.mark.parametrize(
    "name", ["plain", "vyvo-qwen3", "vita-audio", "per-level-separated", "mini-omni", "lucy"]
)
def test_every_preset_makes_the_round_trip(tok, name):
    """Other id tables over the same codes give the same sound."""
    other = SnacTokenizer(tok.codec, preset(name))
    clip = sine(0.4)
    wanted = tok.decode(tok.encode(clip, sampling_rate=RATE)).samples
    np.testing.assert_array_equal(other.decode(other.encode(clip, sampling_rate=RATE)).samples, wanted)
    assert len(np.asarray(other.encode(clip, sampling_rate=RATE)).T) == other.tokens_for(0.4)


def test_parallel_rows_batch_and_pad_with_each_rows_own_pad(tok):
    """Delayed rows stay rows: (B, slots, steps)."""
    rows = SnacTokenizer(tok.codec, preset("mini-omni"))
    batch = rows([sine(0.2), sine(0.5)], sampling_rate=RATE, padding=True, return_tensors="np")
    assert batch["input_ids"].shape == (2, 7, 6 + 8)
    assert batch["input_ids"][0, :, -1].tolist() == [152_000 + 4160 * row + 4097 for row in range(7)]
    assert rows.pad_token_id is None


def test_what_a_vocabulary_lacks_is_said(tok):
    """No pad, no start of speech, no spelling: each an error with a way out."""
    bare = SnacTokenizer(tok.codec, Vocabulary(layout=preset("plain").layout))
    with pytest.raises(LayoutError, match="no pad id"):
        bare([sine(0.1), sine(0.2)], sampling_rate=RATE, padding=True)
    with pytest.raises(LayoutError, match="no start and end of speech"):
        bare(sine(0.1), sampling_rate=RATE, add_special_tokens=True)
    with pytest.raises(LayoutError, match="how its ids are spelled"):
        bare.get_vocab()
    assert bare.special_tokens_map == {}


def test_a_vocabulary_of_another_codec_is_refused(tok):
    """15-slot ids do not fit a 7-slot codec."""
    with pytest.raises(LayoutError, match=r"\(8, 4, 2, 1\)"):
        SnacTokenizer(tok.codec, preset("plain", strides=(8, 4, 2, 1)))
    with pytest.raises(LayoutError, match="no preset 'orfeus'"):
        SnacTokenizer.from_pretrained("tiny", preset="orfeus")
    with pytest.raises(LayoutError, match="padding_side"):
        SnacTokenizer.from_pretrained("tiny", padding_side="top")


def test_the_first_levels_of_a_four_level_codec_make_seven_slot_frames():
    """levels=3 of strides (8, 4, 2, 1) decodes without the finest level."""
    torch.manual_seed(0)
    codec = SNAC(8_000, 4, (2, 2), None, 16, (2, 2), None, 64, 4, (8, 4, 2, 1)).eval()
    tok = SnacTokenizer(codec, preset("plain", strides=(8, 4, 2, 1), levels=3, codebook_size=64))
    ids = tok.encode(sine(0.1, 8_000), sampling_rate=8_000)
    assert len(ids) == 7 * codec.config.num_frames(800)
    codes = codec.encode(torch.from_numpy(sine(0.1, 8_000)).float()[None, None])
    np.testing.assert_array_equal(tok.decode(ids).samples, codec.decode(codes[:3], noise=0)[0].numpy())


def test_save_and_load_is_the_identity(tmp_path):
    """Codec, vocabulary and options survive, and a preset asked for wins over the saved one."""
    tok = SnacTokenizer.from_pretrained("tiny", preset="vyvo-lfm2", channels="left", padding_side="left")
    tok.save_pretrained(tmp_path / "saved")
    loaded = SnacTokenizer.from_pretrained(tmp_path / "saved")
    assert loaded.vocabulary == tok.vocabulary
    assert loaded.preprocessing == tok.preprocessing
    assert loaded.preprocessing.channels == loaded.padding_side == "left"
    assert loaded.encode(SPEECH) == tok.encode(SPEECH)
    assert SnacTokenizer.from_pretrained(tmp_path / "saved", preset="orpheus").vocabulary == preset("orpheus")
    described = loaded.describe()
    assert described["codec_id"] == "saved"
    assert described | {"codec_id": "tiny"} == tok.describe()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"channels": 1}'])
def test_damaged_settings_are_refused(tmp_path, content):
    """A tokenizer that quietly fell back to defaults would make other ids."""
    SnacTokenizer.from_pretrained("tiny").save_pretrained(tmp_path)
    (tmp_path / "snac_tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"snac_tokenizer\.json"):
        SnacTokenizer.from_pretrained(tmp_path)


def test_a_long_file_is_encoded_block_by_block_to_the_same_ids(resampling, tmp_path, monkeypatch):
    """A file over the limit never stands in memory whole; stereo, another rate and all."""
    speech = read_audio(SPEECH)
    samples = np.concatenate([speech.samples, speech.samples[:, ::-1]])
    path = tmp_path / "stereo.wav"
    write_audio(path, Waveform(samples=samples, sampling_rate=speech.sampling_rate))
    wanted = resampling(path)
    monkeypatch.setattr("snac_tok.sources.reading.LONG_SECONDS", 0.5)
    monkeypatch.setattr("snac_tok.audio.OpenAudio.read", None)  # whoever reads it whole fails
    found = resampling(path)
    assert (found["input_ids"], found.num_samples) == (wanted["input_ids"], wanted.num_samples)
    with pytest.raises(SamplingRateError, match="22050"):
        resampling(path, sampling_rate=8_000)


def test_sound_comes_piece_by_piece(tok, tmp_path):
    """decode_blocks gives decode's samples, and write_audio takes them as they come."""
    ids = tok.encode(sine(3.0), sampling_rate=RATE)
    pieces = list(tok.decode_blocks(ids))
    wanted = tok.decode(ids)
    np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces], axis=1), wanted.samples)
    write_audio(tmp_path / "blocks.wav", tok.decode_blocks(ids))
    write_audio(tmp_path / "whole.wav", wanted)
    assert (tmp_path / "blocks.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


@pytest.mark.parametrize("num_samples", [1, 2048, 50_001, None])
def test_pieces_are_trimmed_like_the_whole(tok, num_samples):
    """decode_blocks trims to num_samples, and what a call returned by itself, and refuses, all as decode does."""
    batch = tok(sine(3.0), sampling_rate=RATE)
    for ids in (batch, batch["input_ids"]):
        pieces = [piece.samples for piece in tok.decode_blocks(ids, num_samples=num_samples)]
        wanted = tok.decode(ids, num_samples=num_samples).samples
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), wanted)
    with pytest.raises(WaveformError, match="the ids hold 1 to"):
        list(tok.decode_blocks(batch, num_samples=10**9))


def test_blocks_of_a_recording(resampling):
    """encode_blocks counts the samples and refuses an empty recording."""
    speech = read_audio(SPEECH)
    codes, num_samples = resampling.encode_blocks(iter([speech]))
    assert resampling.vocabulary.encode(codes).tolist() == resampling.encode(SPEECH)
    assert num_samples == resampling.num_samples(speech)
    with pytest.raises(WaveformError, match="no samples"):
        resampling.encode_blocks([])


def test_a_tokenizer_pickles(tok):
    """Worker processes get an equal one, and batches cross the border too."""
    other = pickle.loads(pickle.dumps(tok))
    batch = pickle.loads(pickle.dumps(other(sine(), sampling_rate=RATE)))
    assert batch["input_ids"] == tok.encode(sine(), sampling_rate=RATE)
    assert batch.num_samples == [12_000]


def test_a_batch_unpacks_into_a_models_arguments(tok):
    """`model(**batch)` gets ids and mask alone; attributes are the keys."""
    batch = tok([sine()], sampling_rate=RATE, return_tensors="pt").to("cpu")
    assert set(dict(**batch)) == {"input_ids", "attention_mask"}
    with pytest.raises(AttributeError):
        _ = batch.labels


@pytest.mark.parametrize("name", ["plain", "mini-omni", "lucy"])
def test_a_padded_batch_decodes_to_its_clips(tok, name):
    """Parallel rows, too: what the mask leaves out is cut before decoding."""
    other = SnacTokenizer(tok.codec, preset(name))
    clips = [sine(0.2), sine(0.5)]
    for kind in ("np", "pt"):
        sounds = other.batch_decode(other(clips, sampling_rate=RATE, padding=True, return_tensors=kind))
        assert [sound.num_samples for sound in sounds] == [4_800, 12_000]


@pytest.mark.parametrize("name", ["plain", "mini-omni"])
def test_masks_that_do_not_fit_are_refused(tok, name):
    """Padding stands in front or behind, never among the ids, which would sound; each row has a mask of its length."""
    other = SnacTokenizer(tok.codec, preset(name))
    batch = other([sine(0.5), sine(0.2)], sampling_rate=RATE, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    hole = mask.clone()
    hole[0, 3:5] = 0
    with pytest.raises(
        TokenError, match="row 0: the attention_mask has padding among the ids, at position 3"
    ):
        other.batch_decode({"input_ids": ids, "attention_mask": hole})
    with pytest.raises(TokenError, match="padding among the ids, at position 3"):
        other.decode({"input_ids": ids[0], "attention_mask": hole[0]})
    with pytest.raises(TokenError, match="the attention_mask has 1 rows for 2 rows of ids"):
        other.batch_decode({"input_ids": ids, "attention_mask": mask[:1]})
    with pytest.raises(TokenError, match=r"row 0: the attention_mask has shape \(2,\) for ids of shape"):
        other.batch_decode({"input_ids": ids, "attention_mask": mask[:, :2]})
    with pytest.raises(TokenError, match="attention_mask is 5"):
        other.batch_decode({"input_ids": ids, "attention_mask": 5})


def test_batch_decode_takes_rows_however_they_are_held(tok):
    """Out of a generator or tuples, too; what has no rows is refused in a sentence."""
    batch = tok([sine(0.2), sine(0.5)], sampling_rate=RATE)
    rows, masks = batch["input_ids"], batch["attention_mask"]
    wanted = [sound.samples for sound in tok.batch_decode(rows)]
    tuples = {"input_ids": tuple(map(tuple, rows)), "attention_mask": tuple(map(tuple, masks))}
    for given in ((row for row in rows), tuple(rows), tuples):
        found = [sound.samples for sound in tok.batch_decode(given)]
        assert len(found) == 2
        assert all(map(np.array_equal, found, wanted))
    for call in (tok.decode, tok.batch_decode):
        with pytest.raises(TokenError, match="there are 'labels' and no 'input_ids'"):
            call({"labels": rows})
    for given in (5, None, {"input_ids": 5}):
        with pytest.raises(
            TokenError, match=r"(sequences|input_ids) is (5|None); rows, one for each recording"
        ):
            tok.batch_decode(given)


def test_decode_takes_what_a_call_gave_for_one_recording(tok):
    """A batch of one, flat lists, an array with a batch dimension of one: all the same recording."""
    clip = sine(0.3)
    wanted = tok.decode(tok.encode(clip, sampling_rate=RATE), num_samples=7_200).samples
    for kind in (None, "np", "pt"):
        given = tok(clip, sampling_rate=RATE, return_tensors=kind, add_special_tokens=True)
        np.testing.assert_array_equal(tok.decode(given).samples, wanted)
        np.testing.assert_array_equal(tok.batch_decode(given)[0].samples, wanted)
        if kind:
            np.testing.assert_array_equal(tok.decode(given["input_ids"], num_samples=7_200).samples, wanted)
    with pytest.raises(TokenError, match="use batch_decode"):
        tok.decode(tok([clip, clip], sampling_rate=RATE))
    with pytest.raises(TokenError, match="batch_decode many"):
        tok.decode([[1], [1, 2]])


def test_a_folder_called_like_an_embedded_codec_is_left_alone(tmp_path, monkeypatch):
    """./tiny/snac_tokenizer.json has nothing to do with the codec named "tiny"."""
    SnacTokenizer.from_pretrained("tiny", preset="orpheus", padding_side="left").save_pretrained(
        tmp_path / "tiny"
    )
    monkeypatch.chdir(tmp_path)
    tok = SnacTokenizer.from_pretrained("tiny")
    assert (tok.vocabulary.name, tok.padding_side) == ("plain", "right")
    assert SnacTokenizer.from_pretrained("./tiny").vocabulary.name == "orpheus"


def test_levels_are_never_ignored(tmp_path, tok):
    """A table with levels of its own refuses another number; a saved table is kept."""
    path = tmp_path / "table.json"
    path.write_text(vocabulary_to_json(preset("orpheus")))
    assert SnacTokenizer.from_pretrained("tiny", preset=path).vocabulary == preset("orpheus")
    tok.save_pretrained(tmp_path / "saved")
    for place, table in (
        ("tiny", path),
        ("tiny", str(path)),
        ("tiny", preset("orpheus")),
        (tmp_path / "saved", "auto"),
    ):
        with pytest.raises(LayoutError, match="has 3 levels of its own, not 2"):
            SnacTokenizer.from_pretrained(place, preset=table, levels=2)
    assert SnacTokenizer.from_pretrained("tiny", preset="orpheus", levels=2).vocabulary.layout.num_levels == 2


@pytest.mark.parametrize("name", ["orpheus", "vyvo-qwen3", "vyvo-lfm2", "plain", "vita-audio", "lucy"])
def test_every_presets_vocabulary_can_be_listed(tok, name):
    """get_vocab and the special tokens list what has a text here."""
    other = SnacTokenizer(tok.codec, preset(name))
    assert len(other.get_vocab()) >= other.vocabulary.num_code_ids
    assert max(other.get_vocab().values()) < other.vocab_size
    assert all(isinstance(token, str) for token in other.all_special_tokens)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda _: SnacTokenizer.from_pretrained("tiny", preset=3), LayoutError, "got a int"),
        (
            lambda _: SnacTokenizer.from_pretrained("tiny", channels="each"),
            WaveformError,
            "channels is 'mean', .* got 'each'",
        ),
        (
            lambda _: SnacTokenizer.from_pretrained("tiny", resample="no"),
            SamplingRateError,
            "resample is 'no'",
        ),
        (
            lambda tok: tok.decode(tok.encode(sine(0.1), sampling_rate=RATE), num_samples=9.0),
            WaveformError,
            "num_samples is 9.0",
        ),
        (lambda tok: tok.tokens_for(-1), WaveformError, "-1 seconds"),
        (lambda tok: tok.tokens_for(float("nan")), WaveformError, "nan seconds"),
    ],
)
def test_odd_options_are_refused(tok, call, error, says):
    """At once, in one sentence."""
    with pytest.raises(error, match=says):
        call(tok)


def test_numbers_may_come_from_arrays(tok):
    """num_samples as an array, ids as numpy scalars."""
    batch = tok([sine(0.2), sine(0.2)], sampling_rate=RATE, return_tensors="np")
    sounds = tok.batch_decode(batch["input_ids"], num_samples=np.array([100, 200]))
    assert [sound.num_samples for sound in sounds] == [100, 200]
    ids = batch["input_ids"][0]
    for count in (np.int32(100), np.array([100]), torch.tensor(100), torch.tensor([100])):
        assert tok.decode(ids, num_samples=count).num_samples == 100
    for wrong in (True, np.array(True), torch.tensor(True), torch.tensor(9.0), torch.tensor([1, 2]), "9"):
        with pytest.raises(WaveformError, match="num_samples is "):
            tok.decode(ids, num_samples=wrong)
    assert tok.convert_ids_to_tokens(np.int64(128_266)) == tok.convert_ids_to_tokens(torch.tensor(128_266))
