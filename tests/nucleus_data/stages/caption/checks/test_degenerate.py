import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.degenerate import Degenerate


@pytest.mark.parametrize(
    "text",
    [
        "!" * 40,
        "!!!!",
        "-----",
        "* * *",
        "A red ring is in!!!!!!!!!!!!!!!!!!!!",
        "." * 96,
        "The background is blue................",
        "a a a a a a a a a a a a a a a a a a a a a a a",
        "哈哈哈哈哈哈哈哈哈哈",
        "A cat \ufffd\ufffd on a mat",
        "A cat\x00 on a mat",
        "%$# @!* &^% (*& ^%$ #@! )(* &^%",
        "red ผู้ชาย кот الكلب गाय 빨간",
    ],
)
def test_no_text(text):
    assert Degenerate().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "a red circle",
        "Wow!!!",
        "A dog... and a cat...",
        "Zzzzzz",
        "A number on a wall: 1000000000",
        "A form with lines to fill in: ______________ and a name",
        "Een gele peer.",
        'A stone with "Hello", "Привет", "你好", "مرحبا" and "שלום" on it.',
        "東京タワーとTokyo Tower、2020年のポスター。",
        "서울의 漢字 간판",
        "A 5 kΩ resistor at 20 °C, 30 µm wide",
        "\N{RED APPLE}\N{GREEN APPLE}\N{PEAR}",
        "हिन्दी में लिखा हुआ एक बोर्ड।",
        "tabs\tand\nnew lines\r\n",
        "C++, C#, F# and .NET (stickers on a laptop)",
    ],
)
def test_odd_texts_are_texts(text):
    assert Degenerate().find(Said(text)) is None


def test_what_counts_can_be_set():
    assert Degenerate(run=4).find(Said("Heyyyy"))
    assert Degenerate(share=0.9).find(Said("aaaaaabaaaaabaaaaabaaaaabaaaaab", tokens=1)) is None
