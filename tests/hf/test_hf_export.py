"""A repository with its own code: complete, and the same codec where snac_tok is not installed."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import AutoModel
from transformers.dynamic_module_utils import get_relative_import_files

from snac_tok import SNAC
from snac_tok.codec.ops import backend
from snac_tok.errors import CheckpointError, ConfigError
from snac_tok.hf import SnacFeatureExtractor, SnacModel
from snac_tok.hf.export import export_remote_code, remote_sources
from snac_tok.hf.saving import whole_files

AUDIO = torch.sin(torch.arange(9_000.0) / 9)[None, None] * 0.3

# Run with only torch, einops and transformers to import from: whoever asks for snac_tok gets an ImportError.
STRANGER = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "snac_tok":
            raise ImportError("snac_tok is not installed here")

sys.meta_path.insert(0, NotInstalled())
import safetensors.torch
import torch
from transformers import AutoFeatureExtractor, AutoModel

folder, given, out = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
assert not [name for name in sys.modules if name.split(".")[0] == "snac_tok"]
audio = safetensors.torch.load_file(given)["audio"].flatten().numpy()
batch = extractor([audio, audio[:3_000]], sampling_rate=24_000, return_tensors="pt")
found = model.encode(**batch)
sound = model.decode(found.audio_codes, found.audio_codes_mask, noise=0).audio_values
levels = {f"level {k}": codes for k, codes in enumerate(found.audio_codes)}
safetensors.torch.save_file({**levels, "sound": sound}, out)
"""


@pytest.fixture(scope="module")
def model():
    """The embedded codec."""
    return SnacModel.from_pretrained("tiny")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """It, saved with its code."""
    folder = tmp_path_factory.mktemp("with-code") / "my.codec-24khz"
    export_remote_code(model, folder)
    return folder


def stranger(source, folder, **environment):
    """What a process that cannot import snac_tok makes of a folder or repository: codes per level, and sound."""
    # The same samples, not the same formula: torch's sine may differ in the last bit from process to process.
    given, out = folder / "audio.safetensors", folder / "out.safetensors"
    safetensors.torch.save_file({"audio": AUDIO}, given)
    environment = {"HF_HOME": str(folder / "home"), "PATH": "/usr/bin:/bin", **environment}
    command = [sys.executable, "-I", "-W", "error", "-c", STRANGER, str(source), str(given), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return safetensors.torch.load_file(out)


def assert_is_the_codecs(found, codec):
    """Two clips of a padded batch, to the last bit."""
    whole, short = (codec.encode(AUDIO[..., :length]) for length in (9_000, 3_000))
    for level, (long_codes, short_codes) in enumerate(zip(whole, short, strict=True)):
        assert torch.equal(found[f"level {level}"][0], long_codes[0])
        assert torch.equal(found[f"level {level}"][1, : short_codes.shape[1]], short_codes[0])
    assert torch.equal(found["sound"][0], codec.decode(whole, noise=0)[0])


@pytest.fixture
def without_loops(monkeypatch):
    """Numba's loops stay with snac_tok; their sound differs by rounding."""
    monkeypatch.setattr(backend, "kernel_mode", "off")


@pytest.mark.slow
@pytest.mark.usefixtures("without_loops")
def test_where_snac_tok_is_not_installed_the_codec_is_the_same(folder, model, tmp_path):
    """A process of its own that cannot import snac_tok makes equal codes and equal sound."""
    assert_is_the_codecs(stranger(folder, tmp_path, HF_HUB_OFFLINE="1"), model.codec)


@pytest.mark.slow
@pytest.mark.usefixtures("without_loops")
def test_from_a_hub_the_code_is_fetched_file_by_file(hub, folder, model, tmp_path):
    """Each module that another one imports is asked for, and is there."""
    hub.files.update({path.name: path.read_bytes() for path in folder.iterdir()})
    address = f"http://127.0.0.1:{hub.server_address[1]}"
    found = stranger("owner/codec", tmp_path, HF_ENDPOINT=address, HF_HUB_DISABLE_XET="1")
    assert_is_the_codecs(found, model.codec)
    asked = {path.rsplit("/", 1)[1] for path in hub.asked}
    assert set(remote_sources()) <= asked


def test_with_snac_tok_the_folder_loads_as_any_other(folder, model):
    """The installed package is preferred to the copy; no trust is needed."""
    codes = model.codec.encode(AUDIO)
    loaded = AutoModel.from_pretrained(folder)
    assert type(loaded) is SnacModel
    for found in (loaded.codec, SNAC.from_pretrained(folder)):
        assert all(torch.equal(one, other) for one, other in zip(found.encode(AUDIO), codes, strict=True))
    assert SnacFeatureExtractor.from_pretrained(folder).sampling_rate == 24_000


def test_the_settings_name_classes_that_are_there(folder):
    """Every auto_map entry is a file in the folder and a class in that file."""
    config = json.loads((folder / "config.json").read_text())
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoFeatureExtractor"}
    assert set(extractor["auto_map"]) == {"AutoFeatureExtractor"}
    for entry in (*config["auto_map"].values(), *extractor["auto_map"].values()):
        file, name = entry.split(".")
        tree = ast.parse((folder / f"{file}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_the_sources_need_nothing_but_each_other_and_known_libraries():
    """All absolute imports are of torch, einops, transformers and what comes with them; all relative ones resolve."""
    sources = remote_sources()
    modules = {name.removesuffix(".py") for name in sources}
    known = {"torch", "einops", "transformers", "numpy", "safetensors", "huggingface_hub"}
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert ({node.module} if node.module else {alias.name for alias in node.names}) <= modules, (
                    name
                )
            elif isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in known | sys.stdlib_module_names, name
            elif isinstance(node, ast.Import):
                found = {alias.name.split(".")[0] for alias in node.names}
                assert found <= known | sys.stdlib_module_names, name


def test_no_module_is_left_behind(folder):
    """Following imports as transformers does, from the three entries on, reaches every file that was written."""
    entries = {"configuration_snac", "modeling_snac", "feature_extraction_snac"}
    reached = {str(folder / f"{entry}.py") for entry in entries}
    for entry in entries:
        reached |= set(get_relative_import_files(str(folder / f"{entry}.py")))
    assert reached == {str(path) for path in folder.glob("*.py")}


def test_a_second_export_replaces_the_first(model, folder, tmp_path):
    """The same files with the same bytes, and nothing more."""
    for _ in range(2):
        export_remote_code(model, tmp_path / "again")
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


def test_the_model_itself_is_left_alone(model, folder):
    """Only the saved config points to code."""
    assert folder.is_dir()
    assert getattr(model.config, "auto_map", None) is None


def test_a_folder_that_cannot_be_made_is_one_sentence(model, tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match=r"no model can be saved into .*taken"):
        export_remote_code(model, tmp_path / "taken")


# With a limit on the size of files, as a disk that is full: signals and limits are a whole process's.
FULL_DISK = """
import resource, signal, sys
from snac_tok.errors import CheckpointError
from snac_tok.hf import SnacModel, export_remote_code

model = SnacModel.from_pretrained("tiny")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
for save in (export_remote_code, SnacModel.save_pretrained):
    try:
        save(model, sys.argv[1])
    except CheckpointError as error:
        print(error)
"""


@pytest.mark.parametrize("size", [200, 100_000])
def test_a_full_disk_leaves_the_repository_beneath(folder, tmp_path, size):
    """Config and weights of two models, or a config without its code, would be no repository any more."""
    shutil.copytree(folder, tmp_path / "repo")
    command = [sys.executable, "-W", "ignore", "-c", FULL_DISK, str(tmp_path / "repo"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 2
    for sentence in said:
        assert sentence.startswith(f"no model can be saved into {tmp_path / 'repo'}: ")
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "repo").iterdir()} == first


KILLED = """
import os, signal, sys
from snac_tok.hf.saving import whole_files

with whole_files(sys.argv[1]) as hidden:
    (hidden / "model.safetensors").write_bytes(b"half of it")
    print(hidden.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == "killed" else sys.stdin.read()
"""


def saving(folder, end):
    """Start a process that is killed while it saves, or goes on when its input ends."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(folder), end]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_left_goes_with_the_next_one_that_saves(tmp_path):
    """A model of gigabytes stayed in a hidden folder for ever; what another process is saving stays."""
    for before in ("first", "second"):  # this process has saved here, and will again
        with whole_files(tmp_path) as hidden:
            (hidden / "config.json").write_text(before)
    with saving(tmp_path, "lives") as alive:
        used = alive.stdout.readline().strip()
        with saving(tmp_path, "killed") as killed:
            left = killed.stdout.readline().strip()
        assert (tmp_path / left).is_dir()
        with whole_files(tmp_path) as hidden:
            (hidden / "config.json").write_text("{}")
        assert not (tmp_path / left).exists()
        assert (tmp_path / used / "model.safetensors").is_file()
        alive.communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_the_config_that_points_to_code_comes_last(model, tmp_path, monkeypatch):
    """Whoever reads a half-replaced folder finds the old config, or the whole of the new."""
    moved = []
    monkeypatch.setattr(Path, "replace", lambda _, target: moved.append(target.name))
    export_remote_code(model, tmp_path / "repo")
    assert moved[-1] == "config.json"
    assert {"model.safetensors", "modeling_snac.py", "preprocessor_config.json"} < set(moved)


def test_a_codec_is_no_model(model, tmp_path):
    """It was saved without an auto_map that fits, and nothing could load it."""
    with pytest.raises(ConfigError, match=r"takes a SnacModel, got a SNAC; SnacModel.from_pretrained"):
        export_remote_code(model.codec, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
