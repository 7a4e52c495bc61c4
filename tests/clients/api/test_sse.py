import json

from hypothesis import given
from hypothesis import strategies as st

from clients.api.sse import EventReader, ServerEvent

# Every character that may stand in JSON as it is, those that end lines elsewhere included.
text = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\u2028\u2029\x85"))
names = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1)
events = st.lists(st.tuples(names, text.filter(bool), st.integers(0, 10**6)))


@given(events, st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_events_come_out_as_they_went_in_wherever_the_pieces_end(sent, line_end, data):
    lines = []
    for name, value, number in sent:
        lines += [": still here", f"event: {name}"]
        lines += [f"data: {json.dumps(value, ensure_ascii=False)}", f"id: {number}", ""]
    wire = "".join(line + line_end for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    reader = EventReader()
    heard = [event for piece in [*pieces, b"\n"] for event in reader.feed(piece)]
    assert [(one.name, json.loads(one.data), int(one.id)) for one in heard] == sent


def test_lines_of_data_are_joined_and_events_without_data_are_none():
    reader = EventReader()
    wire = b"data: a\ndata:b\n\nevent: empty\n\ndata\nid: 7\nevent: x\n\nretry: 5\n\ndata: cut off"
    assert list(reader.feed(wire)) == [ServerEvent("message", "a\nb"), ServerEvent("x", "", "7")]


def test_a_number_stands_until_the_next_as_the_standard_has_it():
    reader = EventReader()
    heard = list(reader.feed(b"id: 3\ndata: a\n\ndata: b\n\nid: \0\ndata: c\n\n"))
    assert [one.id for one in heard] == ["3", "3", "3"]
