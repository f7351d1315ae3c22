"""How the benchmark of the rules counts; the rules themselves are measured elsewhere."""

from nucleus_data.line.recipe import FullRecipe
from scripts.rules import counting


def test_precision_leaves_out_what_an_earlier_rule_rejects():
    rules = {"too_small": "width < 0", "blurred": "width < 0", "framed": "width < 0"}
    recipe = FullRecipe(
        select={"rules": {**rules, "framed": {"where": "width < 0", "action": "flag"}}}
    )
    rows = [
        {"index": number, "original": -1, "fault": fault, "strength": "high"}
        for number, fault in enumerate(("tiny", "blurred", "none", "extreme_aspect", "banner"))
    ]
    found = [{"too_small", "blurred"}, {"blurred", "framed"}, {"blurred"}, {"framed"}, {"framed"}]
    told = {m.name: m for m in counting.precisions(rows, found, recipe)}
    assert told["precision of too_small"].value == 1
    assert told["precision of blurred"].value == 0.5  # the clean one; the tiny one had left
    assert told["precision of blurred"].against == "none 1"
    assert told["precision of framed"].value == 0.5  # the narrow one; the blurred one had left
