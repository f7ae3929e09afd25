"""What the benchmark scripts are made of; `bench_codec.py`, `bench_frames.py` and `bench_stream.py` are what is run."""
