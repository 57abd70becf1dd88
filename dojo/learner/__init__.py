"""What a learner types: check, watch, read, goto, diff, status, doctor."""
