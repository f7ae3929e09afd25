"""POST /encode and /decode: what the tokenizer does, over HTTP."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from served import QUICK, as_integers, same

from snac_tok.serving import Limits

SPEECH = Path(__file__).parents[1] / "speech" / "LJ001-0008.flac"


@pytest.fixture(scope="module")
def clip():
    """A second of speech as a FLAC file, at another rate than the codec's."""
    samples, rate = sf.read(SPEECH)
    assert rate == 22_050
    return _file(samples[:22_050], rate, "FLAC")


def _file(samples, rate=24_000, kind="WAV", subtype=None):
    file = io.BytesIO()
    sf.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def test_there_and_back(serve, tok, clip):
    """The tokenizer's own ids, codes and sound; another preset by its name."""
    server = serve()
    found = server.client.post("/encode", content=clip).json()
    assert found["ids"] == tok.encode(clip)
    assert (found["preset"], found["sampling_rate"], found["num_samples"]) == ("orpheus", 24_000, 24_000)
    other = server.client.post("/encode", params={"preset": "vyvo-qwen3"}, content=clip).json()
    assert other["ids"] == (np.array(found["ids"]) - 128266 + 151679).tolist()
    codes = server.client.post("/encode", params={"codes": "true"}, content=clip).json()["codes"]
    assert [len(level) for level in codes] == [len(other["ids"]) // 7 * count for count in (1, 2, 4)]
    wanted = as_integers(tok.decode(found["ids"]).samples[0])
    for body in (
        {"ids": found["ids"]},
        {"ids": other["ids"], "preset": "vyvo-qwen3", "response_format": "flac"},
        {"codes": codes},
    ):
        answer = server.client.post("/decode", json=body)
        assert answer.headers["content-type"] == f"audio/{body.get('response_format', 'wav')}"
        samples, rate = sf.read(io.BytesIO(answer.content), dtype="int16")
        assert rate == 24_000
        same(samples.astype(np.int64), wanted)


@pytest.mark.parametrize("name", ["mini-omni", "vyvo-lfm2"])
def test_every_presets_own_answer_comes_back(serve, tok, clip, name):
    """What /encode gives, /decode takes: parallel rows are a list of lists, all of whose ids count."""
    server = serve()
    found = server.client.post("/encode", params={"preset": name}, content=clip).json()
    answer = server.client.post("/decode", json={"ids": found["ids"], "preset": name})
    assert answer.status_code == 200, answer.text
    samples, _ = sf.read(io.BytesIO(answer.content), dtype="int16")
    same(samples.astype(np.int64), as_integers(tok.decode(tok.encode(clip)).samples[0]))
    codes = server.client.post("/encode", params={"codes": "true"}, content=clip).json()["codes"]
    small = serve(limits=Limits(stream_tokens=50, idle_seconds=QUICK.idle_seconds))
    for body in ({"ids": found["ids"]}, {"codes": codes}):
        assert small.error(small.client.post("/decode", json=body | {"preset": name}))[:2] == (
            413,
            "too_many_tokens",
        )


def test_sound_that_cannot_be_used_is_one_sentence(serve, clip):
    """No sound, half a file, NaN, nothing, too many channels, a header that lies."""
    server = serve()
    lying = bytearray(_file(np.zeros(2_000)))
    lying[40:44] = (40_000).to_bytes(4, "little")
    for content, code, sentence in (
        (b"", "unusable_sound", "the body is empty"),
        (b"no sound at all", "unusable_sound", "not sound"),
        (clip[: len(clip) // 2], "unusable_sound", "cut"),
        (bytes(lying), "unusable_sound", "cut"),
        (_file(np.full(2_000, np.nan), subtype="FLOAT"), "unusable_sound", "NaN"),
        (_file(np.full(2_000, 1e30), subtype="DOUBLE"), "unusable_sound", "full scale"),
        (_file(np.zeros(0)), "unusable_sound", "no samples"),
        (_file(np.zeros((2_000, 9))), "unusable_sound", "9 channels"),
    ):
        status, found, said = server.error(server.client.post("/encode", content=content))
        assert (status, found) == (400, code)
        assert sentence in said
        assert "allow_truncated=True" not in said
    assert server.client.post("/encode", params={"allow_truncated": "true"}, content=bytes(lying)).is_success
    answer = server.client.post("/encode", params={"preset": "/etc/passwd"}, content=clip)
    assert server.error(answer)[:2] == (400, "invalid_preset")
    answer = server.client.post("/encode", params={"preset": "orfeus"}, content=clip)
    assert server.error(answer)[2] == "there is no preset 'orfeus'. Did you mean 'orpheus'?"


def test_a_field_that_is_none_is_refused_in_an_address_too(serve, talking, speech, clip):
    """A misspelled one would change nothing, and nobody would notice."""
    server = serve(talking)
    asked = {"/decode": {"ids": speech(1)}, "/v1/audio/speech": {"input": "1"}}
    answers = [
        *(
            server.client.post("/encode", params={name: "x"}, content=clip)
            for name in ("presets", "allow-truncated")
        ),
        *(server.client.post(path, params={"preset": "plain"}, json=body) for path, body in asked.items()),
    ]
    names = ("presets", "allow-truncated", "preset", "preset")
    for answer, name in zip(answers, names, strict=True):
        assert server.error(answer) == (400, "invalid_request", f"'{name}' is no field of this request.")
    answer = server.client.post("/encode", params={"codes": "some"}, content=clip)
    assert server.error(answer)[2].startswith("'codes' is 'some': input should be a valid boolean")


def test_a_field_that_stands_twice_is_refused(serve, speech):
    """Most readers of JSON keep the last."""
    data = f'{{"ids": {speech(1)}, "ids": {speech(2)}}}'
    server = serve()
    answer = server.client.post("/decode", content=data, headers={"content-type": "application/json"})
    assert server.error(answer) == (400, "invalid_json", "the body is not JSON: it has keys twice: ['ids'].")


def test_a_recording_may_be_so_long(serve):
    """What the file decodes to counts, not its size: silence packs well."""
    server = serve(limits=Limits(audio_seconds=2.0, body_bytes=100_000))
    silence = _file(np.zeros(24_000 * 30), kind="FLAC")
    assert len(silence) < 10_000
    assert server.error(server.client.post("/encode", content=silence)) == (
        413,
        "too_long",
        "the recording is longer than 2.00 s; cut it, or encode it with `snac-tok encode`.",
    )
    loud = np.random.default_rng(0).uniform(-0.5, 0.5, 60_000)
    assert server.error(server.client.post("/encode", content=_file(loud)))[:2] == (413, "body_too_large")
    assert server.client.post("/encode", content=_file(loud[:30_000])).is_success


def test_ids_that_cannot_be_decoded_are_one_sentence(serve, speech):
    """Half a frame, other models' ids, codes out of range, nothing, both."""
    limits = Limits(stream_tokens=70, idle_seconds=QUICK.idle_seconds)
    server = serve(limits=limits)
    for body, status, code, sentence in (
        ({"ids": speech(1)[:10]}, 400, "invalid_ids", "partial"),
        ({"ids": []}, 400, "invalid_ids", "frame"),
        ({"ids": [1, 2, 3]}, 400, "invalid_ids", "id 1"),
        ({"ids": speech(1), "preset": "vyvo-lfm2"}, 400, "invalid_ids", "vyvo-lfm2"),
        ({"ids": [speech(1)]}, 400, "invalid_ids", "ids of 'orpheus' are one list of numbers"),
        (
            {"ids": speech(1), "preset": "mini-omni"},
            400,
            "invalid_ids",
            "one list for each of its parallel rows",
        ),
        ({"ids": [[1, 2], [3]], "preset": "mini-omni"}, 400, "invalid_ids", "unequal length"),
        ({"ids": [1.5]}, 400, "invalid_request", "'ids.0' is '1.5': input should be a valid integer."),
        ({"ids": [[1], 2]}, 400, "invalid_request", "'ids.1' is '2': input should be a valid list."),
        ({"ids": 5}, 400, "invalid_request", "ids"),
        ({"ids": [10**30]}, 400, "invalid_ids", "int64"),
        ({"codes": [[1], [1, 2], [1, 2, 3, 9999]]}, 400, "invalid_codes", "9999"),
        ({"codes": [[1], [1, 2]]}, 400, "invalid_codes", "level"),
        ({"codes": []}, 400, "invalid_codes", "level"),
        ({}, 400, "invalid_request", 'either "ids" or "codes"'),
        ({"ids": [1], "codes": [[1]]}, 400, "invalid_request", 'either "ids" or "codes"'),
        ({"ids": speech(1), "response_format": "opus"}, 400, "unsupported_format", "wav and flac"),
        ({"ids": speech(1, 11)}, 413, "too_many_tokens", "77 ids"),
    ):
        found = server.error(server.client.post("/decode", json=body))
        assert found[:2] == (status, code), found
        assert sentence in found[2]
        assert "validate(" not in found[2]
