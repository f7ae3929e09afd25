"""The prompts of published families by name: which special ids stand where, and how a voice is named.

orpheus           SOH  BOS text EOT  EOH  SOA SOS  speech  EOS EOA
maya1             the same; a voice is a description
veena             SOH      text      EOH  SOA SOS  speech  EOS EOA
svara             BOS  SOH audio text EOH  EOT  SOA SOS  speech  EOS EOA
orpheus-fastapi   BOS  audio text EOT              speech  EOS EOA
orpheus-tts-local the same
orpheus-cpp       BOS  audio text EOT  EOH         speech  EOS EOA
plain                      text            BOS     speech  EOS

Where SOA SOS is missing, clients leave it to the model to write them. The orders were read in the families' model
cards and clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from snac_tok.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snac_tok.frames import Vocabulary

# The voice of the Orpheus family: a name and a colon.
NAMED_VOICE = "{voice}: {text}"


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """Where one family's special ids stand, as names of a vocabulary's specials.

    Attributes:
        before_text: in front of the text.
        after_text: behind it.
        before_speech: what begins the answer; the last one starts the speech.
        after_speech: what ends it; the first one ends the speech.
        voice: how a voice and a text become one text.
        prompt_starts_speech: whether a prompt ends with `before_speech`, or leaves it for the model to write.
    """

    before_text: tuple[str, ...] = ()
    after_text: tuple[str, ...] = ()
    before_speech: tuple[str, ...]
    after_speech: tuple[str, ...]
    voice: str = NAMED_VOICE
    prompt_starts_speech: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The specials that a vocabulary needs for it."""
        return (*self.before_text, *self.after_text, *self.before_speech, *self.after_speech)


def _turns(
    before_text: tuple[str, ...],
    after_text: tuple[str, ...],
    *,
    voice: str = NAMED_VOICE,
    prompt_starts_speech: bool = True,
) -> PromptTemplate:
    return PromptTemplate(
        before_text=before_text,
        after_text=after_text,
        before_speech=("start_of_ai", "start_of_speech"),
        after_speech=("end_of_speech", "end_of_ai"),
        voice=voice,
        prompt_starts_speech=prompt_starts_speech,
    )


_ORPHEUS = ("start_of_human", "start_of_text"), ("end_of_text", "end_of_human")
_SERVED = ("start_of_text", "audio")

# Tables without turns: marks around the speech alone.
_PLAIN = (
    PromptTemplate(before_speech=("bos",), after_speech=("eos",)),
    PromptTemplate(before_speech=("start_of_speech",), after_speech=("end_of_speech",)),
)

TEMPLATES: Mapping[str, PromptTemplate] = MappingProxyType(
    {
        "orpheus": _turns(*_ORPHEUS),
        "maya1": _turns(*_ORPHEUS, voice='<description="{voice}"> {text}'),
        "veena": _turns(("start_of_human",), ("end_of_human",), voice="<spk_{voice}> {text}"),
        "svara": _turns(("start_of_text", "start_of_human", "audio"), ("end_of_human", "end_of_text")),
        "orpheus-fastapi": _turns(_SERVED, ("end_of_text",), prompt_starts_speech=False),
        "orpheus-tts-local": _turns(_SERVED, ("end_of_text",), prompt_starts_speech=False),
        "orpheus-cpp": _turns(_SERVED, ("end_of_text", "end_of_human"), prompt_starts_speech=False),
        "plain": _PLAIN[0],
    }
)


def prompt_names() -> tuple[str, ...]:
    """Return the names that `prompt=` takes.

    >>> prompt_names()[:3]
    ('orpheus', 'maya1', 'veena')
    """
    return tuple(TEMPLATES)


def template_for(vocabulary: Vocabulary, name: str | None) -> PromptTemplate:
    """Return a family's template; without a name, the one that the vocabulary's own model was trained with.

    Raises:
        LayoutError: an unknown name, or specials that the template needs and the vocabulary lacks.
    """
    specials = vocabulary.specials
    if name is not None and name != "plain":
        if name not in TEMPLATES:
            raise LayoutError(f"no prompt {name!r}; there are {', '.join(TEMPLATES)}.")
        missing = [each for each in TEMPLATES[name].names if each not in specials]
        if missing:
            raise LayoutError(
                f"prompt {name!r} needs the specials {', '.join(missing)}, which {vocabulary.name!r} lacks; take "
                "another prompt, or add them to the vocabulary."
            )
        return TEMPLATES[name]
    candidates = _PLAIN if name == "plain" else (TEMPLATES["orpheus"], *_PLAIN)
    for template in candidates:
        if all(each in specials for each in template.names):
            return template
    raise LayoutError(
        f"{vocabulary.name!r} has the specials {', '.join(specials) or 'none'}; a prompt needs 'bos' and 'eos', "
        "or 'start_of_speech' and 'end_of_speech'. Add them to the vocabulary."
    )
