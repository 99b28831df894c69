"""A real MLflow on SQLite with a home of its own, versions of a few files, and processes that change them."""

import itertools
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

KINDS = Path(__file__).parent / "kinds"
HEAVY = (
    *(f"stepladder.core.tracking.{part}" for part in ("champion", "copying", "register")),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_workspace_store"),
    *("alembic.command", "alembic.autogenerate", "cryptography.fernet", "mako.template"),
)
NAME = "support"
ALONE = 0.01


@pytest.fixture
def new_home(tmp_path, monkeypatch):
    """A home in which MLflow has never been."""
    monkeypatch.setenv("STEPLADDER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A database whose tables are made, which takes seconds."""
    from stepladder.core.tracking.client import connect

    home = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPLADDER_HOME", str(home))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
        connect()
    return home / "mlflow.db"


@pytest.fixture
def home(new_home, empty_store):
    new_home.mkdir()
    shutil.copy(empty_store, new_home)
    return new_home


@pytest.fixture
def client(home, monkeypatch):
    """Nobody else is at the registry, so a claim on it is settled at once."""
    from stepladder.core.tracking import claim
    from stepladder.core.tracking.client import connect

    monkeypatch.setattr(claim, "SETTLE_SECONDS", ALONE)
    return connect()


@pytest.fixture
def package(tmp_path):
    """A folder such as MLflow keeps: what says that it is a model, and the package."""
    folder = tmp_path / "package"
    served = folder / "artifacts" / "served"
    served.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (served / "served.json").write_text('{"base": null}')
    return folder


@pytest.fixture
def make_version(client, package):
    """`make_version("f1")` makes a version of that fingerprint; returns its number."""
    from stepladder.core.tracking.package import FINGERPRINT

    def make(fingerprint, name=NAME, source=package, **tags):
        if name not in {model.name for model in client.search_registered_models()}:
            client.create_registered_model(name)
        tags = {FINGERPRINT: fingerprint, **tags}
        return str(client.create_model_version(name, str(source), tags=tags).version)

    return make


@pytest.fixture
def promote(client):
    """`promote("2", after="1")` makes version 2 champion, as judged against version 1."""
    from stepladder.core.tracking import champion

    def promote_it(version, after=None, name=NAME, verify=lambda uri: None):
        return champion.promote(client, champion.Promotion(name, version, after, f"token-{version}"), verify)

    return promote_it


@pytest.fixture(scope="session")
def children():
    from stepladder.core.training.children import Children

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(KINDS))
        children = Children(kinds="registering", preload=HEAVY)
        yield children
        children.stop()


@pytest.fixture
def change(children, tmp_path):
    """`change(spec, kill=(2, "after"))` makes it in a process that dies at its second write."""
    numbers = itertools.count()

    def run(spec, kill=(0, "before")):
        folder = tmp_path / f"change-{next(numbers)}"
        folder.mkdir()
        return children.run("change", {**spec, "kill": kill, "settle": ALONE}, folder, print)

    return run


@pytest.fixture
def at_once(children, home, tmp_path, wait_until):
    """`at_once(specs, homes)` makes all changes at the same moment, from as many homes."""
    from stepladder.core.files import file_lock

    def race(specs, homes):
        gate, settle = tmp_path / "gate", {"settle": ALONE} if homes == 1 else {}
        folders = [tmp_path / f"racer-{place}" for place in range(len(specs))]

        def run(place):
            folders[place].mkdir()
            own = {"home": str(home / str(place % homes)), "gate": str(gate), **settle}
            return children.run("change", {**specs[place], **own}, folders[place], print)

        with ThreadPoolExecutor(len(specs)) as threads:
            with file_lock(gate):
                ended = [threads.submit(run, place) for place in range(len(specs))]
                wait_until(lambda: all((folder / "ready").exists() for folder in folders))
            return [each.result() for each in ended]

    return race


@pytest.fixture(scope="session")
def wait_until():
    def wait(condition, seconds=120.0):
        over = threading.Event()
        timer = threading.Timer(seconds, over.set)
        timer.start()
        try:
            while not condition():
                assert not over.wait(0.02), "the condition was not met in time"
        finally:
            timer.cancel()

    return wait
