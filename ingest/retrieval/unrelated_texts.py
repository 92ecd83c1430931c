"""Questions on many subjects, each with a passage that answers it. Each is unrelated to the passages of the others.

They show what cosines a model gives to texts that have nothing to do with one another.
"""

from __future__ import annotations

PAIRS: tuple[tuple[str, str], ...] = (
    (
        "How long does it take to boil an egg?",
        "An egg is hard after ten minutes in boiling water, and soft after four.",
    ),
    (
        "Which river flows through Vienna?",
        "Vienna lies on the Danube, where trade routes have crossed since Roman times.",
    ),
    ("How do I prune roses?", "Cut the canes of a rose bush back to an outward bud in early spring."),
    ("What is the capital gains tax?", "Profit from selling shares is taxed in the year in which they are sold."),
    (
        "Who painted the ceiling of the Sistine Chapel?",
        "Michelangelo spent four years on its frescoes for Pope Julius.",
    ),
    ("How often should a horse be shod?", "A farrier renews the iron shoes every six to eight weeks."),
    ("What causes a rainbow?", "Sunlight is refracted and reflected in drops of water, which separates its colours."),
    ("How do I get red wine out of a carpet?", "Dab the stain with cold water and cover it with salt until it is dry."),
    ("When did the first man walk on the moon?", "Armstrong stepped out of the lunar module in July 1969."),
    (
        "What is a normal resting pulse?",
        "The heart of a healthy adult beats sixty to a hundred times a minute at rest.",
    ),
    ("How does a mortgage work?", "The bank lends money for a house, which is its security until all is repaid."),
    ("Which vitamins are in carrots?", "Beta-carotene, which the body turns into vitamin A, makes them orange."),
    ("How do I renew my passport?", "Hand in the old document, two photographs and the fee at the town hall."),
    (
        "What is the offside rule?",
        "An attacker may not be nearer to the goal line than the ball and the last but one defender.",
    ),
    ("Why do cats purr?", "They vibrate the larynx when they are content, and sometimes when they are in pain."),
    ("How do I bleed a radiator?", "Open the valve at its top with a key until water comes instead of air."),
    ("What is the minimum wage?", "By law, nobody may be paid less than a fixed amount for an hour of work."),
    ("How do whales breathe?", "They come to the surface and blow out the used air through a hole in the head."),
    ("Which wine goes with fish?", "A dry white such as Riesling suits trout, cod and shellfish."),
    ("How is paper made?", "Wood is cooked to a pulp of fibres, which is spread on a sieve, pressed and dried."),
    ("What was the cause of the French Revolution?", "Hunger, debts of the crown and the privileges of the nobility."),
    ("How do I tie a bowline?", "Pass the end up through the loop, around the standing part and down again."),
    ("What is the speed of light?", "In a vacuum it is almost three hundred thousand kilometres a second."),
    ("How do I treat a bee sting?", "Scrape the sting out, cool the spot, and watch for swelling of the face."),
    (
        "Which instruments are in a string quartet?",
        "Two violins, a viola and a cello play together without a conductor.",
    ),
    ("How do I apply for parental leave?", "Tell the employer in writing seven weeks before it is to begin."),
    ("What do hedgehogs eat?", "Beetles, worms and slugs; milk makes them ill."),
    ("How deep is the Pacific?", "The Mariana Trench goes down eleven kilometres below the surface."),
    ("What is inflation?", "Prices rise in general, so that money buys less than a year before."),
    ("How do I change a bicycle tyre?", "Lift one edge over the rim with levers and pull out the inner tube."),
    ("Who wrote Don Quixote?", "Cervantes let his knight fight windmills in a novel of two parts."),
    ("How much sleep does a baby need?", "Newborns are awake for hardly eight hours of the day."),
    ("What is photosynthesis?", "Leaves make sugar from water and carbon dioxide with the energy of the sun."),
    ("How do I parallel park?", "Stop beside the car in front, turn the wheel fully and reverse into the gap."),
    ("Which spices are in curry powder?", "Turmeric, coriander, cumin and fenugreek are ground together."),
    ("How does a vaccine work?", "It shows the immune system a harmless part of a germ, which it then remembers."),
    (
        "When is the best time to visit Iceland?",
        "In June the nights are bright; from October there are northern lights.",
    ),
    (
        "What is the difference between a crocodile and an alligator?",
        "The snout of one is narrow, and that of the other broad.",
    ),
    (
        "How do I cancel my gym membership?",
        "Send a letter to the studio a month before the contract would be extended.",
    ),
    ("What makes bread rise?", "Yeast ferments sugar, and the gas is trapped in the dough."),
    ("How are pearls formed?", "An oyster coats a grain that irritates it with layers of mother-of-pearl."),
    ("What is the plot of Hamlet?", "A prince is told by a ghost to avenge the murder of his father."),
    ("How do I set up a tent?", "Spread out the groundsheet, join the poles, and peg the corners into the earth."),
    ("Which countries border Switzerland?", "Germany, Austria, Liechtenstein, Italy and France are its neighbours."),
    ("How do I register a car?", "Bring proof of insurance and ownership to the licensing office for number plates."),
    ("What is gluten?", "A protein of wheat and rye which some people's bowels do not bear."),
    ("How hot is lava?", "Molten rock leaves a volcano at seven hundred to twelve hundred degrees."),
    ("How do I knit a scarf?", "Cast on forty stitches, knit each row, and cast off when it is long enough."),
    (
        "What is the Pythagorean theorem?",
        "In a right triangle, the squares over the legs make up that over the hypotenuse.",
    ),
    ("How do elections work in Britain?", "Each constituency sends the candidate with the most votes to parliament."),
    (
        "Which birds migrate to Africa?",
        "Storks, swallows and cuckoos leave Europe in autumn for the south of the Sahara.",
    ),
    ("How do I unblock a sink?", "Put a plunger over the drain and push it up and down several times."),
    ("What is jazz?", "Music from New Orleans in which players improvise over swinging rhythms."),
    ("How do I write a will?", "Write by hand who shall inherit what, with date and signature."),
    ("How many bones has a human body?", "An adult skeleton has two hundred and six of them."),
    ("Which trees lose their leaves?", "Oak, beech and maple are bare in winter, while spruce and pine stay green."),
    ("How do I make cold brew coffee?", "Steep coarse grounds in cold water overnight and filter them out."),
    ("What is a solar eclipse?", "The moon passes in front of the sun and darkens the day for minutes."),
    ("How do I train a puppy?", "Reward it at once for what is right, in lessons of a few minutes."),
    ("What happened at Pompeii?", "Ash from Vesuvius buried the town and its people in the year 79."),
)
