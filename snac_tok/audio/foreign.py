"""Files that libsndfile does not decode and ffmpeg does, recognised by their first bytes.

ffmpeg gets the name of its demuxer, so that it never guesses: some formats that it would guess are lists of other
files and addresses.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ForeignKind:
    """A kind of file that ffmpeg reads.

    Attributes:
        name: in messages.
        demuxer: ffmpeg's name of its demuxer.
    """

    name: str
    demuxer: str


_MP4 = ForeignKind(name="MP4", demuxer="mov")
# The name of an MP4's first box comes after its length.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BY_BEGINNING = {
    b"\x1a\x45\xdf\xa3": ForeignKind(name="WebM or Matroska", demuxer="matroska"),
    bytes.fromhex("3026b2758e66cf11"): ForeignKind(name="WMA", demuxer="asf"),
    b"#!AMR": ForeignKind(name="AMR", demuxer="amr"),
    b"FLV\x01": ForeignKind(name="FLV", demuxer="flv"),
    b"\x0b\x77": ForeignKind(name="AC-3", demuxer="ac3"),
    b"wvpk": ForeignKind(name="WavPack", demuxer="wv"),
    b"MAC ": ForeignKind(name="Monkey's Audio", demuxer="ape"),
    b"TTA1": ForeignKind(name="True Audio", demuxer="tta"),
}
# Both read these containers; ffmpeg knows more of their codecs.
_SHARED = {
    b"RIFF": ForeignKind(name="WAV", demuxer="wav"),
    b"caff": ForeignKind(name="CAF", demuxer="caf"),
    b"FORM": ForeignKind(name="AIFF", demuxer="aiff"),
    b"OggS": ForeignKind(name="Ogg", demuxer="ogg"),
    b".snd": ForeignKind(name="AU", demuxer="au"),
}


def foreign_kind(beginning: bytes) -> ForeignKind | None:
    r"""Return the kind of a file that libsndfile does not know at all; None for all others.

    >>> foreign_kind(b"\x00\x00\x00\x1cftypM4A ").demuxer
    'mov'
    """
    if beginning[4:8] in _MP4_BOXES:
        return _MP4
    # ADTS: MPEG's sync word with a layer that MPEG audio does not use.
    if beginning[:1] == b"\xff" and len(beginning) > 1 and beginning[1] & 0xF6 == 0xF0:  # noqa: PLR2004
        return ForeignKind(name="AAC", demuxer="aac")
    return next((kind for magic, kind in _BY_BEGINNING.items() if beginning.startswith(magic)), None)


def shared_kind(beginning: bytes) -> ForeignKind | None:
    """Return ffmpeg's kind for a container that libsndfile reads, with a codec that it does not."""
    return _SHARED.get(beginning[:4])


def is_strange_ogg(beginning: bytes) -> bool:
    r"""Return whether an Ogg has another codec than Vorbis and Opus; libsndfile does not read all FLAC in Ogg.

    >>> is_strange_ogg(b"OggS" + bytes(22) + b"\x01\x50" + b"Speex   ")
    True
    """
    first_packet = beginning[27 + beginning[26] :] if len(beginning) > 27 else b""  # noqa: PLR2004 - a page's header
    return beginning.startswith(b"OggS") and not first_packet.startswith((b"\x01vorbis", b"OpusHead"))
