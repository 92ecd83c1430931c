"""E-mails: messages, mailboxes, and Outlook's messages."""
