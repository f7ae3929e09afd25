"""Plain values to dataclasses and back: strict, with one sentence for whatever is wrong, in bounded time and length."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - `from_plain` reads the fields' types while it runs
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snac_tok.errors import CheckpointError, LayoutError, ShardError
from snac_tok.files import shown_path
from snac_tok.plain_values import from_plain, parse_json, read_text, to_plain


@dataclass(frozen=True, kw_only=True)
class Part:
    """A dataclass inside another, with a check of its own."""

    size: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise LayoutError(f"size is {self.size}; it must be at least 0.")


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A field of every kind."""

    name: str
    parts: tuple[Part, ...] = ()
    pair: tuple[int, str] | None = None
    order: Literal["up", "down"] = "up"
    ids: Mapping[str, int] = field(default_factory=dict)
    anything: Any = None


def refusal(values: Any, **options: Any) -> str:
    """Return the sentence with which plain values are refused."""
    with pytest.raises(ShardError) as refused:
        from_plain(Whole, values, what="the whole", error=ShardError, **options)
    return str(refused.value)


def test_there_and_back() -> None:
    """Through JSON, a tree is the same tree."""
    whole = Whole(name="a", parts=(Part(size=1), Part(size=2, scale=0.5)), pair=(3, "x"), ids={"pad": 7})
    assert from_plain(Whole, json.loads(json.dumps(to_plain(whole))), error=ShardError) == whole


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            None,
            "the whole is empty; a mapping of ['anything', 'ids', 'name', 'order', 'pair', 'parts'] is needed.",
        ),
        ({}, "the whole lacks ['name']."),
        ({"name": 1}, "name is 1; a value of type str is needed."),
        ({"name": "a", "orders": 1}, "the whole has an unknown entry 'orders'; known are ["),
        ({"name": "a", "order": {}}, "order is {}; it must be one of ['up', 'down']."),
        ({"name": "a", "parts": {}}, "parts is {}; a list is needed."),
        ({"name": "a", "parts": [{}]}, "parts[0] lacks ['size']."),
        ({"name": "a", "parts": [{"size": True}]}, "parts[0].size is True; a value of type int is needed."),
        ({"name": "a", "parts": [{"size": -1}]}, "parts[0]: size is -1; it must be at least 0."),
        ({"name": "a", "parts": [{"size": 1, "scale": 10**400}]}, "parts[0].scale is 1000"),
        ({"name": "a", "pair": [1]}, "pair has 1 entries; 2 are needed."),
        ({"name": "a", "ids": []}, "ids is []; a mapping is needed."),
        ({"name": "a", "ids": {"pad": "x"}}, "ids.pad is 'x'; a value of type int is needed."),
        ({"name": "a", "ids": {3: 3}}, "a name in ids is 3; a value of type str is needed."),
    ],
)
def test_what_is_wrong_is_named_by_its_path(values: Any, sentence: str) -> None:
    """In the caller's class of errors, those of the dataclasses' own checks included."""
    assert refusal(values).startswith(sentence)


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    """At the end of the sentence."""
    assert refusal({"name": "a", "orders": 1}).endswith(" Did you mean 'order'?")


def test_a_complete_mapping_leaves_nothing_out() -> None:
    """What was written by a program has every field; a default in place of a lost one would hide the damage."""
    assert refusal({"name": "a"}, complete=True) == (
        "the whole lacks ['parts', 'pair', 'order', 'ids', 'anything']."
    )


@pytest.mark.parametrize("depth", [4, 900, 100_000])
@pytest.mark.parametrize("name", ["name", "parts", "pair", "order", "ids", "x"])
def test_deep_nesting_is_refused(name: str, depth: int) -> None:
    """By the reader of JSON or by the types, never by the end of the stack."""
    text = f'{{"{name}": {"[" * depth}{"]" * depth}}}'
    with pytest.raises(ShardError) as refused:
        from_plain(Whole, parse_json(text, what="it", error=ShardError), error=ShardError)
    assert len(str(refused.value)) < 300


def test_long_values_and_names_are_quoted_in_part() -> None:
    """A sentence stays a sentence, whatever a damaged file holds."""
    for values in ({"name": ["x" * 10**6]}, {"n" * 10**6: 1}, {"name": "a", "ids": {"n" * 10**6: "x"}}):
        assert len(refusal(values)) < 300


@given(st.text())
def test_any_text_is_refused_as_such(text: str) -> None:
    """Nothing but the caller's error leaves the reader."""
    with pytest.raises(ShardError):
        from_plain(Whole, parse_json(text, what="it", error=ShardError), error=ShardError)


def test_a_number_of_thousands_of_digits_is_refused():
    """In our words: Python's name a setting of the interpreter."""
    with pytest.raises(LayoutError, match="the config has a number that is too long to be read") as refused:
        parse_json('{"a": ' + "9" * 5000 + "}", what="the config", error=LayoutError)
    assert "set_int" not in str(refused.value)


def test_keys_given_twice_are_refused() -> None:
    """JSON would keep the last one silently."""
    with pytest.raises(ShardError, match=r"the plan is not valid JSON: it has keys twice: \['b'\]"):
        parse_json('{"a": [{"b": 1, "b": 1}]}', what="the plan", error=ShardError)


def test_text_is_read_with_its_limits(tmp_path) -> None:
    """A mark at its start is left out; a missing, large or binary file is named."""
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    options = {"what": "the list", "error": CheckpointError}
    assert read_text(path, **options) == "[1]"
    with pytest.raises(CheckpointError, match=r"a\.json has more than 5 bytes; the list is smaller"):
        read_text(path, max_bytes=5, **options)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"the list .*a\.json is not UTF-8 text"):
        read_text(path, **options)
    with pytest.raises(
        CheckpointError, match=r"the list .*b\.json cannot be read: No such file or directory\."
    ):
        read_text(tmp_path / "b.json", **options)
    with pytest.raises(CheckpointError, match=r"the list 3 cannot be read"):
        read_text(3, **options)


def test_paths_that_are_not_text_can_be_printed() -> None:
    """Bytes that are not UTF-8, and halves of surrogate pairs that no byte is."""
    assert shown_path("caf\udce9/\ud800.wav") == r"caf\xe9/\ud800.wav"
