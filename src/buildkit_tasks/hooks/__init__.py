"""Git hooks that run our checks; an existing hook still runs."""
