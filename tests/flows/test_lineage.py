"""What is known of versions, as rows for reading."""

import json

from stepladder.flows.commands.show import _show_both, _show_one
from stepladder.flows.lineage import differences, known, side_by_side

FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6}
ONE = {
    "model": {"name": "colours", "version": "1", "aliases": []},
    "promotion": None,
    "candidate": {"metrics": {"accuracy": FIGURE}, "settings": {"rank": 2, "merge": True, "rate": 2 / 3}},
    "base": {"fingerprint": "ab" * 32, "revision": None},
    "plugins": {"method:lora": "stepladder 0.1"},
}
OTHER = {
    **ONE,
    "model": {"name": "colours", "version": "2", "aliases": ["champion"]},
    "promotion": {"verdict": "promoted"},
    "candidate": {"metrics": {"accuracy": {**FIGURE, "high": 0.7}}, "settings": {}},
}


def test_each_thing_has_a_dotted_key_and_hashes_are_cut():
    assert known(ONE) == [
        ("model.name", "colours"),
        ("model.version", "1"),
        ("model.aliases", "-"),
        ("promotion", "-"),
        ("candidate.metrics.accuracy", "0.5 (0.4 to 0.6)"),
        ("candidate.settings.rank", "2"),
        ("candidate.settings.merge", "true"),
        ("candidate.settings.rate", "0.666667"),
        ("base.fingerprint", "abababababab"),
        ("base.revision", "-"),
        ("plugins.method:lora", "stepladder 0.1"),
    ]


def test_what_only_one_has_differs_too():
    differing = differences(ONE, OTHER)
    assert side_by_side(differing) == [
        ("model.version", "1", "2"),
        ("model.aliases", "-", '["champion"]'),
        ("candidate.metrics.accuracy", "0.5 (0.4 to 0.6)", "0.5 (0.4 to 0.7)"),
        ("candidate.settings.rank", "2", "-"),
        ("candidate.settings.merge", "true", "-"),
        ("candidate.settings.rate", "0.666667", "-"),
        ("promotion.verdict", "-", "promoted"),
    ]
    assert differences(ONE, ONE) == {}


def test_scripts_get_hashes_whole(capsys):
    _show_one(ONE, as_json=True)
    assert json.loads(capsys.readouterr().out) == ONE
    _show_both(ONE, ONE, as_json=False)
    assert capsys.readouterr().out == "models:/colours/1 is one and the same version\n"
