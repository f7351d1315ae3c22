import pytest
from pydantic import ValidationError

from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.refusals import TooLongError, check_length


class TestSettings:
    def test_unknown_key_is_refused(self):
        with pytest.raises(ValidationError, match="extra_forbidden"):
            EngineSettings(modle="nano")

    def test_a_request_that_may_not_fit_is_refused(self):
        check_length(100, 28, 128)
        with pytest.raises(TooLongError, match=r"exceed caption\.max_model_len=128"):
            check_length(101, 28, 128)
