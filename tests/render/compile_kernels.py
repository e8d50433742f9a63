"""Compile the triton rasteriser's kernels for GPUs that need not be here; run by ``test_triton_rasterizer``.

Prints a row each: compute capability, kernel, number of fused multiply-adds in float64, of 64-bit atomic minima.
"""

import re
import sys

import triton  # pyright: ignore[reportMissingImports]  # comes with torch for CUDA
from triton.backends.compiler import GPUTarget  # pyright: ignore[reportMissingImports]
from triton.compiler import ASTSource  # pyright: ignore[reportMissingImports]

from facewright.render.rasterizers import triton_kernels
from facewright.render.rasterizers.snapping import DEPTH_STEPS, EMPTY, FACE_BITS
from facewright.render.rasterizers.triton_backend import PIXELS, SMALL_PX, TRIANGLES

COUNTS = dict.fromkeys(("count", "num_vertices", "num_faces"), "i32")
DRAW = dict.fromkeys(("column", "row", "depth"), "*fp64") | {"usable": "*i1", "large": "*i8"} | COUNTS
DRAW |= dict.fromkeys(("corners", "listed", "keys"), "*i64")
RESOLVE = dict.fromkeys(("keys", "corners", "face_index"), "*i64") | COUNTS
RESOLVE |= dict.fromkeys(("clip", "barycentrics", "depth"), "*fp32")
PICTURE = {"height": 112, "width": 112, "depth_steps": DEPTH_STEPS, "face_bits": FACE_BITS}
WALK = PICTURE | {"step_bits": 10, "most": SMALL_PX}
KERNELS = {
    "small": (triton_kernels._draw, DRAW, WALK | {"from_list": False, "triangles": TRIANGLES, "pixels": 1}),
    "large": (triton_kernels._draw, DRAW, WALK | {"from_list": True, "triangles": 1, "pixels": PIXELS}),
    "resolve": (triton_kernels._resolve, RESOLVE, PICTURE | {"empty": EMPTY, "pixels": PIXELS}),
}

if __name__ == "__main__":
    for capability in (75, 80, 90):
        for name, (kernel, types, constants) in KERNELS.items():
            signature = {key: "constexpr" if key in constants else types[key] for key in kernel.arg_names}
            source = ASTSource(kernel, signature, constexprs=constants)
            target = GPUTarget("cuda", capability, 32)
            code = triton.compile(source, target=target, options={"enable_fp_fusion": False}).asm["ptx"]
            fused, minima = (len(re.findall(what, code)) for what in (r"fma\.rn\.f64", r"(?:red|atom)\.\S*min\.s64"))
            sys.stdout.write(f"{capability} {name} {fused} {minima}\n")
