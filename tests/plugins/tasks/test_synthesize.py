"""Rows of vectors, and the picture of samples."""

import io

import pytest
from PIL import Image
from stepladder.core.errors import RowFault
from stepladder.core.types import Example, Record
from stepladder.plugins.tasks.synthesize import Synthesize


@pytest.mark.parametrize("vector", [[0, 5.0, 12.25], "[0, 5.0, 12.25]"])
def test_a_row_is_its_vector_and_the_label_asked_for(vector):
    assert Synthesize().example("r", {"vector": vector, "label": 3}) == Example("r", "[0,5,12.25]", "3")


@pytest.mark.parametrize("vector", [[], "seven", [1, None], [1, "2"], [[1], [2]], 7, [1e16]])
def test_what_is_no_vector_is_the_rows_fault(vector):
    with pytest.raises(RowFault, match="expected a list of numbers"):
        Synthesize().example("r", {"vector": vector, "label": "3"})


def shown(png):
    """The grey of each pixel, as it was before it was enlarged."""
    image = Image.open(io.BytesIO(png))
    small = image.resize((image.width // 4, image.height // 4), Image.Resampling.NEAREST)
    return [[small.getpixel((x, y)) for x in range(small.width)] for y in range(small.height)]


def test_the_picture_has_a_row_of_samples_for_each_label():
    records = [
        Record("1", "[0,0,0,16]", "b", "[0,16,8,99]"),
        Record("2", "[0,0,0,16]", "a", "[16,0,0,0]"),
        Record("3", "[0,0,0,16]", "b", "[0,0,16,16]"),
    ]
    pixels = shown(Synthesize().picture(records))
    assert len(pixels) == 6 and len(pixels[0]) == 30  # 2 labels, 10 places, and a pixel between
    assert [row[:5] for row in pixels] == [
        [255, 0, 128, 0, 0],  # a has one sample; what is not there is black
        [0, 0, 128, 0, 0],
        [128, 128, 128, 128, 128],
        [0, 255, 128, 0, 0],
        [127, 255, 128, 255, 255],  # beyond the rows' own numbers nothing is brighter
        [128, 128, 128, 128, 128],
    ]


def test_vectors_that_are_no_square_images_are_not_drawn():
    assert Synthesize().picture([Record("1", "[1,2,3]", "a", "[1,2,3]")]) is None
