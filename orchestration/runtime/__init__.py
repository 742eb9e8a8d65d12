"""The micro-batch loop, and everything a person does to a query besides running it."""
