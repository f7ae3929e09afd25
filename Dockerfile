# snac_tok on a CPU: the command line, and by default the server with the trial codec.
#
#   docker build --build-arg TORCH_INDEX=ADDRESS -t snac-tok .
#   docker run --rm -p 8000:8000 snac-tok
#   docker run --rm -v "$PWD:/data" -v snac-tok-models:/models snac-tok encode x.wav -o x.npz
#
# TORCH_INDEX is the pip index of torch's CPU builds, which pytorch.org's "Start locally" shows. Without it pip installs
# torch with CUDA libraries, about 5 GB. EXTRAS are those of pyproject.toml, between commas.

FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
ARG EXTRAS="serve"
RUN python -m venv /opt/snac_tok
ENV PATH=/opt/snac_tok/bin:$PATH
WORKDIR /src
# torch first: it is the largest part, and changes least.
COPY scripts/constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml MANIFEST.in README.md LICENSE ./
COPY snac_tok snac_tok
RUN pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim
# AAC, M4A and WebM are read through ffmpeg; Debian keeps its newest build alone, so it cannot be pinned.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home snac && mkdir /data /models && chown snac /data /models
COPY --from=build /opt/snac_tok /opt/snac_tok
ENV PATH=/opt/snac_tok/bin:$PATH HF_HOME=/models
USER 1000
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["snac-tok"]
CMD ["serve", "--host", "0.0.0.0", "--model", "tiny"]
