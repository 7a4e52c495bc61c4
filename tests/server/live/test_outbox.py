import asyncio
import json

import pytest

from server.live.outbox import Outbox, OutboxFull


def test_messages_are_numbered_and_read_in_order():
    async def main():
        outbox = Outbox()
        for n in range(3):
            outbox.put("answer", n=n)
        reading = asyncio.create_task(outbox.next(3))
        await asyncio.sleep(0)
        assert not reading.done()
        outbox.put("summary")
        found = [await outbox.next(seq) for seq in range(3)] + [await reading]
        assert [m.seq for m in found] == [1, 2, 3, 4]
        assert json.loads(found[1].text) == {"seq": 2, "type": "answer", "n": 1}
        ending = asyncio.create_task(outbox.next(4))
        await asyncio.sleep(0)
        outbox.close()
        assert await ending is None
        outbox.put("answer")  # of work that was under way
        assert await outbox.next(4) is None

    asyncio.run(main())


def test_what_was_written_is_let_go_and_what_was_not_is_kept():
    async def main():
        outbox = Outbox(max_messages=4)
        for n in range(4):
            outbox.put("answer", n=n)
        outbox.note_written(2)
        outbox.put("answer")
        outbox.put("answer")
        assert not outbox.holds_after(1)
        assert outbox.holds_after(2)
        assert outbox.holds_after(6)
        assert not outbox.holds_after(7)
        with pytest.raises(OutboxFull):
            outbox.put("answer")
        assert (await outbox.next(6)).seq == 7  # it is there all the same

    asyncio.run(main())


def test_a_client_that_comes_back_gets_what_it_has_not_seen():
    async def main():
        outbox = Outbox(max_messages=4)
        for _ in range(4):
            outbox.put("answer")
        outbox.note_written(4)  # to a connection on which the last two were lost
        outbox.write_after(2)
        outbox.put("answer")
        outbox.put("answer")
        assert [(await outbox.next(seq)).seq for seq in (2, 3, 4, 5)] == [3, 4, 5, 6]
        with pytest.raises(OutboxFull):  # they would be lost now
            outbox.put("answer")

    asyncio.run(main())


def test_bytes_are_bounded_except_of_the_last_message():
    outbox = Outbox(max_bytes=1000)
    outbox.put_last("summary", text="a" * 2000)
    assert outbox.last == 1
    with pytest.raises(OutboxFull):
        outbox.put("answer")
