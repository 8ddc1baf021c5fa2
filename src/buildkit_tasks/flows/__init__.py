"""The flows: what each task does, readable aloud. Plain functions, because nox has no Invoke context to give."""
