"""BuildKit in the user's shell: rc files, completion."""
