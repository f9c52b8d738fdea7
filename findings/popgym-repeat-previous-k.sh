#!/usr/bin/env bash
# POPGym's RepeatPrevious counts the card that is shown as one ago, and k = 0 asks for another game.
#
# Its documentation says that k == 0 is the current card and k == 1 the one before. In fact k = 1 pays for naming the
# card that is shown, k = 4 (RepeatPreviousEasy) for the one three steps before it, and k = 0 for the first card of the
# episode, since the code looks at place -k of a list. A family that varies k from 0 on has a task that is of another
# kind, and none that is easier than k = 1. The returns of perfect play are 1 for each k >= 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gymnasium==1.4.0" "popgym==1.0.7" "numpy==2.4.6"
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

from popgym.envs.repeat_previous import RepeatPrevious

print("gymnasium", version("gymnasium"), "popgym", version("popgym"))


def play(k, back):
    """Return of always naming the suit `back` cards before the one that is shown; None: the first."""
    env = RepeatPrevious(k=k)
    cards, total, over = [env.reset(seed=3)[0]], 0.0, False
    while not over:
        answer = cards[0] if back is None else cards[max(0, len(cards) - 1 - back)]
        card, reward, over, _, _ = env.step(answer)
        cards.append(card)
        total += reward
    return round(total, 2)


found = {(k, back): play(k, back) for k in (0, 1, 4) for back in (None, 0, 1, 3, 4)}
for k in (0, 1, 4):
    print(f"k = {k}: first card {found[k, None]:5.2f};", ", ".join(f"{b} before {found[k, b]:5.2f}" for b in (0, 1, 3, 4)))
assert found[1, 0] == 1.0 and found[1, 1] < 0.5, "k = 1 is no longer the card that is shown"
assert found[4, 3] == 1.0 and found[4, 4] < 0.5, "k = 4 is no longer three before it"
assert found[0, None] > 0.9 and found[0, 0] < 0.5, "k = 0 no longer asks for the first card"
print("as described: k = 1 is the card that is shown, and k = 0 the first of the episode")
PY
