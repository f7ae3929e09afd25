"""The transformers model: the codec's own results, loaded from anywhere, never with random weights."""

import copy
import json
import pickle

import pytest
import torch
from safetensors import SafetensorError
from small_codec import SMALL
from transformers import AutoConfig, AutoModel, modeling_utils

from snac_tok import SNAC, SnacTokenizer
from snac_tok.errors import CheckpointError, CodesError, ConfigError, WaveformError
from snac_tok.hf import SnacConfig, SnacModel


@pytest.fixture
def codec():
    """A seeded small network."""
    torch.manual_seed(0)
    return SNAC.from_config(SMALL).eval()


@pytest.fixture
def model(codec):
    """Its transformers face, with weights of its own."""
    return SnacModel(SnacConfig.of(SMALL), codec=copy.deepcopy(codec)).eval()


def audio_of(length, batch=1):
    """Random audio (B, 1, T)."""
    return torch.randn(batch, 1, length, generator=torch.Generator().manual_seed(1)) * 0.3


def assert_equal(found, wanted):
    """Level by level."""
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_the_model_is_the_codec(model, codec):
    """Same state dict, codes, and sound; codes are a tuple."""
    assert list(model.state_dict()) == list(codec.state_dict())
    audio = audio_of(700)
    output = model.encode(audio)
    assert isinstance(output.audio_codes, tuple)
    assert_equal(output.audio_codes, codec.encode(audio))
    assert all(bool(mask.all()) for mask in output.audio_codes_mask)
    wanted = codec.decode(codec.encode(audio), noise=3)
    assert torch.equal(model.decode(output.audio_codes, noise=3).audio_values, wanted)
    found = model(audio, noise=3)
    assert torch.equal(found.audio_values, wanted[..., :700])
    assert_equal(found.audio_codes, output.audio_codes)


def test_a_tuple_where_a_tuple_is_asked_for(model):
    """As with every transformers model."""
    codes, masks = model.encode(audio_of(100), return_dict=False)
    assert len(codes) == len(masks) == 3


def test_rows_of_a_padded_batch_are_the_clips_alone(model, codec):
    """Whatever stands behind a clip's end, its codes and sound are its own; behind them stand zeros."""
    lengths = [700, 130, 1]
    audio = audio_of(700, batch=3)
    mask = (torch.arange(700) < torch.tensor(lengths)[:, None]).int()
    encoded = model.encode(audio, mask)
    decoded = model.decode(encoded.audio_codes, encoded.audio_codes_mask, noise=0).audio_values
    for row, length in enumerate(lengths):
        alone = codec.encode(audio[row : row + 1, :, :length])
        for found, kept, wanted in zip(encoded.audio_codes, encoded.audio_codes_mask, alone, strict=True):
            assert torch.equal(found[row][kept[row].bool()], wanted[0])
            assert not found[row][~kept[row].bool()].any()
        sound = codec.decode(alone, noise=0)[0, 0]
        assert torch.equal(decoded[row, 0, : sound.numel()], sound)
        assert not decoded[row, 0, sound.numel() :].any()
    whole = model(audio, mask, noise=0).audio_values
    assert whole.shape == audio.shape
    assert not whole[1, 0, 130:].any()


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("shape", [(2, 700), (1, 699), (700,), (1, 1, 700)])
def test_masks_of_another_shape_are_refused(model, shape, last):
    """One sentence with both shapes, also where nothing is padded."""
    mask = torch.ones(shape)
    mask[..., -1] = last
    for call in (model.encode, model):
        with pytest.raises(WaveformError, match=r"padding_mask has shape"):
            call(audio_of(700), mask)


@pytest.mark.parametrize("padded", [True, False])
def test_masks_of_codes_have_the_codes_shapes(model, padded):
    """Of fewer rows, of more rows, of other lengths, of one level for all: refused, also where nothing is padded."""
    codes = model.encode(audio_of(700, batch=2)).audio_codes
    masks = [torch.ones_like(level) for level in codes]
    for mask, per_frame in zip(masks, (1, 2, 4), strict=True):
        mask[:, -per_frame:] = int(not padded)
    wrong = [
        [mask[:1] for mask in masks],
        [mask.repeat(2, 1) for mask in masks],
        [mask[:, 1:] for mask in masks],
        [mask[0] for mask in masks],
        [masks[0]] * 3,
    ]
    for given in wrong:
        with pytest.raises(CodesError, match=r"the mask of level \d has shape \(.*\) for codes \(2, \d+\)"):
            model.decode(codes, given)
    with pytest.raises(CodesError, match="1 masks were given for 3 levels"):
        model.decode(codes, masks[:1])


def test_codes_behind_padding_are_refused(model):
    """They are not read as the codes in front of it, which would be other sound."""
    codes = model.encode(audio_of(700)).audio_codes
    left = [
        torch.cat([torch.zeros_like(level[:, :n]), level], 1)
        for level, n in zip(codes, (1, 2, 4), strict=True)
    ]
    masks = [torch.ones_like(level) for level in left]
    for mask, n in zip(masks, (1, 2, 4), strict=True):
        mask[:, :n] = 0
    with pytest.raises(CodesError, match="the mask of level 0 has codes behind padding; pad at the end only"):
        model.decode(left, masks)


def test_holes_and_missing_masks_are_refused(model):
    """Padding stands at the end; every level has its mask."""
    hole = torch.tensor([[1, 0, 1, 1]])
    with pytest.raises(WaveformError, match="behind padding"):
        model.encode(audio_of(4), hole)
    codes = model.encode(audio_of(100)).audio_codes
    with pytest.raises(CodesError, match="1 masks were given for 3 levels"):
        model.decode(codes, [torch.zeros(1, 1)])


def test_saved_and_loaded_it_is_the_same(model, tmp_path):
    """By its own class, and by AutoModel; in safetensors."""
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "snac"
    assert AutoConfig.from_pretrained(tmp_path).codec_config == SMALL
    audio = audio_of(500)
    for loaded in (SnacModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(loaded, SnacModel)
        assert not loaded.training
        assert_equal(loaded.encode(audio).audio_codes, model.encode(audio).audio_codes)
    # And as a codec.
    assert_equal(SNAC.from_pretrained(tmp_path).encode(audio), model.encode(audio).audio_codes)


def test_legacy_folders_load(codec, tmp_path):
    """Upstream's: a config without model_type, a .bin with weight_g and weight_v."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = codec.state_dict()
    for new, old in names.items():
        state = {name.replace(new, old): value for name, value in state.items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(SMALL.to_dict()))
    audio = audio_of(500)
    assert_equal(SnacModel.from_pretrained(tmp_path).encode(audio).audio_codes, codec.encode(audio))


def test_the_embedded_codec_and_our_own_folders_load(codec, tmp_path):
    """By name, and as SNAC.save_pretrained wrote them."""
    assert SnacModel.from_pretrained("tiny").config.sampling_rate == 24_000
    codec.save_pretrained(tmp_path)
    loaded, info = SnacModel.from_pretrained(tmp_path, output_loading_info=True, dtype="float64")
    assert not any(info.values())
    assert loaded.dtype == torch.float64


def test_the_first_gpu_by_its_number_is_not_the_cpu(monkeypatch):
    """0 is a device as 1 is, whichever option names it."""
    asked = []

    def note(*_, device, **__):
        asked.append(device)
        raise CheckpointError("asked")

    monkeypatch.setattr(SNAC, "from_pretrained", note)
    for option in ({"device": 0}, {"device_map": 0}, {"device": None}, {}):
        with pytest.raises(CheckpointError, match="asked"):
            SnacModel.from_pretrained("tiny", **option)
    assert asked == [0, 0, "cpu", "cpu"]


def test_a_checkpoint_that_lacks_weights_is_refused(model, tmp_path):
    """Fused weights or missing ones would leave random ones behind a warning."""
    state = model.state_dict()
    key = next(name for name in state if name.endswith("original0"))
    del state[key]
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match="original0"):
        SnacModel.from_pretrained(tmp_path)


def test_impossible_configs_are_refused():
    """By the codec's own rules, as a ValueError too."""
    with pytest.raises(ConfigError, match="codebook_size") as caught:
        SnacConfig(codebook_size=0)
    assert isinstance(caught.value, ValueError)


def test_copies_moves_and_modes_keep_codec_and_model_in_step(model):
    """One set of weights, whatever is done to the model."""
    audio = audio_of(300)
    before = model.encode(audio).audio_codes
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.codec.encoder is other.encoder
        assert_equal(other.encode(audio).audio_codes, before)
    with torch.no_grad():
        model.encoder.block[0].parametrizations["weight"].original1.mul_(-1)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(model.encode(audio).audio_codes, before, strict=True)
    )
    assert model.double().codec.dtype == torch.float64
    assert model.train().codec.training
    assert not model.eval().codec.training


def test_training_mode_records_gradients(model):
    """As SNAC.forward does."""
    model.train()
    model(audio_of(48)).audio_values.square().mean().backward()
    assert model.encoder.block[0].parametrizations["weight"].original1.grad.abs().max() > 0


@pytest.mark.parametrize("options", [{"max_shard_size": "2KB"}, {"variant": "fp16"}])
def test_weights_are_saved_under_the_name_that_is_loaded(model, tmp_path, options):
    """Split, or under another name, no codec could be loaded from them."""
    with pytest.raises(
        CheckpointError, match=r"loaded from one, model.safetensors: leave out max_shard_size"
    ):
        model.save_pretrained(tmp_path / "saved", **options)
    assert not list((tmp_path / "saved").iterdir())
    model.save_pretrained(tmp_path / "saved", max_shard_size="5GB")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"config.json", "model.safetensors"}


def test_given_weights_are_saved_and_left_alone(model, tmp_path):
    """As a Trainer hands them over."""
    weights = {name: value * 2 for name, value in model.state_dict().items()}
    model.save_pretrained(tmp_path, True, weights)
    found = SnacModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert set(found) == set(weights)


@pytest.mark.parametrize("error", [SafetensorError("I/O error: no room"), OSError(28, "No space left")])
def test_a_disk_that_refuses_leaves_what_was_there(model, tmp_path, monkeypatch, error):
    """One sentence, and the files of before."""
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        next(model.parameters()).mul_(2)

    def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr(modeling_utils, "safe_save_file", refuse)
    with pytest.raises(
        CheckpointError, match=r"no model can be saved into .*; make room or choose another folder"
    ):
        model.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_the_place_of_a_folder_is_refused(model, tmp_path):
    """Where transformers logs a line and saves nothing."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match=r"no model can be saved into .*taken: File exists"):
        model.save_pretrained(tmp_path / "taken")


@pytest.mark.parametrize("inner", ["finetuned", "runs/best"])
def test_a_subfolder_of_a_local_folder_is_loaded(codec, tmp_path, inner):
    """By every face, as transformers does; the folder's own weights came instead, without a word."""
    torch.manual_seed(1)
    other = SNAC.from_config(SMALL).eval()
    for each, folder in ((codec, tmp_path), (other, tmp_path / inner)):
        SnacModel(SnacConfig.of(SMALL), codec=each).save_pretrained(folder)
    loaded = SNAC.from_pretrained(tmp_path, subfolder=inner)
    assert (loaded.codec_id, loaded.folder) == (inner.rpartition("/")[2], tmp_path / inner)
    assert SNAC.from_pretrained(loaded.name_or_path).weights_sha256() == other.weights_sha256()
    for found in (
        loaded,
        SnacTokenizer.from_pretrained(tmp_path, subfolder=inner, preset=None).codec,
        SnacModel.from_pretrained(tmp_path, subfolder=inner).codec,
        AutoModel.from_pretrained(tmp_path, subfolder=inner).codec,
    ):
        assert found.weights_sha256() == other.weights_sha256()
    for whole in (None, ""):
        found = SNAC.from_pretrained(tmp_path, subfolder=whole)
        assert (found.weights_sha256(), found.codec_id) == (codec.weights_sha256(), tmp_path.name)


def test_a_missing_subfolder_is_an_error(codec, tmp_path):
    """Of a folder, of the codec in the package, and of a folder that is there and holds no codec."""
    codec.save_pretrained(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, inner, says in (
        (str(tmp_path), "absent", "has no subfolder 'absent'"),
        ("tiny", "absent", "has no subfolder 'absent'"),
        (str(tmp_path), "empty", "a codec needs config.json"),
    ):
        with pytest.raises(CheckpointError, match=says):
            SNAC.from_pretrained(name, subfolder=inner)
