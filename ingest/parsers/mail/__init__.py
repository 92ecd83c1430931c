"""E-mails: messages, mailboxes, and Outlook messages."""
