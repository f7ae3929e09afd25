"""The hub, played by a small HTTP server on this machine: downloads, uploads, and what happens without it."""

import base64
import hashlib
import http.server
import json
import socket
import threading
import time

import huggingface_hub.constants
import pytest

from snac_tok import SnacTokenizer
from snac_tok.codec import SNAC
from snac_tok.errors import HubError

COMMIT = "0" * 40


class Handler(http.server.BaseHTTPRequestHandler):
    """As much of the hub's API as a download and an upload of two files need."""

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, content, status=200, **headers):
        """Send JSON or bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        """Model info, and files."""
        files = self.server.files
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        if path.startswith("/api/models/"):
            if "absent" in path:
                return self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            siblings = [{"rfilename": name} for name in files]
            return self.answer({"id": "owner/codec", "sha": COMMIT, "siblings": siblings})
        name = path.rsplit("/", 1)[1]
        if name not in files:
            return self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        etag = hashlib.sha256(files[name]).hexdigest()
        return self.answer(files[name], ETag=f'"{etag}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET  # noqa: N815 - the name http.server calls

    def do_POST(self):
        """Repository creation, upload plan, Git LFS batch and the commit itself."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path.startswith("/api/repos/create"):
            return self.answer({"url": f"{address}/owner/codec", "name": "codec", "id": "owner/codec"})
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            return self.answer(
                {
                    "files": [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for file in asked
                    ]
                }
            )
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.answer(
                {"success": True, "commitUrl": f"{address}/owner/codec/commit/{COMMIT}", "commitOid": COMMIT}
            )
        return self.answer({"error": self.path}, 404)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A running stand-in; huggingface_hub is told to use it, and to keep its cache in a temporary folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    point_to(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def point_to(monkeypatch, address):
    """Make huggingface_hub talk to an address, online."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def dead(monkeypatch):
    """An address where nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    point_to(monkeypatch, f"http://127.0.0.1:{port}")


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
