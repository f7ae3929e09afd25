"""The model on a hub, played by the small HTTP server of hub_stand_in: pushed, and loaded back."""

import json

import pytest
import torch
import transformers.utils.hub
from small_codec import SMALL

from snac_tok import SNAC
from snac_tok.errors import HubError
from snac_tok.hf import SnacConfig, SnacFeatureExtractor, SnacModel


@pytest.fixture
def model():
    """A seeded small network."""
    torch.manual_seed(0)
    return SnacModel(SnacConfig.of(SMALL)).eval()


@pytest.fixture(autouse=True)
def no_address_kept(monkeypatch):
    """A client that transformers keeps would still ask the hub's address of another test."""
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)


def test_push_and_load_is_the_identity(hub, model, tmp_path):
    """What is uploaded is what is downloaded, as a model and as a codec."""
    model.push_to_hub("owner/codec", token="hf_x")
    assert {"config.json", "model.safetensors"} <= set(hub.files)
    assert json.loads(hub.files["config.json"])["model_type"] == "snac"
    loaded = SnacModel.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert loaded.codec.weights_sha256() == model.codec.weights_sha256()
    assert loaded.name_or_path == "owner/codec"
    codec = SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert codec.weights_sha256() == model.codec.weights_sha256()


def test_saved_and_pushed_in_one_call(hub, model, tmp_path):
    """The folder has what the hub has."""
    model.save_pretrained(tmp_path / "codec", push_to_hub=True, repo_id="owner/codec", token="hf_x")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "codec" / name).read_bytes() == hub.files[name]


@pytest.mark.usefixtures("hub")
def test_a_failed_push_keeps_what_was_saved(model, tmp_path, monkeypatch):
    """Hours of training are in it."""

    def refuse(*_args, **_options):
        raise ConnectionError

    monkeypatch.setattr(SnacModel, "_upload_modified_files", refuse)
    with pytest.raises(ConnectionError):
        model.save_pretrained(tmp_path, push_to_hub=True, repo_id="owner/codec", token="hf_x")
    assert SnacModel.from_pretrained(tmp_path).codec.weights_sha256() == model.codec.weights_sha256()


def test_a_codecs_repository_loads_as_a_model(hub, model, tmp_path):
    """What SNAC pushes, without a model_type, is as good."""
    model.codec.push_to_hub("owner/codec", token="hf_x")
    assert "model_type" not in json.loads(hub.files["config.json"])
    loaded = SnacModel.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert loaded.codec.weights_sha256() == model.codec.weights_sha256()


def test_the_feature_extractor_is_pushed_beside_it(hub):
    """Into the same repository, under transformers' name for it."""
    SnacFeatureExtractor(sampling_rate=8_000).push_to_hub("owner/codec", token="hf_x")
    assert json.loads(hub.files["preprocessor_config.json"])["sampling_rate"] == 8_000


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there():
    """One sentence of ours, not a traceback of a network library."""
    with pytest.raises(HubError, match="has no 'owner/absent' for you"):
        SnacModel.from_pretrained("owner/absent")


@pytest.mark.usefixtures("dead")
def test_an_unreachable_hub(tmp_path):
    """Said soon, with what to do."""
    with pytest.raises(HubError, match="has not been downloaded yet and the model hub cannot be asked"):
        SnacModel.from_pretrained("owner/codec", cache_dir=tmp_path)
