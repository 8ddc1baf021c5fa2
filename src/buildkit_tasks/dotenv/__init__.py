"""`.env` text as compose reads it: parse, expand, edit, mask, write."""
