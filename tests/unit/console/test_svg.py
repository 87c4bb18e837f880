from __future__ import annotations

import pytest

from psp.console._svg import bar_svg, clean_svg, spark_svg

OPEN = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<style>*{}</style>",
        '<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>',
        '<image href="http://stranger/"/>',
        '<a href="javascript:alert(1)"><path d="M0,0"/></a>',
        '<path d="M0,0" display="none"/>',
        "<g><g/></g>",
    ],
)
def test_what_is_not_on_the_list_is_not_drawn(inner: str) -> None:
    assert "></svg>" in clean_svg(f"{OPEN}{inner}</svg>", css_class="c", title="t")


def test_only_known_attributes_stay() -> None:
    source = f'{OPEN}<path d="M0,0" style="x" onclick="y" id="z" fill="red"/></svg>'
    assert '<path d="M0,0" fill="red"></path>' in clean_svg(source, css_class="c", title="t")


def test_text_and_title_are_escaped() -> None:
    source = f"{OPEN}<text>&lt;b&gt;</text></svg>"
    drawn = clean_svg(source, css_class="c", title='"><script>')
    assert "<text>&lt;b&gt;</text>" in drawn
    assert "<script>" not in drawn


def test_a_spark_has_a_gap_where_a_month_is_hidden_and_a_dot_between_two() -> None:
    drawn = spark_svg([1, 2, None, 2, None, 1, 1])
    assert drawn.count("M") == 2
    assert drawn.count("<circle") == 1


def test_nothing_to_draw_is_nothing() -> None:
    assert spark_svg([]) == spark_svg([None, None]) == spark_svg([0, 0]) == spark_svg([1]) == ""


def test_a_bar_never_leaves_its_box() -> None:
    assert 'width="100.0"' in bar_svg(7)
    assert 'width="0.5"' in bar_svg(-1)
