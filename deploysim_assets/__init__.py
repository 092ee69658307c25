"""deploysim: forecast how often a language model will misbehave in production, and score the
forecast after release."""
