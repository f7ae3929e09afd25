"""Asks the page, in a process of its own because gradio leaves things open, for a file that nobody uploaded.

Prints the status and the text of each answer, and of one about a file that was uploaded.
"""

import json
import sys

from starlette.testclient import TestClient

from snac_tok import SnacTokenizer
from snac_tok.demo import create_demo
from snac_tok.demo.uploads import UploadsAlone

PREDICT = "/gradio_api/run/predict"
TAKE = 3


async def let_through(self, scope, receive, send):
    """Take the place of our look at requests."""
    await self._app(scope, receive, send)


def file(path):
    """A file as the page's scripts name it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def main(secret, guards):
    """Ask with the file in each place of each function."""
    if guards == "gradio alone":
        UploadsAlone.__call__ = let_through
    app = create_demo({"tiny": SnacTokenizer.from_pretrained("tiny")})
    with TestClient(app, raise_server_exceptions=False) as page:

        def asked(number, data, **options):
            body = json.dumps({"data": data, "fn_index": number, "session_hash": "t"})
            answer = page.post(PREDICT, content=body, headers={"Content-Type": "application/json", **options})
            return answer.status_code, answer.text

        forms = ([file(secret)], [None, file(secret)], ["", file(secret), "tiny", "strict"])
        count = len(page.get("/config").json()["dependencies"])
        answers = [asked(number, data) for number in range(count) for data in forms]
        # JSON that calls itself an upload.
        answers.append(asked(TAKE, forms[0], **{"Content-Type": "multipart/form-data; boundary=x"}))
        (path,) = page.post("/gradio_api/upload", files={"files": ("a.wav", b"no sound")}).json()
        json.dump({"answers": answers, "of an upload": asked(TAKE, [file(path)])}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
