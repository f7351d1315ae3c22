from nucleus_data.line.lines import LINES, RETRIED
from nucleus_data.line.recipe import STAGE_NAMES, STAGES


def test_every_stage_is_a_line_and_every_line_of_stages():
    assert {name.replace("_", "-") for name in STAGE_NAMES} <= set(LINES)
    for name, line in LINES.items():
        assert set(line.steps) <= set(STAGE_NAMES), name
        assert line.help.endswith("."), name
    assert LINES["all"].steps[0] == "ingest"
    assert set(LINES["all"].steps) == set(STAGE_NAMES)


def test_the_stages_of_a_line_are_in_the_recipe_s_order_but_for_a_second_selection():
    for line in LINES.values():
        places = [STAGE_NAMES.index(name) for name in line.steps]
        if "embed" in line.steps:
            places.remove(STAGE_NAMES.index("select"))
            again = line.steps.index("embed") + 1
            assert line.steps[again] == "select"  # by the scores
            places = [STAGE_NAMES.index(n) for i, n in enumerate(line.steps) if i != again]
        assert places == sorted(places)


def test_captions_are_retried_before_what_would_end_their_selection():
    assert tuple(s.name for s in reversed(STAGES) if s.retried) == RETRIED
    assert RETRIED.index("caption") < RETRIED.index("inspect") < RETRIED.index("ingest")
