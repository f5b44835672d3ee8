"""Who is calling: bearer tokens and the proof that a person is there."""
