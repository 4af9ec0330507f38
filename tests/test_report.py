"""The README's numbers are the cards' numbers."""

from scripts import report


def test_readme_shows_the_cards_of_today():
    text = (report.ROOT / "README.md").read_text()
    assert report.with_tables(text) == text, "run: python -m scripts.report --write"


def test_every_card_says_how_it_came_to_be():
    cards = report.cards("dann", "adda")
    for card in cards:
        assert {"command", "options", "steps", "seed", "selection", "hardware", "seconds", "versions", "data", "metrics"} <= {*card}
        method = card["options"]["method"]
        package = "adda" if method.startswith("adda") else "dann"
        assert card["command"].startswith(f"python -m {package}.train ") and 0 < report.accuracy(card) <= 100
        one_domain = {"source-only": "source", "target-only": "target"}.get(method)
        assert set(card["data"]) == {card["options"][name] for name in ([one_domain] if one_domain else ["source", "target"])}


def test_released_cards_are_of_the_default_recipe():
    for package, method in (("dann", "dann"), ("adda", "adda+st")):
        for path in (report.ROOT / package / "weights").glob("*.safetensors"):
            card = report.json.loads(path.with_suffix(".json").read_text())
            assert card["options"]["preset"] == "default" and card["options"]["method"] == method and card["seed"] == 0
            assert path.stem == f"{method.replace('+', '-')}-{card['options']['source']}-{card['options']['target']}"
