"""Finds the text in layers (optional content) that are switched off, which PDFium returns though it does not draw it.

PDFium does not tell which layers are off, so the page is drawn with the text of a layer and without it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pypdfium2
from pypdfium2 import raw

from ingest.parsers.pdf.glyphs import direct

#: The name of marked content that belongs to a layer, and the key of the layer's name.
_LAYER, _NAME_KEY = "OC", b"Name"
_MAX_MARKS = 8
_MAX_NAME_BYTES = 512
#: The text of further layers of a page is taken for visible: such pages are maps and plans.
_MAX_LAYERS = 16
#: The longer side of a drawn page, in pixels.
_MAX_PIXELS = 2000

_Int, _Address = ctypes.c_int, ctypes.c_void_p
_count_marks = direct(raw.FPDFPageObj_CountMarks, _Int, _Address)
_set_active = direct(raw.FPDFPageObj_SetIsActive, _Int, _Address, _Int)


def layer_of(item: int) -> str | None:
    """Return the name of the layer that a page object belongs to, empty if it has none, or None without a layer.

    Args:
        item: the address of the page object.
    """
    for index in range(min(_count_marks(item), _MAX_MARKS)):
        mark = raw.FPDFPageObj_GetMark(ctypes.cast(item, raw.FPDF_PAGEOBJECT), index)
        if _text(raw.FPDFPageObjMark_GetName, mark) == _LAYER:
            return _text(raw.FPDFPageObjMark_GetParamStringValue, mark, _NAME_KEY)
    return None


def switched_off(page: pypdfium2.PdfPage, layers: Mapping[str, Sequence[int]], shown: set[str]) -> list[int]:
    """Return the addresses of the text objects in layers that are switched off.

    Args:
        page: The page.
        layers: The addresses of text objects by the name of their layer.
        shown: The names of layers that are known to be on; changed.
    """
    unknown = [name for name in layers if name not in shown]
    if not unknown or len(unknown) > _MAX_LAYERS:
        return []
    drawn = _drawn(page)
    found: list[int] = []
    for name in unknown:
        for item in layers[name]:
            _set_active(item, False)
        without = _drawn(page)
        for item in layers[name]:
            _set_active(item, True)
        if np.array_equal(drawn, without):
            found += layers[name]
        elif name:
            shown.add(name)
    return found


def _drawn(page: pypdfium2.PdfPage) -> npt.NDArray[np.uint8]:
    scale = min(1.0, _MAX_PIXELS / max(1.0, *page.get_size()))
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        return np.array(bitmap.to_numpy())
    finally:
        bitmap.close()


def _text(function: Callable[..., int], *arguments: object) -> str:
    """Return the text that a function of PDFium writes into a buffer."""
    buffer = ctypes.create_string_buffer(_MAX_NAME_BYTES)
    size = ctypes.c_ulong()
    place = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort))
    if not function(*arguments, place, _MAX_NAME_BYTES, size):
        return ""
    return buffer.raw[: min(size.value, _MAX_NAME_BYTES)].decode("utf-16-le", "replace").rstrip("\0")
