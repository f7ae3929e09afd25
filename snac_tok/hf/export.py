"""A codec as a repository that carries its own code: loads where snac_tok is not installed.

transformers copies a repository's modules into one flat package and follows their relative imports. So the modules
that the model needs are written under flat names, with their imports of each other made relative; nothing else in
them changes.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from snac_tok import __version__
from snac_tok.errors import ConfigError
from snac_tok.hf.feature_extraction import SnacFeatureExtractor
from snac_tok.hf.modeling import SnacModel
from snac_tok.hf.saving import whole_files

if TYPE_CHECKING:
    import os

_PACKAGE = "snac_tok"

# What transformers enters by, under the file names that it is used to; `auto_map` names them.
_ENTRIES = {
    "snac_tok.hf.configuration": "configuration_snac",
    "snac_tok.hf.modeling": "modeling_snac",
    "snac_tok.hf.feature_extraction": "feature_extraction_snac",
}
_AUTO_FEATURE_EXTRACTOR = {"AutoFeatureExtractor": "feature_extraction_snac.SnacFeatureExtractor"}
_AUTO_MAP = {
    "AutoConfig": "configuration_snac.SnacConfig",
    "AutoModel": "modeling_snac.SnacModel",
    **_AUTO_FEATURE_EXTRACTOR,
}

_HEADER = """\
# SPDX-License-Identifier: MIT
# {module} of snac_tok {version}, written by snac_tok.hf.export_remote_code: change it there, not in this copy.
"""


def export_remote_code(model: SnacModel, folder: str | os.PathLike[str]) -> None:
    """Save a model together with the code that runs it, for `AutoModel.from_pretrained(…, trust_remote_code=True)`.

    Whoever loads the folder, or a hub repository with its files, needs torch, einops and transformers, not snac_tok.
    The folder gets the weights, config.json, preprocessor_config.json and about forty Python files; snac_tok itself
    loads it, too.

    Args:
        model: the codec.
        folder: where to; made if it is not there. Files of the same names are replaced once all are written.

    Raises:
        CheckpointError: the folder cannot be written to; what it holds stays as it was.
        ConfigError: what is given is no `SnacModel`.

    Example:
        >>> from snac_tok.hf import SnacModel
        >>> export_remote_code(SnacModel.from_pretrained("tiny"), "codec-with-code")
        >>> sorted(path.name for path in Path("codec-with-code").glob("*_snac.py"))
        ['configuration_snac.py', 'feature_extraction_snac.py', 'modeling_snac.py']
    """
    if not isinstance(model, SnacModel):
        raise ConfigError(
            f"export_remote_code takes a SnacModel, got a {type(model).__name__}; SnacModel.from_pretrained loads the "
            "same codecs, and SnacModel(SnacConfig.of(codec.config), codec=codec) wraps a loaded one."
        )
    sources = remote_sources()
    with whole_files(folder) as hidden:
        # Not its own method, which makes a hidden folder, too.
        model.codec.own_weights()
        PreTrainedModel.save_pretrained(model, hidden)
        SnacFeatureExtractor(sampling_rate=model.config.sampling_rate).save_pretrained(hidden)
        for name, source in sources.items():
            (hidden / name).write_bytes(source.encode())
        _add_auto_map(hidden / "preprocessor_config.json", _AUTO_FEATURE_EXTRACTOR)
        _add_auto_map(hidden / "config.json", _AUTO_MAP)


def remote_sources() -> dict[str, str]:
    """Return the Python files of a repository by name: the entries, and every module of ours that they need."""
    sources: dict[str, str] = {}
    waiting = list(_ENTRIES)
    while waiting:
        module = waiting.pop()
        if _flat_name(module) + ".py" not in sources:
            source, needed = _relative(module)
            sources[_flat_name(module) + ".py"] = source
            waiting += needed
    return dict(sorted(sources.items()))


def _relative(module: str) -> tuple[str, list[str]]:
    """Return a module's source with its imports of our modules made relative, and the names of those modules."""
    source = _source_path(module).read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    needed: list[str] = []
    ours = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE
    ]
    # From the end, so that line numbers stay right.
    for node in sorted(ours, key=lambda node: -node.lineno):
        statements, modules = _statements(node)
        needed += modules
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first, last = node.lineno - 1, node.end_lineno
        rest = lines[last - 1].encode()[node.end_col_offset :].decode()
        lines[first:last] = [("\n" + " " * node.col_offset).join(statements) + rest]
        lines[first] = " " * node.col_offset + lines[first]
    return _HEADER.format(module=module, version=__version__) + "".join(lines), needed


def _statements(node: ast.ImportFrom) -> tuple[list[str], list[str]]:
    """Return the relative imports that bind the names a `from snac_tok… import …` binds, and their modules."""
    assert node.module is not None
    names: dict[str, list[str]] = {}
    aliases = []
    for alias in node.names:
        module = f"{node.module}.{alias.name}"
        if _source_path(module).is_file():
            # transformers follows `from .x import y`, not `from . import x`: give it something to follow.
            names.setdefault(module, []).append("__name__ as _")
            aliases.append(f"from . import {_flat_name(module)} as {alias.asname or alias.name}")
        else:
            bound = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            names.setdefault(_home(node.module, alias.name), []).append(bound)
    followed = [f"from .{_flat_name(module)} import {', '.join(bound)}" for module, bound in names.items()]
    return followed + aliases, list(names)


def _home(module: str, name: str) -> str:
    """Return the module that defines a name: of a package's re-exports, where its `__init__` has them from."""
    path = _source_path(module)
    if path.is_file():
        return module
    for node in ast.parse((path.with_suffix("") / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            assert node.module is not None
            return node.module
    raise AssertionError(f"{module} re-exports no {name}")


def _flat_name(module: str) -> str:
    """Return a module's name in the flat folder, "snac_codec_model" of "snac_tok.codec.model"."""
    return _ENTRIES.get(module, module.replace(_PACKAGE, "snac", 1).replace(".", "_"))


def _source_path(module: str) -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _add_auto_map(path: Path, auto_map: dict[str, str]) -> None:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content = json.dumps({**settings, "auto_map": auto_map}, indent=2, sort_keys=True) + "\n"
    path.write_bytes(content.encode())
