"""Real servers on 127.0.0.1: PostgreSQL, on it MLflow with accounts; a proxy that can lose the connection.

Each is a process of its own (the proxy a thread), started once for all tests here. Where PostgreSQL's
programs are missing, the tests are skipped.
"""

import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import commands
import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from ports import free_port
from stack import CONFIG, open_stack

USER, PASSWORD = "admin", "s3cret/word@all"
PROGRAMS = ("initdb", "postgres")
DEBIAN = "/usr/lib/postgresql"
START_SECONDS = 120
# In an address: what is asked for, ids of runs and models, the number of an experiment.
ID = re.compile(r"\?.*|[0-9a-f]{32}|(?<=/artifacts/)\d+(?=/)")


def awaited(condition, what, process=None):
    """The first true value of `condition`, which is asked again and again."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        assert process is None or process.poll() is None, f"{what} ended with {process.returncode}"
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {START_SECONDS} seconds")


def without_settings():
    """The environment of the tests without addresses, accounts and folders."""
    foreign = ("MLFLOW_", "PREFECT_", "STEPLADDER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def programs_of_postgres():
    """Where each program lies; None where one is missing. Debian does not put them on PATH."""
    folders = [os.environ["PATH"], *sorted(map(str, Path(DEBIAN).glob("*/bin")), reverse=True)]
    found = {name: shutil.which(name, path=os.pathsep.join(folders)) for name in PROGRAMS}
    return found if all(found.values()) else None


def somebody_else():
    """As whom PostgreSQL is started, since it refuses to run as root; None where root has nobody for it."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}
    return None


@pytest.fixture(scope="session")
def postgres():
    """The address of an empty PostgreSQL, as SQLAlchemy takes it, without a database's name."""
    programs, who = programs_of_postgres(), somebody_else()
    if programs is None or who is None:
        pytest.skip(f"needs PostgreSQL's programs ({', '.join(PROGRAMS)}), and not as root alone")
    folder = Path(tempfile.mkdtemp(prefix="stepladder-postgres-"))  # pytest's own are closed to others
    if who:
        os.chown(folder, who["user"], who["group"])
    options = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **who}
    data, port = folder / "data", free_port()
    initdb = [programs["initdb"], "-D", str(data), "-U", USER, "--auth=trust", "--locale=C", "-E", "UTF8"]
    subprocess.run([*initdb, "--no-sync"], check=True, **options)
    settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
    command = [programs["postgres"], "-D", str(data), "-p", str(port)]
    process = subprocess.Popen([*command, *(f"--{setting}" for setting in settings)], **options)
    try:
        awaited(lambda: connects(port), "PostgreSQL", process)
        yield f"postgresql://{USER}@127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(folder)


def connects(port):
    """Whether somebody who speaks PostgreSQL's protocol listens there and lets us in."""
    import psycopg

    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres").close()
        return True
    return False


def make_database(postgres, name):
    import psycopg

    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return f"{postgres.replace('postgresql', 'postgresql+psycopg')}/{name}"


class Reached:
    """Somebody who listens at `port`, and how MLflow's clients are told of it."""

    port: int
    password = PASSWORD
    quoted_password = quote(PASSWORD, safe="")

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def uri_with_password(self):
        return f"http://{USER}:{self.quoted_password}@127.0.0.1:{self.port}"

    @property
    def account(self):
        """The environment of somebody who may do all there."""
        named = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        return {"MLFLOW_TRACKING_URI": self.uri, **named}


@dataclass
class Server(Reached):
    """MLflow's server with accounts; it can be stopped and started again, and held still."""

    folder: Path
    store: str
    accounts: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def start(self):
        settings = f"default_permission = READ\ndatabase_uri = {self.accounts}\nadmin_username = {USER}\n"
        own = self.folder / "accounts.ini"
        own.write_text(f"[mlflow]\n{settings}auth_cache_ttl_seconds = 60\n")
        environment = {
            **without_settings(),
            "MLFLOW_AUTH_CONFIG_PATH": str(own),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for forms, of which there are none here",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        kept = ["--backend-store-uri", self.store, "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *kept, *where],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_start(self):
        awaited(self.is_up, f"MLflow's server ({self.folder}/log.txt)", self.process)

    def is_up(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
            return answer.status == 200
        return False

    def stop(self):
        self._send(signal.SIGTERM)
        self.process.wait()

    @contextlib.contextmanager
    def down(self):
        self.stop()
        try:
            yield
        finally:
            self.start()
            self.await_start()

    @contextlib.contextmanager
    def held_still(self):
        """It takes connections and answers none."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def _send(self, number):
        os.killpg(self.process.pid, number)


@pytest.fixture(scope="session")
def starting_server(postgres, tmp_path_factory):
    """For fixtures that have something else to do in the seconds until it is up."""
    folder = tmp_path_factory.mktemp("mlflow")
    server = Server(folder, make_database(postgres, "mlflow"), make_database(postgres, "accounts"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server(starting_server):
    starting_server.await_start()
    return starting_server


@pytest.fixture
def client(server, monkeypatch):
    """The server as its users see it; this process is one of them."""
    import mlflow

    for name, value in server.account.items():
        monkeypatch.setenv(name, value)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(server.uri)
    yield mlflow.MlflowClient(server.uri)
    mlflow.set_tracking_uri(before)


@dataclass
class Proxy(Reached):
    """Hands requests on to `target`. After `lose`, from a certain request on, it drops them unanswered."""

    target: str
    port: int = 0
    seen: list[str] = field(default_factory=list)
    _fatal: str | None = None

    def lose(self, request):
        """Drop all from the first such request on: its method and path, without ids."""
        self.seen, self._fatal = [], request

    def mend(self):
        self.lose(None)

    def is_lost(self, request):
        self.seen.append(ID.sub("", request))
        return self._fatal in self.seen


class Handler(http.server.BaseHTTPRequestHandler):
    """One request a connection, so that a dropped one is seen at once."""

    proxy: Proxy

    def hand_on(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self._chunks() if self.headers.get("Transfer-Encoding") else self.rfile.read(length)
        if self.proxy.is_lost(f"{self.command} {self.path}"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        connection = http.client.HTTPConnection(urlsplit(self.proxy.target).netloc, timeout=60)
        hop = ("connection", "transfer-encoding", "content-length", "host")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in hop:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = hand_on

    def log_message(self, *said): ...


@pytest.fixture(scope="session")
def proxy(server):
    proxy = Proxy(server.uri)
    handler = type("OwnHandler", (Handler,), {"proxy": proxy})
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.port = listener.server_port
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield proxy
    listener.shutdown()


@dataclass(frozen=True)
class Shell:
    """`stepladder` in a folder of its own, with a home of its own."""

    folder: Path
    opened: commands.Shell

    def stepladder(self, *arguments, **environment):
        return self.opened.stepladder(*arguments, **environment)


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """Impatient, and without any server."""
    folder = tmp_path_factory.mktemp("project")
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
    environment = commands.environment_in(folder / "home", HOME=str(folder), **patience)
    with commands.open_shell(folder, environment) as opened:
        yield Shell(folder, opened)


@pytest.fixture(scope="session")
def project(starting_server, shell, base_folder):
    """The folder of all runs, whose steps before the last ones are done once, in the first."""
    (shell.folder / "rows").mkdir()
    rows = [
        {"text": f"{owner} {thing} {verb} {colour}", "colour": colour}
        for owner in ("my", "your", "the")
        for thing in ("car", "house", "door")
        for verb in ("is", "was")
        for colour in ("red", "blue")
    ]
    for name, part in (("train", rows[:28]), ("test", rows[28:])):
        (shell.folder / "rows" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (shell.folder / "colours.yaml").write_text(
        CONFIG.format(name="colours", base=base_folder, method="zero_shot")
    )
    return shell.folder


@pytest.fixture(scope="session")
def run(shell, project):
    """Runs the config under a name of its own, in MLflow too; returns how it ended and the run's folder."""

    def do_run(name, environment):
        change = ("--set", f"name={name}", "--set", f"register={name}")
        ended = shell.stepladder("run", "colours.yaml", "--engine", "inline", *change, **environment)
        made = list((project / "runs").glob(f"{name}-*"))
        assert len(made) == 1, ended
        return ended, made[0]

    return do_run


@pytest.fixture(scope="session")
def whole(project, run, server):
    """A run that was registered, by an address with the password in it."""
    ended, run_dir = run("whole", {"MLFLOW_TRACKING_URI": server.uri_with_password})
    assert ended.code == 0, ended
    return ended, run_dir


@dataclass
class Last:
    """The last steps of a finished run, done by this process as if they were those of another run."""

    spec: dict
    compared: dict
    package: Path
    recorded: dict[str, str] = field(default_factory=dict)

    def record(self, name):
        from stepladder.core.steps.kept import results_kept
        from stepladder.core.tracking.record import Recording, record_run

        with results_kept("/runs/last"):
            recorded = record_run(Recording(self.run(name), self.spec["config"], self.compared, {}))
        self.recorded[name] = recorded.candidates["zero_shot"]
        return recorded

    def register(self, name):
        """A run that is recorded, with the package that the finished one was registered with."""
        from stepladder.core.steps.kept import results_kept
        from stepladder.core.tracking.package import Chosen
        from stepladder.core.tracking.register import register

        (entry,) = self.compared["candidates"]
        chosen = Chosen(name, self.run(name), entry, self.recorded[name], self._pack)
        with results_kept("/runs/last"):
            return register(chosen)

    def run(self, name):
        fingerprint = hashlib.sha256(name.encode()).hexdigest()
        return {**self.spec["run"], "name": name, "fingerprint": fingerprint}

    def _pack(self, folder):
        shutil.copytree(self.package, folder, dirs_exist_ok=True)


@pytest.fixture
def last(whole, client, tmp_path):
    from mlflow.artifacts import download_artifacts

    _, run_dir = whole
    specs = (
        json.loads(path.read_text()) for path in run_dir.parent.glob("steps/register-*[0-9a-f]/spec.json")
    )
    spec = next(spec for spec in specs if spec["run"]["run_dir"] == str(run_dir))
    compared = json.loads(Path(spec["needs"]["compare"], "result.json").read_text())
    package = download_artifacts("models:/whole@challenger/artifacts/served", dst_path=tmp_path)
    return Last(spec, compared, Path(package))


@pytest.fixture(scope="module")
def stack(postgres, tmp_path_factory, base_folder):
    """All that deployments/ starts but the worker, with a project in its folder."""
    with open_stack(tmp_path_factory.mktemp("stack"), postgres, base_folder) as stack:
        yield stack
