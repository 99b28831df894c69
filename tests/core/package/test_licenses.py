"""The licence of a base, from its own files."""

import pytest
from stepladder.core.model.locate import DEFAULT_BASE, BaseRef
from stepladder.core.package.licenses import base_license


def ref(folder, name="owner/base"):
    return BaseRef(name, str(folder), "f" * 64)


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# Base\n", "mit"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\ntags: [a]\n---\nlicense: mit\n", None),
        ("---\nlicense: {: [\n---\n", None),
        ("license: mit\n", None),
        ("", None),
    ],
)
def test_the_front_matter_of_the_readme(tmp_path, readme, said):
    (tmp_path / "README.md").write_text(readme)
    assert base_license(ref(tmp_path)) == said


def test_the_title_of_a_license_file_where_the_readme_says_nothing(tmp_path):
    (tmp_path / "README.md").write_text("# Base\n")
    (tmp_path / "LICENSE.txt").write_text("\n      Apache License\n   Version 2.0\n")
    assert base_license(ref(tmp_path)) == "Apache License"
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert base_license(ref(tmp_path)) == "mit"


def test_a_gguf_file_has_its_licence_beside_it(tmp_path):
    (tmp_path / "LICENSE").write_text("MIT License\n")
    cache = tmp_path / "cache"
    cache.mkdir()
    assert base_license(ref(cache, str(tmp_path / "base.gguf"))) == "MIT License"


def test_the_embedded_default_and_a_folder_without_any(tmp_path):
    assert base_license(ref(tmp_path / "nowhere", DEFAULT_BASE)) == "Apache-2.0"
    assert base_license(ref(tmp_path / "nowhere")) is None
