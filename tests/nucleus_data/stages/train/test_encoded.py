from nucleus_data.stages.train.encoded import encoded_words

NOTHING = {"folders": [], "read": 0, "lacking": 0, "faults": {}}


def test_nothing_is_said_where_all_was_encoded_by_the_trainer():
    assert list(encoded_words({"latents": NOTHING, "texts": NOTHING})) == []


def test_what_was_read_and_what_was_wrong_is_told():
    faults = {f"encoded/a/{n}.safetensors": "it is missing" for n in range(7)}
    latents = {"folders": ["encoded/a"], "read": 1200, "lacking": 7, "faults": faults}
    said = list(encoded_words({"latents": latents, "texts": NOTHING}))
    assert said[0] == (
        "  latents: 1,200 read from encoded/a, 7 were missing and were encoded by the trainer"
    )
    assert "encoded/a/0.safetensors: it is missing; to make it again" in said[1]
    assert said[-1] == "    and 2 more files"
