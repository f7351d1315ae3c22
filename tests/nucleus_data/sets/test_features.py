import json

import pyarrow as pa

from nucleus_data.sets.features import FOOTER, IMAGE, card_features, with_features

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("jpg", IMAGE),
        ("json", pa.struct([("crop", pa.list_(pa.int32())), ("score", pa.float32())])),
        ("captions", pa.list_(pa.string())),
        ("bytes", pa.int64()),
        ("sure", pa.bool_()),
        ("exact", pa.float64()),
    ]
)


def test_a_card_and_a_footer_say_the_types_as_datasets_calls_them():
    from datasets import Features, Image, Value  # a second
    from datasets.features import List

    expected = Features(
        {
            "id": Value("string"),
            "jpg": Image(),
            "json": {"crop": List(Value("int32")), "score": Value("float32")},
            "captions": List(Value("string")),
            "bytes": Value("int64"),
            "sure": Value("bool"),
            "exact": Value("float64"),
        }
    )
    assert Features._from_yaml_list(card_features(SCHEMA)) == expected
    told = json.loads(with_features(SCHEMA).metadata[FOOTER])
    assert Features.from_dict(told["info"]["features"]) == expected
    assert Features.from_arrow_schema(with_features(SCHEMA)) == expected
