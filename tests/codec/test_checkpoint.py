"""Weights: what loads, what is refused and why, and that nothing is left half written."""

import io
import json
import pickle
import resource
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import snac
import torch

from snac_tok.codec import SNAC, CodecConfig
from snac_tok.errors import CheckpointError, ConfigError, NetworkError


@pytest.fixture(scope="module")
def saved(tmp_path_factory, small_config):
    """The folder of the small codec, to be copied."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("codec") / "saved"
    SNAC.from_config(small_config).eval().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path, saved):
    """A saved codec."""
    return shutil.copytree(saved, tmp_path / "saved")


def rewrite(folder, change):
    """Change the saved tensors in place."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors")


def test_save_and_load_is_the_identity(folder, small_codec):
    """Config, weights and digest survive; only the two files are there."""
    loaded = SNAC.from_pretrained(folder)
    assert loaded.config == small_codec.config
    assert loaded.weights_sha256() == small_codec.weights_sha256()
    assert not loaded.training
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_the_legacy_file_loads_under_both_names_of_weight_norm(folder, small_codec):
    """weight_g/weight_v from before torch 2.1 mean original0/1, and the digest does not see the format."""
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in small_codec.state_dict().items()
    }
    assert any(name.endswith("weight_g") for name in old)
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    assert SNAC.from_pretrained(str(folder)).weights_sha256() == small_codec.weights_sha256()


def test_half_precision_files_load_as_float32(folder):
    """A checkpoint's storage type is not the network's."""
    rewrite(folder, lambda weights: weights.update({name: value.half() for name, value in weights.items()}))
    assert SNAC.from_pretrained(folder).dtype == torch.float32
    assert SNAC.from_pretrained(folder, dtype=torch.bfloat16).dtype == torch.bfloat16


class Exploit:
    """Runs code when unpickled by a careless loader."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_a_pickle_with_code_in_it_is_refused_unrun(folder):
    """weights_only, and no second try without it."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"encoder": Exploit()}))
    with pytest.raises(CheckpointError, match="could run code and is refused"):
        SNAC.from_pretrained(folder)


def test_safetensors_wins_over_the_legacy_file(folder, small_codec):
    """A dangerous file next to a safe one is never opened."""
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Exploit()))
    assert SNAC.from_pretrained(folder).weights_sha256() == small_codec.weights_sha256()


NAME = "encoder.block.0.parametrizations.weight.original1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop(NAME), "1 tensors are missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 are unknown"),
        (lambda w: w.update({"encoder.block.0.weight": w.pop(NAME)}), "must not be folded away"),
        (lambda w: w.update({NAME: w[NAME][:1]}), "has shape"),
        (lambda w: w.update({NAME: w[NAME].to(torch.int32)}), "torch.int32"),
        (lambda w: w[NAME].fill_(float("nan")), "NaN or infinite"),
        (lambda w: w.update({NAME: w[NAME].double() + 1e300}), "infinite values as float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, change, says):
    """A partly loaded codec would make noise without a word."""
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=says) as caught:
        SNAC.from_pretrained(folder)
    assert "model.safetensors" in str(caught.value)


def test_truncated_files_are_refused(folder):
    """A download cut in the middle names the file."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        SNAC.from_pretrained(folder)
    path.unlink()
    torch.save({"a": torch.zeros(100)}, folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes((folder / "pytorch_model.bin").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="could not be read as pure tensors"):
        SNAC.from_pretrained(folder)


def test_a_config_that_asks_for_terabytes_is_refused_before_anything_is_built(folder):
    """Bounds first, then the network on no device, then the file's shapes."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"codebook_size": 10**15}))
    with pytest.raises(ConfigError, match="codebook_size"):
        SNAC.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config | {"codebook_size": 65_536, "codebook_dim": 1024}))
    with pytest.raises(CheckpointError, match="has shape"):
        SNAC.from_pretrained(folder)


def test_places_without_a_codec_say_what_they_hold(tmp_path):
    """An empty folder, a missing one, and a name that is neither."""
    with pytest.raises(CheckpointError, match="a codec needs config"):
        SNAC.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="neither an existing folder nor a hub"):
        SNAC.from_pretrained(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="embedded codecs: tiny"):
        SNAC.from_pretrained("no-such-name")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_of_a_codec_is_not_asked_of_the_hub(folder, monkeypatch, kind):
    """`folder/config.json` looks like a repository's name; the folder is what is needed."""
    monkeypatch.chdir(folder.parent)
    named = kind(f"{folder.name}/config.json")
    with pytest.raises(CheckpointError, match=f"config.json' is a file; name its folder: '{folder.name}'"):
        SNAC.from_pretrained(named)


def test_a_full_disk_leaves_the_old_files(folder, small_codec, monkeypatch):
    """Saving over a codec either replaces a file or leaves it."""
    before = (folder / "model.safetensors").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        small_codec.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors:UserWarning", "ignore::DeprecationWarning"
)
def nested(layout):
    """Two rows of different lengths in one tensor."""
    return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=layout)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:.*quant:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "weights",
    [
        lambda: [torch.zeros(3)],
        lambda: {3: torch.zeros(3)},
        lambda: {"a": torch.zeros(3).to_sparse()},
        lambda: {"a": torch.zeros(3, device="meta")},
        lambda: {"a": "text"},
        lambda: {"a": nested(torch.strided)},
        lambda: {"a": nested(torch.jagged)},
        lambda: {"a": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8)},
    ],
    ids=["list", "number", "sparse", "meta", "text", "nested", "jagged", "quantized"],
)
def test_legacy_files_of_odd_content_are_refused(folder, weights):
    """Whatever weights_only lets through, and whatever it refuses itself: in one sentence."""
    (folder / "model.safetensors").unlink()
    torch.save(weights(), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"a dict of names to dense tensors|as pure tensors") as caught:
        SNAC.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_a_deeply_nested_config_is_refused(folder):
    """JSON that exhausts the parser is no valid config."""
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="not valid JSON"):
        SNAC.from_pretrained(folder)


def test_saving_below_a_file_is_refused(tmp_path, small_codec):
    """One sentence with the place."""
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="no codec can be saved into"):
            small_codec.save_pretrained(target)


def expanded(codec):
    """A state dict of one stored value a tensor."""
    return {name: torch.zeros(1).expand(value.shape) for name, value in codec.state_dict().items()}


def shared(codec):
    """A state dict whose tensors all begin in one storage, which is as large as the largest."""
    whole = torch.zeros(max(value.numel() for value in codec.state_dict().values()))
    return {name: whole[: value.numel()].view(value.shape) for name, value in codec.state_dict().items()}


@pytest.mark.parametrize("weights", [expanded, shared])
def test_tensors_larger_than_what_is_stored_are_refused(folder, small_codec, weights):
    """A small file does not become gigabytes of repeated values."""
    (folder / "model.safetensors").unlink()
    torch.save(weights(small_codec), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="repeat or share values"):
        SNAC.from_pretrained(folder)


def test_views_of_one_buffer_load(folder, small_codec):
    """Storage that is shared, but holds every value, is a checkpoint like any other."""
    values = small_codec.state_dict()
    whole = torch.cat([value.reshape(-1) for value in values.values()])
    parts = whole.split([value.numel() for value in values.values()])
    views = {name: part.view(value.shape) for part, (name, value) in zip(parts, values.items(), strict=True)}
    (folder / "model.safetensors").unlink()
    torch.save(views, folder / "pytorch_model.bin")
    assert SNAC.from_pretrained(folder).weights_sha256() == small_codec.weights_sha256()


def test_a_compressed_archive_is_refused_unread(folder, small_codec):
    """Zeros compress a thousandfold; torch never compresses."""
    (folder / "model.safetensors").unlink()
    plain = io.BytesIO()
    torch.save({name: torch.zeros_like(value) for name, value in small_codec.state_dict().items()}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    with pytest.raises(CheckpointError, match="torch does not compress"):
        SNAC.from_pretrained(folder)


LARGEST = {
    "sampling_rate": 24_000,
    "encoder_dim": 1024,
    "encoder_rates": [2, 2, 2],
    "decoder_dim": 8192,
    "decoder_rates": [2, 2, 2],
    "attn_window_size": 32,
    "codebook_size": 65_536,
    "codebook_dim": 1024,
    "vq_strides": [1] * 16,
    "noise": True,
    "depthwise": False,
}


def test_a_codec_of_too_many_weights_is_refused_before_any_is_made(folder):
    """Each value is possible; together they would take gigabytes, from a file as from a constructor."""
    (folder / "config.json").write_text(json.dumps(LARGEST))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=r"config\.json.*parameters; at most 536,870,912"):
        SNAC.from_pretrained(folder)
    with pytest.raises(ConfigError, match="lower encoder_dim, decoder_dim or the codebooks"):
        SNAC(**LARGEST)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_weights_are_counted_without_being_made(small_config):
    """The count from the config is that of the network."""
    for options in ({}, {"noise": True}, {"depthwise": True}, {"attn_window_size": None}):
        config = CodecConfig(**(small_config.to_dict() | options))
        assert config.num_parameters == SNAC.from_config(config).num_parameters


def with_header(content, change):
    """Replace a safetensors file's header."""
    length = struct.unpack("<Q", content[:8])[0]
    header = change(content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def edited(name, **values):
    """Change a header's entry."""

    def change(header):
        entries = json.loads(header)
        entries[name] |= values
        return json.dumps(entries).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        edited(NAME, shape=[2**62, 2**62]),
        edited(NAME, shape=[2**63]),
        edited(NAME, shape=[10**12]),
        edited(NAME, data_offsets=[0, 10**15]),
        edited(NAME, data_offsets=[-4, 4]),
        edited(NAME, data_offsets=[8, 4]),
        edited(NAME, data_offsets=[0, 4]),
        edited(NAME, dtype="F99"),
        edited(NAME, dtype="F8_E8M0"),
        edited(NAME, dtype="BOOL"),
        edited(NAME, shape="many"),
        lambda header: header.replace(b"original1", b"original0"),
        lambda header: header[:-1] + b"," + header[1:],
        lambda _: b"[" * 100_000,
        lambda _: b"{}",
        lambda _: b"",
        lambda header: header.rstrip()[:-2],
    ],
)
def test_safetensors_headers_that_lie_are_refused(folder, change):
    """Shapes, offsets and types that the data does not bear out, names twice, and headers that are none."""
    path = folder / "model.safetensors"
    path.write_bytes(with_header(path.read_bytes(), change))
    with pytest.raises(CheckpointError) as caught:
        SNAC.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("length", [0, 7, 2**40, 2**63, 2**64 - 1])
def test_safetensors_lengths_that_lie_are_refused(folder, length):
    """The first eight bytes promise a header that is not there."""
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        SNAC.from_pretrained(folder)


def test_a_large_file_of_another_network_is_not_read(folder):
    """Names and shapes are compared by the header: eight gigabytes that belong to nothing are not loaded."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    entries = json.loads(content[8 : 8 + length])
    end = len(content) - 8 - length
    entries["extra"] = {"dtype": "F32", "shape": [2**31], "data_offsets": [end, end + 2**33]}
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + content[8 + length :])
        file.truncate(8 + len(header) + end + 2**33)  # a hole, which takes no room on disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="1 are unknown"):
        SNAC.from_pretrained(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_both_names_of_one_tensor_are_refused(folder):
    """Old and new name of weight norm side by side: nobody knows which is meant."""
    rewrite(folder, lambda weights: weights.update({"encoder.block.0.weight_v": weights[NAME].clone()}))
    with pytest.raises(CheckpointError, match="twice, as"):
        SNAC.from_pretrained(folder)


def test_upstream_loads_what_is_saved_for_it(tmp_path, small_codec):
    """safe_serialization=False writes the two files that `snac` reads, and we read them, too."""
    small_codec.save_pretrained(tmp_path, safe_serialization=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "pytorch_model.bin"]
    theirs = snac.SNAC.from_pretrained(str(tmp_path))
    assert all(
        torch.equal(theirs.state_dict()[name], value) for name, value in small_codec.state_dict().items()
    )
    assert SNAC.from_pretrained(tmp_path).weights_sha256() == small_codec.weights_sha256()


@pytest.mark.parametrize("first", [True, False])
def test_no_file_of_the_other_format_stays_behind_with_old_weights(tmp_path, small_codec, first):
    """Whichever file a loader prefers, it holds what was saved last."""
    small_codec.save_pretrained(tmp_path, safe_serialization=first)
    with torch.no_grad():
        small_codec.decoder.model[0].bias.add_(1.0)
    small_codec.save_pretrained(tmp_path, safe_serialization=not first)
    theirs = snac.SNAC.from_pretrained(str(tmp_path)).state_dict()
    ours = SNAC.from_pretrained(tmp_path).state_dict()
    for name, value in small_codec.state_dict().items():
        assert torch.equal(theirs[name], value)
        assert torch.equal(ours[name], value)


def test_changed_networks_are_saved_whole_or_not_at_all(tmp_path, small_codec):
    """What torch.compile wraps is saved under its own names; a codec with a layer missing is refused."""
    wanted = small_codec.weights_sha256()
    plain = small_codec.decoder
    small_codec.decoder = torch.compile(plain, backend="eager")
    small_codec.save_pretrained(tmp_path / "compiled")
    assert SNAC.from_pretrained(tmp_path / "compiled").weights_sha256() == wanted
    small_codec.decoder = plain
    plain.model[0] = torch.nn.Identity()
    with pytest.raises(NetworkError, match="put the original layers back before saving"):
        small_codec.save_pretrained(tmp_path / "changed")
    assert not (tmp_path / "changed").exists()
