"""How good an agent is: on tasks it has never seen, with intervals and the data it used."""
