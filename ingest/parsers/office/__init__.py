"""Office files: Open XML, and what LibreOffice or xlrd read of older ones."""
