"""The page reads what a visitor uploads, and no other file of its machine."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from snac_tok.demo.uploads import UploadsAlone


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")
@pytest.mark.parametrize("guards", ["both", "gradio alone"])
def test_no_function_of_the_page_reads_another_file(tmp_path, guards):
    """Whichever is called, with the file in whichever place; without our own look at requests, gradio refuses it."""
    (tmp_path / "secret").write_text("nobody may read this")
    command = [sys.executable, Path(__file__).with_name("stranger.py"), tmp_path / "secret", guards]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert asked.returncode == 0, asked.stderr
    seen = json.loads(asked.stdout)
    assert len(seen["answers"]) > 15
    for status, text in seen["answers"]:
        assert status in (403, 422) or guards == "gradio alone"
        # The place of a copy, at which whoever knows it may fetch it.
        assert not re.search("[0-9a-f]{64}/secret", text)
    status, text = seen["of an upload"]
    assert status == 200
    assert "not sound that soundfile reads" in text


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        (b"", True),
        (b"no json", True),
        (b"{", False),
        (b'{"data": [{"path": "FOLDER/x/a.wav"}]}', True),
        (b'{"data": [{"path": null}]}', True),
        (b'{"data": [{"path": "FOLDER/../a.wav"}]}', False),
        (b'{"data": [{"path": "FOLDERx/a.wav"}]}', False),
        (b'{"data": [{"path": "a.wav"}]}', False),
        (b'{"data": [{"path": "http://example.org/a.wav"}]}', False),
        (b'{"data": [{"path": ["FOLDER/a.wav"]}]}', False),
        (b'{"data": [{"path": "FOLDER/\\u0000"}]}', False),
        (b'{"data": [{"path": "FOLDER/link"}]}', False),
        (b'[[{"deep": {"path": "/etc/passwd"}}]]', False),
        (b"[" * 60 + b"]" * 60, False),
        (b"[" * 100_000, False),
        ('{"data": [{"path": "/etc/passwd"}]}'.encode("utf-16"), False),
        (b"x" * 2000, False),
    ],
)
def test_requests_by_the_paths_in_them(tmp_path, body, passes):
    """Those in the folder of uploads pass, and the application gets the same bytes."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    body = body.replace(b"FOLDER", str(folder).encode())

    async def app(_scope, receive, send):
        message = await receive()
        assert (message["body"], message["more_body"]) == (body, False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client = TestClient(UploadsAlone(app, folder=str(folder), most_bytes=1500))
    for headers in ({}, {"Content-Type": "application/json"}):
        assert client.post("/", content=body, headers=headers).status_code == (200 if passes else 403)
