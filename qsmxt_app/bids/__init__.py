"""Reading a raw BIDS dataset; naming, writing and validating derivatives."""
