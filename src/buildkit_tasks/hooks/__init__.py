"""Git hooks that run lint and the format check; an existing hook still runs."""
