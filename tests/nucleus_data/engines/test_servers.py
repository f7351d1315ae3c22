import asyncio
import time

import pytest
from pydantic import ValidationError

from nucleus_data.config import deciding, load
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.servers import LONGEST_WAIT_S, Place, Server, ServerPool, ServerSettings
from nucleus_data.errors import RequestError


class TestSettings:
    @pytest.mark.parametrize(
        ("url", "as_kept"),
        [
            ("http://gpu1:8000", "http://gpu1:8000/v1"),
            ("http://gpu1:8000/", "http://gpu1:8000/v1"),
            ("https://api.example.org/v1/", "https://api.example.org/v1"),
            ("http://[::1]:8000/openai/v1", "http://[::1]:8000/openai/v1"),
        ],
    )
    def test_a_base_url_has_one_form(self, url, as_kept):
        assert ServerSettings(urls=[url]).urls == (as_kept,)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("ftp://gpu1/v1", "must begin with http"),
            ("file:///etc/passwd", "must begin with http"),
            ("gpu1:8000", "must begin with http"),
            ("http://", "and have a host"),
            ("http://gpu1:99999/v1", "[Pp]ort"),
            ("http://gpu1:0/v1", "port 0"),
            ("http://gpu1/v1?key=x", "a query or a fragment"),
            ("http://me:secret@gpu1/v1", "must not contain a user name"),
        ],
    )
    def test_other_addresses_are_refused(self, url, message):
        with pytest.raises(ValidationError, match=message):
            ServerSettings(urls=[url])

    def test_a_server_is_named_once(self):
        with pytest.raises(ValidationError, match="listed twice"):
            ServerSettings(urls=["http://a:1", "http://a:1/v1"])

    def test_where_it_is_asked_is_not_in_the_hash_and_what_it_sees_is(self):
        here = deciding(EngineSettings())
        asked = EngineSettings(engine="server", servers={"urls": ["http://a:1"], "retries": 9})
        assert deciding(asked) == here
        assert deciding(EngineSettings(jpeg_quality=90)) == {**here, "jpeg_quality": 90}

    def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(self, tmp_path):
        (tmp_path / "c.yaml").write_text("model: nano\n")
        for override, message in (
            ("servers.key_env=sk-proj-123", "servers.key_env: must be the name of an environment"),
            (
                "servers.urls=[http://me:sk-proj-123@gpu1/v1]",
                "must not contain a user name or password",
            ),
        ):
            with pytest.raises(RequestError, match=message) as refused:
                load(EngineSettings, tmp_path / "c.yaml", [override])
            assert "sk-proj" not in str(refused.value)


def pool_of(*names, well=None, **settings):
    async def fine(server):
        return ""

    return ServerPool([Server(name) for name in names], ServerSettings(**settings), well or fine)


class TestPool:
    def test_waits_double_up_to_a_limit_and_are_drawn(self):
        pool = pool_of("a", backoff_s=1.0)
        for failures, longest in (
            (1, 1),
            (2, 2),
            (4, 8),
            (6, LONGEST_WAIT_S),
            (900, LONGEST_WAIT_S),
        ):
            waits = [pool.wait(failures) for _ in range(50)]
            assert longest / 2 <= min(waits) < max(waits) <= longest

    def test_who_waits_longest_is_next(self):
        async def main():
            pool = pool_of("a", concurrency=1)
            server = await pool.take(Place())
            waiting = [asyncio.ensure_future(pool.take(Place())) for _ in range(3)]
            order = []
            for _ in waiting:
                pool.give(server)
                done, _ = await asyncio.wait(
                    set(waiting) - set(order), return_when="FIRST_COMPLETED"
                )
                order += done
            assert order == waiting

        asyncio.run(main())

    def test_a_full_server_of_one_picture_holds_up_no_other_picture(self):
        async def main():
            pool = pool_of("a", "b", concurrency=1)
            place = Place()
            first = await pool.take(place)
            second = asyncio.ensure_future(pool.take(place))
            other = await pool.take(Place())
            assert other is not first
            assert not second.done()
            pool.give(first)
            assert await second is first

        asyncio.run(main())

    def test_one_that_is_down_is_asked_until_it_is_well(self):
        async def main():
            answers = ["refused", "starting", ""]

            async def well(server):
                return answers.pop(0)

            pool = pool_of("a", "b", well=well, backoff_s=0.01)
            pool.failed(pool.servers[0], "closed")
            assert {(await pool.take(Place())).url for _ in range(4)} == {"b"}
            while pool.servers[0].down:
                await asyncio.sleep(0.01)
            assert (await pool.take(Place())).url == "a"
            assert answers == []

        asyncio.run(main())

    def test_hopeless_is_when_all_have_failed_for_so_long(self):
        async def main():
            async def well(server):
                return "refused"

            pool = pool_of("a", "b", well=well, gives_up_s=0.05)
            pool.failed(pool.servers[0], "closed")
            await asyncio.sleep(0.06)
            assert pool.hopeless() == ""
            pool.failed(pool.servers[1], "closed")
            assert pool.hopeless() == "", "the second has only begun to fail"
            await asyncio.sleep(0.06)
            assert "a: refused; b: refused" in pool.hopeless()
            pool.begin()
            assert pool.hopeless() == ""

        asyncio.run(main())

    def test_a_pause_is_bounded(self):
        async def main():
            pool = pool_of("a")
            pool.pause(pool.servers[0], "full", 1e9)
            assert pool.servers[0].paused_until - time.monotonic() <= 300

        asyncio.run(main())
