"""The notebooks run as tests: `python -m pytest --nbmake examples`. What they and Jupyter write goes into a
folder that is thrown away."""

import tempfile

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    with tempfile.TemporaryDirectory(prefix="hw3-") as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "HW3_CACHE", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        return (yield)
