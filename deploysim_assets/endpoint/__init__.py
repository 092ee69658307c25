"""Asking models: requests, retries, the journal that makes an answer last. Knows nothing of what
is asked."""
