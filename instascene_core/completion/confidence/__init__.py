"""How likely a completed object is a good one: what is known of it, and a small model of what that means."""
