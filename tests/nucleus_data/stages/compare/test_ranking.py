from nucleus_data.pixels import Limits
from nucleus_data.stages.compare.evidence import Evidence
from nucleus_data.stages.compare.ranking import decoded, ranking
from tests.support.copied import detailed, encoded


def against(quality):
    return lambda one, other: Evidence(
        quality[one] - quality[other], (f"{quality[one] - quality[other]} worse",)
    )


def test_who_wins_goes_on_and_the_rest_are_ordered_against_the_best():
    found = ranking(4, against([5, 3, 9, 4]))
    assert [each.rank for each in found] == [1, 3, 0, 2]
    assert found[2].faults == ()
    assert found[0].faults == ("4 worse",)


def test_where_nothing_speaks_for_either_the_first_stays():
    assert [each.rank for each in ranking(3, against([0, 0, 0]))] == [0, 1, 2]
    assert ranking(0, against([])) == []


def test_each_pair_is_looked_at_once():
    asked = []

    def once(one, other):
        asked.append((one, other))
        return Evidence(float(other - one))

    ranking(8, once)
    assert len(asked) == len(set(asked)) == 7


def test_a_file_that_cannot_be_decoded_costs_itself_alone():
    good = encoded(detailed(1, 64, 48), "JPEG")
    views, errors = decoded([good, b"no picture", good[:400]], Limits())
    assert [view is not None for view in views] == [True, False, False]
    assert errors == [None, "not_an_image", "truncated"]
