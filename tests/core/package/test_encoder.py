"""Packages of candidates on an encoder: made, verified and asked like any other."""

from __future__ import annotations

import climbing
import pytest


@pytest.mark.parametrize(
    "method", [{"lora": {"rank": 2, "epochs": 1}}, {"full": {"epochs": 1}}], ids=["lora", "full"]
)
def test_a_package_on_an_encoder_answers_as_it_did(method, own_machine, encoder_folder, tmp_path):
    from stepladder.core.package.pack import pack
    from stepladder.core.package.verify import verify_package

    run = climbing.climb(tmp_path / "run", encoder_folder, climbing.classify_rows(), {"methods": [method]})
    package = tmp_path / "package"
    package.mkdir()
    served = pack(run.contents(), package)
    checked = verify_package(package)
    assert checked["answers"] == "8 recorded rows answered as then"
    assert served.serving.stop_ids == [] and served.serving.decoding is None
    (answer,) = served.answer([{"input": "the car is quite red"}])
    assert answer in climbing.COLOURS
