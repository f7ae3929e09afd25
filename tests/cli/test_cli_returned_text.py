"""What a language model's server returned, into `snac-tok decode`."""

import codecs
import functools
import json

import pytest

from snac_tok import read_audio, write_audio


def said(result):
    """The lines on stderr, but for the one about the codec for trials, which makes published ids here."""
    return [line for line in result.stderr.splitlines() if "is a codec for trials" not in line]


@pytest.fixture
def speech(work, tokenizer):
    """The ids of b.flac, and a function that says whether a file holds their first frames' sound."""
    ids = tokenizer.encode("b.flac")
    decoded = functools.cache(lambda num_ids: tokenizer.decode(ids[:num_ids]))

    def is_sound(path, *, num_ids=None):
        write_audio(work / "wanted.wav", decoded(num_ids))
        return (read_audio(path).samples == read_audio(work / "wanted.wav").samples).all()

    return ids, is_sound


def spelled(ids, between=""):
    """Spell orpheus ids as its text tokenizer does."""
    return between.join(f"<custom_token_{number - 128_256}>" for number in ids)


def decode(run, text, *options):
    """Decode a text from stdin into b.wav."""
    content = text if isinstance(text, bytes) else text.encode()
    return run("decode", "-", "-o", "b.wav", "--preset", "orpheus", *options, stdin=content)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", "", ""),
        ("<custom_token_4><custom_token_5><custom_token_1>", "<custom_token_2><custom_token_6>", ""),
        ("<|begin_of_text|><custom_token_3>", "<|eot_id|>", ""),
        ("<custom_token_0>", "<custom_token_9>", ""),
        (" \n", "\r\n", ""),
        ("<|audio|>", "<|end_of_text|>", "15 characters around the audio tokens: '<|end_of_text|>'"),
        (
            "tara: Hello. <giggle>",
            "</s>",
            "26 characters around the audio tokens: 'tara: Hello. <giggle> </s>'",
        ),
        ("", "<custom_tok", "11 characters around the audio tokens: '<custom_tok'"),
        ('{"choices": [{"text": "', '"}]}', "28 characters around the audio tokens: '{"),
    ],
)
def test_whole_text(run, speech, before, after, told):
    """Special tokens and words around the audio tokens are left out; the words are told."""
    ids, is_sound = speech
    result = decode(run, f"{before}{spelled(ids)}{after}")
    assert result.exit_code == 0, result.stderr
    assert is_sound("b.wav")
    assert [line[:25] for line in said(result)[1:]] == ["snac-tok: stdin: left out"] * bool(told)
    assert told in result.stderr


@pytest.mark.parametrize("between", [" ", "\n", "\r\n", "\t"])
def test_space_between_tokens(run, speech, between):
    """Some servers put spaces or lines between tokens."""
    ids, is_sound = speech
    assert decode(run, spelled(ids, between)).exit_code == 0
    assert is_sound("b.wav")


@pytest.mark.parametrize(
    "between", ["hm", "<|eot_id|>", "<custom_token_2><custom_token_1>", "\N{ZERO WIDTH SPACE}"]
)
def test_what_stands_between_codes_is_refused(run, speech, between):
    """Words or special tokens among the audio tokens are refused with their place: nothing is passed over."""
    ids, _ = speech
    result = decode(run, spelled(ids[:7]) + between + spelled(ids[7:]))
    assert result.exit_code == 2
    assert "between two audio tokens" in result.stderr or "position 7: id 128" in result.stderr
    assert len(said(result)) == 1


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_byte_order_marks(run, work, speech, mark, encoding):
    """Texts as Windows' editors and PowerShell write them are read in each form, from a file and from stdin."""
    ids, is_sound = speech
    for text in (spelled(ids), json.dumps(ids), " ".join(map(str, ids))):
        content = mark + text.encode(encoding)
        assert decode(run, content, "--force").exit_code == 0
        assert is_sound("b.wav")
    (work / "b.txt").write_bytes(content)
    assert run("decode", "b.txt", "-o", "c.wav", "--preset", "orpheus").exit_code == 0
    assert is_sound("c.wav")


@pytest.mark.parametrize("form", [spelled, json.dumps])
@pytest.mark.parametrize("missing", [1, 6])
def test_a_partial_last_frame(run, speech, form, missing):
    """It is refused with the option that leaves it out; with that option the number of ids left out is told."""
    ids, is_sound = speech
    text = form(ids[:-missing])
    refused = decode(run, text)
    assert refused.exit_code == 2
    assert "--drop-partial" in refused.stderr
    result = decode(run, text, "--drop-partial")
    assert result.exit_code == 0, result.stderr
    left_out = 7 - missing
    assert f"left out the last {left_out} id{'s' if left_out > 1 else ''}" in result.stderr
    assert is_sound("b.wav", num_ids=len(ids) - 7)


def test_drop_partial_with_the_end_of_speech(run, speech):
    """Special tokens behind a partial frame are no part of it; whole frames stay as they are."""
    ids, is_sound = speech
    result = decode(run, spelled([128_257, *ids[:-2], 128_258]), "--drop-partial")
    assert result.exit_code == 0
    assert "left out the last 5 ids" in result.stderr
    assert is_sound("b.wav", num_ids=len(ids) - 7)
    result = decode(run, spelled(ids), "--drop-partial", "--force")
    assert "left out" not in result.stderr
    assert is_sound("b.wav")


def test_drop_partial_of_separated_frames(run, work, tokenizer, speech):
    """A separator belongs to the frame behind it."""
    _, is_sound = speech
    run("encode", "b.flac", "-o", "b.json", "--preset", "per-level-separated")
    ids = json.loads((work / "b.json").read_text())
    for over in (1, 3):
        text = json.dumps(ids[: len(ids) - 8 + over])
        arguments = ["-o", "b.wav", "--preset", "per-level-separated", "--drop-partial", "--force"]
        assert f"left out the last {over} id" in run("decode", "-", *arguments, stdin=text).stderr
        assert is_sound("b.wav", num_ids=len(tokenizer.encode("b.flac")) - 7)


def test_nothing_whole_is_left(run, speech):
    """Less than a frame is no sound, whatever is left out."""
    ids, _ = speech
    result = decode(run, spelled(ids[:3]), "--drop-partial")
    assert result.exit_code == 2
    assert "no frame" in result.stderr


def test_drop_partial_is_for_lines_of_ids(refused, run):
    """Of raw codes and of parallel rows no partial frame can be left out."""
    run("encode", "b.flac", "-o", "b.json", "--preset", "mini-omni")
    run("encode", "b.flac", "-o", "b.npz")
    rows = refused("decode", "b.json", "-o", "b.wav", "--preset", "mini-omni", "--drop-partial")
    assert "parallel rows" in rows
    assert "--drop-partial is for a file of ids" in refused(
        "decode", "b.npz", "-o", "b.wav", "--drop-partial"
    )


@pytest.mark.parametrize(
    ("before", "after"), [([128_000, 9_906, 128_009, 128_257], [128_258, 128_001]), ([], [0])]
)
def test_ids_with_others_around(run, speech, before, after):
    """Text ids around the codes are left out and told."""
    ids, is_sound = speech
    result = decode(run, json.dumps([*before, *ids, *after]))
    assert result.exit_code == 0
    assert is_sound("b.wav")
    shown = ", ".join(map(str, [number for number in (*before, *after) if number in (9_906, 128_001, 0)]))
    assert f"around the codes: {shown}." in result.stderr


def test_two_utterances_are_refused(run, speech):
    """Codes in front of an end of speech are not dropped in favour of those behind it."""
    ids, _ = speech
    result = decode(run, json.dumps([*ids, 128_258, 128_257, *ids]))
    assert result.exit_code == 2
    assert "end_of_speech" in result.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<|snac_5|>", "tokens are <custom_token_0>"),
        ('{"ids": [1, 2]}', "an object with the keys 'ids'; --generated reads"),
        ("<custom_token_99999>", "out of range"),
        ("<custom_token_5>", "no frame"),
        ("hello", "neither a JSON list of ids"),
        ("", "no frame"),
    ],
)
def test_texts_without_speech(run, text, reason):
    """What holds no audio token is refused with what one looks like."""
    result = decode(run, text)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(said(result)) == 1


def test_tokens_of_a_table_without_a_spelling(refused, run, work):
    """A vocabulary of one's own without "text" says what its file needs."""
    table = json.loads(run("inspect", "--preset", "orpheus", "--json").stdout)
    (work / "mine.json").write_text(json.dumps(table | {"text": None}))
    said = refused("decode", "-", "-o", "b.wav", "--preset", "mine.json", stdin="<custom_token_10>")
    assert '.json file needs a "text"' in said


def test_too_much_text(refused, work, monkeypatch):
    """A text longer than any clip's ids is refused, not cut off."""
    from snac_tok.frames import id_text

    monkeypatch.setattr(id_text, "_MAX_BYTES", 1000)
    (work / "b.json").write_text(json.dumps([128_266] * 700))
    assert "b.json has more than" in refused("decode", "b.json", "-o", "b.wav", "--preset", "orpheus")


def generated(run, text, *options):
    """Decode what a model wrote from stdin into b.wav."""
    return decode(run, text, "--generated", *options)


def events(pieces):
    """Server-sent events of an OpenAI-compatible server."""
    lines = [json.dumps({"choices": [{"index": 0, "text": piece}]}) for piece in pieces]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_generated_takes_what_servers_answer(run, work, speech, mark):
    """Events, JSON of several servers, ids, text: the same sound, from stdin and from a file."""
    ids, is_sound = speech
    text, numbers = spelled(ids), [int(number) for number in ids]
    pieces = [text[at : at + 13] for at in range(0, len(text), 13)]
    for answer in (
        events(pieces),
        json.dumps({"choices": [{"message": {"content": text}}]}),
        json.dumps({"choices": [{"index": 0, "text": "", "token_ids": numbers}]}),
        json.dumps({"content": "", "tokens": numbers, "stop": True}),
        json.dumps({"text": "", "output_ids": numbers, "meta_info": {"completion_tokens": len(numbers)}}),
        json.dumps(numbers),
        " ".join(map(str, numbers)),
        text,
    ):
        result = generated(run, mark + answer.encode(), "--force")
        assert result.exit_code == 0, result.stderr
        assert is_sound("b.wav")
        assert "left out" not in result.stderr
    (work / "answer.jsonl").write_text(events(pieces))
    assert run("decode", "answer.jsonl", "-o", "c.wav", "--preset", "orpheus", "--generated").exit_code == 0
    assert is_sound("c.wav")


def test_generated_says_what_it_leaves_out(run, speech):
    """An earlier speech, words, a last frame that is not whole, a token that is cut."""
    ids, is_sound = speech
    text = (
        f"Hi <custom_token_1>{spelled(ids[:7])}<custom_token_2><custom_token_1>{spelled(ids[:-2])}<custom_tok"
    )
    result = generated(run, text)
    assert result.exit_code == 0, result.stderr
    assert is_sound("b.wav", num_ids=len(ids) - 7)
    lines = [line for line in said(result) if "left out" in line]
    assert [line.partition("left out ")[2] for line in lines] == [
        "14 characters around the audio tokens: 'Hi <custom_tok'.",
        "7 ids of speech in front of the last start of speech.",
        "the last 5 ids, a frame that is not whole.",
    ]


def test_generated_chooses_one_of_several_answers(run, refused, speech):
    """`--answer N`; without it the number of answers is told."""
    ids, is_sound = speech
    text = json.dumps({"choices": [{"index": n, "text": spelled(ids[: 7 * (n + 1)])} for n in range(2)]})
    arguments = ["decode", "-", "-o", "b.wav", "--preset", "orpheus", "--generated"]
    assert "stdin: --answer must be 0 to 1" in refused(*arguments, stdin=text)
    assert generated(run, text, "--answer", "1").exit_code == 0
    assert is_sound("b.wav", num_ids=14)
    numbers = [int(number) for number in ids]
    lines = f"{json.dumps(numbers[:7])}\n{json.dumps(numbers[:21])}\n"
    assert "--answer must be 0 to 1" in refused(*arguments, "--force", stdin=lines)
    assert generated(run, lines, "--answer", "1", "--force").exit_code == 0
    assert is_sound("b.wav", num_ids=21)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"error": {"message": "The model does not exist."}}', "an error, 'The model does not exist.'"),
        ("I cannot say that.", "there is no speech of 'orpheus' in 'I cannot say that.'"),
        ("<custom_token_10>", "less than one frame of 7"),
        ("<|speech_4>", "there is no speech"),
        ("<|speech_4|><|speech_5|>", "those of NeuTTS: NeuCodec, not SNAC"),
        (json.dumps([151679 + 4096 * slot for slot in range(7)] * 2), "those of the preset vyvo-qwen3"),
        (f"data: {json.dumps({'choices': []})}\n\ndata: [DONE]\n", "no text and no ids"),
    ],
)
def test_generated_without_speech(run, text, reason):
    """One sentence: what it is, or what is wanted."""
    result = generated(run, text)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(said(result)) == 1


def test_options_of_generated(refused):
    """Each where it has a meaning."""
    common = ["decode", "-", "-o", "b.wav", "--preset", "orpheus"]
    assert "drop --drop-partial" in refused(*common, "--generated", "--drop-partial", stdin="")
    assert "together with --generated" in refused(*common, "--answer", "0", stdin="")
    assert "--generated is for a file of ids" in refused("decode", "b.npz", "-o", "b.wav", "--generated")
