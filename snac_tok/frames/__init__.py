"""Integers only: which code stands where in a frame, and which id it is for a language model.

`FrameLayout` joins the codes of all levels into one line and takes it apart; `Vocabulary` turns codes into
ids and back; `preset` knows the id tables of published models. Works on numpy arrays and torch tensors
alike and never imports torch.
"""

from __future__ import annotations

from snac_tok.frames.choice import vocabulary_for
from snac_tok.frames.faults import Fault
from snac_tok.frames.id_text import FoundIds, ids_as_json, ids_as_text, ids_from_text, read_ids, write_ids
from snac_tok.frames.identify import Identification, identify
from snac_tok.frames.layout import FrameLayout
from snac_tok.frames.presets import DEFAULT_PRESET, preset, preset_names, published_name
from snac_tok.frames.text import TextForm
from snac_tok.frames.vocabulary import Vocabulary
from snac_tok.frames.vocabulary_json import vocabulary_from_json, vocabulary_to_json

__all__ = [
    "DEFAULT_PRESET",
    "Fault",
    "FoundIds",
    "FrameLayout",
    "Identification",
    "TextForm",
    "Vocabulary",
    "identify",
    "ids_as_json",
    "ids_as_text",
    "ids_from_text",
    "preset",
    "preset_names",
    "published_name",
    "read_ids",
    "vocabulary_for",
    "vocabulary_from_json",
    "vocabulary_to_json",
    "write_ids",
]
