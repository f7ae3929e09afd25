"""The hub, played by a small HTTP server on this machine: downloads, uploads, and what happens without it."""

import json
import logging
import time

import huggingface_hub.constants
import pytest
import snac
import torch
from hub_stand_in import point_to

from snac_tok import SnacTokenizer
from snac_tok.codec import SNAC
from snac_tok.errors import HubError


def test_push_and_load_is_the_identity(hub, small_codec, tmp_path):
    """What is uploaded is what is downloaded, over real HTTP; the second load asks for no file again."""
    small_codec.push_to_hub("owner/codec", token="hf_x")
    assert sorted(hub.files) == ["config.json", "model.safetensors"]
    loaded = SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert loaded.weights_sha256() == small_codec.weights_sha256()
    assert loaded.codec_id == "owner/codec"


def test_legacy_repositories_and_tokenizer_settings(hub, tmp_path):
    """Only the files that a repository has are asked for, the settings of a tokenizer among them."""
    SnacTokenizer.from_pretrained("tiny", preset="orpheus", padding_side="left").save_pretrained(
        tmp_path / "saved"
    )
    hub.files.update({path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()})
    tok = SnacTokenizer.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert (tok.vocabulary.name, tok.padding_side) == ("orpheus", "left")
    assert not [path for path in hub.asked if path.endswith("pytorch_model.bin")]


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there():
    """The hub answered, and the answer is no."""
    with pytest.raises(HubError, match="has no 'owner/absent' for you"):
        SNAC.from_pretrained("owner/absent")


@pytest.mark.usefixtures("hub")
def test_without_an_answer_what_was_downloaded_is_used(monkeypatch, small_codec, tmp_path):
    """A cached codec loads although the hub is gone, and soon."""
    small_codec.push_to_hub("owner/codec", token="hf_x")
    SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    point_to(monkeypatch, "http://127.0.0.1:9")
    begun = time.monotonic()
    loaded = SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert loaded.weights_sha256() == small_codec.weights_sha256()
    assert time.monotonic() - begun < 5  # huggingface_hub's own retries take half a minute


@pytest.fixture
def cached(hub, monkeypatch, small_codec, tmp_path):
    """Load a codec that has been downloaded before; nothing has been said of it."""
    monkeypatch.setattr("snac_tok.codec.hub._warned", set())
    assert not hub.files
    small_codec.push_to_hub("owner/codec", token="hf_x")
    SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    return lambda **options: SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files", **options)


def test_the_cache_is_used_with_one_warning(cached, monkeypatch, caplog):
    """Nobody answers: what was downloaded loads, the reason is told once, and not to those who asked for it."""
    with caplog.at_level(logging.WARNING, "snac_tok"):
        cached()
        assert not caplog.records
        point_to(monkeypatch, "http://127.0.0.1:9")
        cached(local_files_only=True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        cached()
        assert not caplog.records
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        cached()
        cached()
    (record,) = caplog.records
    assert "'owner/codec' comes from the cache" in record.message
    assert "refused" in record.message


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_hub_that_cannot_answer_now_is_no_answer(hub, cached, caplog, status):
    """Server errors and too many requests: the cache, with the reason."""
    hub.status = status
    with caplog.at_level(logging.WARNING, "snac_tok"):
        cached()
    (record,) = caplog.records
    assert str(status) in record.message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_an_answer_that_says_no_is_an_error(hub, cached, caplog, status):
    """No access, no repository, a bad token: never the copy of before."""
    hub.status = status
    with pytest.raises(HubError, match="has no 'owner/codec' for you"):
        cached()
    assert not caplog.records


def test_wrong_questions_are_errors(cached):
    """A revision that is not there, and a name that no repository can have."""
    with pytest.raises(HubError, match="has no 'owner/codec' for you"):
        cached(revision="absent")
    with pytest.raises(HubError, match="has no 'owner/--codec' for you"):
        SNAC.from_pretrained("owner/--codec")


def test_mistakes_of_ours_are_not_taken_for_silence(cached, monkeypatch):
    """An error that is none of the network's is not answered with the cache."""

    def broken(*_, **__):
        raise TypeError("a mistake")

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", broken)
    with pytest.raises(HubError, match="a mistake"):
        cached()


def test_forced_downloads_need_an_answer(hub, cached, monkeypatch):
    """force_download fetches everything again, and is no reason to use the cache."""
    asked = len(hub.asked)
    cached(force_download=True)
    assert sum(path.endswith("model.safetensors") for path in hub.asked[asked:]) >= 1
    point_to(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(HubError, match="was to be downloaded anew"):
        cached(force_download=True)


@pytest.mark.usefixtures("hub")
def test_arguments_of_upstream_and_of_the_hub_are_taken(small_codec, tmp_path):
    """Whatever hf_hub_download takes; what it takes no more is named, and a misspelt name is a TypeError."""
    small_codec.push_to_hub("owner/codec", token="hf_x")
    options = {"repo_id": "owner/codec", "revision": "main", "token": False, "etag_timeout": 3.0}
    loaded = SNAC.from_pretrained(
        **options,
        local_dir=tmp_path / "here",
        resume_download=True,
        library_name="x",
        user_agent="y",
        headers={},
    )
    assert loaded.folder == tmp_path / "here"
    with pytest.raises(HubError, match=r"takes no proxies any more.*HTTPS_PROXY"):
        SNAC.from_pretrained("owner/codec", proxies={"https": "http://127.0.0.1:9"})
    assert SNAC.from_pretrained("tiny", proxies=None, force_download=True).codec_id == "tiny"
    with pytest.raises(TypeError, match=r"unexpected arguments.*'revison'.*revision"):
        SNAC.from_pretrained("tiny", revison="main")


def test_a_subfolder_of_a_repository(hub, small_codec, tmp_path):
    """Where it is named, and only there."""
    small_codec.save_pretrained(tmp_path / "codec")
    hub.files["config.json"] = (tmp_path / "codec" / "config.json").read_bytes()
    hub.files["sub/config.json"] = hub.files["config.json"]
    with pytest.raises(HubError, match=r"holds \['config.json', 'sub/config.json'\]; a codec needs"):
        SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    with pytest.raises(HubError, match=r"holds \['config.json'\]; a codec needs"):
        SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files", subfolder="sub")


def test_upstream_loads_what_is_pushed_for_it(hub, small_codec, tmp_path):
    """safe_serialization=False uploads pytorch_model.bin, which `snac` downloads and loads."""
    small_codec.push_to_hub("owner/codec", token="hf_x", safe_serialization=False)
    assert sorted(hub.files) == ["config.json", "pytorch_model.bin"]
    theirs = snac.SNAC.from_pretrained("owner/codec", cache_dir=tmp_path / "files")
    assert all(
        torch.equal(theirs.state_dict()[name], value) for name, value in small_codec.state_dict().items()
    )
    assert json.loads(hub.files["config.json"])["vq_strides"] == small_codec.vq_strides


@pytest.mark.usefixtures("dead")
def test_an_unreachable_hub_is_one_sentence_soon(small_codec, tmp_path):
    """Downloads and uploads alike; no traceback of a network library, no retries."""
    begun = time.monotonic()
    with pytest.raises(
        HubError, match="has not been downloaded yet and the model hub cannot be asked"
    ) as caught:
        SNAC.from_pretrained("owner/codec", cache_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 5
    with pytest.raises(HubError, match="could not be uploaded"):
        small_codec.push_to_hub("owner/codec", token="hf_x")


def test_offline_mode_is_respected(tmp_path):
    """HF_HUB_OFFLINE and local_files_only ask nobody."""
    with pytest.raises(HubError, match="has not been downloaded yet"):
        SNAC.from_pretrained("owner/codec", cache_dir=tmp_path, local_files_only=True)
