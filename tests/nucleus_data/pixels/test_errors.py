import pickle

from nucleus_data.pixels import PixelError, Reason


def test_pixel_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(PixelError(Reason.CORRUPT, "bad")))
    assert (error.reason, error.detail, str(error)) == (Reason.CORRUPT, "bad", "corrupt: bad")
