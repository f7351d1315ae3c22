import pytest

from nucleus_model.checkpoints.lineage import differences, same_data, stored_settings
from nucleus_model.settings.settings import QuickTrainSettings


def made(**values):
    return QuickTrainSettings.model_validate({"preset": "debug"} | values)


TWO = [{"steps": 4, "batch_size": 2}, {"steps": 6}]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"steps": 10}, {"steps": 10, "threads": 2, "micro_batch": 3}),
        ({"steps": 10}, {"steps": 11}),
        ({"steps": 10}, {"phases": [{"steps": 12}]}),
        ({"steps": 10}, {"phases": [{"steps": 10}, {"steps": 1, "capacity_factors": 4}]}),
        ({"phases": TWO}, {"phases": [TWO[0], {"steps": 7, "micro_batch": 1}]}),
        ({"phases": TWO}, {"phases": [*TWO, {"steps": 7, "lr_factor": 0.1}]}),
    ],
)
def test_a_run_goes_on_as_itself_and_as_its_extension(before, now):
    assert differences(made(**before), made(**now)) == []


@pytest.mark.parametrize(
    ("before", "now", "odd"),
    [
        ({"steps": 10}, {"steps": 9}, ["steps (10, now 9)"]),
        ({"lr": 0.1}, {"lr": 0.2}, ["lr (0.1, now 0.2)"]),
        ({"batch_size": 4}, {"batch_size": 8}, ["batch_size (4, now 8)"]),
        ({"phases": TWO}, {"phases": TWO[:1]}, ["phases (2, now 1)"]),
        (
            {"phases": TWO},
            {"phases": [{"steps": 5, "batch_size": 2}, TWO[1]]},
            ["steps of"],
        ),
        (
            {"phases": TWO},
            {"phases": [{"steps": 4, "batch_size": 3}, TWO[1]]},
            ["batch_size of"],
        ),
        ({"text": {"max_tokens": 64}}, {}, ["text (TextSettings("]),
    ],
)
def test_anything_else_is_told(before, now, odd):
    found = differences(made(**before), made(**now))
    assert [text[: len(start)] for text, start in zip(found, odd, strict=True)] == odd


def test_a_setting_that_a_stored_run_lacks_has_its_default():
    stored = made(seed=3).model_dump(mode="json")
    del stored["spike_factor"], stored["text"]["hidden_state"], stored["phases"]
    assert differences(stored_settings(stored, "here"), made(seed=3)) == []
    assert differences(stored_settings(stored, "here"), made(seed=3, spike_factor=2.0)) == [
        "spike_factor (None, now 2.0)"
    ]


def test_a_setting_of_another_version_is_named():
    with pytest.raises(ValueError, match=r"here has settings that .* \(surprise: Extra"):
        stored_settings({"surprise": 1}, "here")


def test_the_data_of_phases_that_were_there():
    assert same_data(["a"], ["a", "b"])
    assert not same_data(["a", "b"], ["a"])
    assert not same_data(["a"], ["b"])
