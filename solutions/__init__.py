"""The reference: the finished runtime in `mydocker/`, and the way there in `steps/`."""
