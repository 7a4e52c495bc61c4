import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import FieldInvalid
from server.schemas.json_bounds import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_VALUES,
    JsonBounds,
)


def check(text, **more):
    bounds = JsonBounds("/request", **more)
    for start in range(0, len(text), 65536):
        bounds.add(text[start : start + 65536])
    bounds.check_depth(text)


def nested(depth):
    return b"[" * depth + b"]" * depth


ordinary = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(depth_of, inner), default=0) + isinstance(value, list | dict)


@given(ordinary, st.integers(0, MAX_DEPTH + 2), st.booleans())
def test_only_nesting_counts_as_depth_whatever_strings_hold(value, more, is_ascii):
    for _ in range(more):
        value = [value, '"]{"\\']
    wide = [value, *([[]] * MAX_DEPTH)]  # enough lists for a look at the depth
    text = json.dumps(wide, ensure_ascii=is_ascii).encode()
    if depth_of(wide) <= MAX_DEPTH:
        check(text)
    else:
        with pytest.raises(FieldInvalid, match="levels of nesting"):
            check(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (nested(MAX_DEPTH + 1), "at most 16 levels of nesting"),
        (b"[" * 10**6, "lists and objects"),
        (b"]" * 10**6, "lists and objects"),
        (b"[" + b"{}," * MAX_CONTAINERS, "lists and objects"),
        (b"{" + b'"a":1,' * (MAX_MEMBERS + 1), "members of objects"),
        (b"[" + b"1," * MAX_VALUES, "values"),
        (b'"' + b'\\"' * MAX_VALUES * 4, "values"),
    ],
    ids=lambda value: value[:8] if isinstance(value, bytes) else "",
)
def test_text_beyond_a_bound_is_refused_by_name(text, words):
    with pytest.raises(FieldInvalid, match=words) as caught:
        check(text)
    assert caught.value.errors[0][0] == "/request"


def test_what_is_within_every_bound_passes():
    check(nested(MAX_DEPTH))
    check(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")
    check(b'"' + b"A" * 10**6 + b'"')  # base64


def test_a_text_is_refused_before_all_of_it_has_come():
    bounds = JsonBounds()
    for _ in range(MAX_CONTAINERS // 1000):
        bounds.add(b"[]," * 1000)
    with pytest.raises(FieldInvalid):
        bounds.add(b"[]," * 1000)


def test_a_reader_of_long_lists_may_allow_more():
    text = b"[" + b",".join([b'{"a":1}'] * (MAX_MEMBERS + 1)) + b"]"
    with pytest.raises(FieldInvalid, match="members"):
        check(text)
    check(text, max_members=MAX_MEMBERS + 1)
    with pytest.raises(FieldInvalid, match="lists and objects"):
        check(text, max_members=MAX_MEMBERS + 1, max_containers=MAX_MEMBERS)
