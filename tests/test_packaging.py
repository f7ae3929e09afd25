"""What is installed: a wheel that the sdist builds byte for byte, with whole metadata and nothing stray."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import snac_tok

pytest.importorskip("build", reason="the extra `test` is not installed")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
# What people leave lying about, and what setuptools takes by itself unless it is told otherwise.
STRAY = (
    "snac_tok/notes.txt",
    "snac_tok/.env",
    "snac_tok/codec/embedded/draft",
    "tests/test_of_mine.py",
    "docs/a.md",
)
BUILT_FROM = {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def build(kind, tree, output):
    """Build an sdist or a wheel of a folder with the setuptools that is here; files have a time of their own in it."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        f"--{kind}",
        "--outdir",
        str(output),
        str(tree),
    ]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1600000000"}
    ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (made,) = output.iterdir()
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, the wheel that it builds, and the wheel of the tree; in the tree lies more than either should have."""
    folder = tmp_path_factory.mktemp("packaging")
    tree = folder / "tree"
    shutil.copytree(ROOT / "snac_tok", tree / "snac_tok", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    for name in STRAY:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("stray")
    sdist = build("sdist", tree, folder / "sdist")
    shutil.unpack_archive(
        sdist, folder / "unpacked", **({"filter": "data"} if sys.version_info >= (3, 12) else {})
    )
    (unpacked,) = (folder / "unpacked").iterdir()
    return sdist, build("wheel", unpacked, folder / "of-sdist"), build("wheel", tree, folder / "of-tree")


def of_the_package():
    """Every file that works: code, the mark for type checkers, the codec that ships inside."""
    package = ROOT / "snac_tok"
    files = {*package.rglob("*.py"), package / "py.typed", *(package / "codec" / "embedded").glob("*/*")}
    return {str(path.relative_to(ROOT)) for path in files}


@pytest.mark.slow
def test_the_sdist_builds_the_wheel_of_the_tree(built):
    """The same names in the same order, and the same bytes."""
    _, of_sdist, of_tree = built
    assert of_sdist.name == of_tree.name == f"snac_tok-{snac_tok.__version__}-py3-none-any.whl"
    assert zipfile.ZipFile(of_sdist).namelist() == zipfile.ZipFile(of_tree).namelist()
    assert of_sdist.read_bytes() == of_tree.read_bytes()


def test_nothing_stray_and_nothing_missing(built):
    """The wheel is the package; the sdist is what the wheel is built from: no tests, no docs, no notes."""
    sdist, wheel, _ = built
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == of_the_package()
    with tarfile.open(sdist) as archive:
        inside = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name for name in inside if ".egg-info/" not in name} == of_the_package() | BUILT_FROM


def test_the_metadata_is_whole_and_valid(built):
    """As the index checks it; the author is the one whom LICENSE names, and no address is made up."""
    with zipfile.ZipFile(built[1]) as wheel:
        folder = f"snac_tok-{snac_tok.__version__}.dist-info"
        found = Metadata.from_email(wheel.read(f"{folder}/METADATA"), validate=True)
        licence = wheel.read(f"{folder}/licenses/LICENSE").decode()
        commands = wheel.read(f"{folder}/entry_points.txt").decode()
    assert f"(c) 2026 {found.author}\n" in licence
    assert (found.license_expression, found.license_files) == ("MIT", ["LICENSE"])
    assert found.description_content_type == "text/markdown"
    assert found.description == (ROOT / "README.md").read_text(encoding="utf-8")
    assert found.summary == PROJECT["description"]
    assert not found.project_urls
    assert not found.home_page
    assert "Typing :: Typed" in found.classifiers
    assert "snac-tok = snac_tok.cli:main" in commands


def test_the_versions_of_python_agree():
    """Classifiers begin with the oldest version that is asked for, and leave none out."""
    versions = [word.rpartition(" ")[2] for word in PROJECT["classifiers"] if "Python :: 3." in word]
    oldest = PROJECT["requires-python"].removeprefix(">=3.")
    assert versions == [f"3.{minor}" for minor in range(int(oldest), int(oldest) + len(versions))]


def test_the_wheel_works_without_the_repository(built, tmp_path):
    """The codec is inside; a clip goes to codes."""
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(tmp_path)
    code = "import snac_tok; print(snac_tok.__file__, snac_tok.SNAC.from_pretrained('tiny').sampling_rate)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert ran.stdout.split() == [str(tmp_path / "snac_tok" / "__init__.py"), "24000"]
