"""The hub, played by a small HTTP server on this machine: downloads, uploads, and what happens without it."""

import time

import pytest
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
