"""Where sound comes in: folders, manifests and Hugging Face datasets to `Recording`s that are read when needed.

    find.py          whatever a user names → recordings
      folders.py       a folder of sound files; texts.py and metadata.py find what is said in them
      manifests.py     a .txt, .csv, .tsv or .jsonl file that lists recordings
      huggingface.py   a dataset: its column of sound, undecoded, row by row
    recording.py     one recording, not read yet
    reading.py       sound → a `Waveform`, or blocks where a file is long: the one rule for long files
    failures.py      what is noted of a recording that cannot be used, and when the work stops instead

Import from the modules: this file loads none of them, because `failures` is also for programs that read no sound.
Nothing here resamples, picks channels or encodes.
"""
