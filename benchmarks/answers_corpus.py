"""Documents and questions for `benchmarks.answers`.

Kinds of questions: facts in prose (`answers_facts.txt`), the same asked in words that the documents do not have,
documents that differ in their name and one number, rows of tables, and questions on the topic of a document to which
none has the answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["fact", "reworded", "number", "table", "none"]
KINDS: tuple[Kind, ...] = ("fact", "reworded", "number", "table", "none")
#: The marks at the beginnings of the lines.
_KIND_BY_MARK: dict[str, Kind] = {"?": "fact", "~": "reworded", "!": "none"}
FACTS = Path(__file__).with_name("answers_facts.txt")


@dataclass(frozen=True)
class Question:
    """A question, and the texts of which a right answer contains one; none if no document answers it."""

    id: str
    kind: Kind
    text: str
    document: str
    answers: tuple[str, ...] = ()


#: The text of each manual, a question for its number, one that no manual answers, and the numbers.
_MANUALS = (
    (
        "The circulation pump BX-{n}00 is made for heating systems in houses of up to three storeys. Check before the "
        "first start that the system is filled and vented. The pump needs a main fuse of {x} A. Hot parts can burn the "
        "skin, so let the pump cool before you touch it. Keep this manual near the device.",
        ("Which main fuse does the BX-{}00 need?", "How many amperes must the fuse of the BX-{}00 have?"),
        "How loud is the BX-{}00?",
        (6, 8, 10, 13, 16, 20, 25, 32, 35, 40),
    ),
    (
        "The freezer Norma {n} must stand level and at least five centimetres from the wall. Defrost it twice a year "
        "and wipe it with mild soap. After a power failure, food stays frozen for {x} hours if the door is kept "
        "closed. Do not put bottles into the drawers, because they may burst. The bulb can be changed without tools.",
        ("For how many hours does food stay frozen in the Norma {}?", "How long does a Norma {} keep food frozen?"),
        "What is the price of the Norma {}?",
        (9, 11, 14, 17, 19, 22, 26, 28, 30, 33),
    ),
    (
        "Electricity tariff Class {n} is offered to households and small workshops. The basic fee is due on the first "
        "day of each month and is not refunded. A kilowatt hour costs {x} cents. The contract runs for a year and is "
        "extended unless it is cancelled in writing. The meter is read in December by our staff or by yourself.",
        ("What does a kilowatt hour cost in Class {}?", "How many cents is the kilowatt hour in tariff Class {}?"),
        "How much bonus do new customers get in tariff Class {}?",
        (21, 23, 24, 26, 27, 29, 31, 34, 36, 38),
    ),
    (
        "The meeting room {n} has a screen, a white board and two windows to the yard. It is booked in the calendar of "
        "the reception, at the latest one day before. The room has {x} seats. Coffee is ordered by telephone and must "
        "be paid by the department. Please close the windows and switch off the light when you leave.",
        ("How many seats does room {} have?", "How many people can sit in meeting room {}?"),
        "On which floor is room {}?",
        (4, 6, 8, 9, 12, 15, 18, 24, 28, 45),
    ),
    (
        "The cough syrup Verol {n} is taken with a glass of water after meals. Adults take {x} millilitres three times "
        "a day, children half of it. Do not take it for more than two weeks without asking a doctor. It may cause "
        "tiredness, so do not drive. Keep the bottle out of the light and use it within two months after opening it.",
        ("How many millilitres of Verol {} do adults take?", "What is the dose of Verol {} for adults?"),
        "Which active ingredient does Verol {} contain?",
        (5, 7, 10, 12, 15, 18, 20, 25, 30, 35),
    ),
    (
        "Bus line {n} runs between the central station and the hospital on all days of the week. Bicycles may be taken "
        "along after seven in the evening. On working days a bus leaves every {x} minutes. Tickets are sold by the "
        "driver in coins only. In heavy snow the line ends at the town hall, and a taxi takes passengers further.",
        ("How often does a bus of line {} leave on working days?", "Every how many minutes does line {} run?"),
        "How many stops does line {} have?",
        (5, 6, 8, 10, 12, 15, 20, 25, 30, 40),
    ),
    (
        "The electric drill model T{n} has a keyless chuck and a lamp above the trigger. Wear glasses and fasten long "
        "hair before you use it. A full charge of the battery takes {x} minutes, during which the lamp is red. Do not "
        "drill into walls with cables. Clean the air slots with a dry brush after each use and oil the chuck yearly.",
        ("How many minutes does it take to charge the T{}?", "How long is a full charge of the battery of model T{}?"),
        "What is the torque of the drill model T{}?",
        (25, 35, 40, 50, 55, 65, 70, 80, 95, 110),
    ),
    (
        "The savings agreement Plan {n} is meant for people who put money aside each month. Interest is credited at "
        "the end of the year and is taxed. The notice period is {x} days. Instalments may be paused for half a year in "
        "case of illness. Statements are sent by post in January, or by electronic mail if you ask for it.",
        ("What is the notice period of Plan {}?", "How many days of notice does the savings agreement Plan {} have?"),
        "What is the interest rate of Plan {}?",
        (14, 21, 30, 45, 60, 75, 90, 100, 120, 180),
    ),
)  # fmt: skip

_PEOPLE = "Adams Bergman Castro Dimitrov Eriksen Fontaine Grimaldi Hoshino Ivanova Jansen Kowalski Lopez".split()  # noqa: SIM905
_TOWNS = "Arden Brixton Corvo Dunkeld Estoril Fulda Girona Hobart Ivrea Jaffna Kazan Lugano".split()  # noqa: SIM905
_PARTS = "gasket bearing valve spring filter hose clamp sensor relay switch nozzle lever".split()  # noqa: SIM905
#: Name of the table, its first column, the keys of the rows, the other columns, and a question for each of them.
_TABLES = (
    ("Staff directory", "Name", _PEOPLE, {"Extension": range(4101, 4900, 61), "Room": range(12, 400, 29)},
     {"Extension": "What is the extension of {}?", "Room": "In which room does {} sit?"},
     "On which day is the birthday of {}?"),
    ("Weather stations", "Town", _TOWNS, {"Height in m": range(35, 2000, 137), "Rain in mm": range(310, 2000, 83)},
     {"Height in m": "At which height in metres is the weather station of {}?",
      "Rain in mm": "How many mm of rain are recorded in {}?"},
     "How many hours of sunshine are recorded in {}?"),
    ("Spare parts", "Part", _PARTS, {"Article": range(70213, 90000, 1171), "Stock": range(3, 300, 17)},
     {"Article": "What is the article number of the {}?", "Stock": "How many of the part {} are in stock?"},
     "Which firm supplies the {}?"),
    ("Distances by road", "Destination", [f"{town} depot" for town in _TOWNS],
     {"Distance in km": range(44, 900, 67), "Toll in euros": range(2, 60, 4)},
     {"Distance in km": "How many km is it to {}?", "Toll in euros": "How much is the toll on the way to {}?"},
     "How many hours does a lorry need to {}?"),
)  # fmt: skip
#: Questions for cells of each table, and for what a table or a family of manuals does not have.
TABLE_QUESTIONS, MISSING_COLUMNS, MISSING_ATTRIBUTES = 15, 4, 4


def build() -> tuple[dict[str, str], list[Question]]:
    """Return the documents, by file name, and the questions, the kinds mixed, so that a beginning is a fair sample."""
    documents: dict[str, str] = {}
    questions: list[Question] = []
    for part in (_facts, _manuals, _tables):
        for item in part():
            if isinstance(item, Question):
                questions.append(item)
            else:
                documents[item[0]] = item[1]
    random.Random(7).shuffle(questions)  # noqa: S311 - an order, no secret
    return documents, questions


def _facts() -> Iterator[tuple[str, str] | Question]:
    for block in FACTS.read_text("utf-8").split("\n\n"):
        title, *lines = block.strip().splitlines()
        title = title.removeprefix("# ")
        name = f"{title.lower().replace(' ', '-')}.md"
        yield name, f"# {title}\n\n{lines[0]}\n"
        for number, line in enumerate(lines[1:]):
            text, *answers = (part.strip() for part in line[2:].split("|"))
            kind = _KIND_BY_MARK[line[0]]
            yield Question(f"{name}/{number}", kind, text, name, tuple(answers))


def _manuals() -> Iterator[tuple[str, str] | Question]:
    for family, (text, asked, unanswered, numbers) in enumerate(_MANUALS):
        for at, value in enumerate(numbers):
            n, name = at + 2, f"manual-{family}-{at}.txt"
            yield name, text.format(n=n, x=value) + "\n"
            yield Question(name, "number", asked[at % len(asked)].format(n), name, (str(value),))
            if at < MISSING_ATTRIBUTES:
                yield Question(f"{name}/none", "none", unanswered.format(n), name)
        yield Question(f"manual-{family}/other", "none", asked[0].format(90 + family), "")


def _tables() -> Iterator[tuple[str, str] | Question]:
    for title, key, keys, columns, asked, unanswered in _TABLES:
        name = f"{title.lower().replace(' ', '-')}.csv"
        values = {column: list(numbers) for column, numbers in columns.items()}
        rows = [[one, *(str(numbers[at]) for numbers in values.values())] for at, one in enumerate(keys)]
        yield name, "\n".join(",".join(row) for row in [[key, *columns], *rows]) + "\n"
        cells = [(at, column) for at in range(len(keys)) for column in columns]
        for at, column in random.Random(title).sample(cells, TABLE_QUESTIONS):  # noqa: S311
            text = asked[column].format(keys[at])
            yield Question(f"{name}/{at}/{column}", "table", text, name, (str(values[column][at]),))
        for one in keys[:MISSING_COLUMNS]:
            yield Question(f"{name}/{one}/none", "none", unanswered.format(one), name)
