"""HTML, also that of e-mails, books and what pandoc makes of other formats."""
