"""One run: survey, plan, workers, recorder, and the events they yield."""
