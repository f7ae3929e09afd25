"""Weights: what loads, what is refused and why, and that nothing is left half written."""

import json
import pickle

import pytest
import safetensors.torch
import torch

from snac_tok.codec import SNAC
from snac_tok.errors import CheckpointError, ConfigError


@pytest.fixture
def folder(tmp_path, small_codec):
    """A saved codec."""
    small_codec.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def rewrite(folder, change):
    """Change the saved tensors in place."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors")


def test_save_and_load_is_the_identity(folder, small_codec):
    """Config, weights and digest survive; only the two files are there."""
    loaded = SNAC.from_pretrained(folder)
    assert loaded.config == small_codec.config
    assert loaded.weights_sha256() == small_codec.weights_sha256()
    assert not loaded.training
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_the_legacy_file_loads_under_both_names_of_weight_norm(folder, small_codec):
    """weight_g/weight_v from before torch 2.1 mean original0/1, and the digest does not see the format."""
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in small_codec.state_dict().items()
    }
    assert any(name.endswith("weight_g") for name in old)
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    assert SNAC.from_pretrained(str(folder)).weights_sha256() == small_codec.weights_sha256()


def test_half_precision_files_load_as_float32(folder):
    """A checkpoint's storage type is not the network's."""
    rewrite(folder, lambda weights: weights.update({name: value.half() for name, value in weights.items()}))
    assert SNAC.from_pretrained(folder).dtype == torch.float32
    assert SNAC.from_pretrained(folder, dtype=torch.bfloat16).dtype == torch.bfloat16


class Exploit:
    """Runs code when unpickled by a careless loader."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_a_pickle_with_code_in_it_is_refused_unrun(folder):
    """weights_only, and no second try without it."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"encoder": Exploit()}))
    with pytest.raises(CheckpointError, match="could run code and is refused"):
        SNAC.from_pretrained(folder)


def test_safetensors_wins_over_the_legacy_file(folder, small_codec):
    """A dangerous file next to a safe one is never opened."""
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Exploit()))
    assert SNAC.from_pretrained(folder).weights_sha256() == small_codec.weights_sha256()


NAME = "encoder.block.0.parametrizations.weight.original1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop(NAME), "1 tensors are missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 are unknown"),
        (lambda w: w.update({"encoder.block.0.weight": w.pop(NAME)}), "must not be folded away"),
        (lambda w: w.update({NAME: w[NAME][:1]}), "has shape"),
        (lambda w: w.update({NAME: w[NAME].to(torch.int32)}), "torch.int32"),
        (lambda w: w[NAME].fill_(float("nan")), "NaN or infinite"),
        (lambda w: w.update({NAME: w[NAME].double() + 1e300}), "infinite values as float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, change, says):
    """A partly loaded codec would make noise without a word."""
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=says) as caught:
        SNAC.from_pretrained(folder)
    assert "model.safetensors" in str(caught.value)


def test_truncated_files_are_refused(folder):
    """A download cut in the middle names the file."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        SNAC.from_pretrained(folder)
    path.unlink()
    torch.save({"a": torch.zeros(100)}, folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes((folder / "pytorch_model.bin").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="could not be read as pure tensors"):
        SNAC.from_pretrained(folder)


def test_a_config_that_asks_for_terabytes_is_refused_before_anything_is_built(folder):
    """Bounds first, then the network on no device, then the file's shapes."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"codebook_size": 10**15}))
    with pytest.raises(ConfigError, match="codebook_size"):
        SNAC.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config | {"codebook_size": 65_536, "codebook_dim": 1024}))
    with pytest.raises(CheckpointError, match="has shape"):
        SNAC.from_pretrained(folder)


def test_places_without_a_codec_say_what_they_hold(tmp_path):
    """An empty folder, a missing one, and a name that is neither."""
    with pytest.raises(CheckpointError, match="a codec needs config"):
        SNAC.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="neither an existing folder nor a hub"):
        SNAC.from_pretrained(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="embedded codecs: tiny"):
        SNAC.from_pretrained("no-such-name")


def test_a_full_disk_leaves_the_old_files(folder, small_codec, monkeypatch):
    """Saving over a codec either replaces a file or leaves it."""
    before = (folder / "model.safetensors").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        small_codec.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "weights",
    [
        [torch.zeros(3)],
        {3: torch.zeros(3)},
        {"a": torch.zeros(3).to_sparse()},
        {"a": torch.zeros(3, device="meta")},
        {"a": "text"},
    ],
)
def test_legacy_files_of_odd_content_are_refused(folder, weights):
    """Whatever weights_only lets through: lists, numbers as names, sparse tensors, tensors without values."""
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="a dict of names to dense tensors is needed"):
        SNAC.from_pretrained(folder)


def test_a_deeply_nested_config_is_refused(folder):
    """JSON that exhausts the parser is no valid config."""
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="not valid JSON"):
        SNAC.from_pretrained(folder)


def test_saving_below_a_file_is_refused(tmp_path, small_codec):
    """One sentence with the place."""
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="no codec can be saved into"):
            small_codec.save_pretrained(target)
