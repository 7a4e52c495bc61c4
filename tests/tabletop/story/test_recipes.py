import pytest

from tabletop.story.recipes import RECIPES, SPLITS, expand, orders_of


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_no_order_of_a_recipe_is_shared_by_two_splits(recipe):
    orders = [set(orders_of(recipe, split)[0]) for split in SPLITS]
    assert all(orders)
    assert sum(map(len, orders)) == len(set.union(*orders)) == len(expand(RECIPES[recipe]))
    assert sum(expand(RECIPES[recipe]).values()) == pytest.approx(1.0)
