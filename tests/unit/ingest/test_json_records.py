"""Lists of objects in JSON, and exports of chats: one record for each object, one element for each message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.parsed_document import ElementKind
from tests.unit.ingest.support import Read, kinds_and_texts

TELEGRAM = {
    "name": "Yard",
    "type": "private_group",
    "id": 1,
    "messages": [
        {"id": 1, "type": "service", "date": "2026-03-01T08:00:00", "actor": "Ann", "actor_id": "user1",
         "action": "invite_members", "members": ["Bob"], "text": "", "text_entities": []},
        {"id": 2, "type": "message", "date": "2026-03-01T09:00:00", "date_unixtime": "1772438400", "from": "Ann",
         "from_id": "user1", "text": ["The code is ", {"type": "bold", "text": "G-7000"}, " until\nMay."],
         "text_entities": [{"type": "plain", "text": "The code is "}, {"type": "bold", "text": "G-7000"}]},
        {"id": 3, "type": "message", "date": "2026-03-01T09:01:00", "from": "Bob", "from_id": "user2",
         "file": "files/plan.pdf", "width": 3, "edited": "2026-03-01T10:01:00", "text": ""},
        {"id": 4, "type": "message", "date": "2026-03-01T09:02:00", "from": None, "from_id": "user3", "text": "",
         "poll": {"question": "When?", "answers": [{"text": "Monday"}]}},
    ],
}  # fmt: skip
TELEGRAM_LINES = [
    "2026-03-01 08:00 Ann: (action: invite_members; members: Bob)",
    "2026-03-01 09:00 Ann: The code is G-7000 until May.",
    "2026-03-01 09:01 Bob: (file: files/plan.pdf)",
    "2026-03-01 09:02: (poll.question: When?; poll.answers.text: Monday)",
]
SLACK = [
    {"type": "message", "user": "U1",
     "text": "Ask <@U2> &amp; <@U9|carl> in <#C1|yard>, see <https://a.example|the plan>",
     "ts": "1772438400.000100", "user_profile": {"real_name": "Ann Lee", "image_72": "https://x.example/y.png"},
     "blocks": [{"type": "rich_text", "elements": [{"text": "Ask"}]}], "client_msg_id": "x"},
    {"type": "message", "user": "U2", "text": "1 &lt; 2 <!here>", "ts": "1772438460.000100",
     "user_profile": {"display_name": "bob"}, "files": [{"id": "F1", "name": "plan.pdf", "url_private": "https://z"}],
     "reactions": [{"name": "ok", "users": ["U1"], "count": 1}]},
    {"type": "message", "subtype": "bot_message", "username": "robot", "text": "done", "ts": "1772438520.000100"},
    {"type": "message", "subtype": "bot_message", "username": "robot", "text": "", "ts": "1772438520.000200",
     "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "Pump 7 for <@U2>"}}]},
]  # fmt: skip
SLACK_LINES = [
    "2026-03-02 08:00 UTC Ann Lee: Ask @bob & @carl in #yard, see the plan (https://a.example)",
    "2026-03-02 08:01 UTC bob: 1 < 2 @here (files: plan.pdf)",
    "2026-03-02 08:02 UTC robot: done",
    "2026-03-02 08:02 UTC robot: Pump 7 for @bob",
]
SLACK_WITH_USERS = {
    "name": "yard",
    "users": [{"id": "U1", "name": "ann", "profile": {"real_name": "Ann"}}, {"id": "U2", "real_name": "Bob"}],
    "messages": [{"type": "message", "user": "U1", "text": "Ask <@U2>", "ts": "1772438400.000100"}],
}


def _node(name: str, parent: str | None, role: str, *parts: Any, **metadata: Any) -> tuple[str, dict[str, Any]]:
    content = {"content_type": "text", "parts": list(parts)}
    message = {"id": name, "author": {"role": role}, "create_time": 1772438400.25, "content": content,
               "metadata": metadata, "status": "finished_successfully", "weight": 1.0}  # fmt: skip
    return name, {"id": name, "parent": parent, "children": [], "message": message}


CHATGPT = [
    {
        "title": "Pump",
        "create_time": 1772438400.25,
        "current_node": "d",
        "mapping": dict(
            (
                ("root", {"id": "root", "parent": None, "children": ["a"], "message": None}),
                _node("a", "root", "system", "", is_visually_hidden_from_conversation=True),
                _node("b", "a", "user", "Which oil?", {"content_type": "image_asset_pointer"}),
                _node("c", "b", "assistant", "An answer that was written again."),
                _node("d", "b", "assistant", "Grade 46."),
            )
        ),
    }
]
CHATGPT_LINES = ["2026-03-02 08:00 UTC user: Which oil?", "2026-03-02 08:00 UTC assistant: Grade 46."]
CLAUDE = [
    {"uuid": "1", "name": "Pump", "created_at": "2026-03-02T08:00:00Z", "chat_messages": [
        {"uuid": "2", "sender": "human", "created_at": "2026-03-02T08:00:00.5Z", "text": "Which oil?",
         "content": [{"type": "text", "text": "Which oil?"}], "parent_message_uuid": "0", "attachments": []}]},
]  # fmt: skip
DISCORD = {
    "guild": {"id": "1", "name": "Works"},
    "channel": {"id": "2", "name": "yard"},
    "messages": [
        {"id": "3", "type": "Default", "timestamp": "2026-03-02T08:00:00+01:00", "isPinned": False,
         "content": "Ask <@123456789>", "author": {"id": "4", "name": "ann", "nickname": "Ann"},
         "mentions": [{"id": "123456789", "name": "bob"}]},
    ],
}  # fmt: skip
FACEBOOK = {
    "participants": [{"name": "J\u00c3\u00b6rg"}],
    "title": "Yard",
    "messages": [
        {"sender_name": "J\u00c3\u00b6rg", "timestamp_ms": 1772438460000, "content": "zw\u00c3\u00b6lf"},
        {"sender_name": "Ann", "timestamp_ms": 1772438400000, "content": "How many?"},
    ],
}
FACEBOOK_LINES = ["2026-03-02 08:00 UTC Ann: How many?", "2026-03-02 08:01 UTC Jörg: zwölf"]


@pytest.mark.parametrize(
    ("export", "title", "lines"),
    [
        pytest.param(TELEGRAM, "Yard", TELEGRAM_LINES, id="telegram"),
        pytest.param({"chats": {"list": [TELEGRAM, TELEGRAM]}}, "Yard", TELEGRAM_LINES, id="telegram-account"),
        pytest.param(SLACK, None, SLACK_LINES, id="slack"),
        pytest.param(SLACK_WITH_USERS, "yard", ["2026-03-02 08:00 UTC Ann: Ask @Bob"], id="slack-with-users"),
        pytest.param(
            SLACK_WITH_USERS | {"users": {"U1": {"real_name": "Ann"}, "U2": "Bob"}},
            "yard",
            ["2026-03-02 08:00 UTC Ann: Ask @Bob"],
            id="slack-with-names",
        ),
        pytest.param(CHATGPT, "Pump", CHATGPT_LINES, id="chatgpt"),
        pytest.param(CLAUDE, "Pump", ["2026-03-02 08:00 UTC human: Which oil?"], id="claude"),
        pytest.param(DISCORD, "yard", ["2026-03-02 08:00 +01:00 Ann: Ask @bob"], id="discord"),
        pytest.param(FACEBOOK, "Yard", FACEBOOK_LINES, id="facebook"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("indent", [None, 1])
def test_each_message_of_a_chat_is_an_element(
    read: Read, export: Any, title: str | None, lines: list[str], indent: int | None
) -> None:
    document = read("result.json", json.dumps(export, indent=indent).encode())
    found = [element for element in document.elements if element.kind is ElementKind.TABLE]
    messages = [element.text for element in found if element.text[:2] == "20"]
    assert messages[: len(lines)] == lines
    last = (found[-1].section or "").split(" > ")[-1]
    assert last == (title or "")
    for unread in ("text_entities", "rich_text", "image_72", "url_private", "written again", "1772438400"):
        assert unread not in document.text


def test_messages_of_other_programs_keep_what_else_they_say(read: Read) -> None:
    messages = [{"author": "Ann", "created_at": "2026-03-02", "date": "2026-03-02T08:00:00", "body": "It leaks.",
                 "status": "open", "labels": ["pump", "bay 3"]}] * 2  # fmt: skip
    text = read("issues.json", json.dumps(messages).encode()).text
    line = "2026-03-02 08:00 Ann: It leaks. (created_at: 2026-03-02; status: open; labels: pump, bay 3)"
    assert text == f"{line}\n\n{line}"


def test_a_text_that_a_message_repeats_in_parts_is_read_once(read: Read) -> None:
    parts = [{"type": "text", "text": "It leaks."}]
    messages = [{"sender": "Ann", "created_at": "2026-03-02T08:00:00", "text": "It leaks.", "content": parts}] * 2
    assert read("a.json", json.dumps(messages).encode()).text.split("\n\n") == ["2026-03-02 08:00 Ann: It leaks."] * 2


def test_a_long_message_keeps_its_paragraphs(read: Read) -> None:
    content = "First.\n\n" + "word " * 300 + "end\n\n- last"
    document = read("a.jsonl", "\n".join(json.dumps({"role": "user", "content": content}) for _ in "ab").encode())
    assert kinds_and_texts(document) == [("paragraph", f"user: {content}")] * 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"city": "Vienna", "n": 41}, {"city": "Rome", "n": 57}], "city: Vienna; n: 41\ncity: Rome; n: 57"),
        (
            {"page": 1, "data": {"items": [{"city": "Vienna", "at": {"x": 1}}, {"city": "Rome"}]}},
            "page: 1\n\ndata.items\n\ncity: Vienna; at.x: 1\ncity: Rome",
        ),
        ([{"created_at": 1772438400, "n": 1772438400}], "created_at: 1772438400 (2026-03-02 08:00 UTC); n: 1772438400"),
        ([{"sentAt": 1772438400123}], "sentAt: 1772438400123 (2026-03-02 08:00 UTC)"),
    ],
)  # fmt: skip
def test_a_list_of_objects_is_read_as_records(read: Read, content: Any, text: str) -> None:
    assert read("data.json", json.dumps(content).encode()).text == text
    assert read("data.json", json.dumps(content, indent=2).encode()).text == text


@pytest.mark.parametrize(
    "content",
    [
        {"name": "Zoë", "tags": ["a"], "one": [{"a": 1}]},
        {"info": {str(n): n for n in range(20)}, "list": [{"a": 1}, {"a": 2}]},
        [1, 2, {"a": 3}],
        [],
        {"a": {"b": {"c": {"d": [{"e": 1}, {"e": 2}]}}}},
    ],
)  # fmt: skip
def test_other_json_stays_as_it_is(read: Read, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    assert read("data.json", text.encode()).text == text


def test_escaped_letters_and_colours_of_a_terminal_in_json_are_decoded(read: Read) -> None:
    data = rb'{"name": "M\u00fcller", "log": "\u001b[31mE4711\u001b[0m pump", "quote": "\u0022"}'
    assert read("data.json", data).text == '{\n  "name": "Müller",\n  "log": "E4711 pump",\n  "quote": "\\""\n}'


def test_json_that_is_nested_deeply_stays_as_it_is(read: Read) -> None:
    text = "[" + '{"a":' * 500 + "1" + "}" * 500 + "]"
    assert read("data.json", text.encode()).text.count("a") == 500


def test_blank_lines_are_no_json_lines(read: Read) -> None:
    assert read("a.jsonl", b'\n\n{"a": 1}\n\n').text == "a: 1"
