"""HTML pages, and the HTML of e-mails, books and pandoc's output."""
