"""Office files: Open XML, and older formats through LibreOffice or xlrd."""
