"""Digital subjects: anatomy, susceptibility, field and complex multi-echo signal, with their truth."""
