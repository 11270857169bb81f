"""The backends at hand, for tests that hold them all to the reference, and the settings of xdist."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import fake_cupy
import pytest
from strategies import MUTATING, OTHER_VERSIONS

from minidistill import BackendUnavailable
from minidistill.backend import Backend, BlasBackend, CupyBackend
from minidistill.backend.blas import find_library


def _backends() -> dict[str, Callable[[], Backend]]:
    if os.environ.get("MINIDISTILL_BACKEND") == "cupy":
        CupyBackend()  # or the error that says what is missing: a run that asks for a GPU must not pass without one
        return {"cupy": CupyBackend}
    found: dict[str, Callable[[], Backend]] = {"reference": Backend}
    if MUTATING:  # one will do
        return found
    for name in ("openblas", "mkl"):
        with suppress(BackendUnavailable):
            found[name] = partial(BlasBackend, find_library(name))
    if not OTHER_VERSIONS:  # which have nothing to do with a stand-in
        found["fake"] = lambda: CupyBackend(xp=fake_cupy)
    try:
        CupyBackend()
    except BackendUnavailable:
        return found
    return {**found, "cupy": CupyBackend}


BACKENDS = _backends()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in two processes, where pytest-xdist is installed and -n does not say otherwise."""
    if not config.pluginmanager.hasplugin("xdist") or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if config.option.numprocesses is None and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        # The tests of a file share what it made. The longest file has few tests, and would come last if reordered.
        config.option.numprocesses, config.option.dist, config.option.loadscopereorder = 2, "loadfile", False
    if config.option.numprocesses:
        # The processes inherit this. With threads of their own for each product they slow each other many times over.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        os.environ.setdefault("MKL_NUM_THREADS", "1")


def pytest_report_header() -> list[str]:
    names = ", ".join(BACKENDS)
    fake = ["backend fake: a stand-in for CuPy, on the CPU; it runs no GPU code"] if "fake" in BACKENDS else []
    return [f"backends: {names}", *fake]


@pytest.fixture(scope="session", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; of session scope, so that a Hypothesis test may use it."""
    return BACKENDS[request.param]()


@pytest.fixture(scope="session", params=[name for name in BACKENDS if name not in ("openblas", "mkl")])
def arrays(request: pytest.FixtureRequest) -> Backend:
    """Each library of arrays in turn, for a function that sees arrays alone: NumPy's are the same with any BLAS."""
    return BACKENDS[request.param]()
