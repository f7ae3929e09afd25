"""Real grammar engines behind one face: which ids may come next after some ids."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

# A place for a text tokenizer's end of text: an id that no preset uses.
END_OF_TEXT = 3


class Llguidance:
    """A matcher of llguidance with ids that spell nothing else."""

    form = "lark"

    def __init__(self, size: int, grammar: str) -> None:
        llguidance = pytest.importorskip(
            "llguidance", reason="llguidance is not installed: no Lark masks of it"
        )
        self.size = size
        self.matcher = llguidance.LLMatcher(_llguidance_tokenizer(size), grammar)
        assert not self.matcher.is_error(), self.matcher.get_error()

    def allowed(self) -> np.ndarray:
        """Ids that may come next, the end of text among them where the text may end."""
        return _set_bits(np.frombuffer(self.matcher.compute_bitmask(), np.uint8), self.size)

    def accept(self, token_id: int) -> bool:
        """Take an id; False refuses it."""
        return self.matcher.consume_token(token_id)


class Xgrammar:
    """A matcher of xgrammar for Lark."""

    form = "lark"

    def __init__(self, size: int, grammar: str) -> None:
        self.xgrammar = pytest.importorskip("xgrammar", reason="xgrammar is not installed: no masks of it")
        self.size = size
        self.matcher = self.xgrammar.GrammarMatcher(self.compiled(size, grammar))
        self.mask = self.xgrammar.allocate_token_bitmask(1, size)

    @classmethod
    def compiled(cls, size: int, grammar: str):
        """The grammar for ids below `size`."""
        compiler = _xgrammar_compiler(size)
        return compiler.compile_lark(grammar) if cls.form == "lark" else compiler.compile_grammar(grammar)

    def allowed(self) -> np.ndarray:
        """Ids that may come next."""
        self.mask.fill_(-1)
        self.matcher.fill_next_token_bitmask(self.mask)
        return _set_bits(self.mask.numpy().view(np.uint8)[0], self.size)

    def accept(self, token_id: int) -> bool:
        """Take an id; False refuses it."""
        return self.matcher.accept_token(token_id)


class XgrammarEbnf(Xgrammar):
    """A matcher of xgrammar for its own form."""

    form = "ebnf"


ENGINES = (Llguidance, Xgrammar, XgrammarEbnf)


def _set_bits(mask: np.ndarray, size: int) -> np.ndarray:
    return np.flatnonzero(np.unpackbits(mask, bitorder="little")[:size])


@lru_cache(maxsize=4)
def _llguidance_tokenizer(size: int):
    import llguidance

    class Tokens:
        """What llguidance asks of a tokenizer."""

        eos_token_id = END_OF_TEXT
        bos_token_id = None
        tokens = tuple(f"<{number}>".encode() for number in range(size))
        special_token_ids = tuple(range(size))

        def __call__(self, text):
            raise NotImplementedError(text)

    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(Tokens()), slices=[])


@lru_cache(maxsize=4)
def _xgrammar_compiler(size: int):
    import xgrammar

    info = xgrammar.TokenizerInfo(
        [f"<{number}>" for number in range(size)],
        vocab_type=xgrammar.VocabType.RAW,
        stop_token_ids=[END_OF_TEXT],
    )
    return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
