"""Documents and questions for `benchmarks.quality`: manuals made from tables, short notes, and numpy's docstrings.

The docstrings are read from the installed package (BSD licence) and are not part of this project.
"""

from __future__ import annotations

import inspect
import random
from dataclasses import dataclass

import numpy as np

BRANDS = [
    "Aurora",
    "Belmont",
    "Cassini",
    "Dorado",
    "Elbrus",
    "Fjord",
    "Galena",
    "Heron",
    "Istria",
    "Juniper",
    "Kestrel",
    "Lumen",
    "Marlow",
    "Nimbus",
    "Orkney",
    "Pavo",
    "Quill",
    "Rowan",
    "Sable",
    "Tamar",
    "Umbra",
    "Vesper",
    "Willow",
    "Xenia",
    "Yarrow",
    "Zephyr",
    "Alder",
    "Bramble",
    "Cobalt",
    "Dunmore",
]
#: Kind of device, what breaks, how that is said, the care it needs, and a question for that care in other words.
KINDS = (
    ("coffee machine", "the water pump does not start", "Descale it with citric acid", "get rid of limescale in"),
    ("washing machine", "the drum does not turn", "Clean the lint filter", "empty the sieve that catches fluff in"),
    ("dehumidifier", "the tank is full", "Wipe the condenser fins", "remove dust from the cooling ribs of"),
    ("label printer", "the paper roll is used up", "Clean the print head with alcohol", "wipe the part that prints in"),
    ("bicycle lamp", "the battery is too cold to charge", "Grease the sealing ring", "keep the gasket supple in"),
    ("air compressor", "the pressure vessel is overheated", "Drain the condensate", "let the water out of"),
)
INTERVALS = ("every week", "every two weeks", "once a month", "every three months", "twice a year", "once a year")

#: A fact, and a question for it that shares few words with it.
NOTES = (
    ("The ferry to the island leaves the eastern pier at noon and returns at dusk.", "When does the boat depart?"),
    ("Staff who fall ill must inform their supervisor before nine in the morning.", "How do I report being sick?"),
    ("Receipts for travel have to be handed in within thirty days.", "Until when can I claim back a train ticket?"),
    ("The server room may only be entered in the company of an administrator.", "Who can let me near the machines?"),
    ("Our canteen serves a meal without meat each Thursday.", "On which day is there vegetarian food?"),
    ("Visitors leave their cars on the lower deck, which closes at ten in the evening.", "Where can guests park?"),
    ("The roof was insulated with sheep's wool in the summer of 2016.", "What keeps the house warm from above?"),
    ("Seedlings are moved outdoors once the nights stay above eight degrees.", "When can young plants go outside?"),
    ("The choir rehearses in the old chapel on Wednesday evenings.", "Where do the singers practise?"),
    ("A lost badge is blocked by calling extension 4410 at any hour.", "What if my access card is stolen?"),
    ("Bread is baked on stone in a wood fire that is lit before dawn.", "How is the loaf made?"),
    ("The museum lends wheelchairs at no cost at its main entrance.", "Is there help for people who cannot walk far?"),
    ("Backups are written to tape at night and taken to another town on Fridays.", "How is our data kept safe?"),
    ("New members pay half of the yearly fee if they join after June.", "Is it cheaper to sign up late in the year?"),
    ("The trail crosses a river by a rope bridge that holds four persons.", "How do hikers get over the water?"),
    ("Paint that contains lead was removed from all window frames.", "Is there still anything toxic on the woodwork?"),
    ("The library forgives fines for children's books.", "Do kids have to pay for returning something late?"),
    ("Bees are fed with syrup in autumn, after the last honey was taken.", "What do hives get before winter?"),
    ("Power cuts are bridged by a diesel generator in the yard.", "What happens when there is no electricity?"),
    ("The lift is inspected by the authorities in odd years.", "How often is the elevator checked?"),
    ("Dogs are welcome on the terrace but not in the dining room.", "Can I bring my pet for dinner?"),
    ("The parcel counter closes an hour before the shop does.", "Until when can I send a package?"),
    ("Windows on the north side were bricked up during the war.", "Why is one wall without glass?"),
    ("Interns are given a mentor from another department.", "Who looks after trainees?"),
)
DOCSTRINGS = 130
LEAST_DOCSTRING = 500


@dataclass(frozen=True)
class Question:
    """A question and the name of the one document that answers it."""

    text: str
    document: str
    kind: str


def build() -> tuple[dict[str, str], list[Question]]:
    """Return the documents by name, as Markdown, and the questions. They are the same in every run."""
    documents: dict[str, str] = {}
    questions: list[Question] = []
    for text, asked in (*_manuals(), *_notes(), *_docstrings()):
        documents.update(text)
        questions += asked
    return documents, questions


def _manuals() -> list[tuple[dict[str, str], list[Question]]]:
    choose = random.Random(5)  # noqa: S311 - a corpus, not a secret
    return [_manual(brand, number, choose) for number, brand in enumerate(BRANDS)]


def _manual(brand: str, number: int, choose: random.Random) -> tuple[dict[str, str], list[Question]]:
    device, fault, care, need = KINDS[number % len(KINDS)]
    years, interval = choose.randint(1, 9), INTERVALS[choose.randrange(len(INTERVALS))]
    code = f"E-{choose.randint(100, 999)}"
    part = f"{brand[:2].upper()}{choose.randint(1000, 9999)}-{choose.choice('ABCD')}"
    name = f"{brand} {device}"
    text = (
        f"# {name}\n\nThis manual is for the {name}. Keep it in a dry place and hand it on with the device.\n\n"
        f"## Before first use\n\nPlace the device on level ground. Let it stand for {choose.randint(2, 9)} hours, then "
        f"plug it in. It draws {choose.randint(40, 2400)} watts and weighs {choose.randint(1, 40)} kilograms.\n\n"
        f"## Messages\n\nIf the display shows {code}, {fault}. Switch the device off and wait a few minutes.\n\n"
        f"## Care\n\n{care} {interval}. Use no sharp objects.\n\n"
        f"## Guarantee\n\nDefects in material are mended free of charge for {years} years from the day of purchase. "
        f"Damage from careless handling is excluded.\n\n## Spare parts\n\nThe seal set has the number {part}.\n"
    )
    file = f"{brand.lower()}.md"
    asked = (
        (f"{code}", "code"),
        (f"Which device needs the seals {part}?", "code"),
        (f"How long can I have the {device} from {brand} repaired without paying?", "paraphrase"),
        (f"How often do I {need} the {brand}?", "paraphrase"),
    )
    return {file: text}, [Question(question, file, kind) for question, kind in asked]


def _notes() -> list[tuple[dict[str, str], list[Question]]]:
    return [
        ({f"note-{number}.md": fact + "\n"}, [Question(question, f"note-{number}.md", "paraphrase")])
        for number, (fact, question) in enumerate(NOTES)
    ]


def _docstrings() -> list[tuple[dict[str, str], list[Question]]]:
    """Return a document for each docstring without its first sentence, which is the question."""
    found: list[tuple[dict[str, str], list[Question]]] = []
    seen: set[str] = set()
    for name in sorted(dir(np)):
        text = inspect.getdoc(getattr(np, name)) or ""
        summary, _, body = text.partition("\n\n")
        if "(" in summary.split("\n")[0]:  # a signature comes first
            summary, _, body = body.partition("\n\n")
        question = " ".join(summary.split())
        if len(body) < LEAST_DOCSTRING or not question.endswith(".") or question in seen or len(question) < 20:
            continue
        seen.add(question)
        file = f"numpy-{name}.md"
        found.append(({file: body}, [Question(question, file, "documentation")]))
    return found[:: max(1, len(found) // DOCSTRINGS)][:DOCSTRINGS]
