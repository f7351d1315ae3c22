import pytest
from multidict import CIMultiDict

from nucleus_data.stages.ingest.fetch_settings import OPT_OUTS
from nucleus_data.stages.ingest.http.opt_out import opt_out

TAG = "X-Robots-Tag"


def reason(*headers, obeyed=OPT_OUTS):
    found = opt_out(CIMultiDict(headers), "nucleus-data", obeyed)
    return found and found[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("noai", "opt_out_noai"),
        ("NOIMAGEAI", "opt_out_noimageai"),
        ("max-snippet:-1, noml", "opt_out_noml"),
        ("none", "opt_out_none"),
        ("nofollow, noindex", "opt_out_noindex"),
        ("noimageindex", "opt_out_noimageindex"),
        ("nucleus-data: noai", "opt_out_noai"),
        ("Nucleus-Data:nofollow, noai", "opt_out_noai"),
        ("*: noai", "opt_out_noai"),
        ("otherbot: noai", None),
        ("otherbot: nofollow, noai", None),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", "opt_out_noindex"),
        ("all", None),
        ("nofollow", None),
        ("", None),
    ],
)
def test_directives(value, expected):
    assert reason((TAG, value)) == expected


def test_every_header_counts():
    assert reason((TAG, "otherbot: noai"), (TAG, "noml")) == "opt_out_noml"
    assert reason(("x-robots-tag", "noai")) == "opt_out_noai"
    assert reason(("TDM-Reservation", "1")) == "opt_out_tdm"
    assert reason(("TDM-Reservation", "0")) is None


@pytest.mark.parametrize("name", OPT_OUTS)
def test_each_can_be_switched_off_by_name(name):
    header = ("TDM-Reservation", "1") if name == "tdm-reservation" else (TAG, name)
    assert reason(header) is not None
    assert reason(header, obeyed=[other for other in OPT_OUTS if other != name]) is None
