"""A small run whose steps are fakes (`tests/core/steps/kinds/fakes`): real children, no models."""

import sys
from pathlib import Path

import pytest
from stepladder.core.environment import bootstrap
from stepladder.core.steps.store import Store
from stepladder.core.training.children import Children

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "steps" / "kinds"))


@pytest.fixture
def children():
    children = Children(kinds="fakes", preload=())
    yield children
    children.stop()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs" / "steps")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Prefect's own, with a home for all that it keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPLADDER_HOME", str(tmp_path_factory.mktemp("home")))
        bootstrap()
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=120):
            yield
