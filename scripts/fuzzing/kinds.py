"""The kinds of files that are tried: whole ones to start from, and the public door that reads each kind.

A door may give what it read or refuse in one sentence (an exception of ours). Everything else is a finding.
"""

from __future__ import annotations

from fuzzing import code_files, codec_files, requests, sound_files

KINDS = {**sound_files.KINDS, **codec_files.KINDS, **code_files.KINDS, **requests.KINDS}
