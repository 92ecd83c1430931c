"""Files of records: messages of chats, events of calendars, contacts, captions, and lists of objects in JSON."""
