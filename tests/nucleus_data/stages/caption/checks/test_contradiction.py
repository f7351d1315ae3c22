import datetime

import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.contradiction import Contradiction


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A street in Paris in 1925.", {"year": 1923}),
        ("A street of 1925.", {"year": 1923}),
        ("A street (1925)", {"title": "Rue Lepic, 1923"}),
        ("Photographed in the 1960s.", {"date": "12 May 1951"}),
        ("Soldiers in 1920", {"period": "1914-1918"}),
        ("A ship in May 1899", {"taken": datetime.date(1901, 5, 2)}),
        ("It was painted about 1820.", {"year": 1650}),
        ("This 1935 painting shows a boat.", {"year": 1931}),
        ("A boat in a 1935 black-and-white photograph", {"year": 1931}),
        ("A street around 1950", {"year": 1923}),
        ("Two cats on a sofa.", {"title": "three cats"}),
        ("There are four shapes.", {"count_of_shapes": 3}),
        ("Five black cats on a sofa.", {"cats": 3}),
        ("A landscape painted by Claude Monet.", {"artist": "Edgar Degas"}),
        ("A photo by John Smith of a street", {"photographer": "Eva Besnyö"}),
        ("A river. It is attributed to John Constable.", {"artist": "Frits Thaulow"}),
        ("The artist is Claude Monet.", {"artist": "Frits Thaulow"}),
        ("It was taken by Sabine Weill.", {"photographer": "Sabine Weiss"}),
        ("A beach. Robert Frank took this photograph.", {"photographer": "Sabine Weiss"}),
        ("It was taken in Naples, Italy.", {"country": "Portugal"}),
        ("The beach of Mazaré.", {"place": "Nazaré"}),
        ("It was painted in the late 18th century.", {"year": 1954}),
        ("A street in Germany.", {"country": "France"}),
        ("A view over Lake Gadra.", {"place": "Lake Garda, Italy"}),
        ("A portrait by the young Rembrant.", {"title": "Rembrandt van Rijn"}),
        ("The town of Harlaam.", {"title": "The Painter at Haarlem by Night"}),
    ],
)
def test_contradicted(text, facts):
    assert Contradiction().find(Said(text, facts=facts))


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A street in Paris in 1923.", {"year": 1923}),
        ("A street in 1923", {"date": "1923-05-02"}),
        ("Soldiers in 1916", {"period": "1914-18"}),
        ("A ship in 1850", {"period": "19th century"}),
        ("A car of the 1920s", {"year": 1923}),
        ("A street around 1920", {"year": 1923}),
        ("It was painted about 1930.", {"year": 1923}),
        ("A book about 1848 and its heroes", {"year": 1923}),
        ("A castle built in 1386.", {"year": 2005}),
        ("This 1931 painting shows a boat.", {"year": 1931}),
        ("The 1935 car in this photograph", {"year": 1999}),
        ("A 2000 map tiles puzzle", {"size": 1931}),
        ("A poster that says 'in 1999'", {"year": 2005}),
        ("1999 people in 1000 boats, 1024 px wide", {"year": 2005}),
        ("A street in 1925", {"width": 1923}),
        ("A crowd of 1200 people", {"year": 1923}),
        ("A street in 1925", {"title": "Rue Lepic"}),
        ("Two black cats and a third one", {"cats": 3}),
        ("Two black cats and one white cat", {"cats": 3}),
        ("Two dogs", {"cats": 3}),
        ("One of the three cats", {"cats": 3}),
        ("Two rows of cats", {"rows": 3}),
        ("A landscape painted by Degas", {"artist": "Edgar Degas"}),
        ("A house by the river", {"artist": "Edgar Degas"}),
        ("It was painted by Edgar", {"artist": "Edgar Degas"}),
        ("It was painted by Hilaire Degas", {"artist": "Edgar Degas"}),
        ("It was painted by Leonardo da Vinci", {"artist": "Leonardo"}),
        ("The artist is at work. It is attributed to Degas.", {"artist": "Edgar Degas"}),
        ("The Queen took this to Edgar Degas", {"artist": "Edgar Degas"}),
        ("It was taken in Lyon, France.", {"country": "France"}),
        ("A church from the 18th century, taken in 1954.", {"year": 1954}),
        ("It was painted in the 20th century.", {"year": 1954}),
        ("Standing by Tower Bridge", {"artist": "Edgar Degas"}),
        ("A street in France.", {"place": "Paris, France"}),
        ("A street in Europe.", {"country": "France"}),
        ("French soldiers in the snow", {"country": "France"}),
        ("Italian and Germans at Como", {"place": "Lake Como, Italy, Germany"}),
        ("The Parisian street", {"place": "Paris"}),
        ("The street of Perez", {"place": "Paris"}),
        ("A woman in Breton dress", {"country": "Britain"}),
        ("A church in the Christian quarter", {"artist": "Christine Smith"}),
        ("A Madonna from the 16th century", {"year": 1954}),
        ("Horse in front of the White House", {"title": "The White House"}),
        ("a red circle", {"title": "Circle"}),
        ("a red circle", {}),
        ("a red circle", {"year": None, "flag": True, "score": float("nan")}),
        ("一个圆环", {"year": 1923, "title": "圆环"}),
    ],
)
def test_not_contradicted(text, facts):
    assert Contradiction().find(Said(text, facts=facts)) is None


def test_the_upstream_caption_is_no_fact():
    said = Said("Two cats", upstream="three cats", facts={"caption": "three cats"})
    assert Contradiction().find(said) is None
