from nucleus_data.stages.ingest.http.agent import TOKEN, user_agent


def test_it_says_who_and_how_to_reach_us():
    assert user_agent(None).startswith(f"{TOKEN}/")
    assert user_agent("data@example.org").endswith(" (+data@example.org)")
    assert "mozilla" not in user_agent("data@example.org").lower()
