"""The README's numbers are the cards' numbers."""

from scripts import report


def test_readme_shows_the_cards_of_today():
    text = (report.ROOT / "README.md").read_text()
    assert report.with_tables(text) == text, "run: python -m scripts.report --write"


def test_every_card_says_how_it_came_to_be():
    cards = report.cards()
    for card in cards:
        assert {"command", "options", "steps", "seed", "selection", "hardware", "seconds", "versions", "data", "metrics"} <= {*card}
        assert card["command"].startswith("python -m dann.train ") and 0 < report.accuracy(card) <= 100
        assert set(card["data"]) == ({card["options"]["source"], card["options"]["target"]} if card["options"]["method"] == "dann"
                                     else {card["options"]["target" if card["options"]["method"] == "target-only" else "source"]})


def test_released_cards_are_of_the_default_recipe():
    for path in (report.ROOT / "dann/weights").glob("*.safetensors"):
        card = report.json.loads(path.with_suffix(".json").read_text())
        assert card["options"]["preset"] == "default" and card["options"]["method"] == "dann"
        assert path.stem == f"dann-{card['options']['source']}-{card['options']['target']}"
