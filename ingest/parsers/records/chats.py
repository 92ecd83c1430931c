"""Exports of chats: Telegram, Slack, ChatGPT, and others whose messages have a sender, a time and a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.records.json_values import JsonObject, flat_values, readable_time, record_line

_SENDER = ("from", "sender_name", "sender", "user_profile", "author", "username", "user", "creator", "role", "actor")
_TEXT = ("text", "content", "body", "message", "parts")
_TIME = (
    "date", "timestamp", "ts", "created_at", "create_time", "created_date", "createdAt", "createdDateTime", "sent_at",
    "timestamp_ms", "time",
)  # fmt: skip
_NAME = (
    "real_name",
    "display_name",
    "displayName",
    "global_name",
    "nickname",
    "name",
    "username",
    "role",
    "email",
    "id",
)
_ROLES = frozenset(("user", "assistant", "system", "tool", "developer", "human"))
#: Where an export has the messages of one chat.
_MESSAGES = ("messages", "chat_messages", "mapping")
_UNREAD_OF_CHAT = frozenset((*_MESSAGES, "id", "uuid", "type", "users"))
_TITLE = ("title", "name", "subject", "channel")
_FILE_NAME = ("name", "title", "file_name", "filename", "fileName", "file", "url")
#: Keys that only exports of known programs have.
_KNOWN = frozenset(
    (
        "text_entities",
        "from_id",
        "actor_id",
        "client_msg_id",
        "parent_message_uuid",
        "isPinned",
        "timestamp_ms",
        "end_turn",
    )
)
#: Values of a message of these programs that say nothing to people, or repeat its text.
_UNREAD = frozenset(
    (
        "id", "uuid", "message_id", "from_id", "actor_id", "user_id", "text_entities", "date_unixtime",
        "edited_unixtime", "client_msg_id", "blocks", "team", "user_team", "source_team", "user", "user_profile",
        "ts", "thread_ts", "parent_user_id", "reply_count", "reply_users", "reply_users_count", "latest_reply",
        "subscribed", "last_read",
        "is_locked", "reactions", "type", "subtype", "upload", "display_as_bot", "bot_id", "bot_profile", "app_id",
        "reply_to_message_id", "width", "height", "thumbnail", "mime_type", "isPinned", "mentions", "roles",
        "mentionedUsers", "parent_message_uuid", "updated_at", "update_time", "weight", "metadata", "recipient",
        "status", "end_turn", "channel",
        "is_geoblocked_for_viewer", "is_unsent_image_by_messenger_kid_parent", "timestampEdited", "callEndedTimestamp",
        "edited",
    )
)  # fmt: skip
#: Values of a message that have values of their own which people read.
_NESTED = frozenset(("poll", "contact_information", "location_information"))
_FILES = ("files", "attachments", "embeds", "photos", "videos", "audio_files", "stickers")
_SLACK_TIME = re.compile(r"\d{10}\.\d{1,6}", re.ASCII)
_SLACK_PERSON = re.compile(r"[UW][A-Z0-9]{1,20}", re.ASCII)
#: A reference in a message of Slack: a person, a channel, a group or a link, some with a label; and one of Discord.
_REFERENCE = re.compile(r"<([@#!]?)([^<>|\n]{1,2000})(?:\|([^<>\n]*))?>")
_DISCORD_PERSON = re.compile(r"<@!?(\d{5,25})>", re.ASCII)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
#: Longer messages keep their lines, and are divided between them if a chunk cannot hold them.
_MAX_LINE_CHARACTERS = 1000
_MIN_MESSAGE_SHARE = 0.8


class Chats:
    """Reads the chats of an export, with the names of its people."""

    def __init__(self, content: Any) -> None:
        """Collect the names of the people in a decoded JSON file."""
        self._names: dict[str, str] = {}
        self._count = 0
        lists = [content] if not isinstance(content, JsonObject) else [inner for _, inner in content]
        for items in lists:
            if isinstance(items, JsonObject):
                people = {key: _name(person) for key, person in items if _SLACK_PERSON.fullmatch(key)}
                self._names |= {key: name for key, name in people.items() if name}
            elif isinstance(items, list):
                self._collect_names(items)

    def is_chat(self, item: JsonObject) -> bool:
        """Return whether an object is a chat: one of its values is a list, or a tree, of messages."""
        found = _messages(item)
        return bool(found) and (item.value("mapping") is not None or are_messages(found))

    def add_chat(self, builder: DocumentBuilder, item: JsonObject, *, level: int) -> None:
        """Append a chat as a section that is named by its title."""
        self._count += 1
        title = item.value(*_TITLE)
        title = title.value("name", "id") if isinstance(title, JsonObject) else title
        name = title if isinstance(title, str) else f"Chat {self._count}"
        builder.add(ElementKind.HEADING, name, level=level)
        if item.value("mapping") is None:
            others = JsonObject((key, value) for key, value in item if key not in _UNREAD_OF_CHAT and value != title)
            builder.add(ElementKind.TABLE, record_line(others))
        messages = _messages(item)
        self._collect_names(messages)
        self._add(builder, messages)

    def add_messages(self, builder: DocumentBuilder, items: Sequence[JsonObject]) -> bool:
        """Append a list of messages, each as an element, and return whether it is one; otherwise append nothing."""
        if not are_messages(items):
            return False
        self._add(builder, items)
        return True

    def _add(self, builder: DocumentBuilder, items: Sequence[JsonObject]) -> None:
        for item in _oldest_first(items):
            head, text, rest = self._parts(item)
            if not text.strip() and not rest:
                continue
            message = f"{head}: {text.strip()}{f' ({rest})' if rest else ''}"
            if len(message) <= _MAX_LINE_CHARACTERS:
                builder.add(ElementKind.TABLE, " ".join(message.split()))
            else:
                builder.add(ElementKind.PARAGRAPH, message)

    def _parts(self, item: JsonObject) -> tuple[str, str, str]:
        """Return the sender and time of a message, its text, and what else it says."""
        is_slack = bool(_SLACK_TIME.fullmatch(str(item.value("ts"))))
        text = _joined(item.value(*_TEXT))
        if is_slack:
            # Programs write some messages in blocks alone.
            text = self._without_references(text.strip() or " ".join(_texts_in(item.value("blocks"))))
        elif item.value("mentions") is not None:
            text = _DISCORD_PERSON.sub(self._person_named, text)
        elif item.value("timestamp_ms") is not None:
            text = _repaired(text)
        head = " ".join(filter(None, (self._time(item), self._sender(item))))
        return head or "message", text, "; ".join(self._rest(item, is_known=is_slack or _is_known(item)))

    def _sender(self, item: JsonObject) -> str:
        sender = item.value(*_SENDER)
        name = _repaired(_name(sender)) if item.value("timestamp_ms") is not None else _name(sender)
        return self._names.get(name, name)

    def _time(self, item: JsonObject) -> str:
        written = item.value(*_TIME)
        return readable_time(written) or (written if isinstance(written, str) else "")

    def _rest(self, item: JsonObject, *, is_known: bool) -> Iterator[str]:
        """Yield the other values of a message. Exports of known programs have many that are for programs alone."""
        text = _joined(item.value(*_TEXT)).strip()
        used = {key for names in (_SENDER, _TEXT, _TIME) for key in _used(item, names)}
        for key, value in item:
            if key in used or value in (None, "", [], False) or (is_known and key in _UNREAD):
                continue
            if key in _TEXT and _joined(value).strip() == text:
                continue
            if key in _FILES and isinstance(value, list):
                files = [_file(each) for each in value if isinstance(each, JsonObject)]
                names = ", ".join(filter(None, files))
                yield f"{key}: {names}" if names else ""
            elif (
                not is_known
                or isinstance(value, str)
                or key in _NESTED
                or (isinstance(value, list) and all(isinstance(each, str) for each in value))
            ):
                yield from (f"{name}: {text}" for name, text in flat_values(key, value) if text)

    def _without_references(self, text: str) -> str:
        text = _REFERENCE.sub(self._reference, text)
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
        return text

    def _reference(self, match: re.Match[str]) -> str:
        sign, target, label = match[1], match[2], match[3]
        if sign == "@":
            return f"@{self._names.get(target) or label or target}"
        if sign == "#":
            return f"#{label or target}"
        if sign == "!":
            return label or f"@{target.partition('^')[0]}"
        target = target.removeprefix("mailto:")
        return f"{label} ({target})" if label and label != target and not target.endswith(label) else target

    def _person_named(self, match: re.Match[str]) -> str:
        return f"@{self._names.get(match[1], match[1])}"

    def _collect_names(self, items: Sequence[Any]) -> None:
        for item in items:
            if not isinstance(item, JsonObject):
                continue
            profile, key = item.value("user_profile", "profile"), item.value("user", "id")
            people = [person for person in item.value("mentions") or [] if isinstance(person, JsonObject)]
            people += [author] if isinstance(author := item.value("author"), JsonObject) else []
            pairs = [(person.value("id"), _name(person)) for person in people]
            if isinstance(profile, JsonObject):
                pairs.append((key, _name(profile)))
            elif item.value(*_TEXT) is None:
                pairs.append((key, _name(item) if item.value("name", "real_name") else ""))
            self._names |= {key: name for key, name in pairs if isinstance(key, str) and name and name != key}


def _messages(item: JsonObject) -> list[JsonObject]:
    """Return the messages of a chat in their order, or nothing if the object is not a chat."""
    found = item.value(*_MESSAGES)
    if isinstance(found, JsonObject):
        return _branch(found, item.value("current_node"))
    return [each for each in found if isinstance(each, JsonObject)] if isinstance(found, list) else []


def _branch(mapping: JsonObject, last: Any) -> list[JsonObject]:
    """Return the messages of a tree on the branch that the program shows; those that it hides are left out."""
    nodes = {key: node for key, node in mapping if isinstance(node, JsonObject)}
    node = nodes.get(last) if isinstance(last, str) else None
    if node is None:
        return [message for each in nodes.values() if _is_shown(message := each.value("message"))]
    found: list[JsonObject] = []
    for _ in range(len(nodes)):
        message = node.value("message")
        if _is_shown(message):
            found.append(message)
        node = nodes.get(str(node.value("parent")))
        if node is None:
            break
    return found[::-1]


def _is_shown(message: Any) -> bool:
    if not isinstance(message, JsonObject):
        return False
    metadata = message.value("metadata")
    hidden = metadata.value("is_visually_hidden_from_conversation") if isinstance(metadata, JsonObject) else None
    return not hidden and bool(_joined(message.value("content")).strip())


def _oldest_first(items: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """Return the messages of a chat in their order; Facebook exports the last one first."""
    times = [str(item.value("timestamp_ms") or "") for item in (items[0], items[-1])]
    return items[::-1] if times[0] > times[1] else items


def are_messages(items: Sequence[JsonObject]) -> bool:
    """Return whether a list of objects is messages of a chat."""
    count = sum(map(_is_message, items))
    return count > 0 and count >= _MIN_MESSAGE_SHARE * len(items)


def _is_message(item: JsonObject) -> bool:
    names = {key for key, _ in item}
    if not names & set(_TEXT) and "action" not in names:
        return False
    if "role" in names and item.value("role") in _ROLES:
        return True
    time = item.value(*_TIME)
    return bool(names & set(_SENDER)) and isinstance(time, str) and bool(readable_time(time))


def _is_known(item: JsonObject) -> bool:
    author = item.value("author")
    is_node = isinstance(author, JsonObject) and author.value("role") is not None
    return is_node or not _KNOWN.isdisjoint(key for key, _ in item)


def _used(item: JsonObject, names: Sequence[str]) -> Iterator[str]:
    """Yield the key that `JsonObject.value` takes the value from."""
    found = {key for key, value in item if value not in (None, "", [])}
    yield from [name for name in names if name in found][:1]


def _name(person: Any) -> str:
    if isinstance(person, JsonObject):
        person = person.value(*_NAME)
    return " ".join(person.split()) if isinstance(person, str) else ""


def _file(item: JsonObject) -> str:
    value = item.value("text", "fallback", *_FILE_NAME)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _joined(value: Any) -> str:
    """Return a text that may be in parts, some of them objects with a text of their own."""
    if isinstance(value, str):
        return value
    if isinstance(value, JsonObject):
        return _joined(value.value("text", "parts", "content", "result"))
    if not isinstance(value, list):
        return ""
    parts = [_joined(part) for part in value]
    # Parts of Telegram are runs of one text, and those of the others are paragraphs.
    runs = any(isinstance(part, JsonObject) and part.value("type") not in ("text", None) for part in value)
    return ("" if runs or not value else "\n").join(parts)


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the texts in the blocks of a message."""
    if isinstance(value, JsonObject):
        for key, inner in value:
            yield from [inner] if key == "text" and isinstance(inner, str) else _texts_in(inner)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_in(each)


def _repaired(text: str) -> str:
    """Return a text of Facebook's export, which has the bytes of UTF-8 as characters."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
