"""What estimators of the meta-gradient are worth; `pytest -s` prints the table of the docs."""

import pytest
from enumerated import Enumerated
from estimators import ESTIMATORS, Estimator, quality
from test_sampling_term import Adaptations


def test_bias_and_variance_of_every_estimator() -> None:
    adaptations = Adaptations(Enumerated(2), 1, 1, 1)
    found = {name: quality(each, adaptations) for name, each in ESTIMATORS.items()}
    print("\n| estimator | bias | spread | bias with endless data |\n|---|---|---|---|")
    for name, one in found.items():
        no_part = ESTIMATORS[name].credited or ESTIMATORS[name].summed
        endless = "" if no_part else f"{one.endless:.3f}"
        print(f"| {name} | {one.bias:.3f} | {one.spread:.3f} | {endless} |")
    assert found["E-MAML"].bias < 1e-6
    assert found["ANIL, E-MAML"].bias < 1e-6
    assert all(one.bias > 1e-2 for name, one in found.items() if "E-MAML" not in name)
    assert found["DiCE"].endless < 1e-6
    assert found["ANIL, DiCE"].endless < 1e-6
    assert found["loaded DiCE (0.5)"].endless < found["lvc"].endless < found["FOMAML"].endless
    assert found["FOMAML"].spread < found["lvc"].spread < found["loaded DiCE (0.5)"].spread
    assert found["loaded DiCE (0.5)"].spread < found["DiCE"].spread < found["E-MAML"].spread


def test_the_ends_of_loaded_dice_are_lvc_and_dice() -> None:
    problem = Adaptations(Enumerated(2), 0, 1, 1)
    for dice_lambda, other in ((0.0, "lvc"), (1.0, "dice")):
        ours = quality(Estimator("loaded_dice", settings={"dice_lambda": dice_lambda}), problem)
        theirs = quality(Estimator(other), problem)
        assert [*vars(ours).values()] == pytest.approx([*vars(theirs).values()])
