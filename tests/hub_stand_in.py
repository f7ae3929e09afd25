"""The hub, played by a small HTTP server on this machine; tests/conftest.py makes its fixtures known everywhere."""

import base64
import hashlib
import http.server
import json
import socket
import threading

import huggingface_hub.constants
import pytest

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
        if self.server.status:
            return self.answer({"error": "as it was told"}, self.server.status)
        if "/revision/absent" in path:
            return self.answer({"error": "Revision not found"}, 404, X_Error_Code="RevisionNotFound")
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
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
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
    server.files, server.asked, server.status = {}, [], 0
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
