"""At test time: agents, and how they adapt to tasks they have not seen."""
