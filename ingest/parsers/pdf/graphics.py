"""What is drawn on a page besides its text: lines, filled boxes and pictures, and how each piece of text is painted."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pypdfium2
from pypdfium2 import raw

from ingest.parsers.pdf.glyphs import address_of, direct
from ingest.parsers.pdf.layers import layer_of, switched_off

#: Further objects of a page, such as the strokes of a map, are not looked at.
MAX_OBJECTS = 50_000
_MAX_DEPTH = 4
_MAX_CLIPS = 20
#: Paths with more points are drawings.
_MAX_POINTS = 400
#: Lines and the long sides of thin boxes are at most this thick and at least this long, in points.
_MAX_THICKNESS, MIN_LENGTH = 3.0, 5.0
#: Boxes drawn as outlines that are smaller than this are letters or symbols.
_MIN_OUTLINE = 8.0
_OPAQUE = 250
_LIGHT = 235
_TRANSPARENT = 12

_Int, _Address, _Float = ctypes.c_int, ctypes.c_void_p, ctypes.c_float
_count_objects = direct(raw.FPDFPage_CountObjects, _Int, _Address)
_get_object = direct(raw.FPDFPage_GetObject, _Address, _Address, _Int)
_count_in_form = direct(raw.FPDFFormObj_CountObjects, _Int, _Address)
_get_in_form = direct(raw.FPDFFormObj_GetObject, _Address, _Address, ctypes.c_ulong)
_type = direct(raw.FPDFPageObj_GetType, _Int, _Address)
_bounds = direct(raw.FPDFPageObj_GetBounds, _Int, _Address, _Address, _Address, _Address, _Address)
_fill_color = direct(raw.FPDFPageObj_GetFillColor, _Int, _Address, _Address, _Address, _Address, _Address)
_matrix = direct(raw.FPDFPageObj_GetMatrix, _Int, _Address, _Address)
_has_transparency = direct(raw.FPDFPageObj_HasTransparency, _Int, _Address)
_render_mode = direct(raw.FPDFTextObj_GetTextRenderMode, _Int, _Address)
_clip_path = direct(raw.FPDFPageObj_GetClipPath, _Address, _Address)
_count_clips = direct(raw.FPDFClipPath_CountPaths, _Int, _Address)
_count_clip_points = direct(raw.FPDFClipPath_CountPathSegments, _Int, _Address, _Int)
_clip_point = direct(raw.FPDFClipPath_GetPathSegment, _Address, _Address, _Int, _Int)
_count_points = direct(raw.FPDFPath_CountSegments, _Int, _Address)
_path_point = direct(raw.FPDFPath_GetPathSegment, _Address, _Address, _Int)
_point = direct(raw.FPDFPathSegment_GetPoint, _Int, _Address, _Address, _Address)
_draw_mode = direct(raw.FPDFPath_GetDrawMode, _Int, _Address, _Address, _Address)


class Area(NamedTuple):
    """A rectangle in the page's own space, in points, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def holds(self, x: float, y: float) -> bool:
        """Return whether a point is inside."""
        return self.left <= x <= self.right and self.bottom <= y <= self.top

    @property
    def size(self) -> float:
        """The area in square points."""
        return max(0.0, self.right - self.left) * max(0.0, self.top - self.bottom)


class Fill(NamedTuple):
    """A filled box, or a picture."""

    area: Area
    #: Its place in the order of drawing.
    order: int
    #: Whether it is nearly white; a picture is not.
    is_light: bool
    is_opaque: bool


class Paint(NamedTuple):
    """How a text object is painted."""

    #: Its place in the order of drawing.
    order: int
    is_invisible: bool
    is_light: bool
    is_transparent: bool
    #: Outside of this nothing is seen; None if there is no such limit.
    clip: Area | None
    #: Whether its layer is switched off.
    is_off: bool = False


Matrix = tuple[float, float, float, float, float, float]


@dataclass(slots=True)
class Graphics:
    """The objects of a page."""

    #: Thin lines, as areas without a width or a height.
    rules: list[Area] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    pictures: list[Area] = field(default_factory=list)
    #: The text objects that may be hidden, by their addresses.
    paints: dict[int, Paint] = field(default_factory=dict)
    #: The order of the first text object and of all objects.
    orders: dict[int, int] = field(default_factory=dict)
    #: The painted text objects that belong to layers, with their areas, by the names of the layers.
    layers: dict[str, list[tuple[int, Area]]] = field(default_factory=dict)
    has_paths: bool = False
    has_shading: bool = False
    count: int = 0


class _Reader:
    """Reads the objects of a page with the least calls."""

    def __init__(self) -> None:
        self._numbers = (_Float * 6)()
        base = ctypes.addressof(self._numbers)
        self._places = [base + 4 * index for index in range(6)]
        self._colors = (ctypes.c_uint * 4)()
        base = ctypes.addressof(self._colors)
        self._color_places = [base + 4 * index for index in range(4)]
        self._modes = (_Int * 2)()
        base = ctypes.addressof(self._modes)
        self._mode_places = [base, base + 4]
        self.found = Graphics()

    def read_page(self, page: int) -> None:
        for index in range(min(_count_objects(page), MAX_OBJECTS)):
            self._read(_get_object(page, index), None, 0)

    def _read(self, item: int | None, matrix: Matrix | None, depth: int) -> None:
        if item is None or self.found.count >= MAX_OBJECTS:
            return
        self.found.count += 1
        kind = _type(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            self._read_text(item, matrix)
        elif kind == raw.FPDF_PAGEOBJ_PATH:
            self._read_path(item, matrix)
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            area = self._area(item, matrix)
            self.found.pictures.append(area)
            self.found.fills.append(Fill(area, self.found.count, is_light=False, is_opaque=False))
        elif kind == raw.FPDF_PAGEOBJ_SHADING:
            self.found.has_shading = True
        elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH and _matrix(item, self._places[0]):
            inner = _product(tuple(self._numbers), matrix)
            for index in range(min(_count_in_form(item), MAX_OBJECTS)):
                self._read(_get_in_form(item, index), inner, depth + 1)

    def _read_text(self, item: int, matrix: Matrix | None) -> None:
        found = self.found
        found.orders[item] = found.count
        is_invisible = _render_mode(item) in (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP)
        is_light = is_transparent = False
        if _fill_color(item, *self._color_places):
            red, green, blue, alpha = self._colors
            is_light = min(red, green, blue) >= _LIGHT
            is_transparent = alpha <= _TRANSPARENT
        layer = layer_of(item)
        if layer is not None and not is_invisible and not is_transparent:
            found.layers.setdefault(layer, []).append((item, self._area(item, matrix)))
        clip = self._clip(item, matrix)
        if is_invisible or is_light or is_transparent or clip is not None:
            found.paints[item] = Paint(found.count, is_invisible, is_light, is_transparent, clip)

    def _clip(self, item: int, matrix: Matrix | None) -> Area | None:
        """Return the area outside of which an object is not seen, or None if all of it is inside."""
        path = _clip_path(item)
        count = _count_clips(path) if path else 0
        if count <= 0:
            return None
        area = Area(float("-inf"), float("-inf"), float("inf"), float("inf"))
        for index in range(min(count, _MAX_CLIPS)):
            points = range(min(_count_clip_points(path, index), _MAX_POINTS))
            part = self._around((_clip_point(path, index, point) for point in points), matrix)
            if part is not None:
                area = _intersection(area, part)
        own = self._area(item, matrix)
        return None if _intersection(area, own) == own else area

    def _read_path(self, item: int, matrix: Matrix | None) -> None:
        found = self.found
        found.has_paths = True
        count = _count_points(item)
        if not 2 <= count <= _MAX_POINTS or not _draw_mode(item, *self._mode_places):
            return
        is_filled, is_stroked = self._modes[0] != raw.FPDF_FILLMODE_NONE, bool(self._modes[1])
        if not is_filled and not is_stroked:
            return
        own: Matrix | None = tuple(self._numbers) if _matrix(item, self._places[0]) else None
        points = self._points((_path_point(item, index) for index in range(count)), _product(own, matrix))
        area = _around_points(points)
        if area is None:
            return
        if _is_thin(area):
            found.rules.append(area)
        elif is_stroked and not is_filled and count == 2:
            return
        elif _is_box(points):
            self._read_box(item, area, is_filled=is_filled, is_stroked=is_stroked)
        elif is_stroked:
            found.rules += _straight_parts(points)

    def _read_box(self, item: int, area: Area, *, is_filled: bool, is_stroked: bool) -> None:
        found = self.found
        if is_filled and _fill_color(item, *self._color_places):
            red, green, blue, alpha = self._colors
            is_opaque = alpha >= _OPAQUE and not _has_transparency(item)
            is_light = min(red, green, blue) >= _LIGHT
            found.fills.append(Fill(area, found.count, is_light=is_light, is_opaque=is_opaque))
        if is_stroked and min(area.right - area.left, area.top - area.bottom) >= _MIN_OUTLINE:
            left, bottom, right, top = area
            found.rules += [Area(left, y, right, y) for y in (bottom, top)]
            found.rules += [Area(x, bottom, x, top) for x in (left, right)]

    def _area(self, item: int, matrix: Matrix | None) -> Area:
        if not _bounds(item, *self._places[:4]):
            return Area(0, 0, 0, 0)
        left, bottom, right, top = self._numbers[:4]
        corners = [_apply(matrix, x, y) for x in (left, right) for y in (bottom, top)]
        return _around_points(corners) or Area(0, 0, 0, 0)

    def _around(self, segments: Iterator[int | None], matrix: Matrix | None) -> Area | None:
        return _around_points(self._points(segments, matrix))

    def _points(self, segments: Iterator[int | None], matrix: Matrix | None) -> list[tuple[float, float]]:
        x, y = self._places[:2]
        return [
            _apply(matrix, self._numbers[0], self._numbers[1])
            for segment in segments
            if segment is not None and _point(segment, x, y)
        ]


def read_graphics(page: pypdfium2.PdfPage, shown_layers: set[str]) -> Graphics:
    """Return what is drawn on a page. `shown_layers` are the names of layers that are known to be on; changed."""
    reader = _Reader()
    reader.read_page(address_of(page.raw))
    found = reader.found
    if found.layers:
        # Text under a picture of it is not drawn either.
        layers = {
            name: [item for item, area in items if not any(_overlap(area, picture) for picture in found.pictures)]
            for name, items in found.layers.items()
        }
        for item in switched_off(page, layers, shown_layers):
            found.paints[item] = Paint(0, False, False, False, None, is_off=True)
    return found


def _overlap(one: Area, other: Area) -> bool:
    return _intersection(one, other).size > 0


def _apply(matrix: Matrix | None, x: float, y: float) -> tuple[float, float]:
    if matrix is None:
        return x, y
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _product(inner: Any, outer: Matrix | None) -> Matrix | None:
    """Return the matrix that applies `inner` and then `outer`."""
    if outer is None or inner is None:
        return inner if outer is None else outer
    a, b, c, d, e, f = inner
    e, f = _apply(outer, e, f)
    oa, ob, oc, od = outer[:4]
    return oa * a + oc * b, ob * a + od * b, oa * c + oc * d, ob * c + od * d, e, f


def _around_points(points: list[tuple[float, float]]) -> Area | None:
    if not points:
        return None
    horizontal, vertical = zip(*points, strict=True)
    return Area(min(horizontal), min(vertical), max(horizontal), max(vertical))


def _intersection(one: Area, other: Area) -> Area:
    return Area(max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))


def _is_thin(area: Area) -> bool:
    width, height = area.right - area.left, area.top - area.bottom
    return min(width, height) <= _MAX_THICKNESS and max(width, height) >= MIN_LENGTH


def _is_box(points: list[tuple[float, float]]) -> bool:
    """Return whether the points are the corners of one upright rectangle."""
    horizontal = {round(x, 1) for x, _ in points}
    vertical = {round(y, 1) for _, y in points}
    return len(horizontal) == 2 and len(vertical) == 2


def _straight_parts(points: list[tuple[float, float]]) -> Iterator[Area]:
    for before, after in zip(points, points[1:], strict=False):
        area = _around_points([before, after])
        if area is not None and _is_thin(area):
            yield area
