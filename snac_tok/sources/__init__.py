"""Where sound comes in: folders, manifests and Hugging Face datasets to `Recording`s that are read when needed.

    find.py          whatever a user names → recordings
      folders.py       a folder of sound files; texts.py and metadata.py find what is said in them
      globs.py         a pattern such as data/**/*.flac
      manifests.py     a .txt, .csv, .tsv, .jsonl or .parquet that lists recordings; rows.py knows the dialects
      tars.py          WebDataset's .tar; shar.py Lhotse's; stored.py reads sound inside other files
      huggingface.py   a dataset: its column of sound, undecoded, row by row
    recording.py     one recording, not read yet
    parts.py         a part of a recording, in seconds
    limits.py        what is left out by length and size
    clips.py         a recording's channels, at the codec's rate
    reading.py       sound → a `Waveform`, or blocks where a file is long: the one rule for long files
    read_ahead.py    recordings read ahead in other processes (processes.py), which may crash (reading_process.py)
    failures.py      what is noted of a recording that cannot be used, and when the work stops instead

Import from the modules: this file loads none of them, because `failures` is also for programs that read no sound.
Nothing here encodes.
"""
