"""Triton compiles every kernel for a GPU that is not there: to machine code of an H100, as it is launched."""

import subprocess
import sys

import pytest

PROGRAM = """
import subprocess
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from snac_tok.codec.ops import kernels, launches, normal, products

POINTERS = set("out middle kept_out held_out x kept held first_alpha taps taps_bias second_alpha matrix".split())
POINTERS |= {"matrix_bias", "alpha", "noise", "bias", "first", "second"}
TARGET = GPUTarget("cuda", 90, 32)
TYPES = {"fp16": (torch.float16, tl.float16), "fp32": (torch.float32, tl.float32)}
DUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def compiled(kernel, dtype, options, **constants):
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    kinds = {"ends": "*i32"} | dict.fromkeys(POINTERS, "*" + dtype) | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    # As torch allocates them.
    aligned = {
        (at,): [["tt.divisibility", 16]] for at, kind in enumerate(signature.values()) if kind.startswith("*")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=places, attrs=aligned)
    return triton.compile(source, target=TARGET, options=options)


def check(name, found):
    # What a program may have on every card.
    assert found.metadata.shared <= 48 * 1024, (name, found.metadata.shared)
    if DUMP.exists():
        Path("kernel.cubin").write_bytes(found.asm["cubin"])
        usage = subprocess.run([DUMP, "-res-usage", "kernel.cubin"], capture_output=True, text=True, check=True)
        assert "STACK:0 " in usage.stdout, (name, usage.stdout)


for dtype, (of_torch, product) in TYPES.items():
    block = launches._block(64, of_torch)
    options = {"num_warps": block.pop("num_warps"), "num_stages": block.pop("num_stages")}
    constants = {"C": 64, "TAPS": 7, "BLOCK_C": 64, "HAS_ENDS": True, "APPROXIMATE": dtype == "fp16"} | block
    constants |= {"MULTIPLIES": dtype == "fp16", "PRODUCT": product, "PRECISION": "ieee"}
    for kernel in (kernels.residual_unit, kernels.extended, kernels.noise_block, kernels.last_layers):
        for kept in (True, False) if kernel is kernels.residual_unit else (True,):
            name = (dtype, kernel.__name__, kept)
            check(name, compiled(kernel, dtype, options, HAS_KEPT=kept, **constants))
for precision in ("tf32x3", "tf32"):
    for channels in (64, launches.MAX_TF32_WIDTH):
        block = launches._block_of_tf32(channels)
        options = {"num_warps": block.pop("num_warps"), "num_stages": block.pop("num_stages")}
        constants = {"C": channels, "TAPS": 7, "HAS_ENDS": True, "APPROXIMATE": False, "HAS_KEPT": True} | block
        constants |= {"MULTIPLIES": True, "PRODUCT": tl.float32, "PRECISION": precision}
        for kernel in (kernels.residual_unit, kernels.noise_block):
            check((precision, kernel.__name__, channels), compiled(kernel, "fp32", options, **constants))
    options = {"num_warps": products.TILE["num_warps"], "num_stages": products.TILE["num_stages"]}
    for adds in (True, False):
        constants = {"STEPS": 2, "HAS_BIAS": not adds, "ADDS": adds, "PRECISION": precision} | products.TILE
        check((precision, "products"), compiled(products.products_kernel, "fp32", options, **constants))
signature = {"out": "*fp16", "seeds_and_starts": "*i64", "layer_key": "i64", "length": "i32", "BLOCK": "constexpr"}
source = ASTSource(fn=normal.normal_kernel, signature=signature, constexprs={(4,): 1024})
assert triton.compile(source, target=TARGET).asm["cubin"]
"""


@pytest.mark.slow
def test_every_kernel_compiles_for_a_gpu(tmp_path):
    """The interpreter takes what the compiler may not; and no kernel spills registers.

    In a process that does not interpret.
    """
    pytest.importorskip("triton")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2_000:]
