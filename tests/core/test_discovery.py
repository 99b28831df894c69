"""Plugins of every degree of brokenness, each as a real distribution on the path."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stepladder import __version__
from stepladder.core.discovery import PluginInfo, Registry, discover, listing
from stepladder.core.errors import PluginError

Install = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("own_home")

HEAD = """
from stepladder.core.hookspecs import hookimpl
from stepladder.core.method import *
from stepladder.core.metric import *
from stepladder.core.source import *
STEPLADDER_API = 1
"""
METRIC = (
    HEAD
    + """
class Length(Metric):
    name = "{name}"
    def value(self, records): return 1.0

@hookimpl
def stepladder_metrics(): return [Length]
"""
)
SOURCE = (
    HEAD
    + """
class Reader(Source):
    name = "{name}"
    suffixes = {suffixes}
    def rows(self, path): yield from ()

@hookimpl
def stepladder_sources(): return [Reader]
"""
)
EVENT = (
    HEAD
    + """
import os
from pathlib import Path
@hookimpl
def stepladder_run_started(run):
    Path(os.environ["SEEN"], __name__).write_text(run["name"])
    {then}
"""
)


def plugin(registry: Registry, name: str) -> PluginInfo:
    return next(info for info in registry.plugins if info.name == name)


def test_built_in_plugins_are_found_by_walking_the_folder() -> None:
    registry = discover()
    files = Path(sys.modules["stepladder"].__file__ or "").parent.glob("plugins/*/*.py")
    modules = {f"{path.parent.name}.{path.stem}": path for path in files if not path.stem.startswith("_")}
    found = {info.name: info for info in registry.plugins if info.distribution == "stepladder"}
    assert set(found) == set(modules)
    for name, info in found.items():
        assert (info.status, info.error) == ("ok", ""), name
        assert info.version == __version__
        assert info.sha256 == hashlib.sha256(modules[name].read_bytes()).hexdigest()
    assert registry.method("lora").name == "lora"
    assert registry.plugin_of("method", "lora").name == "methods.lora"
    assert registry.source_for("data/Train.JSONL").name == "jsonl"


def test_a_plugin_of_another_distribution_is_registered_with_what_it_is(install: Install) -> None:
    path = install("lengths", METRIC.format(name="length"), distribution="row-lengths")
    registry = discover()
    assert plugin(registry, "lengths") == PluginInfo(
        name="lengths",
        distribution="row-lengths",
        version="0.2",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        hooks=("stepladder_metrics",),
        gives=(("metric", "length"),),
    )
    assert registry.metric("length").__module__ == "row_lengths_module"
    assert registry.plugin_of("metric", "length").name == "lengths"


@pytest.mark.parametrize(
    ("source", "status", "message"),
    [
        ("raise ValueError('no such key')", "disabled", "cannot be imported: ValueError: no such key"),
        ("raise SystemExit(7)", "disabled", "cannot be imported: SystemExit: 7"),
        ("import a_library_nobody_has", "disabled", "No module named 'a_library_nobody_has'"),
        ("def f(:", "disabled", "cannot be imported: SyntaxError"),
        ("", "refused", "sets no STEPLADDER_API, and this Stepladder has 1: install a release of broken"),
        ("STEPLADDER_API = 2", "refused", "is written for STEPLADDER_API 2, and this Stepladder has 1"),
        (
            HEAD + "@hookimpl\ndef stepladder_metods(): return []",
            "disabled",
            "there is no hook 'stepladder_metods' (did you mean 'stepladder_methods'?)",
        ),
        (
            HEAD + "@hookimpl\ndef stepladder_run_started(runs): ...",
            "disabled",
            "Argument(s) {'runs'} are declared in the hookimpl but can not be found in the hookspec",
        ),
        (HEAD + "def stepladder_metrics(): return []", "disabled", "implements no hook"),
        (
            HEAD + "@hookimpl\ndef stepladder_metrics(): raise SystemExit(3)",
            "disabled",
            "stepladder_metrics raised SystemExit: 3",
        ),
        (
            HEAD + "@hookimpl\ndef stepladder_metrics(): pass",
            "disabled",
            "stepladder_metrics must return a list of classes, but returned None",
        ),
        (
            HEAD + "@hookimpl\ndef stepladder_metrics(): return [3]",
            "disabled",
            "expected subclasses of stepladder.core.metric.Metric, found 3",
        ),
        (METRIC.format(name="Row Length"), "disabled", "Length.name must be a name of small letters"),
        (
            SOURCE.format(name="lines", suffixes="('.lines',)").replace("def rows", "def row"),
            "disabled",
            "Reader does not implement rows",
        ),
        (
            METRIC.format(name="length").replace("    name =", "    nmae ="),
            "disabled",
            "Length lacks `name`, a name of small letters, digits and _ (did you mean 'nmae'?)",
        ),
        (
            METRIC.format(name="length").replace("[Length]", "[Length, Length]"),
            "disabled",
            "gives two metrics",
        ),
        (METRIC.format(name="accuracy"), "refused", "metric 'accuracy': also given by metrics.accuracy"),
        (SOURCE.format(name="lines", suffixes="('.jsonl',)"), "refused", "suffix '.jsonl': also given by"),
        (SOURCE.format(name="lines", suffixes="'.lines'"), "disabled", "suffixes must be a tuple such as"),
    ],
)
def test_a_faulty_plugin_is_left_out_and_hurts_no_other(
    install: Install, source: str, status: str, message: str
) -> None:
    install("broken", source)
    install("lengths", METRIC.format(name="other_length"))
    registry = discover()
    broken = plugin(registry, "broken")
    assert broken.status == status
    assert message in broken.error
    assert broken.gives == ()
    assert plugin(registry, "lengths").status == "ok"
    assert "other_length" in registry.metrics
    assert registry.metric("accuracy").__module__ == "stepladder.plugins.metrics.accuracy"
    assert all(info.status == "ok" for info in registry.plugins if info.distribution == "stepladder")


@pytest.mark.parametrize("finder", ["importlib.metadata", "importlib_metadata"])
def test_a_half_deleted_distribution_is_still_a_plugin(install: Install, finder: str) -> None:
    importlib.import_module(finder)  # the backport puts itself before the standard library's
    install("lengths", METRIC.format(name="length"))
    path = install("later", METRIC.format(name="width"))
    (path.parent / "later-0.2.dist-info" / "METADATA").unlink()
    later = plugin(discover(), "later")
    assert (later.status, later.distribution, later.version) == ("ok", "unknown", "unknown")


def test_an_interrupt_at_import_is_the_users(install: Install) -> None:
    install("broken", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_of_two_outsiders_that_give_one_name_both_are_refused(install: Install) -> None:
    install("first", METRIC.format(name="length"))
    install("second", METRIC.format(name="length"))
    registry = discover()
    assert "length" not in registry.metrics
    assert plugin(registry, "first").error.startswith("metric 'length': also given by second (second 0.2)")
    assert plugin(registry, "second").error.startswith("metric 'length': also given by first (first 0.2)")


def test_an_outsider_that_clashes_with_a_built_in_takes_no_other_outsider_along(install: Install) -> None:
    both = METRIC.format(name="accuracy") + "class Second(Length): name = 'length'\n"
    install("greedy_one", both.replace("[Length]", "[Length, Second]"))
    install("innocent", METRIC.format(name="length"))
    registry = discover()
    assert plugin(registry, "greedy_one").status == "refused"
    assert plugin(registry, "innocent").status == "ok"


def test_plugins_of_one_name_are_refused_unless_one_is_built_in(install: Install) -> None:
    install("twin", METRIC.format(name="length"), distribution="left")
    install("twin", METRIC.format(name="width"), distribution="right")
    install("methods.lora", METRIC.format(name="height"))
    registry = discover()
    twins = [info for info in registry.plugins if info.name == "twin"]
    assert [info.status for info in twins] == ["refused", "refused"]
    assert twins[0].error == "its name is also that of twin (right 0.2); uninstall one of them"
    loras = {info.distribution: info.status for info in registry.plugins if info.name == "methods.lora"}
    assert loras == {"stepladder": "ok", "methods.lora": "refused"}


def test_a_denied_plugin_is_not_even_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("lengths", "raise ValueError")
    monkeypatch.setenv("STEPLADDER_PLUGINS_DENY", "other, lengths,metrics.perplexity")
    registry = discover()
    assert plugin(registry, "lengths").error == "named by STEPLADDER_PLUGINS_DENY"
    assert plugin(registry, "metrics.perplexity").status == "refused"
    with pytest.raises(
        PluginError, match=r"metrics\.perplexity is refused: named by STEPLADDER_PLUGINS_DENY"
    ):
        registry.metric("perplexity")


@pytest.mark.parametrize(("allowed", "status"), [("lengths, x", "ok"), ("x", "refused"), ("", "refused")])
def test_an_allow_list_keeps_other_outsiders_out_but_no_built_in(
    install: Install, monkeypatch: pytest.MonkeyPatch, allowed: str, status: str
) -> None:
    install("lengths", METRIC.format(name="length"))
    monkeypatch.setenv("STEPLADDER_PLUGINS_ALLOW", allowed)
    registry = discover()
    assert plugin(registry, "lengths").status == status
    assert plugin(registry, "methods.lora").status == "ok"


def test_a_name_that_nobody_gives_is_answered_with_the_nearest_and_a_command() -> None:
    registry = discover()
    with pytest.raises(PluginError) as caught:
        registry.method("zero_shoot")
    assert (
        str(caught.value)
        == "no method 'zero_shoot' (did you mean 'zero_shot'?); `stepladder methods` lists them"
    )
    with pytest.raises(PluginError, match="`stepladder plugins` lists them"):
        registry.task("classification")
    with pytest.raises(PluginError, match=r"no source reads '\.jsnl' \(did you mean '\.jsonl'\?\)"):
        registry.source_for("train.jsnl")
    with pytest.raises(PluginError, match="no source reads files without a suffix"):
        registry.source_for("train")


def test_the_longest_suffix_chooses_the_source(install: Install) -> None:
    install("plain", SOURCE.format(name="plain", suffixes="('.zz',)"))
    install("packed", SOURCE.format(name="packed", suffixes="('.tab.zz',)"))
    registry = discover()
    assert registry.source_for("a.b.zz").name == "plain"
    assert registry.source_for("a.b.tab.zz").name == "packed"


def test_events_reach_every_listener_and_faults_come_back_as_text(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", str(tmp_path))
    install("calm", EVENT.format(then="run['nested']['list'].append(1)"))
    install("ending", EVENT.format(then="os._exit(7)"))
    install("failing", EVENT.format(then="raise SystemExit('disk full')"))
    install("hanging", EVENT.format(then="import time; time.sleep(600)"))
    monkeypatch.setattr("stepladder.core.discovery.registry.LISTENER_SECONDS", 1.0)
    registry = discover()
    run = {"name": "intents", "nested": {"list": []}}
    hook = "stepladder_run_started"
    assert registry.fire("run_started", run=run) == [
        f"plugin ending (ending 0.2): {hook} ends the process that calls it (exit code 7)",
        f"plugin failing (failing 0.2): {hook} raised SystemExit: disk full",
        f"plugin hanging (hanging 0.2): {hook} is not done within 1 seconds",
    ]
    for name in ("calm", "ending", "failing", "hanging"):
        assert (tmp_path / f"{name}_module").read_text() == "intents"
    assert run == {"name": "intents", "nested": {"list": []}}
    assert registry.fire("promoted", promotion={}) == []


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("import os; os._exit(7)", "exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        (HEAD + "import os\n@hookimpl\ndef stepladder_metrics(): os._exit(0)", "exit code 0"),
    ],
)
def test_a_plugin_that_ends_its_process_is_left_out(install: Install, source: str, how: str) -> None:
    install("deadly", source)
    install("lengths", METRIC.format(name="length"))
    registry = discover()
    deadly = plugin(registry, "deadly")
    said = f"cannot be imported: it ends the process that calls it ({how})"
    assert (deadly.status, deadly.error) == ("disabled", said)
    assert "length" in registry.metrics


def test_a_plugin_that_hangs_is_left_out(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepladder.core.discovery.rehearsal.SECONDS", 1.0)
    install("hanging", "import time; time.sleep(600)")
    assert plugin(discover(), "hanging").error == "cannot be imported: it is not done within 1 seconds"


def test_a_plugin_is_rehearsed_once_for_each_state_of_its_file(
    install: Install, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    count = "import os; print('said'); open(os.environ['SEEN'], 'a').write('+')\n"
    path = install("lengths", count + METRIC.format(name="length"))
    for text, times in ((None, 2), (None, 3), ("# changed\n", 5)):
        if text:
            path.write_text(path.read_text() + text)
        sys.modules.pop("lengths_module", None)
        assert plugin(discover(), "lengths").status == "ok"
        assert (tmp_path / "seen").read_text() == "+" * times
    assert capfd.readouterr().out == "said\n" * 3, "the rehearsal says nothing"


def test_the_listing_is_cached_and_then_imports_no_plugin(own_home: Path) -> None:
    fresh = listing()
    rungs = [line.rung for line in fresh.methods]
    assert rungs == sorted(rungs)
    assert {"zero_shot", "lora"} <= {line.name for line in fresh.methods}
    code = (
        "import sys; from stepladder.core.discovery import listing; print(len(listing().methods));"
        "print(*(m for m in sys.modules if m == 'torch' or m.startswith('stepladder.plugins.')))"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout.splitlines() == [str(len(fresh.methods)), ""]
    assert listing() == fresh


def test_the_cache_is_renewed_when_a_plugin_comes_or_changes(install: Install, own_home: Path) -> None:
    before = listing()
    path = install("lengths", METRIC.format(name="length"))
    assert len(listing().plugins) == len(before.plugins) + 1
    path.write_text(METRIC.format(name="longer_length"))
    del sys.modules["lengths_module"]
    assert listing().plugins[-1].gives == (("metric", "longer_length"),)


def test_a_broken_plugin_or_cache_is_looked_at_again(install: Install, own_home: Path) -> None:
    cache = own_home / "cache" / "plugins.json"
    path = install("broken", "raise ValueError")
    assert listing().plugins[-1].status == "disabled"
    assert not cache.exists()
    path.write_text(METRIC.format(name="length"))
    cache.parent.mkdir(parents=True)
    cache.write_text('{"key":')
    assert listing().plugins[-1].status == "ok"
    assert json.loads(cache.read_text())["plugins"][-1]["name"] == "broken"
