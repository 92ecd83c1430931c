"""The control words and symbols of rich text that need no more than a table."""

from __future__ import annotations

#: Those that are characters.
CHARACTERS = {
    "line": "\n",
    "lbr": "\n",
    "softline": "\n",
    "tab": "\t",
    "emdash": "\u2014",
    "endash": "\u2013",
    "emspace": "\u2003",
    "enspace": "\u2002",
    "qmspace": "\u2005",
    "bullet": "\u2022",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
}
#: A hyphen that is not broken at is a hyphen, and one that only is where a line breaks is none.
SYMBOLS = {"~": "\xa0", "_": "-", "{": "{", "}": "}", "\\": "\\", "\t": "\t"}
#: Groups without text that a reader sees, by their first word. Those that begin with `\*` are left out anyway.
_LEFT_OUT_NAMES = (
    "aftncn aftnsep aftnsepc colorschememapping colortbl datastore filetbl ftncn ftnsep ftnsepc generator info "
    "latentstyles listoverridetable listtable mmathPict mmathPr nonesttables nonshppict objclass objdata objname pn "
    "private revtbl rsidtbl rxe tc tcn themedata txe userprops xe xmlnstbl"
)
LEFT_OUT = frozenset(_LEFT_OUT_NAMES.split())
#: Groups that begin with `\*` and have text all the same: pictures, and the parts of formulas.
_WITH_TEXT_NAMES = (
    "shppict fldrslt moMath moMathPara macc mbar mborderBox mbox md mdeg me meqArr mf mfName mfunc mgroupChr mlim "
    "mlimLow mlimUpp mm mmr mnary mnum mphant mr mrad msPre msSub msSubSup msSup msub msup"
)
WITH_TEXT = frozenset(_WITH_TEXT_NAMES.split())
