import socket

import pytest

from nucleus_data.domains import registered_domain


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("i.pinimg.com", "pinimg.com"),
        ("a.b.co.uk", "b.co.uk"),
        ("b.co.uk", "b.co.uk"),
        ("bilder.beispiel.de", "beispiel.de"),
        ("localhost", "localhost"),
        ("co.uk", "co.uk"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("xn--bcher-kva.example.com", "example.com"),
    ],
)
def test_registered_domains_by_the_list_that_comes_along(host, domain, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: 1 / 0)  # nothing is fetched
    assert registered_domain(host) == domain
