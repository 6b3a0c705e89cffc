"""Regional values of a study compared by a linear model."""
