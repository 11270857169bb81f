"""CUDA without a GPU: kernels are compiled as C++ and run on the host, and cuBLAS is NumPy on raw memory.

So the very source of a kernel, and every address and step given to cuBLAS, are tested where there is no device. The
threads of a block are fibers, each of which runs to the next __syncthreads. What is out of sight: races that this order
hides, a device's rounding, and its speed.
"""

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

COMPILER = shutil.which("g++") or shutil.which("clang++")

_HOST = r"""
#include <cmath>
#include <csetjmp>
#include <cstdlib>
#include <ucontext.h>
using std::exp; using std::expm1; using std::fabs; using std::log; using std::sqrt;
#define __global__
#define __device__ static inline
#define __shared__ static  // blocks run one after another
struct dim3 { unsigned int x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
struct Fiber { jmp_buf at; dim3 index; bool done; void* stack; };
static Fiber fibers[1024];  // as many as a block may have
static Fiber* running;
static jmp_buf scheduler;
static void (*kernel_of)(void**);
static void** arguments;
// Jumps: swapcontext asks the system for the mask of signals each time. A fiber that is done waits for its next block.
static __attribute__((noinline)) void suspend() { if (!_setjmp(running->at)) _longjmp(scheduler, 1); }
static void __syncthreads() {  // let every other thread of the block come as far
    suspend();
    threadIdx = running->index;
}
static void fiber_main() {
    for (;;) { threadIdx = running->index; kernel_of(arguments); running->done = true; suspend(); }
}
static __attribute__((noinline)) void resume(Fiber* fiber) {
    running = fiber;
    if (_setjmp(scheduler)) return;
    if (fiber->stack) _longjmp(fiber->at, 1);
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_size = 1 << 15;
    context.uc_stack.ss_sp = fiber->stack = malloc(context.uc_stack.ss_size);
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
}
static void launch(dim3 grid, dim3 block, bool together, void (*kernel)(void**), void** a) {
    gridDim = grid; blockDim = block; kernel_of = kernel; arguments = a;
    unsigned size = block.x * block.y;
    for (unsigned b = 0; b < grid.x * grid.y; b++) {
        blockIdx = {b % grid.x, b / grid.x, 0};
        for (unsigned t = 0; t < size; t++) {
            threadIdx = {t % block.x, t / block.x, 0};
            if (!together) { kernel(a); continue; }
            fibers[t].index = threadIdx;
            fibers[t].done = false;
        }
        for (bool left = together; left;) {
            left = false;
            for (unsigned t = 0; t < size; t++) {
                if (!fibers[t].done) { resume(&fibers[t]); left |= !fibers[t].done; }
            }
        }
    }
}
"""
_TYPES = {
    "unsigned int": np.uint32,
    "int": np.int32,
    "long long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "unsigned char": np.uint8,
    "bool": np.bool_,
}


@cache
def compiled(source: str, defines: tuple[str, ...]) -> Any:
    """The shared library of all kernels in `source`, each behind run_NAME(grid, block, pointers to its arguments)."""
    entries = []
    for name, parameters in signatures(source).items():
        values = ", ".join(f"*({kind}*)a[{i}]" for i, kind in enumerate(parameters))
        together = "true" if re.search(r"__syncthreads|over_block|log_sum", body(source, name)) else "false"
        entries.append(
            f'extern "C" void run_{name}(dim3 grid, dim3 block, void** a) '
            f"{{ launch(grid, block, {together}, [](void** a) {{ {name}({values}); }}, a); }}"
        )
    text = "\n".join([_HOST, source, *entries])
    key = hashlib.sha256("\0".join([text, *defines]).encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"minidistill-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            code, built = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            code.write_text(text)
            flags = ["-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-fPIC", "-shared", "-ffp-contract=off", *defines]
            subprocess.run([str(COMPILER), *flags, "-o", built, code], check=True, capture_output=True, text=True)
            shutil.move(built, library)
    return ctypes.CDLL(str(library))


def signatures(source: str) -> dict[str, list[str]]:
    """{kernel: [type of each parameter]}."""
    found = {}
    for name, text in re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', source):
        found[name] = [re.sub(r"\s*\w+$", "", p.strip()).removeprefix("const ") for p in text.split(",")]
    return found


def body(source: str, name: str) -> str:
    return source.split(f"void {name}(")[1].split("\n}\n")[0]


class RawKernel:
    """cupy.RawKernel: called with a grid, a block and the arguments, which must have the very types of the source."""

    def __init__(self, code: str, name: str, options: tuple[str, ...] = ()) -> None:
        self.library, self.name = compiled(code, options), name
        self.types = signatures(code)[name]
        for define in options:
            short, _, long = define.removeprefix("-D").partition("=")
            self.types = [t.replace(short, long) for t in self.types]

    def run(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: list[Any]) -> None:
        """`arguments`: host memory of the device arrays, and NumPy scalars."""
        if len(arguments) != len(self.types):
            raise TypeError(f"{self.name} takes {len(self.types)} arguments, got {len(arguments)}")
        for value, kind in zip(arguments, self.types, strict=True):
            is_array = isinstance(value, np.ndarray)
            wanted = np.dtype(_TYPES[kind.rstrip("*")])
            if is_array != kind.endswith("*") or getattr(value, "dtype", None) != wanted:
                raise TypeError(f"{self.name} wants {kind}, got {type(value).__name__} {getattr(value, 'dtype', '')}")
            if is_array and not value.flags.c_contiguous:
                raise TypeError(f"{self.name} would read {kind} as contiguous, got strides {value.strides}")
        held = [
            ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray) else np.array(value)
            for value in arguments
        ]
        pointers = [ctypes.addressof(h) if isinstance(h, ctypes.c_void_p) else h.ctypes.data for h in held]
        table = (ctypes.c_void_p * len(pointers))(*pointers)
        getattr(self.library, f"run_{self.name}")(_dim3(grid), _dim3(block), table)


class _Dim3(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in "xyz"]


def _dim3(sizes: tuple[int, ...]) -> _Dim3:
    return _Dim3(*sizes, *[1] * (3 - len(sizes)))


class Cublas:
    """gemm in columns, C = alpha op(A) op(B) + beta C, on the addresses that it is given."""

    CUBLAS_OP_N, CUBLAS_OP_T = 0, 1

    def __init__(self, count: Any) -> None:
        self.count = count

    def __getattr__(self, name: str) -> Any:
        routine = re.fullmatch(r"([sd])gemm(StridedBatched)?", name)
        if routine is None:
            raise AttributeError(f"cublas (a stand-in for it) has no {name!r}")
        dtype = np.dtype(np.float32 if routine[1] == "s" else np.float64)
        return lambda *arguments: self._gemm(dtype, bool(routine[2]), *arguments)

    def _gemm(self, dtype: Any, batched: bool, handle: int, op_a: int, op_b: int, m: int, n: int, k: int, *rest: int):
        self.count("launches")
        if batched:
            alpha, A, lda, far_a, B, ldb, far_b, beta, C, ldc, far_c, count = rest
        else:
            (alpha, A, lda, B, ldb, beta, C, ldc), far_a, far_b, far_c, count = rest, 0, 0, 0, 1
        alpha, beta = (_memory(pointer, dtype, (1,), (0,))[0] for pointer in (alpha, beta))
        size = dtype.itemsize
        assert lda >= (k if op_a else m)
        assert ldb >= (n if op_b else k)
        assert ldc >= m
        for i in range(count):
            a = _memory(A + i * far_a * size, dtype, (k, m) if op_a else (m, k), (1, lda))
            b = _memory(B + i * far_b * size, dtype, (n, k) if op_b else (k, n), (1, ldb))
            c = _memory(C + i * far_c * size, dtype, (m, n), (1, ldc))
            product = alpha * ((a.T if op_a else a) @ (b.T if op_b else b))
            c[...] = product if beta == 0 else product + beta * c


def _memory(address: int, dtype: Any, shape: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """An array on raw memory, its strides in elements."""
    extent = 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    flat = np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8)), (extent * dtype.itemsize,))
    return np.lib.stride_tricks.as_strided(flat.view(dtype), shape, [s * dtype.itemsize for s in steps])
