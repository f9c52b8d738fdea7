"""Videos of an agent before and after it adapts."""
