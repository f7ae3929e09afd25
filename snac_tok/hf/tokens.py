"""A text tokenizer that knows audio tokens, and a model with rows for them."""

from __future__ import annotations

import reprlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.errors import LayoutError
from snac_tok.frames import DEFAULT_PRESET, FrameLayout, Vocabulary, preset, preset_names, vocabulary_for

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def add_audio_tokens(
    text_tokenizer: PreTrainedTokenizerBase,
    wanted: str | os.PathLike[str] | Vocabulary | FrameLayout = DEFAULT_PRESET,
    *,
    strides: tuple[int, ...] = (4, 2, 1),
    codebook_size: int = 4096,
    model: PreTrainedModel | None = None,
    skipped_as_special: bool = False,
) -> Vocabulary:
    """Give a language model's tokenizer one token for every audio id, unless it has them.

    Presets that may begin anywhere ("plain", "per-level", …) begin right behind the tokenizer's own ids.
    Published ones have fixed ids and fit the tokenizers they were published for; one that already holds them, such
    as Orpheus's, stays as it is.

    Args:
        text_tokenizer: changed in place; save it with `save_pretrained`.
        wanted: a preset's name, a .json file, a `Vocabulary`, or a `FrameLayout` for a plain table in its order.
        strides: the codec's, for presets.
        codebook_size: the codec's, for presets.
        model: grows to as many rows as the tokenizer has ids, if it has fewer; the rows of new tokens, input and
            output, become the mean of the old ones.
        skipped_as_special: mark the audio tokens as special, so that `decode(..., skip_special_tokens=True)` leaves the
            text alone. Published models do not: their codes would vanish from what a model wrote.

    Returns:
        the vocabulary with the ids that the tokens have: `describe()` lists them, `SnacTokenizer` and
        `SnacProcessor` take it.

    Raises:
        LayoutError: ids that this tokenizer cannot give, a table without spellings, or what is no tokenizer or model.

    Example:
        >>> from tokenizers import Tokenizer, models
        >>> from transformers import PreTrainedTokenizerFast
        >>> words = models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]")
        >>> text_tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), unk_token="[UNK]")
        >>> vocabulary = add_audio_tokens(text_tokenizer)
        >>> vocabulary.base, len(text_tokenizer), text_tokenizer.convert_ids_to_tokens(2)
        (2, 28677, '<|audio_0|>')
    """
    _check_tokenizer(text_tokenizer)
    _check_model(model)
    known = text_tokenizer.get_vocab()
    num_before = len(text_tokenizer)
    vocabulary = _placed(wanted, known, num_before, strides=strides, codebook_size=codebook_size)
    tokens = _spelled(vocabulary)
    _check_known(tokens, known, num_before, vocabulary)
    _add(text_tokenizer, tokens, num_before, special=skipped_as_special)
    if model is not None:
        _grow(model, len(text_tokenizer), num_before)
    return vocabulary


def _check_tokenizer(given: Any) -> None:
    needed = ("get_vocab", "add_tokens", "convert_ids_to_tokens", "__len__")
    if not all(hasattr(given, name) for name in needed):
        raise LayoutError(
            f"text_tokenizer is {reprlib.repr(given)}; a loaded Hugging Face tokenizer is needed: "
            "AutoTokenizer.from_pretrained loads one by its name."
        )


def _check_model(given: Any) -> None:
    # Before the tokenizer is changed.
    needed = ("get_input_embeddings", "get_output_embeddings", "resize_token_embeddings")
    if given is not None and not all(hasattr(given, name) for name in needed):
        raise LayoutError(
            f"model is {reprlib.repr(given)}; a loaded transformers model is needed, or None for a tokenizer alone."
        )


def _placed(
    wanted: Any, known: Mapping[str, int], num_before: int, *, strides: tuple[int, ...], codebook_size: int
) -> Vocabulary:
    """Return the vocabulary with its final ids: where its tokens are, or behind all others."""
    if isinstance(wanted, FrameLayout):
        table = preset(
            DEFAULT_PRESET, strides=wanted.strides, levels=wanted.levels, codebook_size=codebook_size
        )
        table = replace(table, layout=wanted)
    else:
        table = vocabulary_for(wanted, strides=strides, codebook_size=codebook_size)
    # A preset that may begin anywhere has base 0 until one is chosen.
    movable = isinstance(wanted, FrameLayout) or wanted in preset_names()
    if not movable or table.base or table.text is None:
        return table
    first = known.get(table.text.token_of(table.text.first_id), num_before)
    return _moved(table, first, known)


def _moved(table: Vocabulary, base: int, known: Mapping[str, int]) -> Vocabulary:
    assert table.text is not None
    literals = {
        _free_name(token, number + base, known): number + base
        for token, number in table.text.literals.items()
    }
    return replace(
        table,
        base=base,
        specials={name: number + base for name, number in table.specials.items()},
        text=replace(table.text, first_id=base, literals=literals),
    )


def _free_name(token: str, number: int, known: Mapping[str, int]) -> str:
    """Return "<|audio_pad|>" for "<|pad|>" where the text tokenizer has a "<|pad|>" of its own."""
    return token if known.get(token, number) == number else token.replace("<|", "<|audio_", 1)


def _spelled(vocabulary: Vocabulary) -> dict[int, str]:
    """Return the token of every id that a vocabulary has."""
    if vocabulary.text is None:
        raise LayoutError(
            f"{vocabulary.name!r} has no text form, so its ids have no tokens; give it one with TextForm."
        )
    numbered = {number: vocabulary.text.token_of(number) for number in vocabulary.text.ids}
    return {**numbered, **{number: token for token, number in vocabulary.text.literals.items()}}


def _check_known(
    tokens: Mapping[int, str], known: Mapping[str, int], num_before: int, vocabulary: Vocabulary
) -> None:
    """Refuse tokens that stand elsewhere, ids that are taken, and ids that leave a gap."""
    advice = _advice(known, vocabulary)
    for number, token in tokens.items():
        found = known.get(token)
        if found not in {None, number}:
            raise LayoutError(
                f"{vocabulary.name!r} needs {token!r} at id {number}; this tokenizer has it at {found}. {advice}"
            )
        if found is None and number < num_before:
            raise LayoutError(
                f"{vocabulary.name!r} needs id {number} for {token!r}; this tokenizer, with {num_before} ids, has "
                f"something else there. {advice}"
            )
    first_new = min((number for number in tokens if number >= num_before), default=num_before)
    if first_new > num_before:
        raise LayoutError(
            f"{vocabulary.name!r} begins at id {first_new}; this tokenizer has {num_before} ids, and new ones come "
            f"right behind. {advice}"
        )


def _advice(known: Mapping[str, int], vocabulary: Vocabulary) -> str:
    form = vocabulary.text
    if form is not None and form.token_of(form.first_id) in known:
        return (
            "It already has audio tokens of another table: name the preset, strides and codebook_size that they were "
            "added with, or take the tokenizer as it was before."
        )
    return "Take a preset that may begin anywhere, such as 'plain', or the tokenizer it was published for."


def _add(
    text_tokenizer: PreTrainedTokenizerBase, tokens: Mapping[int, str], num_before: int, *, special: bool
) -> None:
    from transformers import AddedToken

    last = max(tokens)
    # Published tables have gaps between their tokens; a tokenizer's ids must be consecutive.
    names = {number: tokens.get(number, f"<|reserved_{number}|>") for number in range(num_before, last + 1)}
    # Added as tokens and not as `extra_special_tokens`, which take ten times as long to load.
    text_tokenizer.add_tokens(
        [AddedToken(token, special=special, normalized=False) for token in names.values()],
        special_tokens=special,
    )
    given = text_tokenizer.get_vocab()
    wrong = next((number for number, token in names.items() if given.get(token) != number), None)
    if wrong is not None:
        raise LayoutError(
            f"the tokenizer gave {names[wrong]!r} the id {given.get(names[wrong])} instead of {wrong}: its ids are "
            "not consecutive. Take a tokenizer without gaps."
        )


@torch.no_grad()
def _grow(model: Any, num_tokens: int, num_before: int) -> None:
    """Set the rows of new ids to the mean of the old rows: random ones could look like any word."""
    num_rows = model.get_input_embeddings().weight.shape[0]
    # Where the tokenizer had them already, only what the model lacks is new.
    first_new = num_before if num_before < num_tokens else num_rows
    if num_rows < num_tokens:
        first_new = min(first_new, num_rows)
        model.resize_token_embeddings(num_tokens, mean_resizing=False)
    if first_new >= num_tokens:
        return
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        for rows in () if layer is None else (layer.weight, getattr(layer, "bias", None)):
            if rows is not None:
                rows[first_new:num_tokens] = rows[:first_new].mean(dim=0)
