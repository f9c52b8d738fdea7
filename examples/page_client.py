"""Call the web page from Python: adapt an agent to a task, and read the results.

Start the page first (``make app``), then:

    python examples/page_client.py http://localhost:7860
"""

import sys

from gradio_client import Client

page = Client(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:7860", verbose=False)
for agent in page.predict(api_name="/list_agents"):
    print(f"{agent['run']}: {agent['family']}, adapts by {', '.join(agent['modes'])}")

answer = page.predict(
    run="cartpole",
    task={"gravity": 12.0, "swap": 1.0},
    modes=["standard", "hybrid"],
    episodes=5,
    api_name="/adapt",
)
print(*answer["summary"], sep="\n")
for row in answer["results"]:
    print(f"{row['mode']:<10} {row['shots']:>3} episodes: {row['mean']:6.1f}")
